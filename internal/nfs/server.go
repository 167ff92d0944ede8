package nfs

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// Server serves the file systems of a region to NFSv4 clients.
//
// Lock order: of one file system begin, then records, then the mutexes of
// Server, served and the state table, which are held for moments only. Those
// of different file systems are never held together, so that one that stands
// still holds up its own clients only.
type Server struct {
	cfg     Config
	log     *slog.Logger
	booted  time.Time
	boot    uint64 // seconds and a random number: names this instance
	table   *state.Table
	metrics *metrics
	seed    maphash.Seed
	retries retries // of minor version 0
	back    backChannels
	rooms   *oncrpc.Rooms

	places  places
	refused seldom

	mu     sync.Mutex
	served map[string]*served // by export name
}

// Root says what a listener shows at "/".
type Root struct {
	// Export is the name of the one file system to show (a mount target's own
	// address); empty shows the pseudo root with one entry per file system.
	Export string
	// Squash, if set, says whom root becomes here.
	Squash *Squash
}

// PseudoRoot shows every file system under its name.
func PseudoRoot() Root { return Root{} }

// FileSystemRoot shows one file system, by its export name.
func FileSystemRoot(name string) Root { return Root{Export: name} }

// Serve answers the clients that connect to ln until ctx ends; then it closes
// ln and all connections, and waits for the requests being carried out. It may
// be called for many listeners. Run must be running.
func (s *Server) Serve(ctx context.Context, ln net.Listener, root Root) error {
	base := newView(root)
	rpc := &oncrpc.Server{
		Log: s.log, MaxRecord: maxRequest, Rooms: s.rooms, OnConn: s.metrics.conn,
		Program: oncrpc.Program{Number: xdr.Program, Version: xdr.Version,
			Handle: func(ctx context.Context, conn *oncrpc.Conn, call *oncrpc.Call, args *xdr.Reader, w *xdr.Writer) oncrpc.AcceptStat {
				v, secured := conn.Secured.(*view)
				if !secured {
					v = base
				}
				return s.handle(ctx, v, call, args, w)
			}},
	}
	if s.cfg.Security != nil {
		rpc.Secure = func(ctx context.Context, nc net.Conn) (net.Conn, any, error) { return s.secure(ctx, base, nc) }
	}
	return rpc.Serve(ctx, ln)
}

// Run keeps time until ctx ends: leases, graces, and file systems that are new
// or have changed their epoch.
func (s *Server) Run(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.Tick(ctx)
		}
	}
}

// Tick does what is due at the time of Config.Clock. Run calls it.
func (s *Server) Tick(ctx context.Context) {
	now := s.cfg.Clock()
	s.observeAll(ctx)
	s.expire(ctx, now)
	s.revoke(ctx, now)
	s.back.prune(s.table.HasSession)
	s.table.SweepWaiters(now)
	s.notify()
	s.carryOut(ctx, s.table.Sweep40(now))
	s.endGraces(ctx, now)
}

// endGraces ends the graces that are due; the records of those who did not come
// go first.
func (s *Server) endGraces(ctx context.Context, now time.Time) {
	for _, g := range s.table.GraceDue(now) {
		if s.forget(ctx, g.Forget) {
			s.carryOut(ctx, s.table.EndGrace(g.FS, now))
		}
	}
}

// expire discards the clients that have to go; their reclaim records first.
func (s *Server) expire(ctx context.Context, now time.Time) {
	for _, x := range s.table.Expired(now) {
		if s.forget(ctx, x.Records) || x.Overdue {
			s.log.Info("nfs client expired", "owner", x.Owner, "clientid", x.ClientID)
			s.carryOut(ctx, s.table.Discard(x.ClientID))
		}
	}
}

// handle answers one RPC.
func (s *Server) handle(ctx context.Context, v *view, call *oncrpc.Call, args *xdr.Reader, w *xdr.Writer) oncrpc.AcceptStat {
	switch call.Proc {
	case xdr.ProcNull:
		return oncrpc.Success
	case xdr.ProcCompound:
		return s.compound(ctx, v, call, args, w)
	}
	return oncrpc.ProcUnavail
}
