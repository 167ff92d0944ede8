package replica

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	labelFileSystem = "file_system"
	labelSource     = "source_file_system"
)

// serverMetrics of a source. The zero registerer gives metrics nobody reads.
type serverMetrics struct {
	sent *prometheus.CounterVec
	ack  *prometheus.GaugeVec
}

func newServerMetrics(reg prometheus.Registerer) *serverMetrics {
	return &serverMetrics{
		sent: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "holdfast_replication_sent_bytes_total",
			Help: "Bytes of frames sent to destinations, as they are on the wire.",
		}, []string{labelFileSystem})),
		ack: register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "holdfast_replication_acked_sequence",
			Help: "Newest record that the destination reported to hold durably.",
		}, []string{labelFileSystem})),
	}
}

// register gives the collector that is registered already, if there is one.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	var already prometheus.AlreadyRegisteredError
	if err := reg.Register(c); errors.As(err, &already) {
		if old, ok := already.ExistingCollector.(C); ok {
			return old
		}
	}
	return c
}

func (m *serverMetrics) sender(fileSystem string) func(int) {
	c := m.sent.WithLabelValues(fileSystem)
	return func(n int) { c.Add(float64(n)) }
}

func (m *serverMetrics) acked(fileSystem string, seq uint64) {
	m.ack.WithLabelValues(fileSystem).Set(float64(seq))
}

func (m *serverMetrics) forget(fileSystem string) { m.ack.DeleteLabelValues(fileSystem) }

// followerMetrics reads a follower's status at each scrape.
type followerMetrics struct {
	f                                                *Follower
	lagSeconds, lagBytes, lagRecords, up, rx, bulkRx *prometheus.Desc
}

func newFollowerMetrics(f *Follower) *followerMetrics {
	// Which file system of this region follows is the label of whoever gave
	// the registerer.
	labels := prometheus.Labels{labelSource: f.cfg.FileSystemID}
	desc := func(name, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc("holdfast_replication_"+name, help, variable, labels)
	}
	return &followerMetrics{
		f:          f,
		lagSeconds: desc("lag_seconds", "How far the durable state here is behind the source; 0 when it holds all that the source has."),
		lagBytes:   desc("lag_bytes", "Bytes of history that the source has and this side does not."),
		lagRecords: desc("lag_records", "Records that the source has and this side does not."),
		up:         desc("connected", "1 while the source is heard."),
		rx:         desc("bytes_received_total", "Bytes received from the source, as they are on the wire."),
		bulkRx:     desc("transfer_bytes_total", "Bytes received by bootstraps and resyncs, as they are on the wire.", "kind"),
	}
}

// Describe implements prometheus.Collector.
func (m *followerMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.lagSeconds, m.lagBytes, m.lagRecords, m.up, m.rx, m.bulkRx} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *followerMetrics) Collect(ch chan<- prometheus.Metric) {
	s := m.f.Status()
	up := 0.0
	if s.Connected {
		up = 1
	}
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	gauge(m.lagSeconds, s.LagSeconds)
	gauge(m.lagBytes, float64(s.LagBytes))
	gauge(m.lagRecords, float64(s.LagRecords))
	gauge(m.up, up)
	ch <- prometheus.MustNewConstMetric(m.rx, prometheus.CounterValue, float64(s.BytesWire))
	for kind, n := range m.f.track.bulkTotals() {
		ch <- prometheus.MustNewConstMetric(m.bulkRx, prometheus.CounterValue, float64(n), string(kind))
	}
}
