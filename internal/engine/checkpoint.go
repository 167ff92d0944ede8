package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/engine/writeset"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// ErrNoCheckpoint: there is no checkpoint of this name (any more).
var ErrNoCheckpoint = errors.New("no such checkpoint")

const (
	checkpointDir      = "checkpoints"
	checkpointSpec     = "spec.json"
	checkpointStore    = "tree"
	checkpointIdle     = 10 * time.Minute
	maxCheckpoints     = 8 // destinations that bootstrap at once
	maxCheckpointName  = 64
	checkpointSpecKind = 1
)

// checkpoint is the tree pinned at one position for one destination.
type checkpoint struct {
	dir      string
	spec     spec
	t        *tree.Tree         // nil: not opened since the start
	elements []writeset.Element // nil: the whole tree
	used     time.Time
	users    int
	orphan   bool // the engine was closed; the last user closes the store
}

// spec is what is kept of a checkpoint beside its store.
type spec struct {
	Format   int    `json:"format"`
	Lineage  string `json:"lineage"`
	Whole    bool   `json:"whole"`
	Fork     fs.Pos `json:"fork"`
	WriteSet []byte `json:"write_set"`
	// Narrowed: it was opened for the whole tree, then a comparison found what
	// the destination lacks.
	Narrowed bool `json:"narrowed,omitempty"`
}

// answers reports whether the checkpoint is for this fork: a name may have been
// given twice.
func (s *spec) answers(fork *fs.Pos) bool {
	if s.Whole || s.Narrowed || fork == nil {
		return (s.Whole || s.Narrowed) && fork == nil
	}
	return s.Fork == *fork
}

// CheckpointInfo describes a checkpoint to a destination.
type CheckpointInfo struct {
	Pos   fs.Pos `json:"position"`
	Whole bool   `json:"whole"`
	// Narrowed: it holds what a comparison found, no more.
	Narrowed bool            `json:"narrowed,omitempty"`
	Meta     tree.Meta       `json:"meta"`
	Epochs   []fs.EpochStart `json:"epochs"`
}

// OpenCheckpoint pins the tree at one durable position under a name, or finds
// the one that has it. fork nil: the whole tree; else what changed since fork
// here or, by its write set, there.
func (e *Engine) OpenCheckpoint(name string, fork *fs.Pos, theirs *writeset.Set) (CheckpointInfo, error) {
	if err := checkName(name); err != nil {
		return CheckpointInfo{}, err
	}
	c, err := e.findCheckpoint(name)
	if err == nil && !c.spec.answers(fork) {
		e.releaseUser(c)
		if err = e.ReleaseCheckpoint(name); err == nil {
			err = ErrNoCheckpoint
		}
	}
	if errors.Is(err, ErrNoCheckpoint) {
		c, err = e.makeCheckpoint(name, fork, theirs)
	}
	if err != nil {
		return CheckpointInfo{}, err
	}
	defer e.releaseUser(c)
	return c.info(), nil
}

func (c *checkpoint) info() CheckpointInfo {
	return CheckpointInfo{Pos: c.t.Meta().Applied, Whole: c.spec.Whole, Narrowed: c.spec.Narrowed, Meta: c.t.Meta(), Epochs: c.t.Epochs()}
}

// NarrowCheckpoint makes a checkpoint of the whole tree one of what a
// destination has found that it lacks. Durable when it returns.
func (e *Engine) NarrowCheckpoint(name string, diff *writeset.Set) (CheckpointInfo, error) {
	if err := checkName(name); err != nil {
		return CheckpointInfo{}, err
	}
	c, err := e.findCheckpoint(name)
	if err != nil {
		return CheckpointInfo{}, err
	}
	defer e.releaseUser(c)
	e.checkMu.Lock()
	defer e.checkMu.Unlock()
	if !c.spec.Whole && !c.spec.Narrowed {
		return CheckpointInfo{}, fmt.Errorf("checkpoint %s is of what changed since %s, not of the whole tree", name, c.spec.Fork)
	}
	next := c.spec
	next.Whole, next.Narrowed, next.WriteSet = false, true, diff.Encode()
	if err := e.writeSpec(c.dir, &next); err != nil {
		return CheckpointInfo{}, err
	}
	c.spec, c.elements = next, diff.Elements()
	return c.info(), nil
}

