package replica

import (
	"context"
	"time"
)

// Clock is the time that this package sees. Safe for concurrent use.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f in its own goroutine after d. stop prevents that and
	// reports whether it came in time, as (*time.Timer).Stop does.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// SystemClock is the machine's clock.
type SystemClock struct{}

// Now implements Clock.
func (SystemClock) Now() time.Time { return time.Now() }

// AfterFunc implements Clock.
func (SystemClock) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d, f).Stop
}

// sleep waits for d, or less when ctx ends first.
func sleep(ctx context.Context, c Clock, d time.Duration) {
	if d <= 0 {
		return
	}
	done := make(chan struct{})
	stop := c.AfterFunc(d, func() { close(done) })
	defer stop()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// every calls f each d until ctx ends or f says false. A call that takes long
// delays the next; ticks are never made up for.
func every(ctx context.Context, c Clock, d time.Duration, f func() bool) {
	for ctx.Err() == nil {
		sleep(ctx, c, d)
		if ctx.Err() != nil || !f() {
			return
		}
	}
}
