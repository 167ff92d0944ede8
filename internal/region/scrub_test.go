package region

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// TestScrubKeepsItsRateAndCounts: what it waits for is what it reads by its
// rate; a pass ends with its counters, and the next comes after a pause.
func TestScrubKeepsItsRateAndCounts(t *testing.T) {
	o := engine.Options{FS: disk.NewMem(), Dir: "/fs-1", ID: "fs-1", Region: "here", Now: time.Now,
		Rand: &lockedReader{r: bytes.NewReader(make([]byte, 1000))}, Logger: slog.New(slog.DiscardHandler)}
	e, err := engine.Create(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.BeginWriting(ctx); err != nil {
		t.Fatal(err)
	}
	f, err := e.Create(ctx, &fs.CreateRequest{Parent: fs.RootIno, Name: "f", Type: fs.TypeRegular})
	if err != nil {
		t.Fatal(err)
	}
	const total = 4 << 20
	for off := uint64(0); off < total; off += 1 << 20 {
		if _, err := e.Write(ctx, &fs.WriteRequest{Ino: f.Attr.Ino, Offset: off, Data: make([]byte, 1<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	v, reg := newVolumes(volumeEnv{now: time.Now}), prometheus.NewRegistry()
	v.slot("fs-1").opened(e)
	s := newScrubber(v, nil, 1<<20, slog.New(slog.DiscardHandler), reg)
	run, stop := context.WithCancel(ctx)
	var waits []time.Duration
	s.sleep = func(_ context.Context, d time.Duration) error {
		waits = append(waits, d)
		if d == scrubLook {
			stop()
		}
		return run.Err()
	}
	if err := s.run(run); err != nil {
		t.Fatal(err)
	}
	var sum time.Duration
	for _, d := range waits[1 : len(waits)-1] {
		sum += d
	}
	if waits[0] != scrubDelay || sum != 4*time.Second || waits[len(waits)-1] != scrubLook {
		t.Errorf("waited for %v", waits)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] += m.GetCounter().GetValue()
		}
	}
	if got["holdfast_scrub_bytes_total"] != total || got["holdfast_scrub_passes_total"] != 1 || got["holdfast_scrub_damaged_total"] != 0 {
		t.Errorf("counted %v", got)
	}
	s.bytesPerSecond = 0
	waits = nil
	if err := s.run(ctx); err != nil || waits != nil {
		t.Errorf("without a rate it waited for %v, %v", waits, err)
	}
}
