package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// Stage receives a checkpoint beside the present tree. Readers see the old
// tree until Finish switches in one durable step.
//
// Crash order: payloads are synced before a flush of the staged store names
// them (its gate), progress is stored with the items, the store is flushed and
// the salvage written before the journal's BASE names the store. A crash
// before BASE leaves a stage that goes on; after it, the new tree.
type Stage struct {
	e    *Engine
	f    stageFile
	info CheckpointInfo
	j    *journal.Journal // where payloads go: the present journal, or a new one
	own  bool             // j is the stage's own until Finish
	t    *tree.Tree

	mu     sync.Mutex // one batch at a time
	closed bool
}

// stageFile is what is kept of a stage beside its store.
type stageFile struct {
	Format  int            `json:"format"`
	Name    string         `json:"name"`
	Tree    string         `json:"tree"`
	Journal string         `json:"journal"` // "": the present one
	Lineage string         `json:"lineage"`
	Fork    *fs.Pos        `json:"fork"` // nil: a whole tree
	Last    fs.Pos         `json:"last"` // ours when it began
	Info    CheckpointInfo `json:"checkpoint"`
}

const (
	stageFileName   = "stage.json"
	stageFileFormat = 1
)

func readStageFile(o *Options) (*stageFile, error) {
	b, err := disk.ReadFile(o.FS, filepath.Join(o.Dir, stageFileName))
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f := &stageFile{}
	if err := json.Unmarshal(b, f); err != nil || f.Format != stageFileFormat {
		return nil, errors.New("the stage of an unfinished transfer is not one that this release knows")
	}
	return f, nil
}

// removeStageFile is durable when it returns, before anybody removes parts of
// the stage: half a stage must not be found again.
func (e *Engine) removeStageFile() error {
	err := e.o.FS.Remove(filepath.Join(e.o.Dir, stageFileName))
	if isNotExist(err) {
		return nil
	}
	if err == nil {
		err = disk.SyncDir(e.o.FS, e.o.Dir)
	}
	if err != nil {
		return fmt.Errorf("remove the description of a stage: %w", err)
	}
	return nil
}

// OpenStage prepares to receive a checkpoint. One of the same name goes on
// where it was; one of another name is discarded. lineage is the source's.
func (e *Engine) OpenStage(name string, lineage fs.Lineage, info CheckpointInfo, fork *fs.Pos) (*Stage, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if fork != nil && fork.Seq > info.Pos.Seq {
		return nil, fmt.Errorf("a checkpoint at %s cannot hold what changed since %s", info.Pos, fork)
	}
	e.stageMu.Lock()
	defer e.stageMu.Unlock()
	if Mode(e.mode.Load()) == Writer {
		return nil, errors.New("receive a checkpoint: this replica is a writer")
	}
	if s := e.stage; s != nil && !s.isClosed() && s.f.Name == name && s.info.Pos == info.Pos {
		return s, nil
	}
	f, err := readStageFile(&e.o)
	if err != nil {
		return nil, err
	}
	resume := e.stage == nil && f != nil && f.Name == name && f.Info.Pos == info.Pos && f.Last == e.position()
	if !resume {
		if err := e.discardStage(); err != nil {
			return nil, err
		}
		if f, err = e.newStage(name, lineage, info, fork); err != nil {
			return nil, fmt.Errorf("begin stage %s: %w", name, err)
		}
	}
	s, err := e.resumeStage(f)
	if err != nil {
		return nil, err
	}
	e.stage = s
	return s, nil
}

// StageName tells which checkpoint a stage that was interrupted waits for; ""
// for none.
func (e *Engine) StageName() string {
	e.stageMu.Lock()
	defer e.stageMu.Unlock()
	if e.stage != nil {
		return e.stage.f.Name
	}
	if f, err := readStageFile(&e.o); err == nil && f != nil && f.Last == e.position() {
		return f.Name
	}
	return ""
}

func (e *Engine) position() fs.Pos {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}

