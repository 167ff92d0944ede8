package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// Finish switches to the checkpoint. What only this side had is salvaged first.
func (s *Stage) Finish(ctx context.Context) error {
	if err := s.finish(); err != nil {
		return err
	}
	e := s.e
	e.stageMu.Lock()
	defer e.stageMu.Unlock()
	if e.stage == s {
		e.stage = nil
		if err := e.removeStageFile(); err != nil {
			e.log.Warn("the stage is done but its description stays until the next start", "error", err)
		}
	}
	return nil
}

func (s *Stage) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Stage) finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrNoCheckpoint
	}
	if err := s.j.SyncPayloads(); err != nil {
		return fmt.Errorf("make the checkpoint's data durable: %w", err)
	}
	if err := s.t.FinishStage(s.info.Meta, s.info.Epochs); err != nil {
		return err
	}
	e := s.e
	if fork, apart := s.fork(); apart {
		if err := e.salvage(fork, s.t); err != nil {
			return fmt.Errorf("salvage what never reached the other side: %w", err)
		}
	}
	old, err := e.switchTo(s)
	if err != nil {
		return err
	}
	s.closed = true
	e.savePeers() // what they hold is of the history before
	e.retire(old)
	e.forgetCheckpoints()
	e.log.Info("switched to the source's tree", "position", s.info.Pos.String(), "whole", s.info.Whole)
	return nil
}

// fork is where this side's history leaves the one that comes; apart: it goes on
// from there. A whole tree of the same lineage comes when too much differs to
// list it: then the epochs tell.
func (s *Stage) fork() (fork fs.Pos, apart bool) {
	if s.f.Fork != nil {
		return *s.f.Fork, s.f.Last.Seq > s.f.Fork.Seq
	}
	ours, err := s.e.History()
	if err != nil || s.own || s.f.Last.Seq == 0 {
		return fork, false
	}
	seq, _ := fs.Fork(&ours, &fs.History{Lineage: ours.Lineage, Epochs: s.info.Epochs, Last: s.info.Pos})
	if seq >= s.f.Last.Seq {
		return fork, false
	}
	if fork, err = s.e.PosAt(seq); err != nil {
		fork = fs.Pos{Seq: seq} // trimmed
	}
	return fork, true
}

type retired struct {
	t *tree.Tree
	j *journal.Journal
}

// switchTo makes the stage's tree the tree: one BASE record, or for another
// lineage one change of the file that names the journal.
func (e *Engine) switchTo(s *Stage) (retired, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case Mode(e.mode.Load()) == Writer:
		return retired{}, errors.New("switch to a checkpoint: this replica became a writer")
	case e.Err() != nil:
		return retired{}, fmt.Errorf("switch to a checkpoint: %w", e.Err())
	case e.last != s.f.Last:
		return retired{}, fmt.Errorf("switch to a checkpoint: this replica went on from %s to %s meanwhile", s.f.Last, e.last)
	}
	base := baseMeta{Tree: s.f.Tree, Counter: max(e.base.Counter, e.maxCounter())}
	meta, err := json.Marshal(base)
	if err != nil {
		return retired{}, err
	}
	if err := e.letGo(); err != nil {
		return retired{}, err
	}
	if err := s.j.Rebase(s.info.Pos, meta); err != nil {
		if e.t != nil {
			e.t.SetDurable(e.journalDurable(e.j))
		}
		if !errors.Is(err, fs.ErrNoSpace) {
			e.fail(err)
		}
		return retired{}, fmt.Errorf("write the base record: %w", err)
	}
	lineage := e.lineage
	if s.own {
		if lineage, err = fs.ParseLineage(s.f.Lineage); err != nil {
			return retired{}, err
		}
		if err := writeCurrent(&e.o, s.f.Journal, lineage); err != nil {
			e.fail(err)
			return retired{}, err
		}
	}
	s.t.SetDurable(e.journalDurable(s.j))
	s.t.SetResolve(s.j.Locate)
	e.peers.clear()
	e.rw.Lock()
	old := retired{t: e.t}
	if s.own {
		old.j = e.j
	}
	e.t, e.j, e.base, e.lineage = s.t, s.j, base, lineage
	e.rw.Unlock()
	e.adopt()
	return old, nil
}

// letGo frees the present tree from its journal: all of it is durable, and
// soon its sequences mean something else there: a late flush of the old tree
// must not wait for them. Needs mu.
func (e *Engine) letGo() error {
	if e.t == nil {
		return nil
	}
	if err := e.j.WaitDurable(context.Background(), e.last.Seq); err != nil {
		return fmt.Errorf("switch to a checkpoint: %w", err)
	}
	e.t.SetDurable(func(uint64) error { return nil })
	return nil
}

// maxCounter is the highest counter of any epoch that this replica knows. Needs mu.
func (e *Engine) maxCounter() (n uint32) {
	if e.t == nil {
		return 0
	}
	for _, s := range e.t.Epochs() {
		n = max(n, s.ID.Counter)
	}
	return n
}

// retire closes and removes the old tree. Nobody reads it any more: readers
// hold rw while they use a tree. The old journal, after a change of lineage,
// stays open for reads of payloads that are under way; it goes at the next start.
func (e *Engine) retire(old retired) {
	if old.t != nil {
		dir := old.t.Dir()
		e.interruptCleaner()
		e.treeLife.Lock()
		defer e.treeLife.Unlock()
		if err := errors.Join(old.t.Close(), e.o.FS.RemoveAll(dir)); err != nil {
			e.log.Warn("cannot remove the old tree", "error", err)
		}
	}
	if old.j != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.oldJournals = append(e.oldJournals, old.j)
	}
}

// DiscardStage drops an unfinished transfer; the present tree stays.
func (e *Engine) DiscardStage() error {
	e.stageMu.Lock()
	defer e.stageMu.Unlock()
	return e.discardStage()
}

// discardStage needs stageMu.
func (e *Engine) discardStage() error {
	if s := e.stage; s != nil {
		s.mu.Lock() // Finish may be on its way: then it is done first
		err := s.release()
		s.mu.Unlock()
		e.stage = nil
		if err != nil {
			return err
		}
	}
	f, err := readStageFile(&e.o)
	if err != nil || f == nil {
		return err
	}
	if err := e.removeStageFile(); err != nil || f.Tree == e.treeName() {
		return err
	}
	err = e.o.FS.RemoveAll(filepath.Join(e.o.Dir, f.Tree))
	if f.Journal != "" {
		err = errors.Join(err, e.o.FS.RemoveAll(filepath.Join(e.o.Dir, f.Journal)))
	}
	return err
}
