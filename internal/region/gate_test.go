package region

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// echo serves a gate: every connection that is let in gets what it sends.
func echo(t *testing.T, admit control.Admission) *gate {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(l, admit, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := g.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	t.Cleanup(func() { g.set(control.Admission{}); _ = l.Close(); <-done })
	return g
}

// dial connects from an address of the loopback network.
func dial(t *testing.T, g *gate, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// answers tells whether the other side echoes; false when it has hung up.
func answers(t *testing.T, c net.Conn) bool {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatal("neither an answer nor a hang-up")
	}
	return err == nil
}

func from(networks ...string) (a control.Admission) {
	for _, n := range networks {
		a.From = append(a.From, netip.MustParsePrefix(n))
	}
	return a
}

func TestSecurityGroupsAreEnforcedOnNewAndOpenConnections(t *testing.T) {
	g := echo(t, from("127.0.0.2/32", "127.0.0.3/32"))
	second, third, fourth := dial(t, g, "127.0.0.2"), dial(t, g, "127.0.0.3"), dial(t, g, "127.0.0.4")
	if !answers(t, second) || !answers(t, third) || answers(t, fourth) {
		t.Error("the first groups are not enforced")
	}
	g.set(from("127.0.0.3/32", "127.0.0.4/32"))
	if answers(t, second) || !answers(t, third) {
		t.Error("the new groups are not enforced on open connections")
	}
	if answers(t, dial(t, g, "127.0.0.2")) || !answers(t, dial(t, g, "127.0.0.4")) {
		t.Error("the new groups are not enforced on new connections")
	}
	g.set(control.Admission{Everybody: true})
	if !answers(t, dial(t, g, "127.0.0.2")) || !answers(t, third) {
		t.Error("everybody is not admitted")
	}
	g.set(control.Admission{})
	if answers(t, third) || answers(t, dial(t, g, "127.0.0.3")) {
		t.Error("groups without networks admit somebody")
	}
}

func TestGateForgetsClosedConnections(t *testing.T) {
	g := echo(t, control.Admission{Everybody: true})
	c := dial(t, g, "127.0.0.1")
	if !answers(t, c) {
		t.Fatal("no answer")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		g.mu.Lock()
		left := len(g.open)
		g.mu.Unlock()
		if left == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("a closed connection is remembered for ever")
}
