package nfsclient

import (
	"context"
	"crypto/rand"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/fstest"
	"github.com/holdfast-fs/holdfast/internal/nfs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const exportName = "fs-0123456789abcdef0"

// lab is a server on the reference file system, behind an address that stays
// the same when the server restarts and whose connections can be cut.
type lab struct {
	t    *testing.T
	ref  *fstest.Ref
	addr string
	stop func()
	wire *wire
}

func (l *lab) List() []nfs.Export { return []nfs.Export{{Name: exportName, FS: l.ref}} }

func (l *lab) ByName(name string) (nfs.Export, bool) {
	return l.List()[0], name == exportName
}

func (l *lab) ByLineage(id fs.Lineage) (nfs.Export, bool) {
	return l.List()[0], id == l.ref.Lineage()
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, ref: fstest.NewRef(time.Now), addr: "127.0.0.1:0", wire: &wire{}}
	l.start()
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *lab) start() {
	l.t.Helper()
	s, err := nfs.NewServer(nfs.Config{Exports: l, Region: "test", Clock: time.Now, Rand: rand.Reader})
	if err != nil {
		l.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	wg.Go(func() { _ = s.Serve(ctx, ln, nfs.PseudoRoot()) })
	l.stop = func() { cancel(); wg.Wait() }
}

// restart ends the server, its sessions and its state, and starts another one
// on the same file system.
func (l *lab) restart() {
	l.stop()
	l.ref.Restart()
	l.start()
}

func (l *lab) dial(opt Options) *Client {
	l.t.Helper()
	if opt.Prefix == "" {
		opt.Prefix = "/" + exportName
	}
	opt.Dialer = l.wire
	c, err := Dial(l.ctx(), l.addr, opt)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	return c
}

func (l *lab) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	l.t.Cleanup(cancel)
	return ctx
}

// wire is a Dialer whose connections can be cut.
type wire struct {
	mu    sync.Mutex
	dials int
	// cutAfter, if positive, lets a connection end instead of delivering its
	// n-th read: the server has carried out what nobody hears of.
	cutAfter int
}

func (w *wire) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &cuttable{Conn: nc, left: w.cutAfter, counts: w.cutAfter > 0}
	w.dials++
	return c, nil
}

type cuttable struct {
	net.Conn
	left   int
	counts bool
}

func (c *cuttable) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.counts {
		if c.left--; c.left <= 0 {
			c.Close()
			return 0, net.ErrClosed
		}
	}
	return n, err
}
