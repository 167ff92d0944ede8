package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fstest"
)

// With HOLDFAST_SEED a test runs that one seed; with HOLDFAST_SEEDS so many.
func eachSeed(t *testing.T, seeds int, fn func(t *testing.T, seed uint64)) {
	if s := os.Getenv("HOLDFAST_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		ok(t, err)
		fn(t, seed)
		return
	}
	if s := os.Getenv("HOLDFAST_SEEDS"); s != "" {
		n, err := strconv.Atoi(s)
		ok(t, err)
		seeds = n
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			fn(t, uint64(seed))
		})
	}
}

// world is one file system under random operations.
type world struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	clock *fstest.Clock
	o     Options
	e     *Engine
	m     *fstest.Model
	gen   *fstest.Gen
	log   []string
	// events are what happened, so that the reference can be brought to any
	// earlier state.
	events []event
}

// event is an operation, or a restart (nil). seq is the engine's sequence that
// holds it, 0 when it changed nothing.
type event struct {
	op  *fstest.Op
	seq uint64
}

// rollback brings the reference to the state at a sequence of the engine: what
// came later is lost. The holds are forgotten and grace is over.
func (w *world) rollback(e *Engine, seq uint64) {
	w.t.Helper()
	for i, ev := range w.events {
		if ev.seq > seq {
			w.note("rolled back to %d: %d events are lost", seq, len(w.events)-i)
			w.events = w.events[:i:i]
			break
		}
	}
	at := w.clock.Now()
	w.clock.Set(start)
	twin := fstest.NewRef(w.clock.Now)
	m := fstest.NewModel(w.clock, twin)
	for _, ev := range w.events {
		if ev.op == nil {
			twin.Restart()
			m.Restarted(twin)
		} else if _, err := m.Do(ev.op); err != nil {
			w.fail("replay "+ev.op.String(), err)
		}
	}
	w.clock.Set(at)
	w.e = e
	w.m = w.m.Resume(m.Ref, e)
	w.gen.Use(m.Ref)
	w.taken(true)
}

// taken notes that the engine has a new epoch.
func (w *world) taken(graceOver bool) {
	w.events = append(w.events, event{nil, w.e.LastApplied()})
	w.m.Restarted(w.e)
	w.gen.Restarted()
	if graceOver {
		o := &fstest.Op{Kind: fstest.OpGraceEnded, Time: w.clock.Now()}
		w.events = append(w.events, event{o, 0})
		if _, err := w.m.Do(o); err != nil {
			w.fail("grace ended", err)
		}
	}
}

func newWorld(t *testing.T, seed uint64) *world {
	return newWorldOn(t, seed, disk.NewMem())
}

func newWorldOn(t *testing.T, seed uint64, d disk.FS) *world {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 2)), clock: fstest.NewClock(start)}
	w.o = testOptions(d, w.clock, "fs-a", seed)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d; the last operations:\n%s", seed, strings.Join(w.log[max(0, len(w.log)-40):], "\n"))
		}
	})
	w.e = newWriter(t, w.o)
	w.adopt(fstest.NewModel(w.clock, w.e))
	w.compare()
	return w
}

func (w *world) adopt(m *fstest.Model) {
	w.m = m
	w.m.Settle = func() { settle(w.t, w.e) } // whichever it is then
	if w.gen == nil {
		w.gen = fstest.NewGen(w.seed, m.Ref, start.Add(time.Second))
	}
}

func (w *world) fail(what string, err error) {
	w.t.Helper()
	name, _, _ := strings.Cut(w.t.Name(), "/")
	w.t.Fatalf("%s: %v\nreplay: HOLDFAST_SEED=%d go test -run '^%s$' ./internal/engine", what, err, w.seed, name)
}

func (w *world) note(format string, a ...any) {
	w.log = append(w.log, fmt.Sprintf("%5d ", len(w.log))+fmt.Sprintf(format, a...))
}

// step does one operation; it returns what was done.
func (w *world) step() (*fstest.Op, fstest.Done) {
	w.t.Helper()
	o := w.gen.Next()
	w.note("%s", o)
	done, err := w.m.Do(o)
	if err != nil {
		w.fail(o.String(), err)
	}
	if done.Made != 0 {
		w.gen.Made(done.Made, done.Type)
	}
	w.events = append(w.events, event{o, done.Seq})
	return o, done
}

func (w *world) compare() {
	w.t.Helper()
	if err := w.m.Compare(); err != nil {
		w.fail("compare", err)
	}
	if err := w.e.Err(); err != nil {
		w.fail("the engine", err)
	}
}

func (w *world) restart() {
	w.t.Helper()
	w.note("restart")
	if err := w.e.Close(); err != nil {
		w.fail("close", err)
	}
	e, err := Open(ctx, w.o)
	if err == nil {
		w.e = e
		err = e.BeginWriting(ctx)
	}
	if err != nil {
		w.fail("restart", err)
	}
	w.taken(false)
}

// settle waits until nothing is left to reclaim that may go.
func settle(t *testing.T, e *Engine) {
	t.Helper()
	for range 20_000 {
		if settled(t, e) {
			return
		}
		time.Sleep(time.Millisecond / 2)
	}
	t.Fatal("removed files do not go")
}

func settled(t *testing.T, e *Engine) bool {
	idle := true
	ok(t, e.view(func(tr *tree.Tree) error {
		orphans, err := tr.Orphans()
		for _, ino := range orphans {
			idle = idle && e.isHeld(ino)
		}
		pending, err2 := tr.Pending()
		idle = idle && len(pending) == 0
		return errors.Join(err, err2)
	}))
	return idle
}

func TestRandomOperationsAreWhatTheReferenceDoes(t *testing.T) {
	eachSeed(t, 8, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed)
		defer func() { ok(t, w.e.Close()) }()
		for i := range 1500 {
			w.step()
			if i%100 == 99 {
				w.compare()
			}
		}
	})
}

func TestARestartAfterEachOperationChangesNothing(t *testing.T) {
	eachSeed(t, 3, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed)
		defer func() { ok(t, w.e.Close()) }()
		for range 50 {
			for range 1 + int(seed%2)*w.rng.IntN(20) {
				w.step()
			}
			w.restart()
			w.compare()
		}
	})
}
