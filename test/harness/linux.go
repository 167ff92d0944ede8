// Package harness runs whole regions and real clients for the end-to-end
// tests: network namespaces, a Linux NFS client in User-Mode Linux, the AWS
// CLI. It needs root and Debian packages; Need says which are missing.
package harness

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// requireEnv, set to 1, turns every skip into a failure: CI has all packages.
const requireEnv = "HOLDFAST_REQUIRE_ALL"

// Need skips the test, saying why, when a program is missing or we are not
// root. tools maps a program or file to the Debian package that has it.
func Need(t testing.TB, root bool, tools map[string]string) {
	t.Helper()
	var missing []string
	if root && os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	for tool, pkg := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, "package "+pkg)
		}
	}
	if len(missing) == 0 {
		return
	}
	msg := "needs " + strings.Join(missing, ", ")
	if os.Getenv(requireEnv) == "1" {
		t.Fatal(msg + " (" + requireEnv + "=1)")
	}
	t.Skip(msg)
}

// LinuxTools is what a Linux client needs.
var LinuxTools = map[string]string{
	"linux.uml": "user-mode-linux", "mount.nfs4": "nfs-common", "ip": "iproute2", "insmod": "kmod", "gcc": "gcc",
}

// Namespace is a network namespace with a tap device for guests. It goes at
// the end of the test.
type Namespace struct {
	Name string
	taps int
}

// NewNamespace makes one with loopback up. Names are unique per process.
func NewNamespace(t testing.TB, name string) *Namespace {
	t.Helper()
	n := &Namespace{Name: fmt.Sprintf("hf%d%s", os.Getpid(), name)}
	Run(t, "ip", "netns", "add", n.Name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", n.Name).Run() })
	n.Exec(t, "ip", "link", "set", "lo", "up")
	return n
}

// Exec runs a command in the namespace and fails the test when it fails.
func (n *Namespace) Exec(t testing.TB, args ...string) string {
	t.Helper()
	return Run(t, append([]string{"ip", "netns", "exec", n.Name}, args...)...)
}

// Command prepares a command to run in the namespace.
func (n *Namespace) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.Name}, args...)...)
}

// AddTap adds a tap device with an address for the host's side ("10.9.1.1/24")
// and returns its name.
func (n *Namespace) AddTap(t testing.TB, cidr string) string {
	t.Helper()
	tap := "tap" + strconv.Itoa(n.taps)
	n.taps++
	n.Exec(t, "ip", "tuntap", "add", "mode", "tap", "name", tap)
	n.Exec(t, "ip", "addr", "add", cidr, "dev", tap)
	n.Exec(t, "ip", "link", "set", tap, "up")
	return tap
}

// Connect joins two namespaces by a pair of devices with the given addresses.
func Connect(t testing.TB, a *Namespace, aCIDR string, b *Namespace, bCIDR string) (aDev, bDev string) {
	t.Helper()
	aDev, bDev = fmt.Sprintf("v%da", os.Getpid()), fmt.Sprintf("v%db", os.Getpid())
	Run(t, "ip", "link", "add", aDev, "netns", a.Name, "type", "veth", "peer", "name", bDev, "netns", b.Name)
	a.Exec(t, "ip", "addr", "add", aCIDR, "dev", aDev)
	b.Exec(t, "ip", "addr", "add", bCIDR, "dev", bDev)
	a.Exec(t, "ip", "link", "set", aDev, "up")
	b.Exec(t, "ip", "link", "set", bDev, "up")
	return aDev, bDev
}

// Run runs a command and fails the test when it fails.
func Run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

//go:embed testdata/xstate.c
var xstateSource []byte

var shim struct {
	once sync.Once
	path string
	err  error
}

// buildShim compiles the preloaded library once per process.
func buildShim() (string, error) {
	shim.once.Do(func() {
		dir, err := os.MkdirTemp("", "holdfast-shim")
		if err != nil {
			shim.err = err
			return
		}
		src := filepath.Join(dir, "xstate.c")
		shim.path = filepath.Join(dir, "xstate.so")
		if shim.err = os.WriteFile(src, xstateSource, 0o600); shim.err != nil {
			return
		}
		if out, err := exec.Command("gcc", "-shared", "-fPIC", "-O2", "-o", shim.path, src).CombinedOutput(); err != nil {
			shim.err = fmt.Errorf("compile the FPU shim: %w\n%s", err, out)
		}
	})
	return shim.path, shim.err
}

