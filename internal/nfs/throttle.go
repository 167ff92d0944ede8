package nfs

import (
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// throttle holds the transfers of one file system to its throughput: all clients
// together. A transfer that comes too early waits for its turn, with nothing
// held but its slot; one that would wait for long is told to come again.
type throttle struct {
	mu   sync.Mutex
	paid time.Time // until when the bytes that were let through are paid for
}

const (
	// throttleBurst is what may be transferred at once after a pause, as a time.
	throttleBurst = time.Second
	// maxThrottle is the longest wait. Clients come again after some seconds, and
	// their leases go on meanwhile.
	maxThrottle = 5 * time.Second
	// readDiscount is how many bytes read count as one that is written, as EFS
	// meters them.
	readDiscount = 3
)

// reserve takes a turn for a number of bytes and tells how long to wait for it.
// ok is false if that is too long: then none was taken.
func (t *throttle) reserve(bytes, rate float64, now time.Time) (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	paid := t.paid
	if start := now.Add(-throttleBurst); paid.Before(start) {
		paid = start
	}
	if wait = paid.Sub(now); wait > maxThrottle {
		return 0, false
	}
	t.paid = paid.Add(time.Duration(bytes / rate * float64(time.Second)))
	return max(wait, 0), true
}

// paced waits until a transfer of the current file system may go on.
func (c *compound) paced(bytes int, read bool) xdr.Status {
	if c.s.cfg.Access == nil {
		return xdr.OK
	}
	rate := c.s.cfg.Access.Throughput(c.cur.export.Name)
	if rate <= 0 {
		return xdr.OK
	}
	metered := float64(bytes)
	if read {
		metered /= readDiscount
	}
	wait, ok := c.s.servedAs(c.cur.export.Name).throttle.reserve(metered, rate, c.s.cfg.Clock())
	if !ok {
		return xdr.ErrDelay
	}
	if wait == 0 {
		return xdr.OK
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return xdr.OK
	case <-c.ctx.Done():
		c.drop = true // the server is stopping: its successor will answer
		return xdr.ErrDelay
	}
}
