package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// A file system that nobody uses needs no open engine. It goes to rest: its
// engine is closed, and a file tells what others have to know of it meanwhile.
//
// Order of going to rest: everything is durable and flushed; journal and tree
// are closed; then the rest file is written. Order of waking: the rest file is
// removed, durably; then journal and tree are opened. So a rest file that is
// there tells what is in journal and tree, whenever a crash comes.

// ErrInUse: the engine cannot go to rest now; it is as it was.
var ErrInUse = errors.New("the file system is in use")

// Resting is what is known of a file system at rest.
type Resting struct {
	Lineage fs.Lineage
	// Pos is the newest record: applied, durable, and nothing comes after it.
	Pos          fs.Pos
	Files        uint64 // inodes
	BytesUsed    uint64 // of file data
	JournalBytes int64  // disk space of the journal
	Root         fs.Attr
	// SettingsVersion is that of SettingsSince when the engine was closed. 0: it
	// was closed by another process.
	SettingsVersion uint64

	// nextIno lets the engine go on in the epoch; 0: it cannot, another process
	// was the writer.
	nextIno uint64
}

func inUse(why string) error { return fmt.Errorf("%w: %s", ErrInUse, why) }

// Idle is nil when the engine could go to rest, as far as it knows itself: who
// calls its methods knows whether somebody is about to. Otherwise the error is
// ErrInUse with the reason. It begins what has to be done before, such as
// cleaning that is due. Any goroutine may ask.
func (e *Engine) Idle() error {
	switch {
	case e.closed.Load():
		return errClosed
	case e.Mode() != Writer:
		return inUse("it is no writer")
	case e.Err() != nil:
		return inUse("it has failed")
	case e.Damage() != nil:
		return inUse("damage is known of it, which would be forgotten")
	case e.space.pressure() == diskFull:
		return inUse("the disk is full: it might not wake up again")
	}
	e.holdMu.Lock()
	held := len(e.holds) > 0 || e.grace
	e.holdMu.Unlock()
	if held {
		return inUse("clients have files open, or may come back to those that they had")
	}
	clients, err := e.Clients()
	if err != nil {
		return err
	}
	if len(clients) > 0 {
		return inUse("clients may reclaim")
	}
	if err := e.nothingLeft(); err != nil {
		return err
	}
	if !e.o.Clean.Off && (e.cleaner.running.Load() || e.cleanDue()) {
		e.cleanSoon()
		return inUse("its journal is to be cleaned")
	}
	return nil
}

// nothingLeft: no work is left over, for others or in the background.
func (e *Engine) nothingLeft() error {
	e.stageMu.Lock()
	f, err := readStageFile(&e.o)
	staged := f != nil || e.stage != nil
	e.stageMu.Unlock()
	e.checkMu.Lock()
	e.expireCheckpoints()
	pinned := len(e.checkpoints) > 0
	e.checkMu.Unlock()
	switch {
	case err != nil:
		return err
	case staged || pinned:
		return inUse("a replica transfers it")
	}
	return e.view(func(t *tree.Tree) error {
		orphans, err := t.Orphans()
		if err != nil {
			return err
		}
		pending, err := t.Pending()
		if err == nil && len(orphans)+len(pending) > 0 {
			err = inUse("removed files wait to go")
		}
		return err
	})
}

// Rest closes the engine of a writer that is idle, and writes the rest file.
// The caller keeps others from using the engine meanwhile. ErrInUse: the engine
// is open, as it was. Any other error: it is closed, and what is returned holds,
// but the next process must open it to know.
func (e *Engine) Rest() (*Resting, error) {
	first, err := e.mayRest()
	if err != nil {
		if !errors.Is(err, ErrInUse) {
			err = fmt.Errorf("%w: %w", ErrInUse, err)
		}
		return nil, err
	}
	r := &restFile{Resting: *first}
	if err := e.close(r.describe); err != nil {
		return &r.Resting, err
	}
	if r.journal == "" {
		return &r.Resting, errors.New("the file system failed while it was closed")
	}
	return &r.Resting, writeRest(&e.o, r)
}

