package region

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// simNet is the line between two regions, in memory, with its faults. Bytes
// that were written before a cut may arrive; none that are written after it do.
type simNet struct {
	mu    sync.Mutex
	rng   *rand.Rand
	conns map[*simConn]struct{}
	doors [2]*simDoor // where each region listens; nil: nobody
	down  bool        // cut in both directions
	// mute: what this region writes vanishes, and it does not notice.
	mute [2]bool
	// slow: each read of a connection waits a moment.
	slow bool
	// brittle connections break after some bytes, counted down by new ones.
	brittle int
}

var errLine = errors.New("the line is cut")

func newSimNet(seed uint64) *simNet {
	return &simNet{rng: rand.New(rand.NewPCG(seed, 11)), conns: make(map[*simConn]struct{})}
}

// dial connects region from with the other one.
func (n *simNet) dial(ctx context.Context, from int) (net.Conn, error) {
	n.mu.Lock()
	door := n.doors[1-from]
	if n.down || n.doors[from] == nil || door == nil {
		n.mu.Unlock()
		return nil, errLine
	}
	a, b := net.Pipe()
	near, far := &simConn{Conn: a, net: n, writer: from}, &simConn{Conn: b, net: n, writer: 1 - from}
	if n.brittle > 0 {
		n.brittle--
		near.breaksAfter = 1 + n.rng.Int64N(60_000)
	}
	n.conns[near], n.conns[far] = struct{}{}, struct{}{}
	n.mu.Unlock()
	select {
	case door.in <- far:
		return near, nil
	case <-door.shut:
	case <-ctx.Done():
	}
	near.Close()
	far.Close()
	return nil, errLine
}

// set changes what the line does. A cut breaks what is open.
func (n *simNet) set(change func(n *simNet)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
	if n.down {
		n.breakAll()
	}
}

// heal ends all faults of the line. What was swallowed stays so: those
// connections are broken, as a lost segment breaks them in the end.
func (n *simNet) heal() {
	n.set(func(n *simNet) {
		if n.mute[0] || n.mute[1] {
			n.breakAll()
		}
		n.down, n.mute, n.slow, n.brittle = false, [2]bool{}, false, 0
	})
}

// isolate makes a region disappear from the line at once: nothing that it
// writes after this arrives.
func (n *simNet) isolate(region int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if d := n.doors[region]; d != nil {
		n.doors[region] = nil
		close(d.shut)
	}
	n.breakAll()
}

// breakAll needs mu.
func (n *simNet) breakAll() {
	for c := range n.conns {
		_ = c.Conn.Close()
		delete(n.conns, c)
	}
}

func (n *simNet) reachable() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.down && !n.mute[0] && !n.mute[1] && n.doors[0] != nil && n.doors[1] != nil
}

// listen opens a region's door.
func (n *simNet) listen(region int) net.Listener {
	d := &simDoor{in: make(chan net.Conn), shut: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.doors[region] = d
	return d
}

// simDoor is the listener of a region. Only its net shuts it.
type simDoor struct {
	in   chan net.Conn
	shut chan struct{}
}

func (d *simDoor) Accept() (net.Conn, error) {
	select {
	case c := <-d.in:
		return c, nil
	case <-d.shut:
		return nil, net.ErrClosed
	}
}

func (d *simDoor) Close() error   { return nil }
func (d *simDoor) Addr() net.Addr { return simAddr{} }

type simAddr struct{}

func (simAddr) Network() string { return "memory" }
func (simAddr) String() string  { return "memory" }

// simConn is one end of a connection.
type simConn struct {
	net.Conn
	net    *simNet
	writer int // the region at this end

	breaksAfter int64 // bytes read, 0: never; of the reader's goroutine
	read        int64
}

func (c *simConn) Write(p []byte) (int, error) {
	c.net.mu.Lock()
	mute := c.net.mute[c.writer]
	c.net.mu.Unlock()
	if mute {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *simConn) Read(p []byte) (int, error) {
	c.net.mu.Lock()
	var wait time.Duration
	if c.net.slow {
		wait = time.Duration(c.net.rng.IntN(2000)) * time.Microsecond
	}
	c.net.mu.Unlock()
	if wait > 0 {
		time.Sleep(wait)
	}
	if c.breaksAfter > 0 {
		if c.read >= c.breaksAfter {
			c.Close()
			return 0, fmt.Errorf("%w after %d bytes", errLine, c.read)
		}
		p = p[:min(int64(len(p)), c.breaksAfter-c.read)]
	}
	n, err := c.Conn.Read(p)
	c.read += int64(n)
	return n, err
}

func (c *simConn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	return c.Conn.Close()
}

// quickClock runs faster than the machine's, so that waits and retries pass
// quickly, and stands apart from it by an offset.
type quickClock struct {
	began  time.Time
	offset func() time.Duration
}

const simQuick = 20

func (c quickClock) Now() time.Time {
	return c.began.Add(simQuick * time.Since(c.began)).Add(c.offset())
}

func (c quickClock) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d/simQuick, f).Stop
}
