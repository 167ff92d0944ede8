package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"

	"github.com/holdfast-fs/holdfast/internal/nfsclient"
	"github.com/holdfast-fs/holdfast/test/harness"
)

// A soak takes two regions through kills, cuts, switchovers, failovers and
// failbacks while clients work. What they were told is kept here, outside of
// the regions, and compared.

const (
	soakClients = 6
	soakFiles   = 60
	// soakRounds is how many rounds a plain test run does: two minutes or so.
	soakRounds = 10
)

// soak is the story with the region that writes now.
type soak struct {
	*story
	rnd     *rand.Rand
	at      int // the region that writes
	id      [2]string
	workers []*worker
	linux   *worker // one of them, whose client is a Linux guest; nil: none can be run
	seen    map[string]int

	linuxTurn int
	rss       []int64
}

// worker is one client with a directory of its own. Of each change it knows
// whether it was acknowledged.
type worker struct {
	dir  string
	rnd  *rand.Rand
	base map[string][]byte // what both regions held when they were equal last
	ops  []change          // acknowledged since, oldest first
	now  map[string][]byte // base with all ops
	all  int
}

// change is one acknowledged operation: name holds data now, or is gone; or it
// was renamed to another.
type change struct {
	name string
	data []byte
	gone bool
	to   string // of a rename
}

func (c *change) apply(m map[string][]byte) {
	switch {
	case c.to != "":
		m[c.to] = m[c.name]
		delete(m, c.name)
	case c.gone:
		delete(m, c.name)
	default:
		m[c.name] = c.data
	}
}

// names are the files whose state the change touched.
func (c *change) names() []string {
	if c.to != "" {
		return []string{c.name, c.to}
	}
	return []string{c.name}
}

// run works until ctx ends; the call under way then is finished, so that what
// it did is known.
func (h *worker) run(ctx context.Context, c *nfsclient.Client) error {
	call := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		op := h.draw()
		if err := op.do(call, c, h.dir); err != nil {
			return fmt.Errorf("%+v: %w", op.names(), err)
		}
		h.ops = append(h.ops, op)
		op.apply(h.now)
		h.all++
	}
	return nil
}

func (h *worker) draw() change {
	name := fmt.Sprintf("f%d", h.rnd.IntN(soakFiles))
	_, there := h.now[name]
	switch k := h.rnd.IntN(10); {
	case k < 7 || !there:
		return change{name: name, data: content(h.rnd)}
	case k < 8:
		return change{name: name, gone: true}
	}
	if to := fmt.Sprintf("f%d", h.rnd.IntN(soakFiles)); to != name {
		return change{name: name, to: to}
	}
	return change{name: name, gone: true}
}

func (c *change) do(ctx context.Context, cl *nfsclient.Client, dir string) error {
	switch name := path.Join(dir, c.name); {
	case c.to != "":
		return cl.Rename(ctx, name, path.Join(dir, c.to))
	case c.gone:
		return cl.Remove(ctx, name)
	default:
		return cl.WriteFile(ctx, name, c.data, 0o644)
	}
}

// settled forgets how the present state came about: both regions have it.
func (h *worker) settled() { h.base, h.ops = maps.Clone(h.now), nil }

// read gives what a region holds of a worker's files.
func (h *worker) read(ctx context.Context, c *nfsclient.Client) (map[string][]byte, error) {
	l, err := c.ReadDir(ctx, h.dir)
	if err != nil {
		return nil, err
	}
	got := make(map[string][]byte)
	for _, e := range l {
		b, err := c.ReadFile(ctx, path.Join(h.dir, string(e.Name)))
		if err != nil {
			return nil, err
		}
		got[string(e.Name)] = b
	}
	return got, nil
}

func sameFiles(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }

