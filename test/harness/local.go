package harness

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/config"
	"github.com/holdfast-fs/holdfast/internal/nfsclient"
)

// NewLocalRegions starts two regions on loopback, with free ports: for tests
// that need neither root nor a Linux client.
func NewLocalRegions(t testing.TB) *Regions {
	t.Helper()
	g := NewStoppedRegions(t)
	for _, r := range g.R {
		r.Start(t)
	}
	return g
}

// NewStoppedRegions is NewLocalRegions before anything was started.
func NewStoppedRegions(t testing.TB) *Regions {
	t.Helper()
	dir := t.TempDir()
	var ports []config.Ports
	for range regionNames {
		p := freePorts(t, 4)
		ports = append(ports, config.Ports{API: p[0], NFS: p[1], Peer: p[2], Metrics: p[3]})
	}
	s, err := config.Init(filepath.Join(dir, "hf"), regionNames, config.Options{Now: time.Now, Rand: rand.Reader, Ports: ports})
	if err != nil {
		t.Fatal(err)
	}
	g := &Regions{Dir: dir, keys: *s}
	for i, name := range regionNames {
		g.R[i] = &Region{Name: name, bin: Binary(t), keys: &g.keys, conf: s.Regions[i].Config,
			NFS: s.Regions[i].NFS, API: fmt.Sprintf("127.0.0.1:%d", ports[i].API),
			metrics: fmt.Sprintf("127.0.0.1:%d", ports[i].Metrics), Log: filepath.Join(dir, name+".log")}
		// The shortest lease: a client that a test leaves behind holds up a
		// file system for one lease after a restart.
		g.R[i].Edit(t, "  mount_target_port:", "  lease_seconds: 5\n  mount_target_port:")
	}
	g.CopyLogs(t)
	return g
}

// freePorts finds ports that nobody listens on now; they are below the range
// that the kernel gives to outgoing connections, so that they stay free.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ls []net.Listener
	defer func() {
		for _, l := range ls {
			l.Close()
		}
	}()
	var ports []int
	for p := nextPort; len(ports) < n && p < lastPort; p++ {
		nextPort = p + 1
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p)); err == nil {
			ls = append(ls, l)
			ports = append(ports, p)
		}
	}
	if len(ports) < n {
		t.Fatalf("no %d free ports below %d", n, lastPort)
	}
	return ports
}

const lastPort = 32000

// nextPort starts at a place that depends on the process: several test
// processes may run on one machine.
var nextPort = 12000 + os.Getpid()%150*100

// Config is the region's configuration file, DataDir its data.
func (r *Region) Config() string  { return r.conf }
func (r *Region) DataDir() string { return filepath.Join(filepath.Dir(r.conf), "data") }

// Edit replaces text in the configuration of a region that is stopped.
func (r *Region) Edit(t testing.TB, oldnew ...string) { t.Helper(); edit(t, r.conf, oldnew...) }

// Client is a user-space NFS client of one file system, as root.
func (r *Region) Client(t testing.TB, fsID string) *nfsclient.Client {
	t.Helper()
	c, err := r.TryClient(t.Context(), fsID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TryClient is Client for what may fail.
func (r *Region) TryClient(ctx context.Context, fsID string) (*nfsclient.Client, error) {
	if r.NS != nil {
		return nfsclient.Dial(ctx, r.NFS+":2049", nfsclient.Options{Prefix: "/" + fsID, Dialer: inside{r.NS}})
	}
	return nfsclient.Dial(ctx, r.NFS, nfsclient.Options{Prefix: "/" + fsID})
}

// inside makes connections from within a namespace.
type inside struct{ ns *Namespace }

// DialContext implements nfsclient.Dialer.
func (i inside) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return i.ns.Dial(ctx, network, addr)
}

// Ready asks /readyz and gives its status and text.
func (r *Region) Ready() (status int, text string, err error) { return r.plain("/readyz") }

// Metric is the sum of a metric's samples whose line has all of the given
// pieces, such as `file_system="fs-..."`.
func (r *Region) Metric(t testing.TB, name string, pieces ...string) float64 {
	t.Helper()
	_, text, err := r.plain("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for sc := bufio.NewScanner(strings.NewReader(text)); sc.Scan(); {
		rest, ok := strings.CutPrefix(sc.Text(), name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' || !hasAll(rest, pieces) {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", sc.Text(), err)
		}
		sum += v
	}
	return sum
}

func hasAll(s string, pieces []string) bool {
	for _, p := range pieces {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

// Pid is the region's process, 0 when none runs.
func (r *Region) Pid() int {
	if r.cmd == nil || r.cmd.ProcessState != nil {
		return 0
	}
	return r.cmd.Process.Pid
}

// RSS is the resident memory of the region's process, in bytes.
func (r *Region) RSS(t testing.TB) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatalf("VmRSS of %s: %v", r.Name, err)
	}
	return kib << 10
}

// Again runs a second `serve` with the same configuration and gives what it
// says.
func (r *Region) Again(t testing.TB) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := r.command(ctx, r.bin, "serve", "--config", r.conf).CombinedOutput()
	return string(out), err
}