// newStage makes the store and the description. Needs stageMu.
func (e *Engine) newStage(name string, lineage fs.Lineage, info CheckpointInfo, fork *fs.Pos) (*stageFile, error) {
	if !e.space.ok() {
		return nil, fs.ErrNoSpace
	}
	f := &stageFile{Format: stageFileFormat, Name: name, Lineage: lineage.String(), Fork: fork, Last: e.position(), Info: info}
	f.Tree = fmt.Sprintf(treePrefix+"%016x-%s", info.Pos.Seq, name)
	if f.Tree == e.treeName() {
		f.Tree += "-again" // one checkpoint, received twice
	}
	dir := filepath.Join(e.o.Dir, f.Tree)
	if err := e.o.FS.RemoveAll(dir); err != nil {
		return nil, err
	}
	if e.journalNow() == nil || e.Lineage() != lineage {
		if fork != nil {
			return nil, errors.New("resync from a source of another lineage")
		}
		f.Journal = journalPrefix + name
		if c, err := readCurrent(&e.o); err != nil {
			return nil, err
		} else if c != nil && c.Journal == f.Journal {
			f.Journal += "-again"
		}
		if err := e.o.FS.RemoveAll(filepath.Join(e.o.Dir, f.Journal)); err != nil {
			return nil, err
		}
		if err := journal.Create(e.o.journal(f.Journal, lineage)); err != nil {
			return nil, err
		}
	}
	if fork != nil {
		if err := e.copyTree(f.Tree); err != nil {
			return nil, err
		}
	}
	b, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	return f, disk.WriteFileAtomic(e.o.FS, filepath.Join(e.o.Dir, stageFileName), b)
}

// copyTree makes a stage of the present tree.
func (e *Engine) copyTree(name string) error {
	e.treeLife.RLock()
	defer e.treeLife.RUnlock()
	if err := e.t.Checkpoint(filepath.Join(e.o.Dir, name)); err != nil {
		return err
	}
	t, err := e.openTree(name)
	if err != nil {
		return err
	}
	return errors.Join(t.BeginStage(), t.Close())
}

func (e *Engine) treeName() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.base.Tree
}

// resumeStage opens what the description names. Needs stageMu.
func (e *Engine) resumeStage(f *stageFile) (*Stage, error) {
	s := &Stage{e: e, f: *f, info: f.Info, j: e.journalNow()}
	if f.Journal != "" {
		l, err := fs.ParseLineage(f.Lineage)
		if err != nil {
			return nil, err
		}
		if s.j, err = journal.Open(e.o.journal(f.Journal, l)); err != nil {
			return nil, fmt.Errorf("open the stage's journal: %w", err)
		}
		// A crash may have come between its BASE and the switch.
		base, _ := s.j.Base()
		if err := s.j.Recover(base, func(*fs.Record, fs.Addr) error { return nil }); err != nil {
			return nil, errors.Join(err, s.j.Close())
		}
		s.own = true
	}
	var err error
	if s.t, err = e.openTree(f.Tree); err != nil {
		return nil, errors.Join(err, s.release())
	}
	s.t.SetStaged(s.j.SyncPayloads)
	return s, nil
}

// Cursor tells how far a part is stored.
func (s *Stage) Cursor(part int) (cursor []byte, done bool, err error) {
	return s.t.StageCursor(part)
}

// Put stores items of a part.
func (s *Stage) Put(part int, items []Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrNoCheckpoint
	}
	if len(items) == 0 {
		return nil
	}
	if !s.e.space.ok() {
		return fmt.Errorf("store a piece of the checkpoint: %w", fs.ErrNoSpace)
	}
	b := s.t.NewStageBatch()
	defer b.Close()
	for _, it := range items {
		if err := s.put(b, it); err != nil {
			return fmt.Errorf("store a piece of the checkpoint: %w", err)
		}
	}
	return b.Commit(part, items[len(items)-1].Cursor, false)
}

func (s *Stage) put(b *tree.StageBatch, item Item) error {
	it, err := parseItem(item.Body)
	if err != nil {
		return err
	}
	switch it.kind {
	case itemKeys:
		for _, kv := range it.keys {
			if err := b.Raw(kv[0], kv[1]); err != nil {
				return err
			}
		}
		return nil
	case itemElement:
		return b.Element(it.element, it.present, it.value)
	case itemClear:
		return b.Clear(it.element.Ino, it.element.From, it.element.To)
	}
	if len(item.Payload) != int(it.extent.Length) {
		return errItem
	}
	if it.extent.Addr, err = s.j.PutPayload(item.Payload); err != nil {
		return err
	}
	s.e.space.used(len(item.Payload))
	return b.Extent(it.ino, it.extent)
}

// PartDone records that a part is complete.
func (s *Stage) PartDone(part int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrNoCheckpoint
	}
	cursor, _, err := s.t.StageCursor(part)
	if err != nil {
		return err
	}
	b := s.t.NewStageBatch()
	defer b.Close()
	return b.Commit(part, cursor, true)
}

// release closes what the stage has open. Needs mu.
func (s *Stage) release() (err error) {
	if s.closed {
		return nil
	}
	s.closed = true
	if s.t != nil {
		err = s.t.Close()
	}
	if s.own {
		err = errors.Join(err, s.j.Close())
	}
	return err
}

// closeStage is for Close: the stage goes on at the next start.
func (e *Engine) closeStage() error {
	e.stageMu.Lock()
	defer e.stageMu.Unlock()
	s := e.stage
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	return errors.Join(s.t.Flush(), s.release())
}
