package engine

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// cleanAnyway: history grows old also where nothing is written.
const cleanAnyway = time.Hour

// cleanSoon starts a pass if one is due and none runs. It returns at once.
func (e *Engine) cleanSoon() {
	c := &e.cleaner
	if e.o.Clean.Off || !c.running.CompareAndSwap(false, true) {
		return
	}
	c.stateMu.Lock()
	defer c.stateMu.Unlock()
	if c.ended {
		return
	}
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		defer c.running.Store(false)
		if !e.cleanDue() {
			return
		}
		err := e.Clean(e.life)
		if err != nil && !errors.Is(err, context.Canceled) {
			e.log.Warn("the journal could not be cleaned; it will be tried again", "error", err)
		}
	}()
}

// cleanDue reports whether there is enough garbage for a pass: since the last
// one, which left what it could not take.
func (e *Engine) cleanDue() bool {
	j := e.journalNow()
	if j == nil || !e.mayClean() {
		return false
	}
	waste, used := e.wasteNow(j)
	c := &e.cleaner
	c.stateMu.Lock()
	defer c.stateMu.Unlock()
	now := e.o.Now()
	if e.space.pressure() == diskFull {
		return !c.hopeless || waste > c.waste+e.o.Clean.slack()/2
	}
	grown := waste - max(c.waste, 0)
	if grown > e.o.Clean.slack()+used/deadTrigger || waste < c.waste/2 {
		return true
	}
	return worthAnHour(waste, e.o.Clean.slack(), j.Short()) && (c.last.IsZero() || now.Sub(c.last) > cleanAnyway)
}

// worthAnHour: there is enough for a pass every hour, or after a start.
func worthAnHour(waste, slack, short int64) bool { return waste > slack || short > maxShort }

// mayClean: a superseded primary keeps all that it has until the operator
// decides; it makes no garbage either.
func (e *Engine) mayClean() bool {
	c := &e.cleaner
	c.stateMu.Lock()
	defer c.stateMu.Unlock()
	return Mode(e.mode.Load()) == Writer || c.receiving
}

// wasteNow is what the journal takes beyond the file data in it, and that data.
func (e *Engine) wasteNow(j *journal.Journal) (waste, used int64) {
	used = int64(e.Meta().BytesUsed)
	return j.Bytes() - used, used
}

func (e *Engine) noteWaste(j *journal.Journal, c *choice) {
	waste, _ := e.wasteNow(j)
	s := &e.cleaner
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	s.waste, s.last = waste, e.o.Now()
	s.hopeless = c.dead < e.o.Clean.slack()/4
}

// noteFailed: on a full disk there is no hope in another pass before there is
// more to gain, and whoever waits for one is told so.
func (e *Engine) noteFailed() {
	j := e.journalNow()
	if j == nil || e.space.pressure() != diskFull {
		return
	}
	waste, _ := e.wasteNow(j)
	s := &e.cleaner
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	s.waste, s.last, s.hopeless = waste, e.o.Now(), true
}

func (e *Engine) noteReceiving(yes bool) {
	e.cleaner.stateMu.Lock()
	e.cleaner.receiving = yes
	e.cleaner.stateMu.Unlock()
}

// noSpace is the answer to a change that needs room when there is none:
// fs.ErrDelay while the cleaner may make some, else fs.ErrNoSpace.
func (e *Engine) noSpace() error {
	j := e.journalNow()
	if e.o.Clean.Off || j == nil {
		return fs.ErrNoSpace
	}
	waste, _ := e.wasteNow(j)
	e.cleaner.stateMu.Lock()
	hope := !e.cleaner.hopeless && waste > e.o.Clean.slack()
	e.cleaner.stateMu.Unlock()
	if !hope {
		return fs.ErrNoSpace
	}
	e.cleanSoon()
	return fs.ErrDelay
}

// interruptCleaner ends a pass that runs, soon: it holds on to a tree that is to
// be closed, and a promotion may wait for that.
func (e *Engine) interruptCleaner() {
	if cancel := e.cleaner.cancel.Load(); cancel != nil {
		(*cancel)()
	}
}

// closeCleaner ends a pass that runs and keeps what is known of peers.
func (e *Engine) closeCleaner() {
	e.cleaner.stateMu.Lock()
	e.cleaner.ended = true
	e.cleaner.stateMu.Unlock()
	e.cleaner.wg.Wait()
	e.savePeers()
}

func (e *Engine) savePeers() {
	if err := e.peers.save(&e.o); err != nil && !errors.Is(err, context.Canceled) {
		e.log.Warn("what the other replicas hold could not be written down; more is kept for them than needed after a restart", "error", err)
	}
}

// lookEvery so many appended bytes it is worth looking whether a pass is due.
const lookEvery = 32 << 20

func (e *Engine) noteGrown(n int) {
	if e.grown.Add(int64(n)) > min(lookEvery, e.o.Clean.slack()/2) {
		e.grown.Store(0)
		e.cleanSoon()
		e.lookAtWaste()
	}
}
