package nfs

import (
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// pipes is a listener without sockets, so that a test can have more
// connections than a process may have descriptors.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error { l.once.Do(func() { close(l.done) }); return nil }

func (l *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func TestTenThousandIdleConnections(t *testing.T) {
	const (
		n       = 10_000
		perConn = 48 << 10 // bytes, with the client's end
	)
	s := newSite(t)
	worker := s.mount("worker")
	ctx, cancel := context.WithCancel(context.Background())
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	served := make(chan error)
	go func() { served <- s.srv.Serve(ctx, l, PseudoRoot()) }()
	before := memory()
	idle := make([]net.Conn, n)
	for i := range idle {
		ours, theirs := net.Pipe()
		idle[i] = ours
		l.conns <- theirs
	}
	if used := memory() - before; used > n*perConn {
		t.Errorf("%d idle connections take %d bytes each", n, used/n)
	}
	worker.must(putA(), mkdir("d", 0o755))
	p := &peer{T: t, conn: idle[n-1], owner: "idle no more"}
	p.connect()
	p.must(reclaimComplete())
	p.must(putA(), lookup("d"))
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestStuckClientHoldsUpNobodyElse(t *testing.T) {
	s := newSite(t)
	p := s.mount("stuck")
	f := p.create("f", "")
	p.must(putFH(f.fh), write(f.id, 0, xdr.FileSync, make([]byte, 1<<20)))
	before := memory()
	stop := make(chan struct{})
	go func() { // asks and asks, and never reads an answer
		defer close(stop)
		body := encode([]op{p.exchangeID(0)})
		w := xdr.NewWriter()
		defer w.Release()
		oncrpc.BeginRecord(w)
		oncrpc.AppendCall(w, 1, xdr.Program, xdr.Version, xdr.ProcCompound, &oncrpc.SysCred{Machine: "test"})
		w.Raw(body)
		oncrpc.EndRecord(w)
		for range 1_000_000 {
			if _, err := p.conn.Write(w.Bytes()); err != nil {
				return
			}
		}
	}()
	q := s.mount("other")
	for range 50 {
		q.must(putA(), lookup("f"), getAttr(xdr.AttrSize))
	}
	if after := memory(); after > before+64<<20 {
		t.Errorf("%d bytes more because of a client that does not read", after-before)
	}
	p.conn.Close()
	<-stop
}

func TestHalfClosedClientGetsItsAnswer(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	p.seq++
	p.send(encode([]op{p.sequence(0, p.seq), putA(), mkdir("d", 0o755)}))
	if err := p.conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if st := parse(p.receive()).status; st != xdr.OK {
		t.Errorf("the answer: %v", st)
	}
	if _, err := p.conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the answer: %v, want the connection closed", err)
	}
}

func TestSlowClientHoldsUpNobodyElse(t *testing.T) {
	s := newSite(t)
	slow := s.dial(PseudoRoot(), "slow")
	if _, err := slow.conn.Write([]byte{0x80, 0, 1, 0, 1, 2, 3}); err != nil { // a part of a record
		t.Fatal(err)
	}
	q := s.mount("other")
	q.must(putA(), mkdir("d", 0o755))
}

// TestClientThatNeverCompletesItsReclaims: it holds up new opens for the time
// of grace and no longer, and can reclaim nothing after that.
func TestClientThatNeverCompletesItsReclaims(t *testing.T) {
	s := newSite(t)
	p, q := s.mount("one"), s.mount("two")
	f := p.create("f", "")
	g := p.create("g", "")
	q.create("h", "")
	s.restart()
	p, q = p.reboot(s), q.reboot(s)
	p.must(putFH(f.fh), open(openSpec{claim: xdr.ClaimPrevious, access: xdr.ShareBoth}))
	q.must(reclaimComplete())
	q.want(q.status(putA(), open(openSpec{name: "new", how: unchecked(mode(0o644))})), xdr.ErrGrace, "in grace")
	for range 2 {
		s.clock.advance(31 * time.Second)
		p.must(putRoot())
		q.must(putRoot())
		s.srv.Tick(t.Context())
	}
	q.want(q.status(putA(), open(openSpec{name: "new", how: unchecked(mode(0o644))})), xdr.OK, "after grace")
	p.want(p.status(putFH(g.fh), open(openSpec{claim: xdr.ClaimPrevious, access: xdr.ShareBoth})), xdr.ErrNoGrace, "a reclaim after grace")
	p.want(p.status(putA(), open(openSpec{name: "f"})), xdr.ErrGrace, "a new open without RECLAIM_COMPLETE")
	p.must(reclaimComplete())
	p.must(putA(), open(openSpec{name: "f"}))
}
