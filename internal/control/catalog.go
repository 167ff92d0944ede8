package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Log keeps the entries of the catalog. Its methods are called by one
// goroutine at a time.
type Log interface {
	// Replay calls fn with every entry, oldest first; an error of fn ends it.
	Replay(fn func(entry []byte) error) error
	// Append adds an entry of at most MaxEntry bytes, durable on return. After
	// an error it is unknown whether the entry is kept: the log must be opened
	// anew.
	Append(entry []byte) error
	// Rewrite replaces all entries atomically: after a crash either the old or
	// the new ones are there.
	Rewrite(entries [][]byte) error
	Close() error
}

// MaxEntry bounds an entry in bytes: it travels in the mutation of a record.
const MaxEntry = fs.MaxMutation

// entryVersion is the version of the entries' form; another one is refused.
const entryVersion = 1

// The kinds of records in an entry.
const (
	kindFileSystem  = "file-system"
	kindMountTarget = "mount-target"
	kindReplication = "replication"
	kindTombstone   = "tombstone"
	kindCleanup     = "cleanup"
)

// entry is one atomic step of the catalog. As JSON:
//
//	{"v":1,"changes":[{"kind":"file-system","id":"fs-...","value":{...}},
//	                  {"kind":"replication","id":"..."}]}
//
// A change without a value removes the record.
type entry struct {
	Version int      `json:"v"`
	Changes []change `json:"changes"`
}

type change struct {
	Kind  string          `json:"kind"`
	ID    string          `json:"id"`
	Value json.RawMessage `json:"value,omitempty"`
}

// state is what the entries describe.
type state struct {
	fileSystems  map[string]*FileSystem
	mountTargets map[string]*MountTarget
	replications map[string]*Replication
	tombstones   map[string]*Tombstone
	cleanups     map[string]*Cleanup

	byFileSystem map[string]string              // file system -> its replication
	targetsOf    map[string]map[string]struct{} // file system -> its mount targets
}

func newState() *state {
	return &state{
		fileSystems: map[string]*FileSystem{}, mountTargets: map[string]*MountTarget{},
		replications: map[string]*Replication{}, tombstones: map[string]*Tombstone{},
		cleanups: map[string]*Cleanup{}, byFileSystem: map[string]string{},
		targetsOf: map[string]map[string]struct{}{},
	}
}

func (s *state) replicationOf(fileSystemID string) *Replication {
	return s.replications[s.byFileSystem[fileSystemID]]
}

func (s *state) mountTargetsOf(fileSystemID string) []*MountTarget {
	var all []*MountTarget
	for _, id := range slices.Sorted(maps.Keys(s.targetsOf[fileSystemID])) {
		all = append(all, s.mountTargets[id])
	}
	return all
}

// size is the number of records.
func (s *state) size() int {
	return len(s.fileSystems) + len(s.mountTargets) + len(s.replications) + len(s.tombstones) + len(s.cleanups)
}

// apply is the only way in which the state changes, live and at start.
func (s *state) apply(raw []byte) error {
	var e entry
	if err := strictJSON(raw, &e); err != nil {
		return fmt.Errorf("catalog entry: %w", err)
	}
	if e.Version != entryVersion {
		return fmt.Errorf("catalog entry has version %d; this release knows %d: start a newer release", e.Version, entryVersion)
	}
	for _, c := range e.Changes {
		if err := s.applyChange(c); err != nil {
			return fmt.Errorf("catalog entry for %s %q: %w", c.Kind, c.ID, err)
		}
	}
	return nil
}

func (s *state) applyChange(c change) error {
	switch c.Kind {
	case kindFileSystem:
		return set(s.fileSystems, c)
	case kindMountTarget:
		return s.setMountTarget(c)
	case kindReplication:
		return s.setReplication(c)
	case kindTombstone:
		return set(s.tombstones, c)
	case kindCleanup:
		return set(s.cleanups, c)
	}
	return fmt.Errorf("kind %q is not known to this release: start the release that wrote it, or a newer one", c.Kind)
}

func (s *state) setMountTarget(c change) error {
	if old := s.mountTargets[c.ID]; old != nil {
		delete(s.targetsOf[old.FileSystemID], c.ID)
	}
	if err := set(s.mountTargets, c); err != nil {
		return err
	}
	if t := s.mountTargets[c.ID]; t != nil {
		if s.targetsOf[t.FileSystemID] == nil {
			s.targetsOf[t.FileSystemID] = map[string]struct{}{}
		}
		s.targetsOf[t.FileSystemID][c.ID] = struct{}{}
	}
	return nil
}

func (s *state) setReplication(c change) error {
	if old := s.replications[c.ID]; old != nil && s.byFileSystem[old.FileSystemID] == c.ID {
		delete(s.byFileSystem, old.FileSystemID)
	}
	if err := set(s.replications, c); err != nil {
		return err
	}
	if r := s.replications[c.ID]; r != nil {
		s.byFileSystem[r.FileSystemID] = c.ID
	}
	return nil
}

func set[T any](m map[string]*T, c change) error {
	if c.Value == nil {
		delete(m, c.ID)
		return nil
	}
	v := new(T)
	if err := strictJSON(c.Value, v); err != nil {
		return err
	}
	m[c.ID] = v
	return nil
}

