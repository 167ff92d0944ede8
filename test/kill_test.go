package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/efs/types"

	"github.com/holdfast-fs/holdfast/internal/nfsclient"
	"github.com/holdfast-fs/holdfast/test/harness"
)

// newLocalStory is newStory on loopback, without namespaces.
func newLocalStory(t testing.TB) *story {
	s := &story{Regions: harness.NewLocalRegions(t), t: t, ctx: t.Context(), scratch: t.TempDir()}
	s.us, s.eu = s.R[0], s.R[1]
	s.usFS = s.create("story")
	s.euFS = s.replicate(s.us, s.usFS, s.eu, "")
	return s
}

// create makes a file system in us.
func (s *story) create(token string) string {
	s.t.Helper()
	f := must[*efs.CreateFileSystemOutput](s.t)(s.us.EFS().CreateFileSystem(s.t.Context(), &efs.CreateFileSystemInput{CreationToken: aws.String(token)}))
	harness.Eventually(s.t, time.Minute, "the file system is available", func() error {
		d, err := s.us.EFS().DescribeFileSystems(s.t.Context(), &efs.DescribeFileSystemsInput{FileSystemId: f.FileSystemId})
		if err != nil {
			return err
		}
		if st := d.FileSystems[0].LifeCycleState; st != types.LifeCycleStateAvailable {
			return errors.New(string(st))
		}
		return nil
	})
	return *f.FileSystemId
}

// hammer is one client that changes files of its own in a loop and remembers
// what was acknowledged.
type hammer struct {
	c    *nfsclient.Client
	dir  string
	rnd  *rand.Rand
	want map[string][]byte
	ops  int
}

// content is different for each length and seed, and compressible by nobody.
func content(rnd *rand.Rand) []byte {
	n := rnd.IntN(6000)
	if rnd.IntN(10) == 0 {
		n = rnd.IntN(300_000) // payload segments too
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// run works until ctx ends; a call that is under way then is finished, so that
// what it did is known.
func (h *hammer) run(ctx context.Context) error {
	call := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		if err := h.step(call); err != nil {
			return err
		}
		h.ops++
	}
	return nil
}

func (h *hammer) step(ctx context.Context) error {
	name := fmt.Sprintf("%s/f%d", h.dir, h.rnd.IntN(60))
	_, there := h.want[name]
	switch k := h.rnd.IntN(10); {
	case k < 7 || !there:
		b := content(h.rnd)
		if err := h.c.WriteFile(ctx, name, b, 0o644); err != nil {
			return err
		}
		h.want[name] = b
	case k < 8:
		if err := h.c.Remove(ctx, name); err != nil {
			return err
		}
		delete(h.want, name)
	default:
		to := fmt.Sprintf("%s/f%d", h.dir, h.rnd.IntN(60))
		if to == name {
			return nil
		}
		if err := h.c.Rename(ctx, name, to); err != nil {
			return err
		}
		h.want[to] = h.want[name]
		delete(h.want, name)
	}
	return nil
}

// check compares everything that was acknowledged with what is there.
func (h *hammer) check(ctx context.Context, c *nfsclient.Client) error {
	l, err := c.ReadDir(ctx, h.dir)
	if err != nil {
		return err
	}
	if len(l) != len(h.want) {
		return fmt.Errorf("%s has %d files, %d were acknowledged", h.dir, len(l), len(h.want))
	}
	for name, want := range h.want {
		got, err := c.ReadFile(ctx, name)
		if err != nil {
			return fmt.Errorf("%s was acknowledged: %w", name, err)
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s has not the content that was acknowledged last (%d bytes, want %d)", name, len(got), len(want))
		}
	}
	return nil
}

// hammers makes n of them on one file system.
func hammers(t testing.TB, r *harness.Region, fsID string, n int, seed uint64) []*hammer {
	t.Helper()
	var hs []*hammer
	for i := range n {
		h := &hammer{c: r.Client(t, fsID), dir: fmt.Sprintf("/h%d", i), rnd: rand.New(rand.NewPCG(seed, uint64(i))), want: map[string][]byte{}}
		if err := h.c.Mkdir(t.Context(), h.dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		hs = append(hs, h)
	}
	return hs
}

// atWork runs the hammers while fn does its worst.
func atWork(t testing.TB, hs []*hammer, fn func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	errs := make([]error, len(hs))
	for i, h := range hs {
		wg.Go(func() { errs[i] = h.run(ctx) })
	}
	fn()
	stop()
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
	}
}

// soakTests share the time of HOLDFAST_SOAK.
const soakTests = 3

// soakTime is how long each soak runs, if somebody asked for long ones.
func soakTime() (d time.Duration, ok bool) {
	d, err := time.ParseDuration(os.Getenv("HOLDFAST_SOAK"))
	return d / soakTests, err == nil
}

// rounds is how often the kill tests go round; soaks go on for a time.
func rounds(n int) func(i int) bool {
	d, ok := soakTime()
	if !ok {
		return func(i int) bool { return i < n }
	}
	end := time.Now().Add(d)
	return func(int) bool { return time.Now().Before(end) }
}

// TestSoakAcknowledgedSurvivesKills: clients write, replace, rename and remove
// files while regions are killed or stopped at random moments. Everything that
// was acknowledged is there afterwards, and both regions are equal.
func TestSoakAcknowledgedSurvivesKills(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := newLocalStory(t)
	hs := hammers(t, s.us, s.usFS, 6, seed)
	more := rounds(6)
	for i := 0; more(i); i++ {
		atWork(t, hs, func() {
			time.Sleep(time.Duration(rnd.IntN(1500)) * time.Millisecond)
			s.disturb(rnd)
			time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
		})
		ops := 0
		for _, h := range hs {
			if err := h.check(t.Context(), hs[0].c); err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
			ops += h.ops
		}
		s.equal(s.us, s.usFS, s.eu, s.euFS)
		t.Logf("round %d: %d changes were acknowledged so far, all are there", i, ops)
	}
}

// disturb ends one or both regions, mostly by SIGKILL, and starts them again.
func (s *story) disturb(rnd *rand.Rand) {
	s.t.Helper()
	victims := [][]*harness.Region{{s.us}, {s.us}, {s.eu}, {s.us, s.eu}}[rnd.IntN(4)]
	for _, r := range victims {
		if rnd.IntN(4) == 0 {
			start := time.Now()
			r.Stop(s.t)
			s.t.Logf("%s stopped in %v", r.Name, time.Since(start))
		} else {
			r.Kill(s.t)
			s.t.Logf("%s killed", r.Name)
		}
	}
	for _, r := range victims {
		r.Start(s.t)
	}
}
