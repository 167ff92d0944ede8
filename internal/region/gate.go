package region

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// gate is a listener that lets in only whom the security groups of its mount
// target admit, also after they change. All methods may be called concurrently.
type gate struct {
	*net.TCPListener
	log *slog.Logger

	mu    sync.Mutex
	admit control.Admission
	open  map[*gateConn]struct{}
}

func newGate(l *net.TCPListener, admit control.Admission, log *slog.Logger) *gate {
	return &gate{TCPListener: l, log: log, admit: admit, open: make(map[*gateConn]struct{})}
}

// gateConn leaves its gate when it is closed. It embeds *net.TCPConn, not
// net.Conn, so that net.Buffers still become one writev.
type gateConn struct {
	*net.TCPConn
	gate *gate
	from netip.Addr
}

// Accept implements net.Listener. A connection that is not admitted is closed
// at once: the client sees that it is refused, and does not wait.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.TCPListener.AcceptTCP()
		if err != nil {
			return nil, err
		}
		if in := g.enter(c); in != nil {
			return in, nil
		}
		g.log.Debug("a connection is not admitted by the security groups", "from", c.RemoteAddr())
		_ = c.Close() // nothing was said on it
	}
}

// enter returns nil for a connection that is not admitted.
func (g *gate) enter(c *net.TCPConn) *gateConn {
	in := &gateConn{TCPConn: c, gate: g}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		in.from = a.AddrPort().Addr()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.admit.Admits(in.from) {
		return nil
	}
	g.open[in] = struct{}{}
	return in
}

// set changes who is admitted and closes the connections of everybody else.
func (g *gate) set(admit control.Admission) {
	g.mu.Lock()
	g.admit = admit
	var out []*gateConn
	for c := range g.open {
		if !admit.Admits(c.from) {
			out = append(out, c)
		}
	}
	g.mu.Unlock()
	for _, c := range out {
		g.log.Info("a connection is closed: the security groups admit it no longer", "from", c.from)
		_ = c.Close() // it is gone either way
	}
}

// Close ends the connection.
func (c *gateConn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.open, c)
	c.gate.mu.Unlock()
	return c.TCPConn.Close()
}