// strictJSON refuses members that this release does not know: they may change
// the meaning of the others.
func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

// tx collects the changes of one entry. It reads the state as it was before.
type tx struct {
	*state
	changes []change
	err     error
}

func (t *tx) add(kind, id string, v any) {
	c := change{Kind: kind, ID: id}
	if v != nil {
		b, err := json.Marshal(v)
		if err != nil && t.err == nil {
			t.err = fmt.Errorf("encode %s %s: %w", kind, id, err)
		}
		c.Value = b
	}
	t.changes = append(t.changes, c)
}

func (t *tx) putFileSystem(f FileSystem)   { t.add(kindFileSystem, f.ID, f) }
func (t *tx) putMountTarget(m MountTarget) { t.add(kindMountTarget, m.ID, m) }
func (t *tx) putReplication(r Replication) { t.add(kindReplication, r.ID, r) }
func (t *tx) putCleanup(c Cleanup)         { t.add(kindCleanup, c.ID, c) }
func (t *tx) drop(kind, id string)         { t.add(kind, id, nil) }

// maxTombstones bounds what is remembered of ended replications. A source that
// stayed away while this many others ended hears "unknown" instead of
// "promoted".
const maxTombstones = 4096

func (t *tx) putTombstone(ts *Tombstone) {
	t.add(kindTombstone, ts.ID, ts)
	if len(t.tombstones) < maxTombstones {
		return
	}
	oldest := ts
	for _, o := range t.tombstones {
		if o.Time.Before(oldest.Time) {
			oldest = o
		}
	}
	if oldest != ts {
		t.drop(kindTombstone, oldest.ID)
	}
}

// catalog is the state with its log. Lock order: writing before mu.
type catalog struct {
	log     Log
	writing sync.Mutex // one decision and its append at a time
	entries int        // in the log; under writing
	failed  error      // of the log; under writing

	mu    sync.RWMutex // the maps of state; records are never changed in place
	state *state
}

func openCatalog(log Log) (*catalog, error) {
	c := &catalog{log: log, state: newState()}
	err := log.Replay(func(raw []byte) error {
		c.entries++
		if err := c.state.apply(raw); err != nil {
			return fmt.Errorf("entry %d: %w", c.entries, err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open the catalog: %w", err)
	}
	return c, nil
}

// update lets decide look at the state and collect changes, makes them durable
// and applies them. An error of decide changes nothing.
func (c *catalog) update(decide func(*tx) error) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	t := &tx{state: c.state}
	if err := decide(t); err != nil || len(t.changes) == 0 {
		return err
	}
	if t.err != nil {
		return t.err
	}
	if c.failed != nil {
		return fmt.Errorf("the catalog of this region takes no changes since its log failed; restart holdfast: %w", c.failed)
	}
	raw, err := json.Marshal(entry{entryVersion, t.changes})
	if err != nil {
		return fmt.Errorf("encode a catalog entry: %w", err)
	}
	if len(raw) > MaxEntry {
		return refuse(CodeBadRequest, "the request needs %d bytes of catalog in one piece, more than %d: use fewer or shorter tags", len(raw), MaxEntry)
	}
	return c.commit(raw)
}

// commit makes raw durable, then visible.
func (c *catalog) commit(raw []byte) error {
	if err := c.log.Append(raw); err != nil {
		c.failed = err
		return fmt.Errorf("append to the catalog's log; whether the change is kept is known after a restart: %w", err)
	}
	c.entries++
	c.mu.Lock()
	err := c.state.apply(raw)
	c.mu.Unlock()
	if err != nil {
		c.failed = err
		return err
	}
	c.compactIfLong()
	return nil
}

// The log is rewritten when it has compactFactor entries for each record and
// compactSlack more, so that the work stays a small part of the appends.
const (
	compactFactor = 4
	compactSlack  = 1000
)

func (c *catalog) compactIfLong() {
	if c.entries < compactFactor*c.state.size()+compactSlack {
		return
	}
	entries, err := c.state.snapshot()
	if err == nil {
		err = c.log.Rewrite(entries)
	}
	if err != nil {
		c.failed = fmt.Errorf("compact the log: %w", err)
		return
	}
	c.entries = len(entries)
}

// snapshot gives entries that lead to the state, one per record.
func (s *state) snapshot() ([][]byte, error) {
	t := &tx{state: newState()}
	addAll(t, kindFileSystem, s.fileSystems)
	addAll(t, kindMountTarget, s.mountTargets)
	addAll(t, kindReplication, s.replications)
	addAll(t, kindTombstone, s.tombstones)
	addAll(t, kindCleanup, s.cleanups)
	if t.err != nil {
		return nil, t.err
	}
	entries := make([][]byte, 0, len(t.changes))
	for _, c := range t.changes {
		raw, err := json.Marshal(entry{entryVersion, []change{c}})
		if err != nil {
			return nil, err
		}
		entries = append(entries, raw)
	}
	return entries, nil
}

func addAll[T any](t *tx, kind string, m map[string]*T) {
	for _, id := range slices.Sorted(maps.Keys(m)) {
		t.add(kind, id, m[id])
	}
}

// read lets fn look at the state; fn must not call back into the catalog.
func (c *catalog) read(fn func(*state)) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	fn(c.state)
}
