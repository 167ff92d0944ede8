package nfs

import (
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what the server does. Without a registry it still counts,
// and nobody looks.
type metrics struct {
	ops   *prometheus.CounterVec
	conns prometheus.Gauge
	bytes *prometheus.CounterVec
}

func newMetrics(s *Server, reg prometheus.Registerer) *metrics {
	m := &metrics{
		ops: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "holdfast_nfs_operations_total", Help: "Operations of COMPOUNDs, by name and status."}, []string{"op", "status"}),
		conns: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "holdfast_nfs_connections", Help: "TCP connections of NFS clients."}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "holdfast_nfs_bytes_total", Help: "Bytes of file content, read or written."}, []string{"direction"}),
	}
	if reg == nil {
		return m
	}
	reg.MustRegister(m.ops, m.conns, m.bytes)
	for i, name := range []string{"clients", "sessions", "opens", "lock_states"} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "holdfast_nfs_" + name, Help: "State held for NFS clients: " + name + "."},
			func() float64 { return float64(s.count(i)) }))
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "holdfast_nfs_lock_waiters", Help: "Blocking lock requests of NFS clients that wait for their turn."},
		func() float64 { return float64(s.table.Queued()) }))
	return m
}

func (s *Server) count(i int) int {
	clients, sessions, opens, locks := s.table.Counts()
	return [...]int{clients, sessions, opens, locks}[i]
}

func (m *metrics) operation(op xdr.Op, st xdr.Status) {
	m.ops.WithLabelValues(op.String(), st.String()).Inc()
}

func (m *metrics) conn(delta int) { m.conns.Add(float64(delta)) }
