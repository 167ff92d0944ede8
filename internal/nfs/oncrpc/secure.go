package oncrpc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"net"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// How a connection begins. One port serves three kinds of clients: those that
// speak RPC, those that speak TLS from the first byte (the mount helper of EFS),
// and those that ask for TLS by a first call (RPC-with-TLS, RFC 9289).
const (
	// tlsHandshake is the first byte of every ClientHello (RFC 8446 §5.1). As
	// that of a record mark it would announce a fragment of 369 MB, which no
	// server takes.
	tlsHandshake = 0x16
	// probeSize is an AUTH_TLS probe with its record mark: every field of it has
	// a fixed size (RFC 9289 §4.1).
	probeSize = markSize + 10*4
	startTLS  = "STARTTLS"
)

// bufferedConn is a connection of which some bytes have been read ahead. It
// hides nothing but Read.
type bufferedConn struct {
	net.Conn
	in *bufio.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// greet finds out how the client begins and makes TLS where it wants that. It
// returns what to write to and what to read from. A client may be silent as long
// as it likes: a Linux client keeps connections that it does not need yet.
func (s *Server) greet(ctx context.Context, nc net.Conn, c *Conn) (net.Conn, *bufio.Reader, error) {
	in := bufio.NewReaderSize(nc, readAhead)
	if s.Secure == nil {
		return nc, in, nil
	}
	first, err := in.Peek(1)
	if err != nil {
		return nil, nil, err
	}
	if first[0] != tlsHandshake {
		if asked, err := answersProbe(nc, in); err != nil || !asked {
			return nc, in, err
		}
	}
	secured, about, err := s.Secure(ctx, &bufferedConn{nc, in})
	if err != nil {
		return nil, nil, err
	}
	c.Secured = about
	return secured, bufio.NewReaderSize(secured, readAhead), nil
}

// answersProbe answers an AUTH_TLS probe, if that is the first call.
func answersProbe(nc net.Conn, in *bufio.Reader) (bool, error) {
	mark, err := in.Peek(markSize)
	if err != nil || binary.BigEndian.Uint32(mark) != lastFragment|(probeSize-markSize) {
		return false, err
	}
	probe, err := in.Peek(probeSize)
	if err != nil {
		return false, err
	}
	xid, ok := parseProbe(probe[markSize:])
	if !ok {
		return false, nil
	}
	_, _ = in.Discard(probeSize) // it is in the buffer
	w := xdr.NewWriter()
	defer w.Release()
	BeginRecord(w)
	for _, v := range [...]uint32{xid, msgReply, replyAccepted, xdr.AuthNone} {
		w.Uint32(v)
	}
	w.String(startTLS)
	w.Uint32(uint32(Success))
	EndRecord(w)
	_, err = nc.Write(w.Bytes())
	return true, err
}

// parseProbe reads a call of a NULL procedure with AUTH_TLS and nothing else.
func parseProbe(b []byte) (xid uint32, ok bool) {
	r := xdr.NewReader(b)
	xid = r.Uint32()
	kind, version := r.Uint32(), r.Uint32()
	r.Uint32() // program and its version: TLS is for all of them
	r.Uint32()
	rest := r.Rest()
	want := []byte{
		0, 0, 0, 0, // procedure
		0, 0, 0, xdr.AuthTLS, 0, 0, 0, 0, // credential, empty
		0, 0, 0, 0, 0, 0, 0, 0, // verifier
	}
	return xid, kind == msgCall && version == rpcVersion && bytes.Equal(rest, want)
}
