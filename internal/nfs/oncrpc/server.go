package oncrpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// Conn is one connection as handlers see it.
type Conn struct {
	ID     uint64 // unique within the Server
	Remote net.Addr
	// Secured is what Server.Secure said of the client; nil: no TLS.
	Secured any
	back    *backCalls

	requests, replies *host
}

// Handler carries out one call: it reads the arguments from args, which is
// valid until it returns, and appends the results to w. Unless it returns
// Success, what it appended is dropped. It may be called from many goroutines.
type Handler func(ctx context.Context, c *Conn, call *Call, args *xdr.Reader, w *xdr.Writer) AcceptStat

// Drop, returned by a Handler, closes the connection without a reply: the
// client will ask again, of this server or its successor.
const Drop AcceptStat = 1<<32 - 1

// Program is one RPC program in one version.
type Program struct {
	Number  uint32
	Version uint32
	Handle  Handler
}

// Server serves one program. The zero values of its limits mean the defaults
// below.
type Server struct {
	Program   Program
	Log       *slog.Logger
	MaxRecord int // bytes of a call
	// MaxInFlight bounds the calls of one connection that are being carried
	// out or whose replies have not been sent.
	MaxInFlight int
	// MaxConns bounds the connections of one listener; more are closed at once.
	MaxConns int
	// RecordTimeout ends a connection whose client does not finish a record.
	RecordTimeout time.Duration
	// Rooms bound the memory of large requests and replies. nil: of its own.
	Rooms *Rooms
	// OnConn, if set, is told of every connection that begins (+1) and ends (-1).
	OnConn func(delta int)
	// Secure, if set, makes TLS of a connection whose client begins with it, or
	// asks for it first (RFC 9289). It returns what to read from and write to,
	// and what it found out about the client; an error ends the connection.
	Secure func(ctx context.Context, nc net.Conn) (net.Conn, any, error)
}

const (
	// DefaultMaxRecord is a WRITE of 1 MiB and room for the rest of its COMPOUND.
	DefaultMaxRecord = 1<<20 + 16<<10
	// DefaultMaxInFlight is one full session of 64 slots and some to spare.
	DefaultMaxInFlight = 80
	// DefaultMaxConns is what EFS allows for a file system. An idle connection
	// takes some 20 KiB; at worst each holds MaxInFlight records and replies of
	// 8 KiB, and all together what Rooms have.
	DefaultMaxConns = 25_000
	// readAhead takes a small call in one system call; the bytes of a large one
	// go straight to its record.
	readAhead = 8 << 10
	// writeTimeout ends a connection whose peer takes no bytes for so long.
	writeTimeout = 60 * time.Second
)

func (s *Server) defaults() {
	if s.MaxRecord == 0 {
		s.MaxRecord = DefaultMaxRecord
	}
	if s.MaxInFlight == 0 {
		s.MaxInFlight = DefaultMaxInFlight
	}
	if s.MaxConns == 0 {
		s.MaxConns = DefaultMaxConns
	}
	if s.RecordTimeout == 0 {
		s.RecordTimeout = recordTimeout
	}
	if s.Rooms == nil {
		s.Rooms = NewRooms()
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.OnConn == nil {
		s.OnConn = func(int) {}
	}
}

// Serve accepts connections until ctx ends, then closes the listener and all
// connections and waits for the calls being carried out. It returns nil after
// ctx ended, else why accepting failed.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.defaults()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	room := make(chan struct{}, s.MaxConns)
	for id := uint64(1); ; id++ {
		nc, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if !isTemporary(err) {
				return err
			}
			if !sleep(ctx, acceptPause) {
				return nil
			}
			continue
		}
		select {
		case room <- struct{}{}:
		default:
			s.Log.Warn("nfs connection refused: too many", "remote", nc.RemoteAddr(), "limit", s.MaxConns)
			nc.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-room }()
			s.OnConn(1)
			defer s.OnConn(-1)
			s.serveConn(ctx, nc, &Conn{ID: id, Remote: nc.RemoteAddr()})
		})
	}
}

// acceptPause is the wait after accept failed for want of descriptors.
const acceptPause = 50 * time.Millisecond

