package region

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/fstest"
)

// nap lets a writer that is in no replication go to rest and wake up again, as a
// region does with one that nobody uses. A crash may come meanwhile.
func (w *simWorld) nap(s *simSite) {
	w.t.Helper()
	dies, atRest, after := w.rng.IntN(3) == 0, w.rng.IntN(3) == 0, 1+w.rng.IntN(80)
	if !w.calm() && s.eng == nil {
		return
	}
	s.disk.setFull(false)
	if !w.quiet(s) {
		w.note("region %d stays awake: %v", s.n, s.eng.Idle())
		return
	}
	s.ack()
	w.note("region %d goes to rest at %d", s.n, s.eng.LastApplied())
	if dies && !atRest {
		s.disk.arm(after)
	}
	r, err := s.eng.Rest()
	w.ok("go to rest", err)
	if dies && atRest {
		s.disk.take()
	}
	told := engine.ReadResting(s.o)
	epoch := s.eng.Epoch()
	e, err := engine.Open(ctx, s.o)
	w.ok("wake", err)
	if told == nil || told.Pos != r.Pos || e.Durable() != r.Pos || !e.Resume(r) || e.Epoch() != epoch {
		w.fail("wake", fmt.Errorf("it went to rest at %s and said %+v; it woke up at %s in epoch %s", r.Pos, told, e.Durable(), e.Epoch()))
	}
	s.setEngine(e)
	if s == w.source() {
		w.count(sawRest)
		w.m.FS = roomy{e, s}
		w.work(w.rng.IntN(5))
	} else {
		w.count(sawOldRest)
	}
	if dies {
		w.crashInNap(s)
	}
}

// crashInNap goes on with what the crash left: what that says of itself at rest
// is true.
func (w *simWorld) crashInNap(s *simSite) {
	w.t.Helper()
	w.count(sawCrashInRest)
	w.crash(s)
	if told := engine.ReadResting(s.o); told != nil {
		w.count(sawCrashAtRest)
		e, err := engine.Open(ctx, s.o)
		w.ok("open", err)
		if e.Durable() != told.Pos || e.Lineage() != told.Lineage || e.Meta().Files != told.Files || e.Meta().BytesUsed != told.BytesUsed {
			w.fail("at rest", fmt.Errorf("it says %+v and is at %s", told, e.Durable()))
		}
		w.ok("close", e.Close())
	}
	w.reopen(s)
}

// napPatience is for removed files to go; what a replica transfers stays for
// longer than it is worth waiting.
const napPatience = time.Second / 2

// quiet makes a writer idle: what is open is closed, who may reclaim goes.
func (w *simWorld) quiet(s *simSite) bool {
	w.t.Helper()
	if s == w.source() {
		w.everybodyLeaves()
	} else {
		w.leaveOld(s)
	}
	for end := time.Now().Add(napPatience); time.Now().Before(end); time.Sleep(time.Millisecond / 2) {
		err := s.eng.Idle()
		if err == nil {
			return true
		}
		if !errors.Is(err, engine.ErrInUse) {
			w.fail("look whether it is idle", err)
		}
	}
	return false
}

// everybodyLeaves the authoritative region.
func (w *simWorld) everybodyLeaves() {
	w.t.Helper()
	do := func(o *fstest.Op) {
		o.Time = w.clock.Now()
		done, err := w.m.Do(o)
		w.ok(o.String(), err)
		w.events = append(w.events, simEvent{o, done.Seq, w.refOffset})
	}
	for _, ino := range w.m.Ref.Held() {
		for range w.m.Ref.Holds(ino) {
			do(&fstest.Op{Kind: fstest.OpRelease, Ino: ino})
		}
	}
	w.gen.Restarted() // nothing is held
	clients, _ := w.m.Ref.Clients()
	for _, c := range clients {
		do(&fstest.Op{Kind: fstest.OpClient, Name: fs.Name(c), Delete: true})
	}
	do(&fstest.Op{Kind: fstest.OpGraceEnded})
}

// leaveOld takes the clients of an old primary away.
func (w *simWorld) leaveOld(s *simSite) {
	w.t.Helper()
	clients, err := s.eng.Clients()
	w.ok("clients", err)
	for _, c := range clients {
		_, err := s.eng.RemoveClient(ctx, c)
		w.ok("remove a client", err)
	}
	s.eng.GraceEnded()
}
