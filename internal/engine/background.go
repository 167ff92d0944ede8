package engine

import (
	"context"

	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// goneBacklog bounds released orphans waiting for the reclaimer; those that do
// not fit are found again at the next start.
const goneBacklog = 4096

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
		select {
		case e.gone <- ino:
		default:
			e.wake()
		}
	}
}

func (e *Engine) isHeld(ino fs.Ino) bool {
	e.holdMu.Lock()
	defer e.holdMu.Unlock()
	return e.holds[ino] > 0
}

// GraceEnded: no more reclaims will come, so orphans that nobody holds may go.
func (e *Engine) GraceEnded() {
	_ = e.view(func(t *tree.Tree) error {
		l, err := t.Orphans()
		for _, ino := range l {
			select {
			case e.gone <- ino:
			default:
			}
		}
		return err
	})
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
	for {
		select {
		case <-ctx.Done():
			return
		case ino := <-e.gone:
			e.report(e.dropOrphan(ino))
		case <-e.kick:
			e.report(e.reclaimPending(ctx))
		}
	}
}

func (e *Engine) report(err error) {
	if err != nil && err != fs.ErrROFS && err != fs.ErrDelay && err != fs.ErrIO {
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
	e.wake()
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