func (e *Engine) writeSpec(dir string, s *spec) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return disk.WriteFileAtomic(e.o.FS, filepath.Join(dir, checkpointSpec), b)
}

// checkName: names become file names.
func checkName(name string) error {
	if name == "" || len(name) > maxCheckpointName || strings.Trim(name, "0123456789abcdefghijklmnopqrstuvwxyz-") != "" {
		return &fs.DecodeError{What: "checkpoint name", Detail: fmt.Sprintf("%.80q: want 1 to %d of a-z, 0-9 and -", name, maxCheckpointName)}
	}
	return nil
}

func (e *Engine) checkpointPath(name string) string {
	return filepath.Join(e.o.Dir, checkpointDir, name)
}

// findCheckpoint gives an existing one, opened, with one user more.
func (e *Engine) findCheckpoint(name string) (*checkpoint, error) {
	e.checkMu.Lock()
	defer e.checkMu.Unlock()
	e.expireCheckpoints()
	c := e.checkpoints[name]
	if c == nil {
		return nil, ErrNoCheckpoint
	}
	if c.t == nil {
		if err := e.openCheckpointTree(c); err != nil {
			return nil, fmt.Errorf("open checkpoint %s: %w", name, err)
		}
	}
	c.used = e.o.Now()
	c.users++
	return c, nil
}

// adoptCheckpoints takes over those of an earlier process, so that a
// destination can go on; they expire as if they had been used just now. What
// was not finished, or is of another journal, goes.
func (e *Engine) adoptCheckpoints() {
	names, err := e.o.FS.List(filepath.Join(e.o.Dir, checkpointDir))
	if err != nil {
		return // there are none
	}
	for _, name := range names {
		c := &checkpoint{dir: e.checkpointPath(name), used: e.o.Now()}
		b, err := disk.ReadFile(e.o.FS, filepath.Join(c.dir, checkpointSpec))
		if err == nil {
			err = json.Unmarshal(b, &c.spec)
		}
		if err != nil || c.spec.Format != checkpointSpecKind || e.j == nil || c.spec.Lineage != e.lineage.String() || checkName(name) != nil {
			e.dropCheckpoint(name)
			continue
		}
		e.checkpoints[name] = c
	}
}

func (e *Engine) openCheckpointTree(c *checkpoint) (err error) {
	if !c.spec.Whole {
		set := &writeset.Set{}
		if err := set.Decode(c.spec.WriteSet); err != nil {
			return err
		}
		c.elements = set.Elements()
	}
	c.t, err = tree.Open(tree.Options{FS: e.o.FS, Dir: filepath.Join(c.dir, checkpointStore), Cache: e.o.Cache, Logger: e.log})
	return err
}

// makeCheckpoint: the store first, then the write set up to its position, then
// the spec, which makes it count.
func (e *Engine) makeCheckpoint(name string, fork *fs.Pos, theirs *writeset.Set) (*checkpoint, error) {
	e.checkMu.Lock()
	defer e.checkMu.Unlock()
	if !e.space.ok() {
		// On a disk without room the store would wait for some, and who holds
		// checkMu with it.
		return nil, fmt.Errorf("make checkpoint %s: %w", name, fs.ErrNoSpace)
	}
	if len(e.checkpoints) >= maxCheckpoints && !e.evictCheckpoint() {
		return nil, fmt.Errorf("%d checkpoints are in use already: %w", maxCheckpoints, fs.ErrDelay)
	}
	c := &checkpoint{dir: e.checkpointPath(name), used: e.o.Now(), users: 1}
	err := e.fillCheckpoint(c, fork, theirs)
	if err == nil {
		err = e.openCheckpointTree(c)
	}
	if err != nil {
		if rerr := e.o.FS.RemoveAll(c.dir); rerr != nil {
			e.log.Warn("cannot remove an unfinished checkpoint", "checkpoint", name, "error", rerr)
		}
		return nil, fmt.Errorf("make checkpoint %s: %w", name, err)
	}
	e.checkpoints[name] = c
	return c, nil
}

