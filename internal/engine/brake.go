package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// brake slows writers down when they overwrite faster than the cleaner can
// follow, so that garbage stays bounded.
type brake struct {
	on atomic.Bool
	mu sync.Mutex // held while somebody is slowed: the rate is that of all
}

const (
	// Writers are slowed when the journal takes brakeAt halves of the live data
	// more than that data, and slackTimes the cleaner's slack.
	brakeAt    = 3
	slackTimes = 4
	// brakedRate, in bytes per second for all writers, leaves a slow disk room
	// for the cleaner.
	brakedRate = 32 << 20
)

// lookAtWaste sets or lifts the brake.
func (e *Engine) lookAtWaste() {
	j := e.journalNow()
	if j == nil || e.o.Clean.Off {
		return
	}
	waste, used := e.wasteNow(j)
	e.brake.on.Store(e.cleaner.running.Load() && waste > used*brakeAt/2+slackTimes*e.o.Clean.slack())
}

// slow makes a writer of n bytes wait while the brake is on. Nothing that a
// reader or another change needs is locked meanwhile.
func (e *Engine) slow(ctx context.Context, n int) {
	if !e.brake.on.Load() {
		return
	}
	e.brake.mu.Lock()
	defer e.brake.mu.Unlock()
	e.lookAtWaste()
	if !e.brake.on.Load() {
		return
	}
	t := time.NewTimer(time.Duration(n) * time.Second / brakedRate)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
