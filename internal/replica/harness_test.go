package replica

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testFS          = "fs-0123456789abcdef0"
	testReplication = "repl-1"
)

// quickClock runs twenty times as fast as the machine's, so that waits and
// backoffs pass quickly.
type quickClock struct{ began time.Time }

const quick = 20

func newQuickClock() quickClock { return quickClock{time.Now()} }

func (c quickClock) Now() time.Time { return c.began.Add(quick * time.Since(c.began)) }

func (c quickClock) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d/quick, f).Stop
}

// pair is a source behind a real listener and a destination that follows it.
type pair struct {
	t      *testing.T
	src    *fakeFS
	dest   *fakeFS
	server *Server
	web    *httptest.Server
	net    *network
	cfg    FollowerConfig
	f      *Follower
	stop   func()

	lookup atomic.Pointer[lookupAnswer]
	logs   lockedBuffer
}

type lookupAnswer struct {
	src Source
	err error
}

func newPair(t *testing.T, src, dest *fakeFS, useTLS bool) *pair {
	t.Helper()
	p := &pair{t: t, src: src, dest: dest, net: &network{}}
	clock := newQuickClock()
	p.lookup.Store(&lookupAnswer{src: src})
	log := slog.New(slog.NewTextHandler(&p.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p.server = NewServer(ServerConfig{
		Lookup: func(id, repl string) (Source, error) {
			if id != testFS || repl != testReplication {
				return nil, ErrUnknownReplication
			}
			a := p.lookup.Load()
			return a.src, a.err
		},
		Clock: clock, Logger: log.With("side", "source"),
	})
	p.web = httptest.NewUnstartedServer(p.server)
	if useTLS {
		p.web.StartTLS()
	} else {
		p.web.Start()
	}
	client := NewHTTPClient(nil)
	tr := client.Transport.(*http.Transport)
	if useTLS {
		tr.TLSClientConfig = p.web.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	}
	tr.DialContext = p.net.dial
	p.cfg = FollowerConfig{
		Dest: dest, HTTP: client, BaseURL: p.web.URL, FileSystemID: testFS, ReplicationID: testReplication,
		Lineage: testLineage, Clock: clock, Logger: log.With("side", "destination"),
	}
	t.Cleanup(func() {
		p.halt()
		p.server.Close()
		tr.CloseIdleConnections()
		p.web.Close()
		if t.Failed() {
			t.Log(p.logs.String())
		}
	})
	return p
}

// run starts a follower; halt ends it.
func (p *pair) run() {
	p.t.Helper()
	f, err := NewFollower(p.cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f.Run(ctx); err != context.Canceled {
			p.t.Errorf("Run returned %v", err)
		}
	}()
	p.f = f
	p.stop = func() {
		cancel()
		<-done
	}
}

func (p *pair) halt() {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
}

// until waits for a condition; the deadline only ends a test that hangs.
func (p *pair) until(what string, cond func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			p.t.Fatalf("never: %s; status %+v", what, p.f.Status())
		}
		time.Sleep(time.Millisecond)
	}
}

// untilEqual waits for the destination to hold what the source holds.
func (p *pair) untilEqual() {
	p.t.Helper()
	p.until("both sides at one position", func() bool { return p.dest.Durable() == p.src.Durable() })
	if err := sameTrees(p.src.contents(), p.dest.contents()); err != nil {
		p.t.Fatal(err)
	}
}

// fill writes n payloads of various sizes and compressibility to some files.
func fill(f *fakeFS, seed uint64, n int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for range n {
		size := 1 + rng.IntN(3000)
		payload := bytes.Repeat([]byte{byte(rng.Uint32())}, size)
		if rng.IntN(2) == 0 {
			for i := range payload {
				payload[i] = byte(rng.Uint32())
			}
		}
		f.put(fs.Ino(1+rng.IntN(40)), payload)
	}
}

// network makes the destination's connections and their faults.
type network struct {
	mu    sync.Mutex
	conns map[*faultConn]bool
	dials int
	plan  func(dial int) fault // nil: none

	deafSource atomic.Bool // one-way cut: nothing reaches the source
}

// fault says what goes wrong on one connection.
type fault struct {
	cutAfter  int64 // bytes read, then the connection breaks; 0: never
	stallRead int64 // bytes read, then nothing comes any more, nor does it break; 0: never
	flipAt    int64 // the byte that is damaged, counted from 1; 0: none
}

func (n *network) dial(ctx context.Context, netw, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, netw, addr)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials++
	fc := &faultConn{Conn: c, net: n, closed: make(chan struct{})}
	if n.plan != nil {
		fc.fault = n.plan(n.dials)
	}
	if n.conns == nil {
		n.conns = map[*faultConn]bool{}
	}
	n.conns[fc] = true
	return fc, nil
}

// cut breaks all connections.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		_ = c.Conn.Close()
	}
}

func (n *network) dialled() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

type faultConn struct {
	net.Conn
	net    *network
	fault  fault
	read   int64
	once   sync.Once
	closed chan struct{}
}

func (c *faultConn) Read(b []byte) (int, error) {
	if stall := c.fault.stallRead; stall > 0 {
		if c.read >= stall {
			<-c.closed
			return 0, net.ErrClosed
		}
		b = b[:min(int64(len(b)), stall-c.read)]
	}
	if cut := c.fault.cutAfter; cut > 0 {
		if c.read >= cut {
			_ = c.Conn.Close()
			return 0, fmt.Errorf("connection cut after %d bytes", c.read)
		}
		b = b[:min(int64(len(b)), cut-c.read)]
	}
	n, err := c.Conn.Read(b)
	if at := c.fault.flipAt; at > c.read && at <= c.read+int64(n) {
		b[at-c.read-1] ^= 0x10
	}
	c.read += int64(n)
	return n, err
}

// Write swallows what is written while the way to the source is cut.
func (c *faultConn) Write(b []byte) (int, error) {
	if c.net.deafSource.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *faultConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.net.mu.Lock()
		defer c.net.mu.Unlock()
		delete(c.net.conns, c)
	})
	return c.Conn.Close()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
