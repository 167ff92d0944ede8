package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// The cleaner gives back the space of what was overwritten or removed, and of
// history that nobody needs any more. It never changes what anybody reads, and
// no other replica notices.
//
// What is needed is judged by snapshots: of the tree at a position that is
// durable and flushed, and of the checkpoints. A payload in a closed segment
// that none of them names is never named again. So what is copied may be more
// than is needed at the end of the pass, never less. Addresses in the tree are
// brought up to date afterwards; until then, and in checkpoints and stages, the
// journal's maps lead from the old ones to the new.

const (
	// A pass copies cleanBudget bytes, or of much data a cleanShare-th, so that
	// the time until it frees something is bounded, and what it reads of the tree
	// is worth it. cleanPieces bound its memory.
	cleanBudget = 64 << 20
	cleanShare  = 16
	cleanPieces = 1 << 20
	// defaultSlack of dead bytes is not worth reading the tree for.
	defaultSlack       = 64 << 20
	defaultHistoryAge  = 7 * 24 * time.Hour
	historyShare       = 20      // a twentieth of the disk
	unknownHistory     = 1 << 30 // where the disk does not tell its size
	minHistory         = 64 << 20
	peerShareOfHistory = 4 // so many times as much is kept for peers that are behind
)

// CleanOptions bound what the cleaner leaves. Zero takes the defaults.
type CleanOptions struct {
	// Off: nothing is cleaned unless Clean is called.
	Off bool
	// HistoryAge is how long records are kept that no peer needs any more.
	// Default 7 days.
	HistoryAge time.Duration
	// HistoryBytes of records are kept at most, beside those that a peer needs.
	// Default: a twentieth of the disk.
	HistoryBytes int64
	// PeerBytes are kept at most only because a peer needs them, of records and
	// of payloads each. One that needs more is resynchronised when it comes
	// back. Default: four times HistoryBytes.
	PeerBytes int64
	// SlackBytes of garbage are always left alone. Default 64 MiB.
	SlackBytes int64
	// Alone tells that the file system is in no replication: bytes that were
	// overwritten since its promotion are not kept then for a salvage that only a
	// destination could make necessary. nil: it never is. Any goroutine asks.
	Alone func() bool
}

// CleanStats counts what the cleaner has done since the engine was opened.
type CleanStats struct {
	Passes   uint64
	Segments uint64 // removed
	Freed    uint64 // bytes given back, net of what was copied
	Copied   uint64 // bytes copied for that
}

// cleaner is the state of it. mu is held by who cleans.
type cleaner struct {
	mu      sync.Mutex
	running atomic.Bool
	cancel  atomic.Pointer[context.CancelFunc] // of the newest Clean
	wg      sync.WaitGroup

	passes, segments, freed, copied atomic.Uint64

	stateMu   sync.Mutex
	waste     int64     // bytes of the journal that are not file data, after the last pass
	last      time.Time // of the last pass
	hopeless  bool      // on a full disk the last pass found nothing
	warned    bool      // that a peer is too far behind
	receiving bool      // records come from a source
	ended     bool      // no pass begins any more
	// damaged segments hold pieces that are needed and cannot be read: their
	// files stay until that is mended.
	damaged map[uint64]bool
}

// CleanStats tells what the cleaner has done. Any goroutine may ask.
func (e *Engine) CleanStats() CleanStats {
	c := &e.cleaner
	return CleanStats{c.passes.Load(), c.segments.Load(), c.freed.Load(), c.copied.Load()}
}

// JournalBytes is the disk space of the journal, in bytes.
func (e *Engine) JournalBytes() int64 {
	if j := e.journalNow(); j != nil {
		return j.Bytes()
	}
	return 0
}

// Clean makes passes until there is nothing more to gain. A replica that is
// being resynchronised, or has received nothing yet, is left alone; when that
// begins meanwhile, Clean ends early, without an error. Safe to be called along
// with everything else.
func (e *Engine) Clean(caller context.Context) error {
	e.cleaner.mu.Lock()
	defer e.cleaner.mu.Unlock()
	ctx, cancel := context.WithCancel(caller)
	defer cancel()
	e.cleaner.cancel.Store(&cancel)
	for {
		more, err := e.cleanPass(ctx)
		if err != nil {
			switched := errors.Is(err, errSwitched) || ctx.Err() != nil && caller.Err() == nil
			if switched {
				return nil
			}
			if ctx.Err() == nil {
				e.noteFailed()
			}
			return fmt.Errorf("clean file system %s: %w", e.o.ID, err)
		}
		if !more {
			return nil
		}
	}
}

