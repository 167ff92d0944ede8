package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// Open recovers the file system in o.Dir and returns it in mode ReadOnly. A
// damaged journal or tree is a *fs.CorruptionError.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if err := o.unlock(); err != nil {
		return nil, fmt.Errorf("open file system %s: %w", o.ID, err)
	}
	e := &Engine{o: o, log: o.Logger.With("file_system", o.ID), holds: make(map[fs.Ino]int),
		localClients: make(map[string]struct{}), checkpoints: make(map[string]*checkpoint),
		kick: make(chan struct{}, 1), done: make(chan struct{})}
	e.epoch.Store(&fs.EpochID{})
	e.space.init(&o)
	if err := o.forgetRest(); err != nil {
		return nil, err
	}
	c, err := readCurrent(&o)
	if err != nil {
		return nil, err
	}
	if c != nil {
		if err := e.recover(c); err != nil {
			return nil, fmt.Errorf("open file system %s: %w", o.ID, err)
		}
	}
	e.sweep(c)
	e.adoptCheckpoints()
	if err := e.peers.load(&o); err != nil {
		e.log.Warn("what the other replicas hold is not known; nothing is kept for them until they are heard of", "error", err)
	}
	e.life, e.stop = context.WithCancel(context.Background())
	go e.background(e.life)
	return e, nil
}

// recover opens journal and tree and applies what the tree lacks.
func (e *Engine) recover(c *current) error {
	j, err := journal.Open(e.o.journal(c.Journal, c.Lineage))
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	e.j, e.lineage = j, c.Lineage
	_, meta := j.Base()
	if e.base, err = parseBase(meta); err != nil {
		return errors.Join(err, j.Close())
	}
	t, err := e.openTree(e.base.Tree)
	if err != nil {
		return errors.Join(err, j.Close())
	}
	e.t = t
	t.SetResolve(j.Locate)
	if err := e.replay(); err != nil {
		return errors.Join(err, t.Close(), j.Close())
	}
	return nil
}

func parseBase(meta []byte) (baseMeta, error) {
	b := baseMeta{Tree: firstTree}
	if len(meta) == 0 {
		return b, nil
	}
	if err := json.Unmarshal(meta, &b); err != nil || b.Tree == "" {
		return b, fmt.Errorf("the journal's base describes no tree that this release knows")
	}
	return b, nil
}

func (e *Engine) openTree(name string) (*tree.Tree, error) {
	t, err := tree.Open(tree.Options{FS: e.o.FS, Dir: filepath.Join(e.o.Dir, name), Cache: e.o.Cache, Logger: e.log, OnFailure: e.fail})
	if err != nil {
		return nil, err
	}
	// It may be new, and what names it must not become durable before it.
	if err := disk.SyncDir(e.o.FS, e.o.Dir); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (e *Engine) replay() error {
	n := 0
	// The journal hands out durable records only, so flushes may pass.
	e.t.SetDurable(func(uint64) error { return nil })
	err := e.j.Recover(e.t.Meta().Applied, func(r *fs.Record, a fs.Addr) error {
		m, err := fs.ParseMutation(r.Mutation)
		if err != nil {
			return err
		}
		n++
		if err := e.t.WaitRoom(); err != nil {
			return err
		}
		return e.t.Apply(r, m, a)
	})
	if err != nil {
		return fmt.Errorf("recover the journal: %w", err)
	}
	e.t.SetDurable(e.journalDurable(e.j))
	e.adopt()
	e.log.Info("file system recovered", "position", e.last.String(), "records_applied", n)
	return nil
}

// adopt takes position and clock from the tree.
func (e *Engine) adopt() {
	m := e.t.Meta()
	e.last = m.Applied
	e.stamp = max(e.stamp, m.LastStamp)
	id := m.Applied.Epoch
	e.epoch.Store(&id)
}

func (e *Engine) journalDurable(j *journal.Journal) func(uint64) error {
	return func(seq uint64) error { return j.WaitDurable(context.Background(), seq) }
}

// sweep removes stores and journals that a crash left behind: neither those in
// use nor the stage's.
func (e *Engine) sweep(c *current) {
	keep := map[string]bool{e.base.Tree: true}
	if c != nil {
		keep[c.Journal] = true
	}
	if s, err := readStageFile(&e.o); err == nil && s != nil && s.Tree != e.base.Tree && s.Last == e.last {
		keep[s.Tree], keep[s.Journal] = true, true
	} else if err := e.removeStageFile(); err != nil {
		e.log.Warn("cannot sweep", "error", err)
		return
	}
	names, err := e.o.FS.List(e.o.Dir)
	if err != nil {
		return
	}
	for _, n := range names {
		if (strings.HasPrefix(n, treePrefix) || strings.HasPrefix(n, journalPrefix)) && !keep[n] {
			if err := e.o.FS.RemoveAll(filepath.Join(e.o.Dir, n)); err != nil {
				e.log.Warn("cannot remove what is no longer used", "directory", n, "error", err)
			}
		}
	}
}
