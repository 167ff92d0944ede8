package disk

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// A crash while a directory is being locked: neither waits for the other.
func TestACrashBesideLock(t *testing.T) {
	m := NewMem()
	var done sync.WaitGroup
	stop := make(chan struct{})
	done.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			l, err := m.Lock("lock")
			if err == nil {
				err = l.Close()
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		m.Crash(rng, 50)
	}
	close(stop)
	done.Wait()
}