// mayRest does all that may fail before there is no way back.
func (e *Engine) mayRest() (*Resting, error) {
	if err := e.Idle(); err != nil {
		return nil, err
	}
	if err := e.Sync(context.Background()); err != nil {
		return nil, err
	}
	if err := e.flushTree(); err != nil {
		return nil, err
	}
	return e.Resting()
}

func (e *Engine) flushTree() error {
	e.treeLife.RLock()
	defer e.treeLife.RUnlock()
	e.rw.RLock()
	t := e.t
	e.rw.RUnlock()
	return t.Flush()
}

// Resting is what the engine would tell at rest. Any goroutine may ask.
func (e *Engine) Resting() (*Resting, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.t == nil {
		return nil, ErrNotWhole
	}
	return e.resting()
}

// resting needs mu.
func (e *Engine) resting() (*Resting, error) {
	m := e.t.Meta()
	root, err := e.t.Attr(fs.RootIno)
	if err != nil {
		return nil, err
	}
	_, version, _ := e.t.SettingsSince(0)
	return &Resting{Lineage: e.lineage, Pos: m.Applied, Files: m.Files, BytesUsed: m.BytesUsed, JournalBytes: e.j.Bytes(),
		Root: root, SettingsVersion: version, nextIno: e.nextIno}, nil
}

// describe notes what the closing engine holds. Needs mu; the tree is open still.
func (r *restFile) describe(e *Engine) error {
	last, err := e.resting()
	if err != nil {
		return err
	}
	c, err := readCurrent(&e.o)
	if err != nil {
		return err
	}
	r.Resting, r.journal, r.tree = *last, c.Journal, e.base.Tree
	return e.t.Settings("", func(key string, value []byte) error {
		r.settings = append(r.settings, restSetting{key, append([]byte(nil), value...)})
		return nil
	})
}

// Resume makes the engine the writer where an engine of this process went to
// rest, in the same epoch, as if it had never been closed. false: that cannot
// be, since something else is on the disk or another process was the writer;
// nothing is changed then, and BeginWriting is the way.
//
// An epoch names the stretch of one writer so that nothing is given twice after
// a crash. Here nothing was lost, and this process knows what was given. So a
// file system that is used now and then does not use up its epochs, of which a
// lineage has a million, and a replica hears of 100,000.
func (e *Engine) Resume(r *Resting) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.nextIno == 0 || e.j == nil || e.Err() != nil || e.lineage != r.Lineage || e.last != r.Pos || Mode(e.mode.Load()) != ReadOnly {
		return false
	}
	e.nextIno = r.nextIno
	e.noteReceiving(false)
	e.mode.Store(int32(Writer))
	return true
}

// Garbage reports whether the journal may hold so much that nobody needs, or
// will hold it when history has grown old, that the cleaner should have a look.
func (r *Resting) Garbage(o Options) bool {
	return !o.Clean.Off && r.JournalBytes-int64(r.BytesUsed) > o.Clean.slack()
}

// Crowded reports whether the disk of a file system has little room left.
func Crowded(o Options) bool {
	var s space
	s.init(&o)
	return s.pressure() != roomy
}

// forgetRest removes the rest file: what it says will not be true for long. A
// crash before the removal is durable brings it back, so nothing else may be
// changed before: the directory is synced here, and should that fail, it is
// again before the journal is recovered.
func (o *Options) forgetRest() error {
	err := o.FS.Remove(o.restPath())
	if disk.IsNotExist(err) {
		return nil
	}
	if err == nil {
		err = disk.SyncDir(o.FS, o.Dir)
	}
	if err != nil {
		return fmt.Errorf("wake file system %s: remove %s: %w", o.ID, restName, err)
	}
	return nil
}