// prefix finds after how many of the acknowledged changes a region stands that
// took over; the next one may be half there.
func (h *worker) prefix(got map[string][]byte) (n int, err error) {
	m := maps.Clone(h.base)
	for n := 0; ; n++ {
		if sameFiles(m, got) {
			return n, nil
		}
		if n < len(h.ops) && h.half(m, got, &h.ops[n]) {
			return n, nil
		}
		if n == len(h.ops) {
			return 0, fmt.Errorf("%s is in no state that it ever had: a destination is no prefix", h.dir)
		}
		h.ops[n].apply(m)
	}
}

// half: a write that is a create, a truncation and writes may be cut between
// them: the file is new and empty, or holds the beginning of the content.
func (h *worker) half(m, got map[string][]byte, op *change) bool {
	if op.to != "" || op.gone {
		return false
	}
	part, there := got[op.name]
	if !there || len(part) == len(op.data) || !bytes.HasPrefix(op.data, part) {
		return false
	}
	m = maps.Clone(m)
	m[op.name] = part
	return sameFiles(m, got)
}

// TestSoakFailoversAndFailbacks: see docs/reliability.md.
func TestSoakFailoversAndFailbacks(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := newSoak(t, seed)
	start := time.Now()
	more := rounds(soakRounds)
	for i := 0; more(i); i++ {
		s.round(i)
		s.measure()
	}
	s.bothHold()
	ops := 0
	for _, h := range s.workers {
		ops += h.all
	}
	t.Logf("%v: %d changes were acknowledged; %v", time.Since(start).Round(time.Second), ops, s.seen)
	s.memoryIsFlat()
	s.us.Check(t)
	s.eu.Check(t)
}