// survey is what a pass looks at.
type survey struct {
	j       *journal.Journal
	t       *tree.Tree
	closed  []journal.Segment
	snap    *tree.Snapshot
	roots   []holder
	pos     fs.Pos
	epochs  []fs.EpochStart
	release func()
}

// cleanPass needs cleaner.mu.
func (e *Engine) cleanPass(ctx context.Context) (more bool, err error) {
	if err := e.settleMoved(ctx); err != nil {
		return false, err
	}
	s, err := e.survey()
	if err != nil || s == nil {
		return false, err
	}
	defer s.release()
	if err := s.j.WaitDurable(ctx, s.pos.Seq); err != nil {
		return false, err
	}
	if err := s.t.Flush(); err != nil {
		return false, err
	}
	if err := s.j.Measure(s.closed); err != nil {
		return false, err
	}
	used, err := measureUse(ctx, s.j, s.roots)
	if err != nil {
		return false, err
	}
	e.leaveDamaged(s.closed, used)
	c := choose(s.closed, used, e.policy(s))
	e.cleaner.passes.Add(1)
	if c.overran {
		e.warnOverrun()
	}
	if len(c.victims) > 0 {
		err := e.carryOut(ctx, s, c)
		var damaged *journal.DamagedError
		if errors.As(err, &damaged) {
			e.noteDamagedSegment(damaged.Segment)
			return true, nil // without that one
		}
		if err != nil {
			return false, err
		}
	}
	e.noteWaste(s.j, c)
	e.lookAtWaste()
	s.release()
	return c.more, e.settleMoved(ctx)
}

// survey lists what may be cleaned and pins what is needed, at one position.
// nil: nothing may be cleaned now. Until release treeLife is held, so nothing
// may be locked meanwhile that comes before it in the lock order.
func (e *Engine) survey() (*survey, error) {
	e.stageMu.Lock()
	defer e.stageMu.Unlock()
	if f, err := readStageFile(&e.o); err != nil || f != nil || e.stage != nil {
		return nil, err // its tree names payloads that nobody else does
	}
	e.checkMu.Lock()
	defer e.checkMu.Unlock()
	e.treeLife.RLock()
	s, err := e.surveyLocked()
	if s == nil {
		e.treeLife.RUnlock()
	}
	return s, err
}

// surveyLocked needs stageMu, checkMu and treeLife.
func (e *Engine) surveyLocked() (*survey, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.j == nil || e.t == nil || e.Err() != nil || e.last.Seq == 0 {
		return nil, nil
	}
	s := &survey{j: e.j, t: e.t, pos: e.last, epochs: e.t.Epochs()}
	pinned, err := e.pinCheckpoints(s)
	if err != nil {
		return nil, err
	}
	s.closed = s.j.Closed()
	s.snap = s.t.Snapshot()
	s.roots = append(s.roots, s.snap)
	s.release = sync.OnceFunc(func() {
		if err := s.snap.Close(); err != nil {
			e.log.Warn("closing a snapshot of the tree", "error", err)
		}
		e.treeLife.RUnlock()
		for _, c := range pinned {
			e.releaseUser(c)
		}
	})
	return s, nil
}

// checkpointRoot is a checkpoint's tree.
type checkpointRoot struct{ t *tree.Tree }

func (r checkpointRoot) Extents(after []byte, fn func(key []byte, x tree.Extent) error) error {
	return r.t.AllExtents(after, func(key []byte, _ fs.Ino, x tree.Extent) error { return fn(key, x) })
}

// pinCheckpoints needs checkMu. Under pressure those that nobody uses just now
// go instead: their destinations begin anew.
func (e *Engine) pinCheckpoints(s *survey) (pinned []*checkpoint, err error) {
	e.expireCheckpoints()
	for _, name := range slices.Collect(maps.Keys(e.checkpoints)) {
		c := e.checkpoints[name]
		if c.users == 0 && e.space.pressure() == diskFull {
			e.log.Warn("the disk is full: a checkpoint is given up; its destination begins its transfer anew", "checkpoint", name)
			e.dropCheckpoint(name)
			continue
		}
		if c.t == nil {
			if err := e.openCheckpointTree(c); err != nil {
				for _, p := range pinned {
					p.users--
				}
				return nil, fmt.Errorf("open checkpoint %s: %w", name, err)
			}
		}
		pinned = append(pinned, c)
		s.roots = append(s.roots, checkpointRoot{c.t})
		c.users++
	}
	return pinned, nil
}

