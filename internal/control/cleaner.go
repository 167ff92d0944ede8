package control

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
)

func (c *Control) kickCleaner() {
	select {
	case c.cleaner <- struct{}{}:
	default:
	}
}

// runCleaner tells the other regions of replications whose creation was
// undone, until each has heard.
func (c *Control) runCleaner(ctx context.Context) {
	failures := 0
	for {
		left := c.cleanOnce(ctx)
		wait := idle
		if left > 0 {
			wait = min(retryFirst<<min(failures, 8), retryLast)
			failures++
		} else {
			failures = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-c.cleaner:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// cleanOnce tries every cleanup and returns how many are left.
func (c *Control) cleanOnce(ctx context.Context) (left int) {
	var all []*Cleanup
	c.catalog.read(func(s *state) { all = slices.Collect(maps.Values(s.cleanups)) })
	slices.SortFunc(all, func(a, b *Cleanup) int { return strings.Compare(a.ID, b.ID) })
	for _, d := range all {
		if !c.clean(ctx, d) {
			left++
		}
	}
	return left
}

func (c *Control) clean(ctx context.Context, d *Cleanup) bool {
	call, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	err := c.cfg.Peers.Call(call, d.PeerRegion, methodAbandon, replicationRequest{d.ID}, &struct{}{})
	if undecided(err) {
		return false
	}
	return c.update(func(t *tx) error {
		t.drop(kindCleanup, d.ID)
		return nil
	}) == nil
}
