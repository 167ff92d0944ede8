package nfs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
)

// view is what a connection shows, and to whom: that of its listener, or for
// TLS one of its own. It does not change while the connection lasts: an access
// point that is deleted meanwhile stays open to who came in by it, as in EFS.
type view struct {
	root Root
	// identity keeps the clients of different server owners apart: a session or
	// a state of one is unknown to the others, on whatever connection.
	identity string
	secure   bool
	// principal is who signed, "" for nobody.
	principal string
	point     *AccessPoint // nil: none
	// mountTarget: the listener is that of a mount target.
	mountTarget bool

	mu      sync.Mutex
	rootIno fs.Ino // of the access point's directory; 0: not looked for yet
}

func newView(root Root) *view {
	return &view{root: root, identity: root.Export, mountTarget: root.Export != ""}
}

// secured is the view of a TLS client.
func (v *view) secured(id Identity, p *AccessPoint) *view {
	root := v.root
	if id.FileSystem != "" {
		root.Export = id.FileSystem
	}
	return &view{root: root, identity: state.Identity(root.Export, bindingName(id)), secure: true, principal: id.Principal,
		point: p, mountTarget: v.mountTarget}
}

// bindingName names what else but the export keeps the clients of TLS
// connections apart. It is the same in every region, so that a client whose
// address moves there reclaims.
func bindingName(id Identity) string {
	name := "tls"
	if id.AccessPoint != "" {
		name += ":" + id.AccessPoint
	}
	if id.Principal != "" {
		sum := sha256.Sum256([]byte(id.Principal))
		name += ":" + hex.EncodeToString(sum[:8])
	}
	return name
}

// caller is who asks by the connection of a call.
func (c *compound) caller() Caller {
	w := Caller{Principal: c.view.principal, Secure: c.view.secure, MountTarget: c.view.mountTarget, Remote: addressOf(c.call.Remote)}
	if c.view.point != nil {
		w.AccessPoint = c.view.point.ID
	}
	return w
}

func addressOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

const (
	// handshakeTime bounds a TLS handshake. The mount helper of EFS gives a
	// whole mount 15 s.
	handshakeTime = 10 * time.Second
	// maxHandshake bounds the bytes that a client may send in it, so that half
	// handshakes on all connections together take little memory. A certificate
	// of the mount helper, with a session token, takes 4 KiB.
	maxHandshake = 32 << 10
)

// handshaking is a connection during its handshake.
type handshaking struct {
	net.Conn
	left int // bytes; of the goroutine that shakes hands, then none are counted
	done bool
}

var errLongHandshake = fmt.Errorf("tls: the handshake of the client is longer than %d bytes", maxHandshake)

func (c *handshaking) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.done {
		return n, err
	}
	if c.left -= n; c.left < 0 {
		return 0, errLongHandshake
	}
	return n, err
}

// alpnRPC is the protocol of RPC-with-TLS (RFC 9289 §7.2), told to who asks for
// it. Who offers only others is a mount helper, to whom it does not matter.
const alpnRPC = "sunrpc"

// secure makes TLS of a connection and finds out who the client is.
func (s *Server) secure(ctx context.Context, base *view, nc net.Conn) (net.Conn, any, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	conf, err := s.cfg.Security.TLS(base.root, nc.LocalAddr())
	if err != nil {
		s.log.Warn("nfs client refused: there is no certificate to show", "remote", nc.RemoteAddr(), "err", err)
		return nil, nil, err
	}
	var v *view
	conf = conf.Clone()
	conf.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if !slices.Contains(hello.SupportedProtos, alpnRPC) {
			return nil, nil
		}
		named := conf.Clone()
		named.GetConfigForClient, named.NextProtos = nil, []string{alpnRPC}
		return named, nil
	}
	conf.VerifyConnection = func(cs tls.ConnectionState) (err error) {
		if v, err = s.identify(base, cs); err != nil {
			s.refused.tell(s.cfg.Clock(), func(more int) {
				s.log.Info("nfs client refused", "remote", nc.RemoteAddr(), "export", base.root.Export, "err", err, "others_since_the_last_line", more)
			})
		}
		return err
	}
	counted := &handshaking{Conn: nc, left: maxHandshake}
	secured := tls.Server(counted, conf)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	counted.done = true
	return secured, v, nil
}

// seldom keeps log lines that strangers can cause to one a second.
type seldom struct {
	mu   sync.Mutex
	last time.Time
	more int // that were left out since
}

func (s *seldom) tell(now time.Time, line func(more int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last).Abs() < time.Second {
		s.more++
		return
	}
	line(s.more)
	s.last, s.more = now, 0
}

// identify makes the view of a client by its certificate.
func (s *Server) identify(base *view, cs tls.ConnectionState) (*view, error) {
	var id Identity
	if len(cs.PeerCertificates) > 0 {
		var err error
		if id, err = s.cfg.Security.Identify(base.root, cs.PeerCertificates[0]); err != nil {
			return nil, err
		}
	}
	export := base.root.Export
	switch {
	case export == "":
		export = id.FileSystem
	case id.FileSystem != "" && id.FileSystem != export:
		return nil, fmt.Errorf("its certificate is for file system %.60q, this mount target is of %s", id.FileSystem, export)
	}
	if _, ok := s.cfg.Exports.ByName(export); base.root.Export == "" && export != "" && !ok {
		return nil, fmt.Errorf("its certificate is for file system %.60q, which is not served here", export)
	}
	if id.AccessPoint == "" {
		return base.secured(id, nil), nil
	}
	if export == "" {
		return nil, errors.New("its certificate names an access point and no file system")
	}
	if s.cfg.Access == nil {
		return nil, errors.New("there are no access points")
	}
	p, err := s.cfg.Access.AccessPoint(export, id.AccessPoint)
	if err != nil {
		return nil, err
	}
	id.FileSystem = export
	return base.secured(id, p), nil
}
