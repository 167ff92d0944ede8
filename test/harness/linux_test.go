package harness

import (
	"strings"
	"testing"
	"time"
)

func TestGuestBootsWithANetwork(t *testing.T) {
	Need(t, true, LinuxTools)
	ns := NewNamespace(t, "g")
	g := &Guest{NS: ns, Tap: ns.AddTap(t, "10.97.0.1/24"), CIDR: "10.97.0.2/24", Name: "guest", MiB: 256}
	out := g.Run(t, 2*time.Minute, `set -e; grep -q nfs4 /proc/filesystems; ip addr show vec0; echo done`)
	if !strings.Contains(out, "10.97.0.2") || !strings.Contains(out, "done") {
		t.Fatalf("unexpected output:\n%s", out)
	}
}
