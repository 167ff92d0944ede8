package replica

import (
	"context"
	"sync"
	"time"
)

// limiter bounds the bytes per second that all streams of a follower read
// together: a token bucket that may hold a tenth of a second's worth. Reading
// less makes the source send less, by TCP's flow control. A nil limiter does
// not limit. Safe for concurrent use.
type limiter struct {
	clock Clock
	rate  float64 // bytes per second

	mu   sync.Mutex
	paid time.Time // until when the bytes taken so far are paid for
}

const limiterBurst = 100 * time.Millisecond

func newLimiter(c Clock, bytesPerSecond int64) *limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	return &limiter{clock: c, rate: float64(bytesPerSecond)}
}

// chunk is the most to read at once, so that no single wait is long.
func (l *limiter) chunk(n int) int {
	if l == nil {
		return n
	}
	return min(n, max(1024, int(l.rate*limiterBurst.Seconds())))
}

// take waits until n bytes that were read are paid for.
func (l *limiter) take(ctx context.Context, n int) {
	if l == nil || n <= 0 {
		return
	}
	sleep(ctx, l.clock, l.reserve(n))
}

func (l *limiter) reserve(n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	if start := now.Add(-limiterBurst); l.paid.Before(start) {
		l.paid = start
	}
	l.paid = l.paid.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	return l.paid.Sub(now)
}
