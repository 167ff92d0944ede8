package journal

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// A crash at any write, sync or rename leaves a prefix that holds all that was
// acknowledged; the journal goes on from there, and a crash during recovery
// changes nothing.

// crashRun is a journal that lives through many crashes.
type crashRun struct {
	rng   *rand.Rand
	h     *history
	acked uint64
	put   map[fs.Addr]byte // payloads without record that must be there
}

func (c *crashRun) percent() int { return []int{0, 20, 50, 80, 100}[c.rng.IntN(5)] }

// load appends, waits and puts, until the disk has crashed.
func (c *crashRun) load(j *Journal, steps int, crashed func() bool) error {
	for range steps {
		if crashed() {
			return nil
		}
		switch c.rng.IntN(10) {
		case 0, 1:
			seq := c.h.last().Seq
			if err := j.WaitDurable(noDeadline, seq); err != nil {
				return err
			}
			if !crashed() {
				c.acked = max(c.acked, seq)
			}
		case 2:
			if err := c.putOne(j, crashed); err != nil {
				return err
			}
		default:
			if _, err := c.h.append(j, randomPayload(c.rng)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *crashRun) putOne(j *Journal, crashed func() bool) error {
	x := byte(c.rng.Uint32())
	p := make([]byte, 1+c.rng.IntN(2*unitSize))
	for i := range p {
		p[i] = x
	}
	a, err := j.PutPayload(p)
	if err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		if err := j.SyncPayloads(); err != nil {
			return err
		}
		if !crashed() {
			c.put[a] = x
			c.acked = max(c.acked, c.h.last().Seq)
		}
	}
	return nil
}

// reopen recovers from a random position of the tree.
func (c *crashRun) reopen(d disk.FS, crashed func() bool) (*Journal, error) {
	j, err := Open(tiny(d))
	if err != nil {
		return nil, err
	}
	after := c.h.posAt(c.rng.Uint64N(c.acked + 1))
	end, err := c.h.check(j, after, c.acked)
	if err != nil {
		j.kill()
		return nil, err
	}
	for a, x := range c.put {
		got := make([]byte, a.Length)
		if err := j.Read(a, 0, got); err != nil || got[0] != x || got[len(got)-1] != x {
			j.kill()
			return nil, fmt.Errorf("synced payload at %+v: %v", a, err)
		}
	}
	if !crashed() {
		c.h.cutTo(end)
		c.acked = end // published as durable
	}
	return j, nil
}

func never() bool { return false }

// crashOnce opens the journal and loads it on a disk that crashes at some
// operation, perhaps during recovery. It returns the disk afterwards.
func crashOnce(seed uint64, mem *disk.Mem, c *crashRun) (*disk.Mem, error) {
	faulty := disk.NewFaulty(mem)
	var left *disk.Mem
	at := 1 + c.rng.Int64N(120)
	clone := rand.New(rand.NewPCG(seed, 99))
	percent := c.percent()
	done := make(chan struct{})
	faulty.SetRule(func(op disk.Op, _ string, _, total int64) error {
		if total == at && op != disk.OpRead && op != disk.OpOpen {
			close(done) // first: what is acknowledged from now on may be lost
			left = mem.Crash(clone, percent)
		}
		return nil
	})
	crashed := func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
	j, err := c.reopen(faulty, crashed)
	if err != nil {
		return nil, err
	}
	err = c.load(j, 150, crashed)
	j.kill()
	if err != nil {
		return nil, err
	}
	if !crashed() {
		left = mem.Crash(clone, percent)
	}
	return left, nil
}

func TestCrashesLoseNothingAcknowledged(t *testing.T) {
	for seed := range fewer(uint64(100), 5) {
		c := &crashRun{rng: rand.New(rand.NewPCG(seed, 0)), h: newHistory(), put: map[fs.Addr]byte{}}
		mem := disk.NewMem()
		if err := Create(tiny(mem)); err != nil {
			t.Fatal(err)
		}
		for life := range 8 {
			next, err := crashOnce(seed*100+uint64(life), mem, c)
			if err != nil {
				t.Fatalf("seed %d, life %d: %v", seed, life, err)
			}
			mem = next
		}
	}
}

// After a kill the page cache holds more than the disk, and after a failed sync
// it believes that the disk has it. What recovery then publishes as durable
// must survive a power cut right afterwards.
func TestRecoveryMakesDurableWhatItPublishes(t *testing.T) {
	for seed := range fewer(uint64(60), 5) {
		c := &crashRun{rng: rand.New(rand.NewPCG(seed, 1)), h: newHistory(), put: map[fs.Addr]byte{}}
		mem := disk.NewMem()
		if err := Create(tiny(mem)); err != nil {
			t.Fatal(err)
		}
		for life := range 4 {
			j, err := c.reopen(mem, never)
			if err != nil {
				t.Fatalf("seed %d, life %d: %v", seed, life, err)
			}
			if err := c.load(j, c.rng.IntN(60), never); err != nil {
				t.Fatal(err)
			}
			if c.rng.IntN(3) == 0 {
				wait(t, j, c.h.last().Seq)
				c.acked = c.h.last().Seq
				markWithoutSync(j)
			} else {
				for range 1 + c.rng.IntN(30) {
					if _, err := c.h.append(j, randomPayload(c.rng)); err != nil {
						t.Fatal(err)
					}
				}
				writeWithoutSync(j)
			}
			j.kill()
			kept := &cached{mem.Crash(c.rng, 100), mem.Crash(c.rng, 0)}
			if c.rng.IntN(2) == 0 {
				kept.FS = mem.Crash(c.rng, 80) // and a part never got that far
			}
			j, err = c.reopen(kept, never)
			if err != nil {
				t.Fatalf("seed %d, life %d, after the kill: %v", seed, life, err)
			}
			if c.rng.IntN(2) == 0 {
				if _, err := c.h.append(j, nil); err != nil {
					t.Fatal(err)
				}
				wait(t, j, c.h.last().Seq)
				c.acked = c.h.last().Seq
			}
			j.kill()
			mem = kept.platter.Crash(c.rng, 0)
		}
	}
}

// writeWithoutSync carries out a round up to the syncs.
func writeWithoutSync(j *Journal) {
	j.ioMu.Lock()
	defer j.ioMu.Unlock()
	r := j.take()
	if r == nil {
		return
	}
	for _, b := range r.batches {
		if err := b.write(r.claim); err != nil {
			panic(err)
		}
	}
}

func markWithoutSync(j *Journal) {
	j.mu.Lock()
	j.markDue = true
	j.mu.Unlock()
	writeWithoutSync(j)
}
