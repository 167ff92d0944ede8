package region

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

const (
	// scrubPause lies between two passes over all file systems: data rots
	// slowly, and disks are worn by reading too.
	scrubPause = 24 * time.Hour
	// scrubLook is how often it looks whether a client has met damage: then that
	// file system is scrubbed, and repaired, at once.
	scrubLook = 15 * time.Second
	// scrubDelay keeps the scrub out of the way of a start.
	scrubDelay = 10 * time.Second
	// scrubStep is the least that is waited for at once: timers are coarse.
	scrubStep = 10 * time.Millisecond
)

// scrubber reads all payloads of a region at a bounded rate, one file system
// after the other, and so finds damage before somebody needs the data.
type scrubber struct {
	v              *volumes
	bytesPerSecond int64
	log            *slog.Logger
	sleep          func(ctx context.Context, d time.Duration) error
	// fetch gets the bytes of damaged data from another region.
	fetch func(ctx context.Context, l fs.Lineage, r engine.Run) ([]byte, error)

	bytes, damaged, repaired *prometheus.CounterVec
	passes                   prometheus.Counter
	debt                     time.Duration     // of the rate; of run's goroutine
	known                    map[string]string // damage that a pass could not repair, by file system; likewise
}

func newScrubber(v *volumes, fetch func(context.Context, fs.Lineage, engine.Run) ([]byte, error), bytesPerSecond int64, log *slog.Logger, reg prometheus.Registerer) *scrubber {
	s := &scrubber{v: v, known: make(map[string]string), bytesPerSecond: bytesPerSecond, log: log, sleep: sleepFor, fetch: fetch,
		repaired: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdfast_scrub_repaired_total", Help: "Damaged extents that got their bytes again from another region."}, labels),
		bytes:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdfast_scrub_bytes_total", Help: "Bytes of file data that the scrub has read."}, labels),
		damaged:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdfast_scrub_damaged_total", Help: "Extents that the scrub found damaged, counted anew in each pass."}, labels),
		passes:   prometheus.NewCounter(prometheus.CounterOpts{Name: "holdfast_scrub_passes_total", Help: "Passes over all file systems that the scrub has finished."})}
	reg.MustRegister(s.bytes, s.damaged, s.repaired, s.passes)
	return s
}

// sleepFor waits for d; the context's error if that ends first.
func sleepFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run scrubs until ctx ends. Without a rate it does nothing.
func (s *scrubber) run(ctx context.Context) error {
	if s.bytesPerSecond <= 0 {
		return nil
	}
	for s.sleep(ctx, scrubDelay) == nil {
		s.pass(ctx, s.v.all())
		for waited := time.Duration(0); waited < scrubPause; waited += scrubLook {
			if s.sleep(ctx, scrubLook) != nil {
				return nil
			}
			if l := s.newlyDamaged(); len(l) > 0 {
				s.pass(ctx, l)
			}
		}
	}
	return nil
}

// newlyDamaged are the file systems of which a client has met damage that no
// pass has looked at yet. They are awake.
func (s *scrubber) newlyDamaged() (l []*volume) {
	for _, x := range s.v.awake() {
		e, _ := x.look()
		if e == nil {
			continue
		}
		if err := e.Damage(); err != nil && s.known[x.id] != err.Error() {
			l = append(l, x)
		}
		x.looked(e)
	}
	return l
}

// pass scrubs these file systems in the order of their ids. Those at rest are
// woken up one after the other, and go back to rest.
func (s *scrubber) pass(ctx context.Context, all []*volume) {
	var sum engine.ScrubStats
	n := 0
	slices.SortFunc(all, func(a, b *volume) int { return strings.Compare(a.id, b.id) })
	for _, x := range all {
		if !x.there() {
			continue // it did not open
		}
		st, err := s.scrub(ctx, x)
		n++
		s.repaired.WithLabelValues(x.id).Add(float64(st.Repaired))
		sum.Repaired += st.Repaired
		s.bytes.WithLabelValues(x.id).Add(float64(st.Bytes))
		s.damaged.WithLabelValues(x.id).Add(float64(st.Damaged))
		sum.Bytes, sum.Extents, sum.Damaged = sum.Bytes+st.Bytes, sum.Extents+st.Extents, sum.Damaged+st.Damaged
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !errors.Is(err, context.Canceled):
			s.log.Warn("the scrub could not finish a file system; it tries again in its next pass", "file_system", x.id, "error", err)
		}
	}
	s.passes.Inc()
	s.log.Info("scrubbed", "file_systems", n, "bytes", sum.Bytes, "damaged_extents", sum.Damaged, "repaired", sum.Repaired)
}

// scrub scrubs one.
func (s *scrubber) scrub(ctx context.Context, x *volume) (engine.ScrubStats, error) {
	woken := x.engine() == nil
	e, err := x.use(ctx)
	if err != nil {
		return engine.ScrubStats{}, err
	}
	st, err := e.Scrub(ctx, s.pace, func(ctx context.Context, r engine.Run) ([]byte, error) { return s.fetch(ctx, e.Lineage(), r) })
	delete(s.known, x.id)
	if err := e.Damage(); err != nil {
		s.known[x.id] = err.Error()
	}
	x.done()
	if woken {
		s.v.putToRest(x, 0) // it stays awake if somebody else uses it, or work is due
	}
	return st, err
}

// pace keeps the rate.
func (s *scrubber) pace(ctx context.Context, bytes int) error {
	s.debt += time.Duration(float64(bytes) / float64(s.bytesPerSecond) * float64(time.Second))
	if s.debt < scrubStep {
		return ctx.Err()
	}
	d := s.debt
	s.debt = 0
	return s.sleep(ctx, d)
}
