package engine

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// crasher is a disk of which a copy is taken, as a crash may leave it, before
// one of its operations.
type crasher struct {
	*disk.Faulty
	mem *disk.Mem

	mu   sync.Mutex
	rng  *rand.Rand
	copy *disk.Mem
}

func newCrasher(m *disk.Mem, seed uint64) *crasher {
	return &crasher{Faulty: disk.NewFaulty(m), mem: m, rng: rand.New(rand.NewPCG(seed, 3))}
}

// arm takes the copy at the n-th operation from now that changes the disk.
func (c *crasher) arm(n int) {
	c.copy = nil
	c.SetRule(func(_ disk.Op, _ string, _, total int64) error {
		if total == int64(n) {
			c.take()
		}
		return nil
	})
}

// take takes the copy now, unless there is one.
func (c *crasher) take() *disk.Mem {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.copy == nil {
		percent := []int{0, 0, 20, 50, 80, 100, 100}[c.rng.IntN(7)]
		c.copy = c.mem.Crash(c.rng, percent)
	}
	return c.copy
}

// crashed ends the wait for a crash and gives the disk after it.
func (c *crasher) crashed() *disk.Mem {
	m := c.take()
	c.SetRule(nil)
	return m
}

// crashWorld is a world whose machine crashes.
type crashWorld struct {
	*world
	disk  *crasher
	acked uint64 // what a client was told is durable
}

func newCrashWorld(t *testing.T, seed uint64) *crashWorld {
	c := newCrasher(disk.NewMem(), seed)
	w := &crashWorld{world: newWorldOn(t, seed, c), disk: c}
	w.acked = w.e.LastApplied()
	return w
}

func (w *crashWorld) work(n int) {
	w.t.Helper()
	for range n {
		w.step()
		if w.rng.IntN(4) == 0 {
			w.ack()
		}
	}
}

// ack waits for durability as a reply does. Only what was promised before the
// crash must be there after it.
func (w *crashWorld) ack() {
	w.t.Helper()
	seq := w.e.LastApplied()
	ok(w.t, w.e.WaitCommitted(ctx, seq))
	w.disk.mu.Lock()
	defer w.disk.mu.Unlock()
	if w.disk.copy == nil {
		w.acked = seq
	}
}

// crash goes on with what the crash left, perhaps after crashes of recovery.
func (w *crashWorld) crash() {
	w.t.Helper()
	c := newCrasher(w.disk.crashed(), w.rng.Uint64())
	ok(w.t, w.e.Close())
	w.o.FS = c
	for w.rng.IntN(3) == 0 {
		w.note("a crash during recovery")
		c.arm(1 + w.rng.IntN(40))
		w.open()
		ok(w.t, w.e.Close())
		c = newCrasher(c.crashed(), w.rng.Uint64())
		w.o.FS = c
	}
	w.open()
	w.disk = c
	seq := w.e.LastApplied()
	w.note("crashed; acknowledged %d, recovered %d", w.acked, seq)
	if seq < w.acked {
		w.fail("crash", fmt.Errorf("recovered %d, but %d was acknowledged", seq, w.acked))
	}
	ok(w.t, w.e.BeginWriting(ctx))
	w.acked = w.e.LastApplied()
	w.rollback(w.e, seq)
	w.compare()
}

func (w *crashWorld) open() {
	w.t.Helper()
	e, err := Open(ctx, w.o)
	if err != nil {
		w.fail("open after a crash", err)
	}
	w.e = e
}

func TestACrashLosesNothingThatWasAcknowledged(t *testing.T) {
	eachSeed(t, 6, func(t *testing.T, seed uint64) {
		w := newCrashWorld(t, seed)
		defer func() { ok(t, w.e.Close()) }()
		for range 25 {
			w.disk.arm(1 + w.rng.IntN(60))
			w.work(w.rng.IntN(60))
			switch w.rng.IntN(6) {
			case 0: // during a restart
				w.restart()
				w.restartAcked()
				w.work(w.rng.IntN(10))
			case 1: // during a flush
				ok(t, w.e.t.Flush())
				w.work(w.rng.IntN(10))
			}
			w.crash()
		}
	})
}

func (w *crashWorld) restartAcked() {
	w.disk.mu.Lock()
	defer w.disk.mu.Unlock()
	if w.disk.copy == nil {
		w.acked = w.e.LastApplied()
	}
}

// TestACrashDuringTheFirstMomentsOfAFileSystem: whatever is there of it, it can
// be created or opened, and written.
func TestACrashDuringTheFirstMomentsOfAFileSystem(t *testing.T) {
	for n := 1; n < 80; n += 2 {
		c := newCrasher(disk.NewMem(), uint64(n))
		o := testOptions(c, newClock(), "fs-1", uint64(n))
		c.arm(n)
		ok(t, newWriter(t, o).Close())
		o.FS = c.crashed()
		e, err := Open(ctx, o)
		if isNotExist(err) {
			e, err = Create(ctx, o)
		}
		if err != nil && o.KMSKey != "" { // the crash came before its key: it is made anew
			e, err = OpenOrCreate(ctx, o)
		}
		ok(t, err)
		if e.Lineage() == (fs.Lineage{}) {
			ok(t, e.Close())
			e, err = Create(ctx, o)
			ok(t, err)
		}
		ok(t, e.BeginWriting(ctx))
		create(t, e, fs.RootIno, "f", fs.TypeRegular)
		ok(t, e.AddMember(ctx, "fs-2"))
		ok(t, e.Close())
		e = reopen(t, o)
		if _, err := e.Lookup(&root, fs.RootIno, "f"); err != nil {
			t.Fatal(err)
		}
		ok(t, e.Close())
	}
}

