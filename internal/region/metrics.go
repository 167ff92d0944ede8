package region

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-fs/holdfast/internal/engine"
)

// readiness is set while the region serves.
type readiness struct{ up atomic.Bool }

func (r *readiness) set()   { r.up.Store(true) }
func (r *readiness) clear() { r.up.Store(false) }

// metricsHandler serves /metrics, /healthz (the process lives) and /readyz (it
// serves, and all its file systems are well).
func (r *Region) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", r.answerReady)
	return mux
}

func (r *Region) answerReady(w http.ResponseWriter, _ *http.Request) {
	if !r.ready.up.Load() {
		http.Error(w, "starting or stopping", http.StatusServiceUnavailable)
		return
	}
	p := r.control.Problems()
	for id, err := range r.volumes.faults() {
		p[id] = errors.Join(p[id], err)
	}
	if len(p) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		for _, id := range slices.Sorted(maps.Keys(p)) {
			_, _ = w.Write([]byte(id + ": " + p[id].Error() + "\n"))
		}
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

// fault is why an open file system is not well, or nil: it accepts nothing any
// more, or a read has met damage.
func fault(e *engine.Engine) error {
	if err := e.Err(); err != nil {
		return err
	}
	return e.Damage()
}

// faults lists the open file systems that are not well.
func (v *volumes) faults() map[string]error {
	all := make(map[string]error)
	for _, x := range v.all() {
		if err := x.fault(); err != nil {
			all[x.id] = err
		}
	}
	return all
}

// fault is why the file system is not well: of one at rest, that it does not
// wake up.
func (x *volume) fault() error {
	e, _ := x.look()
	defer x.looked(e)
	if e != nil {
		return fault(e)
	}
	x.stateMu.Lock()
	defer x.stateMu.Unlock()
	return x.trouble
}

// volumeMetrics tells the state of each file system at each scrape.
type volumeMetrics struct{ v *volumes }

var (
	labels       = []string{"file_system"}
	bytesDesc    = prometheus.NewDesc("holdfast_file_system_bytes", "Bytes of file data.", labels, nil)
	filesDesc    = prometheus.NewDesc("holdfast_file_system_files", "Inodes in use.", labels, nil)
	appliedDesc  = prometheus.NewDesc("holdfast_file_system_applied_sequence", "Newest applied record.", labels, nil)
	durableDesc  = prometheus.NewDesc("holdfast_file_system_durable_sequence", "Newest durable record.", labels, nil)
	writableDesc = prometheus.NewDesc("holdfast_file_system_writable", "1 while changes are accepted.", labels, nil)
	journalDesc  = prometheus.NewDesc("holdfast_file_system_journal_bytes", "Disk space of the journal: file data, history, and what is not cleaned yet.", labels, nil)
	freedDesc    = prometheus.NewDesc("holdfast_cleaner_freed_bytes_total", "Disk space that the cleaner has given back, net.", labels, nil)
	copiedDesc   = prometheus.NewDesc("holdfast_cleaner_copied_bytes_total", "Bytes that the cleaner has copied for that.", labels, nil)
	failedDesc   = prometheus.NewDesc("holdfast_file_system_failed", "1 when it stopped after a fault, or a read has met damage.", labels, nil)
)

// Describe implements prometheus.Collector.
func (m volumeMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{bytesDesc, filesDesc, appliedDesc, durableDesc, writableDesc, failedDesc, journalDesc, freedDesc, copiedDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m volumeMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, x := range m.v.all() {
		s, ok := x.sample()
		if !ok {
			continue
		}
		for _, g := range []struct {
			d *prometheus.Desc
			v float64
		}{
			{bytesDesc, float64(s.bytes)}, {filesDesc, float64(s.files)}, {appliedDesc, float64(s.applied)},
			{durableDesc, float64(s.durable)}, {writableDesc, oneIf(s.writable)}, {failedDesc, oneIf(s.failed)},
			{journalDesc, float64(s.journal)},
		} {
			ch <- prometheus.MustNewConstMetric(g.d, prometheus.GaugeValue, g.v, x.id)
		}
		ch <- prometheus.MustNewConstMetric(freedDesc, prometheus.CounterValue, float64(s.clean.Freed), x.id)
		ch <- prometheus.MustNewConstMetric(copiedDesc, prometheus.CounterValue, float64(s.clean.Copied), x.id)
	}
}

// sample is what the metrics tell of a file system.
type sample struct {
	bytes, files, applied, durable uint64
	journal                        int64
	writable, failed               bool
	clean                          engine.CleanStats
}

// sample asks the engine, or what is known at rest; ok is false when the file
// system is not there.
func (x *volume) sample() (s sample, ok bool) {
	e, r := x.look()
	defer x.looked(e)
	switch {
	case e != nil:
		t := e.Meta()
		s = sample{bytes: t.BytesUsed, files: t.Files, applied: t.Applied.Seq, durable: e.Durable().Seq, journal: e.JournalBytes(),
			writable: !e.ReadOnly(), failed: fault(e) != nil, clean: e.CleanStats()}
	case r != nil:
		s = sample{bytes: r.BytesUsed, files: r.Files, applied: r.Pos.Seq, durable: r.Pos.Seq, journal: r.JournalBytes, writable: true}
	default:
		return s, false
	}
	x.stateMu.Lock()
	defer x.stateMu.Unlock()
	s.failed = s.failed || e == nil && x.trouble != nil
	s.clean.Freed, s.clean.Copied = s.clean.Freed+x.freed, s.clean.Copied+x.copied
	return s, true
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (r *Region) registerMetrics() { r.registry.MustRegister(volumeMetrics{r.volumes}) }
