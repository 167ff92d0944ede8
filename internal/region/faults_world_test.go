package region

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/fstest"
)

var ctx = context.Background()

// simStart is when every simulation begins.
var simStart = time.Unix(1_700_000_000, 0)

// simWorld is two regions, the line between them, and the reference file
// system that says what the authoritative region must hold.
type simWorld struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	clock *fstest.Clock
	net   *simNet
	site  [2]*simSite
	auth  int // the region that holds the truth, by the operator's word
	ids   int

	replMu sync.Mutex
	repl   *simReplication // nil: none

	prefix   bool // the destination was seen to be a prefix of its source: it stays so
	diverged *divergence
	zombies  int
	resynced bool       // an old primary came back as a destination
	lineage  fs.Lineage // of the replication
	epochs   map[epochKey]epochOwner
	// neglect: cleaners keep nothing for a replica that is behind, so that it
	// comes back by comparing trees.
	neglect bool

	m      *fstest.Model
	gen    *fstest.Gen
	events []simEvent
	// refOffset is how far the clock of the region that does an operation is off.
	refOffset time.Duration
	genesis   time.Duration // what it was at the beginning

	logMu sync.Mutex
	log   []string
	cover *coverage
}

// simReplication is what the operator has set up.
type simReplication struct {
	src        int
	name       string
	fileSystem string // of the source
}

// simEvent is an operation, or the beginning of an epoch (nil). seq is the
// sequence that holds it, 0 when it changed nothing.
type simEvent struct {
	op     *fstest.Op
	seq    uint64
	offset time.Duration
}

func newSimWorld(t *testing.T, seed uint64, c *coverage) *simWorld {
	w := &simWorld{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 7)), clock: fstest.NewClock(simStart), net: newSimNet(seed),
		epochs: make(map[epochKey]epochOwner), cover: c, neglect: seed%3 == 2}
	t.Cleanup(func() {
		if t.Failed() {
			w.logMu.Lock()
			defer w.logMu.Unlock()
			t.Logf("seed %d; what happened:\n%s", seed, strings.Join(w.log[max(0, len(w.log)-150):], "\n"))
		}
	})
	for i := range w.site {
		w.site[i] = &simSite{w: w, n: i}
		if w.rng.IntN(2) == 0 {
			w.site[i].offset.Store(int64(time.Duration(w.rng.IntN(1200)-600) * time.Second))
		}
		w.site[i].format()
	}
	if w.site[1].off() < w.site[0].off()-time.Minute {
		w.count(sawClockBehind)
	}
	s := w.source()
	e, err := engine.Create(ctx, s.o)
	w.ok("create", err)
	w.ok("close", e.Close())
	s.open()
	s.beginWriting()
	w.refOffset = s.off()
	w.genesis = s.off()
	ref := fstest.NewRef(w.refNow)
	w.m = fstest.NewModel(w.clock, roomy{s.eng, s})
	w.m = w.m.Resume(ref, roomy{s.eng, s})
	w.m.Settle = w.settle
	w.gen = fstest.NewGen(seed, ref, simStart.Add(time.Second))
	w.compare()
	return w
}

func (w *simWorld) refNow() time.Time { return w.clock.Now().Add(w.refOffset) }

// source is the authoritative region, dest the other one.
func (w *simWorld) source() *simSite { return w.site[w.auth] }
func (w *simWorld) dest() *simSite   { return w.site[1-w.auth] }

func (w *simWorld) quick(s *simSite) quickClock {
	return quickClock{time.Now(), s.off}
}

func (w *simWorld) ok(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.fail(what, err)
	}
}

func (w *simWorld) fail(what string, err error) {
	w.t.Helper()
	name, _, _ := strings.Cut(w.t.Name(), "/")
	for _, s := range w.site {
		if s.eng != nil && s.eng.Err() != nil {
			w.note("region %d has stopped: %v", s.n, s.eng.Err())
		}
	}
	w.t.Fatalf("%s: %v\nreplay: HOLDFAST_SEED=%d go test -count=1 -run '^%s$' ./internal/region", what, err, w.seed, name)
}

func (w *simWorld) note(format string, a ...any) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%5d ", len(w.log))+fmt.Sprintf(format, a...))
}

