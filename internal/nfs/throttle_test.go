package nfs

import (
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

func TestThrottleIsARateWithABurst(t *testing.T) {
	var th throttle
	now := time.Unix(1_700_000_000, 0)
	const rate = 1000
	sum := 0.0
	// A second of burst, then the rate, however the requests come.
	for i := range 100 {
		wait, ok := th.reserve(100, rate, now)
		if !ok {
			t.Fatalf("request %d is refused", i)
		}
		now = now.Add(wait)
		sum += 100
	}
	took := now.Sub(time.Unix(1_700_000_000, 0)).Seconds()
	if got := sum / (took + 1); got < 0.98*rate || got > 1.02*rate {
		t.Errorf("%v bytes in %v s: %v per second", sum, took, got)
	}
	for n := 0; ; n++ { // nobody waits for his turn: the queue has an end
		if _, ok := th.reserve(1000, rate, now); !ok {
			if n < 4 || n > 8 {
				t.Errorf("%d requests of a second each may wait", n)
			}
			break
		}
	}
	if wait, ok := th.reserve(1, rate, now.Add(time.Minute)); wait != 0 || !ok {
		t.Errorf("after a pause: %v, %v", wait, ok)
	}
}

// TestProvisionedThroughputIsKept measures it at a client.
func TestProvisionedThroughputIsKept(t *testing.T) {
	s, k := guardedSite(t)
	p := s.mountAt(rootA(), "one")
	f := p.open(putFH(p.handle()), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	const size, rate = 64 << 10, 256 << 10
	k.limit(rate)
	begin := time.Now()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // the server's clock follows
		for last := begin; ; {
			select {
			case <-stop:
				return
			case now := <-time.After(time.Millisecond):
				s.clock.advance(now.Sub(last))
				last = now
			}
		}
	}()
	for range 8 { // two seconds of throughput, one of them at once
		p.must(putFH(f.fh), write(f.id, 0, xdr.FileSync, make([]byte, size)))
	}
	if took := time.Since(begin); took < 700*time.Millisecond {
		t.Errorf("%d bytes at %d per second took %v", 8*size, rate, took)
	}
	k.limit(0)
	begin = time.Now()
	for range 64 { // 16 seconds of throughput
		p.must(putFH(f.fh), write(f.id, 0, xdr.FileSync, make([]byte, size)))
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("without a limit it took %v", took)
	}
	k.limit(1) // every further one would wait for hours
	p.must(putFH(f.fh), write(f.id, 0, xdr.FileSync, make([]byte, size)))
	p.want(p.status(putFH(f.fh), write(f.id, 0, xdr.FileSync, make([]byte, size))), xdr.ErrDelay, "beyond the longest wait")
	p.want(p.status(putFH(f.fh), getAttr(xdr.AttrSize)), xdr.OK, "what transfers nothing")
}
