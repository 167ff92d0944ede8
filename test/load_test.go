package test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfsclient"
	"github.com/holdfast-fs/holdfast/test/harness"
)

const (
	loadClients = 50
	loadFiles   = 4 // of each client
	// loadTime is what a plain test run takes; HOLDFAST_SOAK says how long otherwise.
	loadTime = 30 * time.Second
	// loadJournal is what the journal of a file system may take beside twice its
	// live data: history, segments that are filled, and the cleaner's slack.
	loadJournal = 1 << 30
)

// loader overwrites a few files as fast as it can and knows what they hold.
type loader struct {
	c    *nfsclient.Client
	rnd  *rand.Rand
	dir  string
	most int // bytes of a file
	want [loadFiles][]byte
	ops  atomic.Int64
	size atomic.Int64
}

func (l *loader) run(ctx context.Context) error {
	call := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		i := l.rnd.IntN(loadFiles)
		b := bytes.Repeat([]byte{byte(l.rnd.Uint32()), byte(l.rnd.Uint32()), byte(i)}, 1+l.rnd.IntN(l.most)/3)
		if err := l.c.WriteFile(call, fmt.Sprintf("%s/f%d", l.dir, i), b, 0o644); err != nil {
			return err
		}
		l.want[i] = b
		l.ops.Add(1)
		l.size.Add(int64(len(b)))
	}
	return nil
}

func (l *loader) check(ctx context.Context, c *nfsclient.Client) error {
	for i, want := range l.want {
		if want == nil {
			continue
		}
		got, err := c.ReadFile(ctx, fmt.Sprintf("%s/f%d", l.dir, i))
		if err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("%s/f%d is not what was acknowledged: %d bytes, want %d, %w", l.dir, i, len(got), len(want), err)
		}
	}
	return nil
}

// TestSoakFiftyClientsAtFullRate: fifty clients overwrite their files without a
// pause, with a replica that follows. Memory stays flat and the disk bounded in
// both regions; a client of another file system of the region is served
// meanwhile; everything acknowledged is there, in both regions.
func TestSoakFiftyClientsAtFullRate(t *testing.T) {
	s := newLocalStory(t)
	for _, r := range s.R {
		r.Stop(t)
		littleHistory(t, r)
		r.Start(t)
	}
	other := s.create("other")
	loaders := make([]*loader, loadClients)
	for i := range loaders {
		loaders[i] = newLoader(t, s.us, s.usFS, i)
	}
	alone := newLoader(t, s.us, other, loadClients)

	d, ok := soakTime()
	if !ok {
		d = loadTime
	}
	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	var wg sync.WaitGroup
	for _, l := range append(loaders, alone) {
		wg.Go(func() {
			if err := l.run(ctx); err != nil {
				t.Errorf("%s: %v", l.dir, err)
			}
		})
	}
	load := &soak{story: s}
	most := int64(0)
	for tick := time.NewTicker(d / 30); ctx.Err() == nil; {
		select {
		case <-tick.C:
			load.measure()
			for _, r := range s.R {
				most = max(most, diskUse(t, r))
			}
		case <-ctx.Done():
		}
	}
	wg.Wait()
	load.memoryIsFlat()

	ops, size, live := int64(0), int64(0), int64(0)
	for _, l := range loaders {
		ops, size = ops+l.ops.Load(), size+l.size.Load()
		for _, b := range l.want {
			live += int64(len(b))
		}
	}
	freed, copied := s.us.Metric(t, "holdfast_cleaner_freed_bytes_total", s.usFS), s.us.Metric(t, "holdfast_cleaner_copied_bytes_total", s.usFS)
	t.Logf("%v: %d files of %d MiB in all overwritten by %d clients, %d by the one of the other file system; %d MiB live, at most %d MiB on a region's disk; cleaner freed %.0f MiB, copied %.0f MiB",
		d, ops, size>>20, loadClients, alone.ops.Load(), live>>20, most>>20, freed/(1<<20), copied/(1<<20))
	if most > 2*live+loadJournal {
		t.Errorf("%d bytes on disk for %d live ones", most, live)
	}
	if alone.ops.Load() == 0 {
		t.Error("the client of the other file system was not served")
	}
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	c := s.eu.Client(t, s.euFS)
	for _, l := range loaders {
		for _, side := range []*nfsclient.Client{l.c, c} {
			if err := l.check(t.Context(), side); err != nil {
				t.Error(err)
			}
		}
	}
}

func newLoader(t *testing.T, r *harness.Region, fsID string, i int) *loader {
	t.Helper()
	l := &loader{c: r.Client(t, fsID), rnd: rand.New(rand.NewPCG(uint64(i), 3)), dir: fmt.Sprintf("/load-%d", i), most: 200 << 10}
	if err := l.c.Mkdir(t.Context(), l.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return l
}

// diskUse is the size of everything in a region's data directory.
func diskUse(t *testing.T, r *harness.Region) (n int64) {
	t.Helper()
	err := filepath.WalkDir(r.DataDir(), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // it went meanwhile
		}
		if i, err := d.Info(); err == nil {
			n += i.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