// logger writes what a region's follower has to say into the world's log.
func (w *simWorld) logger(s *simSite) *slog.Logger {
	return slog.New(slog.NewTextHandler(noteWriter{w, s.n}, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
}

type noteWriter struct {
	w *simWorld
	n int
}

func (n noteWriter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "compared with the source") {
		n.w.count(sawCompared)
	}
	n.w.note("      region %d: %.300s", n.n, strings.TrimSpace(string(p)))
	return len(p), nil
}

func (w *simWorld) isSource(site int, fileSystem, replication string) bool {
	w.replMu.Lock()
	defer w.replMu.Unlock()
	return w.repl != nil && w.repl.src == site && w.repl.name == replication && w.repl.fileSystem == fileSystem
}

func (w *simWorld) setReplication(r *simReplication) {
	w.replMu.Lock()
	defer w.replMu.Unlock()
	w.repl = r
}

// await waits for what the regions do by themselves; the deadline only ends a
// test that hangs.
func (w *simWorld) await(what string, cond func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			status := "no follower"
			if f := w.dest().follower; f != nil {
				status = fmt.Sprintf("%+v", f.Status())
			}
			w.fail("await", fmt.Errorf("never: %s; %s", what, status))
		}
	}
}

// settle waits until the engine has done what it does later.
func (w *simWorld) settle() {
	e := w.source().eng
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond / 2) {
		want, _ := w.m.Ref.StatFS()
		if got, err := e.StatFS(); err == nil && got.Files == want.Files && got.BytesUsed == want.BytesUsed {
			return
		}
	}
}

// work does n operations at the authoritative region.
func (w *simWorld) work(n int) {
	w.t.Helper()
	for range n {
		o := w.gen.Next()
		done, err := w.m.Do(o)
		w.ok(o.String(), err)
		if done.Made != 0 {
			w.gen.Made(done.Made, done.Type)
		}
		w.events = append(w.events, simEvent{o, done.Seq, w.refOffset})
		w.cover.add(&w.cover.operations)
		if w.rng.IntN(4) == 0 {
			w.source().ack()
		}
	}
}

func (w *simWorld) compare() {
	w.t.Helper()
	w.ok("compare with the reference", w.m.Compare())
	w.ok("the engine", w.source().eng.Err())
	w.cover.add(&w.cover.comparisons)
}

// rollback brings the reference to the state at a sequence of the
// authoritative region, which has just begun an epoch there: what came later
// is lost. It gives how many changes that are.
func (w *simWorld) rollback(seq uint64) (lost int) {
	w.t.Helper()
	for i, ev := range w.events {
		if ev.seq > seq {
			for _, l := range w.events[i:] {
				if l.op != nil && l.seq > seq {
					lost++
				}
			}
			w.events = w.events[:i:i]
			break
		}
	}
	at := w.clock.Now()
	w.clock.Set(simStart)
	w.refOffset = w.genesis
	twin := fstest.NewRef(w.refNow)
	m := fstest.NewModel(w.clock, twin).Resume(fstest.NewRef(w.refNow), twin)
	for _, ev := range w.events {
		w.refOffset = ev.offset
		if ev.op == nil {
			twin.Restart()
			m.Restarted(twin)
		} else if _, err := m.Do(ev.op); err != nil {
			w.fail("replay "+ev.op.String(), err)
		}
	}
	w.clock.Set(at)
	w.goOn(m.Ref)
	return lost
}

// goOn compares the authoritative region with ref from now on: it has begun a
// new epoch, and its grace ends at once.
func (w *simWorld) goOn(ref *fstest.Ref) {
	w.t.Helper()
	s := w.source()
	w.refOffset = s.off()
	subject := roomy{s.eng, s}
	w.m = w.m.Resume(ref, subject)
	w.gen.Use(ref)
	w.events = append(w.events, simEvent{nil, s.eng.LastApplied(), w.refOffset})
	w.m.Restarted(subject)
	w.gen.Restarted()
	o := &fstest.Op{Kind: fstest.OpGraceEnded, Time: w.clock.Now()}
	w.events = append(w.events, simEvent{o, 0, w.refOffset})
	_, err := w.m.Do(o)
	w.ok("grace ended", err)
}