// fillCheckpoint writes what there is of it on disk. Needs checkMu.
func (e *Engine) fillCheckpoint(c *checkpoint, fork *fs.Pos, theirs *writeset.Set) error {
	if err := e.o.FS.RemoveAll(c.dir); err != nil {
		return err
	}
	if err := e.o.FS.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	e.treeLife.RLock()
	defer e.treeLife.RUnlock()
	e.rw.RLock()
	t, lineage := e.t, e.lineage
	e.rw.RUnlock()
	if t == nil {
		return ErrNotWhole
	}
	if err := t.Checkpoint(filepath.Join(c.dir, checkpointStore)); err != nil {
		return err
	}
	c.spec = spec{Format: checkpointSpecKind, Lineage: lineage.String(), Whole: fork == nil}
	if fork != nil {
		c.spec.Fork = *fork
		if err := e.unionSince(fork.Seq, theirs, c); err != nil {
			return err
		}
	}
	for _, dir := range []string{filepath.Dir(c.dir), e.o.Dir} {
		if err := disk.SyncDir(e.o.FS, dir); err != nil {
			return err
		}
	}
	return e.writeSpec(c.dir, &c.spec)
}

// unionSince joins both sides' write sets. Ours is taken up to the durable
// position, which is not before the checkpoint's.
func (e *Engine) unionSince(fork uint64, theirs *writeset.Set, c *checkpoint) error {
	set, err := e.WriteSet(fork)
	if err != nil {
		return err
	}
	if theirs != nil {
		for _, el := range theirs.Elements() {
			set.AddElement(el)
		}
	}
	c.spec.WriteSet = set.Encode()
	return nil
}

func (e *Engine) releaseUser(c *checkpoint) {
	e.checkMu.Lock()
	defer e.checkMu.Unlock()
	c.users--
	c.used = e.o.Now()
	if c.orphan && c.users == 0 {
		e.closeCheckpoint(filepath.Base(c.dir), c)
	}
}

// expireCheckpoints drops what nobody used for long. Needs checkMu.
func (e *Engine) expireCheckpoints() {
	idle := e.o.CheckpointIdle
	if idle == 0 {
		idle = checkpointIdle
	}
	for name, c := range e.checkpoints {
		if c.users == 0 && e.o.Now().Sub(c.used) > idle {
			e.dropCheckpoint(name)
		}
	}
}

// evictCheckpoint drops the one that nobody used for longest, if it can. Needs
// checkMu.
func (e *Engine) evictCheckpoint() bool {
	oldest := ""
	for name, c := range e.checkpoints {
		if c.users == 0 && (oldest == "" || c.used.Before(e.checkpoints[oldest].used)) {
			oldest = name
		}
	}
	if oldest == "" {
		return false
	}
	e.dropCheckpoint(oldest)
	return true
}

// dropCheckpoint needs checkMu.
func (e *Engine) dropCheckpoint(name string) {
	if c := e.checkpoints[name]; c != nil {
		e.closeCheckpoint(name, c)
	}
	delete(e.checkpoints, name)
	if err := e.o.FS.RemoveAll(e.checkpointPath(name)); err != nil {
		e.log.Warn("cannot remove a checkpoint; its space is not free yet", "checkpoint", name, "error", err)
	}
}

// ReleaseCheckpoint drops a checkpoint; one in use goes when it expires.
func (e *Engine) ReleaseCheckpoint(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	e.checkMu.Lock()
	defer e.checkMu.Unlock()
	if c := e.checkpoints[name]; c == nil || c.users == 0 {
		e.dropCheckpoint(name)
	}
	return nil
}

// forgetCheckpoints drops all: the tree was replaced, and positions of the old
// one are not in this history. One in use goes when it expires.
func (e *Engine) forgetCheckpoints() {
	e.checkMu.Lock()
	defer e.checkMu.Unlock()
	for name, c := range e.checkpoints {
		if c.users == 0 {
			e.dropCheckpoint(name)
		}
	}
}

// closeCheckpoints is for Close. One that a server still reads stays open until
// it has noticed; what is read is pinned, so it is right.
func (e *Engine) closeCheckpoints() {
	e.checkMu.Lock()
	defer e.checkMu.Unlock()
	for name, c := range e.checkpoints {
		if c.users > 0 {
			c.orphan = true
			continue
		}
		e.closeCheckpoint(name, c)
	}
	clear(e.checkpoints)
}

// closeCheckpoint needs checkMu.
func (e *Engine) closeCheckpoint(name string, c *checkpoint) {
	if c.t == nil {
		return
	}
	if err := c.t.Close(); err != nil {
		e.log.Warn("cannot close a checkpoint", "checkpoint", name, "error", err)
	}
}
