package region

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/nfs"
)

// echoListeners serve every mount target with an echo of its file system's id.
func echoListeners(t *testing.T) *listeners {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port // of both families: nothing else runs on it a moment later
	_ = l.Close()
	s := &listeners{port: port, log: slog.New(slog.DiscardHandler), m: make(map[string]*mountListener),
		serve: func(ctx context.Context, l net.Listener, id string, _ *nfs.Squash) error {
			for {
				c, err := l.Accept()
				if err != nil {
					return err
				}
				go func() {
					defer c.Close()
					_, _ = io.WriteString(c, id)
					_, _ = io.Copy(io.Discard, c)
				}()
			}
		}}
	t.Cleanup(s.closeAll)
	return s
}

// hears connects to an address of a mount target; "" when it is not let in.
func hears(t *testing.T, ip string, port int) (string, net.Conn) {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(port))))
	if err != nil {
		return "", nil
	}
	t.Cleanup(func() { _ = c.Close() })
	b := make([]byte, 100)
	n, _ := c.Read(b)
	return string(b[:n]), c
}

// TestMountTargetListensOnBothFamilies: on both addresses or on none, with the
// same rules on both, at once.
func TestMountTargetListensOnBothFamilies(t *testing.T) {
	s, ctx := echoListeners(t), t.Context()
	both := []string{"127.0.0.1", "::1"}
	if err := s.Listen(ctx, "fsmt-1", "fs-1", both, control.Admission{Everybody: true}); err != nil {
		t.Fatal(err)
	}
	var open []net.Conn
	for _, ip := range both {
		got, c := hears(t, ip, s.port)
		if got != "fs-1" {
			t.Errorf("at %s: %q", ip, got)
		}
		open = append(open, c)
	}
	only6 := control.Admission{From: []netip.Prefix{netip.MustParsePrefix("::1/128")}}
	if err := s.Listen(ctx, "fsmt-1", "fs-1", both, only6); err != nil {
		t.Fatal(err)
	}
	if _, err := open[0].Read(make([]byte, 1)); err == nil {
		t.Error("a connection that is admitted no longer is open")
	}
	for i, want := range []string{"", "fs-1"} {
		if got, _ := hears(t, both[i], s.port); got != want {
			t.Errorf("at %s with the new rules: %q", both[i], got)
		}
	}
	// Another mount target on one of the addresses gets neither.
	if err := s.Listen(ctx, "fsmt-2", "fs-2", []string{"127.0.0.2", "::1"}, control.Admission{Everybody: true}); err == nil {
		t.Error("two mount targets have one address")
	}
	if got, _ := hears(t, "127.0.0.2", s.port); got != "" {
		t.Errorf("half a mount target is open: %q", got)
	}
	// The address family that is given up is free again.
	if err := s.Listen(ctx, "fsmt-1", "fs-1", []string{"127.0.0.1"}, control.Admission{Everybody: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(ctx, "fsmt-2", "fs-2", []string{"127.0.0.2", "::1"}, control.Admission{Everybody: true}); err != nil {
		t.Error(err)
	}
	if err := s.Close(ctx, "fsmt-2"); err != nil {
		t.Fatal(err)
	}
	for _, ip := range []string{"127.0.0.2", "::1"} {
		if got, _ := hears(t, ip, s.port); got != "" {
			t.Errorf("%s is open after the deletion: %q", ip, got)
		}
	}
}