// Guest is a Linux 6.1 kernel with an NFS client, running as a process. Its
// root is this machine's file system, so every program is there.
type Guest struct {
	NS    *Namespace
	Tap   string
	CIDR  string // the guest's address
	Name  string // its host name, which is its NFSv4 client owner: unique
	MiB   int    // memory; 0: 1024
	Route string // "default via ...", empty for none
}

// guestModules in the order in which they depend on each other.
var guestModules = []string{"net/sunrpc/sunrpc", "fs/nfs_common/grace", "fs/lockd/lockd", "fs/netfs/netfs",
	"fs/fscache/fscache", "fs/nfs/nfs", "net/dns_resolver/dns_resolver", "fs/nfs/nfsv4"}

// Start boots the guest and runs a bash script in it, with an empty directory
// /mnt/n to mount on. Wait for the result on the Running.
func (g *Guest) Start(t testing.TB, limit time.Duration, script string) *Running {
	t.Helper()
	so, err := buildShim()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := &Running{rc: filepath.Join(dir, "rc"), Dir: dir, done: make(chan struct{})}
	init := filepath.Join(dir, "init")
	if err := os.WriteFile(filepath.Join(dir, "job"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(init, []byte(g.init(dir)), 0o700); err != nil {
		t.Fatal(err)
	}
	mem := g.MiB
	if mem == 0 {
		mem = 1024
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	cmd := g.NS.Command(ctx, "linux.uml", fmt.Sprintf("mem=%dM", mem), "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw",
		"vec0:transport=tap,ifname="+g.Tap+",depth=128,gro=1", "init="+init, "con=null", "con0=fd:0,fd:1", "quiet", "uml_dir="+dir)
	// The guest keeps its memory in a file in TMPDIR.
	cmd.Env = append(os.Environ(), "LD_PRELOAD="+so, "TMPDIR=/dev/shm")
	cmd.Stdout, cmd.Stderr = &r.out, &r.out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatalf("start the guest: %v", err)
	}
	go func() {
		defer cancel()
		r.err = cmd.Wait()
		// User-Mode Linux leads a process group of its own, and one that is
		// killed leaves its helpers behind.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		close(r.done)
	}()
	t.Cleanup(func() { cancel(); <-r.done })
	return r
}

// Run is Start and Wait; a script that fails fails the test.
func (g *Guest) Run(t testing.TB, limit time.Duration, script string) string {
	t.Helper()
	return g.Start(t, limit, script).Wait(t)
}

func (g *Guest) init(dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `#!/bin/bash
export PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmp /run; mount -t tmpfs tmp /mnt; mkdir -p /mnt/n
hostname %s; ip link set lo up; ip addr add %s dev vec0; ip link set vec0 up
`, g.Name, g.CIDR)
	if g.Route != "" {
		fmt.Fprintf(&b, "ip route add %s\n", g.Route)
	}
	for _, m := range guestModules {
		fmt.Fprintf(&b, "insmod /usr/lib/uml/modules/$(uname -r)/kernel/%s.ko\n", m)
	}
	fmt.Fprintf(&b, "cd /; bash %[1]s/job >%[1]s/output 2>&1; echo $? >%[1]s/rc\nsync; halt -f\n", dir)
	return b.String()
}

// Running is a guest at work.
type Running struct {
	Dir  string // on the host, visible in the guest under the same path
	rc   string
	out  bytes.Buffer // the kernel's console
	err  error
	done chan struct{}
}

// Output is what the script has printed so far.
func (r *Running) Output() string {
	b, _ := os.ReadFile(filepath.Join(r.Dir, "output"))
	return string(b)
}

// Ended tells whether the guest has halted.
func (r *Running) Ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Wait waits for the script and fails the test, with its output, when it failed.
func (r *Running) Wait(t testing.TB) string {
	t.Helper()
	<-r.done
	out := r.Output()
	rc, err := os.ReadFile(r.rc)
	if err != nil || strings.TrimSpace(string(rc)) != "0" {
		t.Fatalf("the guest's script ended with %q (guest: %v)\n%s\nconsole:\n%s", strings.TrimSpace(string(rc)), r.err, out, r.out.String())
	}
	return out
}
