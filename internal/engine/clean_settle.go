package engine

import (
	"context"
	"errors"

	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// settleMoved brings the addresses in the tree up to date and forgets the maps
// that led to them, unless a checkpoint or a stage may still need them.
func (e *Engine) settleMoved(ctx context.Context) error {
	e.mu.Lock()
	t, j := e.t, e.j
	e.mu.Unlock()
	if t == nil || j == nil {
		return nil
	}
	ids := j.MovedSegments()
	if len(ids) == 0 || e.copiesExist() {
		return nil
	}
	t.Unresolved()
	for next := []byte{}; next != nil; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var err error
		if next, err = e.readdress(t, next); err != nil {
			return err
		}
	}
	if err := e.flush(t); err != nil {
		return err
	}
	if t.Unresolved() {
		return errors.New("not all moved payloads could be found while addresses were brought up to date")
	}
	return e.forgetMoved(t, j, ids)
}

// forgetMoved forgets maps that t has no use for any more.
func (e *Engine) forgetMoved(t *tree.Tree, j *journal.Journal, ids []uint64) error {
	e.stageMu.Lock()
	defer e.stageMu.Unlock()
	e.checkMu.Lock()
	defer e.checkMu.Unlock()
	if e.copiesExistLocked() {
		return nil
	}
	// A stage that began meanwhile may be the tree by now: with addresses that
	// were copied before they were brought up to date.
	e.mu.Lock()
	same := e.t == t
	e.mu.Unlock()
	if !same {
		return errSwitched
	}
	return j.ForgetMoved(ids)
}

// flush flushes t unless it was replaced.
func (e *Engine) flush(t *tree.Tree) error {
	e.treeLife.RLock()
	defer e.treeLife.RUnlock()
	e.rw.RLock()
	same := e.t == t
	e.rw.RUnlock()
	if !same {
		return errSwitched
	}
	return t.Flush()
}

var errSwitched = errors.New("the tree was replaced meanwhile")

func (e *Engine) readdress(t *tree.Tree, after []byte) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.t != t {
		return nil, errSwitched
	}
	if err := t.WaitRoom(); err != nil {
		return nil, err
	}
	e.rw.Lock()
	defer e.rw.Unlock()
	next, _, err := t.Readdress(after)
	return next, err
}

// copiesExist reports whether there are other trees that may hold addresses of
// long ago.
func (e *Engine) copiesExist() bool {
	e.stageMu.Lock()
	defer e.stageMu.Unlock()
	e.checkMu.Lock()
	defer e.checkMu.Unlock()
	e.expireCheckpoints()
	return e.copiesExistLocked()
}

// copiesExistLocked needs stageMu and checkMu.
func (e *Engine) copiesExistLocked() bool {
	f, err := readStageFile(&e.o)
	return err != nil || f != nil || e.stage != nil || len(e.checkpoints) > 0
}