func (e *Engine) policy(s *survey) *cleanPolicy {
	now := e.o.Now()
	p := &cleanPolicy{flushed: s.pos.Seq, slack: e.o.Clean.slack(), pressure: e.space.pressure(),
		budget: max(cleanBudget, int64(s.snap.Meta().BytesUsed)/cleanShare), pieces: cleanPieces}
	p.needPayloads = e.peers.needs(now, s.pos.Seq)
	p.needRecords = p.needPayloads
	if seq, ok := e.forkNeed(s.j, s.epochs, now); ok {
		p.needRecords = min(p.needRecords, seq)
		if e.o.Clean.Alone == nil || !e.o.Clean.Alone() {
			// The replica that comes back may be promoted before it was heard of; then
			// all that is here since the fork goes to salvage.
			p.needPayloads = min(p.needPayloads, seq)
		}
	}
	for _, r := range s.roots {
		if c, ok := r.(checkpointRoot); ok { // its stream will go on from there
			seq := c.t.Meta().Applied.Seq
			p.needRecords, p.needPayloads = min(p.needRecords, seq), min(p.needPayloads, seq)
		}
	}
	p.historyBytes = e.historyBytes()
	if p.peerBytes = e.o.Clean.PeerBytes; p.peerBytes == 0 {
		p.peerBytes = peerShareOfHistory * p.historyBytes
	}
	age := e.o.Clean.HistoryAge
	if age == 0 {
		age = defaultHistoryAge
	}
	p.old = func(seq uint64) bool { return now.Sub(recordTime(s.j, seq, now)) > age }
	return p
}

func (o *CleanOptions) slack() int64 {
	if o.SlackBytes > 0 {
		return o.SlackBytes
	}
	return defaultSlack
}

func (e *Engine) historyBytes() int64 {
	if e.o.Clean.HistoryBytes > 0 {
		return e.o.Clean.HistoryBytes
	}
	if total, known := e.space.size(); known {
		return max(int64(total/historyShare), minHistory)
	}
	return unknownHistory
}

// recordTime is when the record after seq was made, by its stamp; now when
// that cannot be told.
func recordTime(j *journal.Journal, seq uint64, now time.Time) time.Time {
	r, err := j.Reader(seq)
	if err != nil {
		return now
	}
	defer r.Close()
	en, ok, err := r.TryNext()
	if err != nil || !ok {
		return now
	}
	return time.UnixMilli(int64(en.Record.Stamp.Time >> 16))
}

func (e *Engine) carryOut(ctx context.Context, s *survey, c *choice) error {
	pieces, err := gather(ctx, s.j, s.roots, c.victims)
	if err != nil {
		return err
	}
	before := s.j.Bytes()
	err = s.j.Clean(ctx, c.victims, pieces, func(ctx context.Context, n int) error {
		e.cleaner.copied.Add(uint64(n))
		return ctx.Err()
	})
	if err != nil {
		return e.noteDamage(err)
	}
	e.cleaner.segments.Add(uint64(len(c.victims)))
	freed := before - s.j.Bytes()
	if freed > 0 {
		e.cleaner.freed.Add(uint64(freed))
	}
	e.log.Info("journal cleaned", "segments", len(c.victims), "pieces_copied", len(pieces), "bytes_copied", c.copied,
		"bytes_freed", freed, "history_begins_after", s.j.Begin().Seq)
	return nil
}

// leaveDamaged makes segments stay that hold damaged pieces, as long as anything
// in them is needed.
func (e *Engine) leaveDamaged(l []journal.Segment, used map[uint64]usage) {
	e.cleaner.stateMu.Lock()
	defer e.cleaner.stateMu.Unlock()
	for i := range l {
		l[i].Stays = l[i].Stays || e.cleaner.damaged[l[i].ID] && used[l[i].ID].pieces > 0
	}
}

func (e *Engine) noteDamagedSegment(id uint64) {
	e.log.Warn("a segment of the journal holds damaged data that is needed; its space is not given back", "segment", fmt.Sprintf("%016x", id))
	e.cleaner.stateMu.Lock()
	defer e.cleaner.stateMu.Unlock()
	if e.cleaner.damaged == nil {
		e.cleaner.damaged = make(map[uint64]bool)
	}
	e.cleaner.damaged[id] = true
}

// tryDamaged: something was mended, so the next pass looks at all again.
func (e *Engine) tryDamaged() {
	e.cleaner.stateMu.Lock()
	defer e.cleaner.stateMu.Unlock()
	e.cleaner.damaged = nil
}

func (e *Engine) warnOverrun() {
	e.cleaner.stateMu.Lock()
	warned := e.cleaner.warned
	e.cleaner.warned = true
	e.cleaner.stateMu.Unlock()
	if !warned {
		e.log.Warn("a replica is so far behind that not all it lacks is kept for it any more; it will be resynchronised when it comes back")
	}
}
