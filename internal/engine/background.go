package engine

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// housekeeping is how often the engine looks for what has expired.
const housekeeping = time.Minute

// Hold keeps an inode alive while it is open.
func (e *Engine) Hold(ino fs.Ino) {
	e.holdMu.Lock()
	e.holds[ino]++
	e.holdMu.Unlock()
}

// Release undoes one Hold.
func (e *Engine) Release(ino fs.Ino) {
	e.holdMu.Lock()
	n := e.holds[ino] - 1
	if n > 0 {
		e.holds[ino] = n
		e.holdMu.Unlock()
		return
	}
	delete(e.holds, ino)
	e.holdMu.Unlock()
	if a, err := e.GetAttr(ino); err == nil && a.Nlink == 0 {
		e.holdMu.Lock()
		e.gone = append(e.gone, ino)
		e.holdMu.Unlock()
		e.wake()
	}
}

func (e *Engine) isHeld(ino fs.Ino) bool {
	e.holdMu.Lock()
	defer e.holdMu.Unlock()
	return e.grace || e.holds[ino] > 0
}

// GraceEnded: no more reclaims will come, so orphans that nobody holds may go.
func (e *Engine) GraceEnded() {
	e.holdMu.Lock()
	e.grace, e.orphans = false, true
	e.holdMu.Unlock()
	e.wake()
}

func (e *Engine) wake() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

func (e *Engine) kickIfPending(m fs.Mutation) {
	switch m.Kind() {
	case fs.KindUnlink, fs.KindRename, fs.KindSetAttr:
		e.wake()
	}
}

// background reclaims what larger operations left and what nobody holds any
// more, in steps of one mutation, so that it never delays others for long.
func (e *Engine) background(ctx context.Context) {
	defer close(e.done)
	tick := time.NewTicker(housekeeping)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			e.checkMu.Lock()
			e.expireCheckpoints()
			e.checkMu.Unlock()
			e.wake() // what a full disk refused may work now
			e.savePeers()
			e.cleanSoon()
		case <-e.kick:
			e.report(e.reclaimAll(ctx))
		}
	}
}

func (e *Engine) reclaimAll(ctx context.Context) error {
	l, err := e.released()
	for i, ino := range l {
		if ctx.Err() != nil {
			return nil
		}
		if err := e.dropOrphan(ino); err != nil {
			if err != fs.ErrROFS { // else GraceEnded after a promotion finds them
				e.keepReleased(l[i:])
			}
			return err
		}
	}
	return errors.Join(err, e.reclaimPending(ctx))
}

// released takes the orphans that may go.
func (e *Engine) released() (l []fs.Ino, err error) {
	e.holdMu.Lock()
	all := e.orphans
	l, e.gone, e.orphans = e.gone, nil, false
	e.holdMu.Unlock()
	if !all {
		return l, nil
	}
	err = e.view(func(t *tree.Tree) (err error) { l, err = t.Orphans(); return err })
	return l, err
}

// keepReleased puts back what could not go, for the next time that the
// reclaimer is woken.
func (e *Engine) keepReleased(l []fs.Ino) {
	e.holdMu.Lock()
	e.gone = append(e.gone, l...)
	e.holdMu.Unlock()
}

func (e *Engine) report(err error) {
	if err != nil && !errors.Is(err, fs.ErrROFS) && !errors.Is(err, fs.ErrDelay) && !errors.Is(err, fs.ErrIO) {
		e.log.Warn("cannot reclaim the space of removed files; it will be tried again", "error", err)
	}
}

func (e *Engine) dropOrphan(ino fs.Ino) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.writable(); err != nil {
		return err
	}
	n, err := e.t.Inode(ino)
	if err == fs.ErrStale || err == nil && (n.Nlink != 0 || n.Dropped || e.isHeld(ino)) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := e.append(&fs.Reclaim{Ino: ino, Drop: true}, nil, [16]byte{}); err != nil {
		return err
	}
	return nil
}

func (e *Engine) reclaimPending(ctx context.Context) error {
	for ctx.Err() == nil {
		more, err := e.reclaimStep()
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func (e *Engine) reclaimStep() (more bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.writable(); err != nil {
		return false, err
	}
	l, err := e.t.Pending()
	if err != nil || len(l) == 0 {
		return false, err
	}
	return true, e.append(&fs.Reclaim{Ino: l[0]}, nil, [16]byte{})
}