func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// serveConn reads calls and starts each in a goroutine; one more goroutine
// writes the replies. A slot of inFlight is taken before a record is read and
// given back when its reply was sent.
func (s *Server) serveConn(ctx context.Context, tcp net.Conn, c *Conn) {
	defer tcp.Close()
	stop := context.AfterFunc(ctx, func() { tcp.Close() })
	defer stop()

	nc, in, err := s.greet(ctx, tcp, c)
	if err != nil {
		s.Log.Debug("nfs connection ended before its first call", "remote", c.Remote, "err", err)
		return
	}
	c.back = newBackCalls(nc)
	c.requests, c.replies = s.Rooms.requests.enter(c.Remote), s.Rooms.replies.enter(c.Remote)
	defer c.requests.leave()
	defer c.replies.leave()
	inFlight := make(chan struct{}, s.MaxInFlight)
	replies := make(chan *xdr.Writer, s.MaxInFlight)
	var calls, writer sync.WaitGroup
	writer.Go(func() { s.writeReplies(c.back, replies, inFlight) })
	for {
		inFlight <- struct{}{}
		rec, err := s.nextRecord(nc, in, c)
		if err != nil {
			c.putRecord(rec)
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				s.Log.Debug("nfs connection ended", "remote", c.Remote, "err", err)
			}
			break
		}
		if c.back.deliver(rec) {
			c.putRecord(rec)
			<-inFlight
			continue
		}
		calls.Go(func() {
			defer c.putRecord(rec)
			w := s.answer(ctx, c, rec)
			if w == nil {
				tcp.Close()
				<-inFlight
				return
			}
			replies <- w
		})
	}
	close(c.back.done) // before the wait: a call may wait for the client
	calls.Wait()
	close(replies)
	writer.Wait()
}

// writeReplies sends replies in the order in which they were finished, as many
// as there are with one system call.
func (s *Server) writeReplies(c *backCalls, replies <-chan *xdr.Writer, inFlight <-chan struct{}) {
	var batch []*xdr.Writer
	var broken bool
	for w := range replies {
		batch = append(batch[:0], w)
		for len(replies) > 0 && len(batch) < cap(replies) {
			batch = append(batch, <-replies)
		}
		bufs := make(net.Buffers, len(batch))
		for i, w := range batch {
			bufs[i] = w.Bytes()
		}
		if !broken {
			broken = c.send(bufs) != nil
		}
		for _, w := range batch {
			w.Release()
			<-inFlight
		}
	}
}

// answer makes the reply to one record, or nil if the connection must end.
func (s *Server) answer(ctx context.Context, c *Conn, rec []byte) (w *xdr.Writer) {
	w = xdr.NewWriter()
	w.Limit(c.replies)
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("panic while serving a call: the connection is closed", "remote", c.Remote, "panic", p, "stack", string(debug.Stack()))
			w.Release()
			w = nil
		}
	}()
	BeginRecord(w)
	args := xdr.NewReader(rec)
	call, err := parseCall(&args)
	var no *denied
	switch {
	case errors.As(err, &no):
		putDenied(w, call.XID, no)
	case err != nil:
		w.Release()
		return nil
	default:
		if !s.dispatch(ctx, c, call, &args, w) {
			w.Release()
			return nil
		}
	}
	EndRecord(w)
	return w
}

// dispatch appends the reply to a call with a good header; false means none.
func (s *Server) dispatch(ctx context.Context, c *Conn, call *Call, args *xdr.Reader, w *xdr.Writer) bool {
	switch {
	case call.Program != s.Program.Number:
		putAccepted(w, call.XID, ProgUnavail)
		return true
	case call.Version != s.Program.Version:
		putAccepted(w, call.XID, ProgMismatch)
		w.Uint32(s.Program.Version)
		w.Uint32(s.Program.Version)
		return true
	}
	call.Remote = c.Remote
	start := w.Len()
	call.Conn = c
	putAccepted(w, call.XID, Success)
	stat := s.Program.Handle(ctx, c, call, args, w)
	if stat == Drop {
		return false
	}
	if stat != Success {
		w.Truncate(start)
		putAccepted(w, call.XID, stat)
	}
	return true
}