func newSoak(t *testing.T, seed uint64) *soak {
	t.Helper()
	s := &soak{story: newSoakStory(t), rnd: rand.New(rand.NewPCG(seed, 0)), seen: make(map[string]int)}
	s.id = [2]string{s.usFS, s.euFS}
	c := s.dial(0)
	for i := range soakClients {
		h := &worker{dir: fmt.Sprintf("/w%d", i), rnd: rand.New(rand.NewPCG(seed, uint64(i+1))), now: map[string][]byte{}}
		if err := c.Mkdir(t.Context(), h.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		h.settled()
		s.workers = append(s.workers, h)
	}
	if s.canRunLinux() {
		s.linux = &worker{dir: linuxDir, now: map[string][]byte{}}
		if err := c.Mkdir(t.Context(), linuxDir, 0o755); err != nil {
			t.Fatal(err)
		}
		s.linux.settled()
		s.workers = append(s.workers, s.linux)
	}
	s.bothHold()
	return s
}

// newSoakStory uses namespaces, whose line can be cut, where it may.
func newSoakStory(t *testing.T) *story {
	if _, err := exec.LookPath("ip"); os.Getuid() != 0 || err != nil {
		return newLocalStory(t)
	}
	s := &story{Regions: harness.NewRegions(t), t: t, ctx: t.Context(), scratch: t.TempDir()}
	s.CopyLogs(t)
	s.us, s.eu = s.R[0], s.R[1]
	for _, r := range s.R {
		r.Stop(t)
		r.Edit(t, "  mount_target_port:", "  lease_seconds: 5\n  mount_target_port:")
		littleHistory(t, r)
		r.Start(t)
	}
	s.usFS = s.create("story")
	s.euFS = s.replicate(s.us, s.usFS, s.eu, "")
	return s
}

// littleHistory lets a stopped region keep as little history as it may, so that
// cleaners have work.
func littleHistory(t *testing.T, r *harness.Region) {
	t.Helper()
	r.Edit(t, "  history_hours: 168", "  history_hours: 1\n  history_bytes: 67108864")
}

type nsDialer struct{ ns *harness.Namespace }

func (d nsDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return d.ns.Dial(ctx, network, addr)
}

// dial is a client of a region's replica.
func (s *soak) dial(at int) *nfsclient.Client {
	s.t.Helper()
	r := s.R[at]
	addr, o := r.NFS, nfsclient.Options{Prefix: "/" + s.id[at]}
	if r.NS != nil {
		addr, o.Dialer = net.JoinHostPort(r.NFS, "2049"), nsDialer{r.NS}
	}
	var c *nfsclient.Client
	harness.Eventually(s.t, time.Minute, "a client reaches "+r.Name, func() (err error) {
		c, err = nfsclient.Dial(s.ctx, addr, o)
		return err
	})
	return c
}

func (s *soak) here() *harness.Region  { return s.R[s.at] }
func (s *soak) there() *harness.Region { return s.R[1-s.at] }

// work lets all clients work while fn does its worst.
func (s *soak) work(fn func()) {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	var wg sync.WaitGroup
	errs := make([]error, len(s.workers))
	guest := s.startLinux()
	for i, h := range s.workers {
		if h == s.linux {
			continue
		}
		c := s.dial(s.at)
		wg.Go(func() {
			defer c.Close()
			errs[i] = h.run(ctx, c)
		})
	}
	fn()
	stop()
	wg.Wait()
	guest.stop()
	if err := errors.Join(errs...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *soak) pause(most int) { time.Sleep(time.Duration(s.rnd.IntN(most)) * time.Millisecond) }

func (s *soak) round(i int) {
	s.t.Helper()
	what := []string{"kill", "kill", "cut", "switchover", "failover", "failover"}[s.rnd.IntN(6)]
	if i < 4 { // short runs have seen each once
		what = []string{"kill", "failover", "switchover", "cut"}[i]
	}
	start := time.Now()
	switch what {
	case "kill":
		s.work(func() { s.pause(1500); s.disturb(s.rnd); s.pause(300) })
	case "cut":
		s.work(func() { s.cut(); s.pause(3000); s.heal(); s.pause(300) })
	case "switchover":
		s.work(func() { s.pause(1500) })
		s.switchover()
	case "failover":
		s.failover()
	}
	s.bothHold()
	s.seen[what]++
	s.t.Logf("round %d: %s, %v; all that was acknowledged is there", i, what, time.Since(start).Round(time.Millisecond))
}

// cut separates the regions: the line between their namespaces goes down, or
// the one that follows stands still.
func (s *soak) cut() {
	s.t.Helper()
	if ns := s.us.NS; ns != nil {
		ns.Exec(s.t, "ip", "link", "set", s.Link[0], "down")
		return
	}
	s.signal(syscall.SIGSTOP)
}

func (s *soak) heal() {
	s.t.Helper()
	if ns := s.us.NS; ns != nil {
		ns.Exec(s.t, "ip", "link", "set", s.Link[0], "up")
		return
	}
	s.signal(syscall.SIGCONT)
}

func (s *soak) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(s.there().Pid(), sig); err != nil {
		s.t.Fatal(err)
	}
}

// bothHold checks that both regions are equal and hold all that was
// acknowledged.
func (s *soak) bothHold() {
	s.t.Helper()
	s.equal(s.here(), s.id[s.at], s.there(), s.id[1-s.at])
	for _, at := range []int{s.at, 1 - s.at} {
		c := s.dial(at)
		for _, h := range s.workers {
			got, err := h.read(s.ctx, c)
			if err != nil {
				s.t.Fatal(err)
			}
			if !sameFiles(got, h.now) {
				s.t.Fatalf("%s in %s is not what was acknowledged: %s", h.dir, s.R[at].Name, h.firstOdd(got))
			}
		}
		c.Close()
	}
	for _, h := range s.workers {
		h.settled()
	}
}

func (h *worker) firstOdd(got map[string][]byte) string {
	for name, b := range h.now {
		if g, ok := got[name]; !ok || !bytes.Equal(g, b) {
			return fmt.Sprintf("%s: there %v, %d bytes, want %d", name, ok, len(g), len(b))
		}
	}
	return fmt.Sprintf("%d files, want %d", len(got), len(h.now))
}

// switchover moves the writing to the other region, as an operator plans it.
func (s *soak) switchover() {
	s.t.Helper()
	s.deleteReplication(s.there(), s.id[s.at])
	s.becomes(s.there(), s.id[1-s.at], "writer")
	s.turn()
}

// turn makes the other region the one that writes and this one follow it.
func (s *soak) turn() {
	s.t.Helper()
	from, to := 1-s.at, s.at
	s.replicate(s.R[from], s.id[from], s.R[to], s.id[to])
	s.at = from
}

// failover: the destination hears nothing for a while, then the primary is
// lost, and the destination takes over. What it lacks, and nothing else, is
// lost; after the failback the salvage tells of it.
func (s *soak) failover() {
	s.t.Helper()
	silent := s.rnd.IntN(4) > 0
	s.work(func() {
		s.pause(1000)
		if silent {
			s.cut()
			s.pause(800)
		}
	})
	s.here().Kill(s.t)
	if silent {
		s.heal()
	}
	took := time.Now()
	// The answer may be that the source does not answer; the promotion goes on.
	must[*efs.DeleteReplicationConfigurationOutput](s.t)(s.there().EFS().DeleteReplicationConfiguration(s.ctx,
		&efs.DeleteReplicationConfigurationInput{SourceFileSystemId: aws.String(s.id[s.at])}))
	s.becomes(s.there(), s.id[1-s.at], "writer")
	s.t.Logf("failover to %s: %v", s.there().Name, time.Since(took).Round(time.Millisecond))
	lost := s.adopt()
	s.work2(1-s.at, func() { s.pause(500) })
	old, oldID := s.here(), s.id[s.at]
	old.Start(s.t)
	s.becomes(old, oldID, "superseded")
	s.turn()
	s.equal(s.here(), s.id[s.at], old, oldID)
	have := s.salvaged(old, oldID)
	for name := range lost {
		if !have[name] {
			s.t.Errorf("%s was acknowledged and lost, the salvage does not tell of it (it has %d paths)", name, len(have))
		}
	}
	s.seen["changes lost by failovers, all salvaged"] += len(lost)
}

// work2 is work at a region that is not yet the one of record.
func (s *soak) work2(at int, fn func()) {
	before := s.at
	s.at = at
	s.work(fn)
	s.at = before
}

// adopt finds out where the region stands that took over, and gives the paths
// whose newest state was lost.
func (s *soak) adopt() map[string]bool {
	s.t.Helper()
	c := s.dial(1 - s.at)
	defer c.Close()
	lost := make(map[string]bool)
	for _, h := range s.workers {
		got, err := h.read(s.ctx, c)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.t.Fatal(err)
		}
		n, err := h.prefix(got)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, op := range h.ops[n:] {
			for _, name := range op.names() {
				lost[path.Join(h.dir, name)] = true
			}
		}
		h.now = got
		h.settled()
	}
	s.t.Logf("the failover lost the newest state of %d files", len(lost))
	return lost
}

func (s *soak) measure() {
	for _, r := range s.R {
		s.rss = append(s.rss, r.RSS(s.t))
	}
}

// memorySlack is what resident memory may differ by between the halves of a
// soak: a region that was just started is smaller than one that has worked.
const memorySlack = 96 << 20

// memoryIsFlat compares the two halves of the soak.
func (s *soak) memoryIsFlat() {
	s.t.Helper()
	var most [2]int64
	for i, m := range s.rss {
		half := 2 * i / len(s.rss)
		most[half] = max(most[half], m)
	}
	s.t.Logf("resident memory: at most %d MiB in the first half, %d MiB in the second", most[0]>>20, most[1]>>20)
	if most[1] > most[0]+memorySlack {
		s.t.Errorf("resident memory grows: %d bytes, then %d", most[0], most[1])
	}
}