// crashPair is a pair on one machine that crashes: both keep what they have
// durable, neither more than the other allows.
type crashPair struct {
	*pairWorld
	disk *crasher
}

func newCrashPair(t *testing.T, seed uint64) *crashPair {
	c := newCrasher(disk.NewMem(), seed)
	w := newWorldOn(t, seed, c)
	p := &pairWorld{world: w, otherO: testOptions(c, w.clock, "fs-b", seed+1000)}
	ok(t, CreateEmpty(p.otherO))
	p.other = must[*Engine](t)(Open(ctx, p.otherO))
	ok(t, w.e.AddMember(ctx, p.otherO.ID))
	return &crashPair{p, c}
}

func (p *crashPair) crash() {
	t := p.t
	t.Helper()
	c := newCrasher(p.disk.crashed(), p.rng.Uint64())
	p.close()
	p.disk, p.o.FS, p.otherO.FS = c, c, c
	var err error
	if p.e, err = Open(ctx, p.o); err != nil {
		p.fail("open the source after a crash", err)
	}
	if p.other, err = Open(ctx, p.otherO); err != nil {
		p.fail("open the destination after a crash", err)
	}
	seq := p.e.LastApplied()
	p.note("crashed; source at %d, destination at %d", seq, p.other.LastApplied())
	ok(t, p.e.BeginWriting(ctx))
	p.rollback(p.e, seq)
	p.compare()
}

// prefix checks that the destination holds a position of the source.
func (p *crashPair) prefix() {
	p.t.Helper()
	if pos := p.other.Durable(); pos.Seq > 0 {
		if has, err := p.e.Has(pos); err != nil || !has {
			p.t.Fatalf("seed %d: the source does not know the destination's %s: %v\n%v", p.seed, pos, err, p.log[max(0, len(p.log)-20):])
		}
	}
}

func TestACrashedDestinationIsAPrefix(t *testing.T) {
	eachSeed(t, 4, func(t *testing.T, seed uint64) {
		p := newCrashPair(t, seed)
		defer func() { p.close() }()
		p.steps(p.rng.IntN(60))
		p.bootstrapThroughCrashes()
		for range 10 {
			p.disk.arm(1 + p.rng.IntN(80))
			for range p.rng.IntN(4) {
				p.steps(p.rng.IntN(20))
				ok(t, p.e.Sync(ctx))
				pull(t, p.e, p.other, p.rng.IntN(30))
			}
			p.crash()
			p.prefix()
		}
		settle(t, p.e)
		catchUp(t, p.e, p.other)
	})
}

// bootstrapThroughCrashes tries until the destination is whole.
func (p *crashPair) bootstrapThroughCrashes() {
	for n := 0; !p.other.Whole(); n++ {
		p.disk.arm(1 + p.rng.IntN(40+20*n))
		p.attempt(nil)
		p.crash()
		p.prefix()
	}
}

// attempt transfers with the name that the destination waits for, if any.
func (p *crashPair) attempt(fork *fs.Pos) {
	p.t.Helper()
	name := p.other.StageName()
	if name == "" {
		p.names++
		name = fmt.Sprintf("transfer-%d", p.names)
	}
	if err := p.transferOnce(name, fork, false); err != nil {
		p.fail("transfer", err)
	}
}

// TestACrashDuringResync: afterwards the old primary is where it was, or where
// the new primary was at the checkpoint; and it can always go on.
func TestACrashDuringResync(t *testing.T) {
	eachSeed(t, 4, func(t *testing.T, seed uint64) {
		p := newCrashPair(t, seed)
		defer func() { p.close() }()
		p.steps(p.rng.IntN(80))
		p.attempt(nil)
		for range 2 {
			p.steps(p.rng.IntN(40))
			ok(t, p.e.Sync(ctx))
			pull(t, p.e, p.other, p.rng.IntN(50))
			p.steps(p.rng.IntN(40))
			ok(t, p.e.Sync(ctx))
			p.swap()
			p.steps(p.rng.IntN(40))
			ok(t, p.e.Sync(ctx))
			p.resyncThroughCrashes()
			settle(t, p.e)
			catchUp(t, p.e, p.other)
		}
	})
}

func (p *crashPair) resyncThroughCrashes() {
	t := p.t
	t.Helper()
	for n := 0; ; n++ {
		ours := must[fs.History](t)(p.e.History())
		theirs := must[fs.History](t)(p.other.History())
		seq, _ := fs.Fork(&ours, &theirs)
		if seq == theirs.Last.Seq {
			return
		}
		fork, err := p.other.PosAt(seq)
		if err != nil {
			p.fail(fmt.Sprintf("fork %d of %+v and %+v", seq, ours, theirs), err)
		}
		p.disk.arm(1 + p.rng.IntN(60+10*n))
		p.attempt(&fork)
		p.steps(p.rng.IntN(4))
		p.crash()
		if l := must[[]Salvage](t)(p.other.Salvages()); p.other.Durable() != theirs.Last && len(l) == 0 {
			t.Fatal("the switch came without a salvage")
		}
	}
}
