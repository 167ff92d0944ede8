package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/test/harness"
)

// awayHistory is what a source may keep of records for a destination that is
// away, by littleHistory: 64 MiB, and four times as much for its sake.
const awayHistory = 5 * 64 << 20

// awayMost is what its journal may take then: that, the segment that is being
// filled, what is live, and what the cleaner leaves between two passes.
const awayMost = awayHistory + 256<<20 + 64<<20 + 160<<20

// TestADestinationThatWasAwayForLong: it is stopped while its source overwrites
// more than history is kept for. The source's journal stays bounded; when the
// destination is back, the trees are compared, and what differs crosses the
// wire, not what is the same.
func TestADestinationThatWasAwayForLong(t *testing.T) {
	s := newLocalStory(t)
	s.us.Stop(t)
	littleHistory(t, s.us)
	s.us.Start(t)
	c := s.us.Client(t, s.usFS)
	// Content of its own in each file, so that compression does not flatter.
	still := map[string][]byte{}
	rnd := rand.New(rand.NewPCG(7, 7))
	if err := c.Mkdir(t.Context(), "/still", 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		b := make([]byte, 1<<20)
		for k := range b {
			b[k] = byte(rnd.Uint32())
		}
		name := fmt.Sprintf("/still/%d", i)
		still[name] = b
		if err := c.WriteFile(t.Context(), name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	loaders := make([]*loader, 16)
	for i := range loaders {
		loaders[i] = newLoader(t, s.us, s.usFS, i)
		loaders[i].most = 30 << 10 // such payloads are kept with their records
	}
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	s.eu.Stop(t)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for _, l := range loaders {
		wg.Go(func() {
			if err := l.run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	written := func() (n int64) {
		for _, l := range loaders {
			n += l.size.Load()
		}
		return n
	}
	harness.Eventually(t, 10*time.Minute, "more is written than is kept", func() error {
		if n := written(); n < 3*awayHistory {
			return fmt.Errorf("%d MiB", n>>20)
		}
		return nil
	})
	stop()
	wg.Wait()
	harness.Eventually(t, 3*time.Minute, "the source's journal is bounded", func() error {
		if n := s.us.Metric(t, "holdfast_file_system_journal_bytes", s.usFS); n > awayMost {
			return fmt.Errorf("%.0f MiB", n/(1<<20))
		}
		return nil
	})
	s.eu.Start(t)
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	var status struct {
		Replication struct {
			LastTransfer struct {
				Kind      string `json:"kind"`
				BytesWire int64  `json:"bytes_wire"`
			} `json:"last_transfer"`
		} `json:"replication"`
	}
	s.eu.Get(t, "file-systems/"+s.euFS, &status)
	last := status.Replication.LastTransfer
	t.Logf("%d MiB were overwritten while the destination was away; it came back by a %s of %d bytes", written()>>20, last.Kind, last.BytesWire)
	if last.Kind != "resync" || last.BytesWire > 8<<20 {
		t.Errorf("it came back by a %s of %d bytes: little more than %d MiB differ", last.Kind, last.BytesWire, 16*loadFiles*30>>10)
	}
	there := s.eu.Client(t, s.euFS)
	if n := noWrongData(t, there, still); n != 0 {
		t.Errorf("%d files cannot be read", n)
	}
	for _, l := range loaders {
		if err := l.check(t.Context(), there); err != nil {
			t.Error(err)
		}
	}
}
