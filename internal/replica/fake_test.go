package replica

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// fakeFS is a file system in memory, both Source and Destination: a journal of
// real records, and a "tree" that maps a file to the payload last written.
type fakeFS struct {
	mu      sync.Mutex
	lineage fs.Lineage
	epochs  []fs.EpochStart
	base    fs.Pos
	log     []fakeRecord // after base
	durable int          // of log
	bytes   uint64       // of history up to base
	notify  chan struct{}
	tree    map[fs.Ino][]byte

	parts       int  // of its checkpoints
	lazy        bool // Append leaves records undurable until Sync
	stuck       bool // Sync fails
	poisonAt    uint64
	appendErr   error // next Append fails with it, once
	checkpoints map[string]*fakeCheckpoint
	opened      []string // names, in order of creation
	stage       *fakeStage
	stored      int      // items of the stages that were finished
	unlike      bool     // it differs from its source in too much to list it
	salvaged    []uint64 // sequences that a resync took away
	itemsHook   func(sent int) error
}

type fakeRecord struct {
	r       *fs.Record
	payload []byte
}

func (f fakeRecord) size() uint64 { return uint64(len(f.r.Mutation) + len(f.payload)) }

type fakeCheckpoint struct {
	c    Checkpoint
	keys []fs.Ino
	tree map[fs.Ino][]byte
}

var testLineage = fs.Lineage{1, 2, 3}

// newEmpty is a replica that never received anything.
func newEmpty() *fakeFS {
	return &fakeFS{notify: make(chan struct{}), tree: map[fs.Ino][]byte{}, parts: 3, checkpoints: map[string]*fakeCheckpoint{}}
}

// newFake is a file system of a lineage with its first epoch.
func newFake(l fs.Lineage, member uint16) *fakeFS {
	f := newEmpty()
	f.lineage = l
	f.beginEpoch(member)
	return f
}

func (f *fakeFS) last() fs.Pos {
	if len(f.log) == 0 {
		return f.base
	}
	return f.log[len(f.log)-1].r.Pos()
}

func (f *fakeFS) durablePos() fs.Pos {
	if f.durable == 0 {
		return f.base
	}
	return f.log[f.durable-1].r.Pos()
}

// beginEpoch promotes: a new writer's stretch begins.
func (f *fakeFS) beginEpoch(member uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.last()
	id := fs.EpochID{Counter: last.Epoch.Counter + 1, Member: member, Nonce: uint64(member)<<32 | last.Seq}
	f.write(&fs.Record{Epoch: id, Seq: last.Seq + 1, Mutation: fs.AppendMutation(nil, &fs.Epoch{ID: id})}, nil)
}

// put writes payload to a file and makes it durable.
func (f *fakeFS) put(ino fs.Ino, payload []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.last()
	m := &fs.Write{Ino: ino, Length: uint32(len(payload))}
	f.write(&fs.Record{Epoch: last.Epoch, Seq: last.Seq + 1, Mutation: fs.AppendMutation(nil, m),
		PayloadLen: uint32(len(payload)), PayloadDigest: fs.Digest(payload)}, payload)
}

func (f *fakeFS) write(r *fs.Record, payload []byte) {
	r.Encode(nil, f.last().Chain)
	f.apply(fakeRecord{r, bytes.Clone(payload)})
	f.sync()
}

func (f *fakeFS) apply(fr fakeRecord) {
	if n := len(f.epochs); n == 0 || f.epochs[n-1].ID != fr.r.Epoch {
		f.epochs = append(f.epochs, fs.EpochStart{ID: fr.r.Epoch, First: fr.r.Seq})
	}
	f.log = append(f.log, fr)
	m, err := fs.ParseMutation(fr.r.Mutation)
	if err != nil {
		panic(err)
	}
	if w, ok := m.(*fs.Write); ok {
		f.tree[w.Ino] = fr.payload
	}
}

func (f *fakeFS) sync() {
	f.durable = len(f.log)
	close(f.notify)
	f.notify = make(chan struct{})
}

// crash loses what is not durable, as a restart does. The stage stays.
func (f *fakeFS) crash() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = f.log[:f.durable]
	for len(f.epochs) > 0 && f.epochs[len(f.epochs)-1].First > f.last().Seq {
		f.epochs = f.epochs[:len(f.epochs)-1]
	}
}

// trim forgets the records up to seq.
func (f *fakeFS) trim(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := int(seq - f.base.Seq)
	for _, fr := range f.log[:n] {
		f.bytes += fr.size()
	}
	f.base, f.log, f.durable = f.log[n-1].r.Pos(), f.log[n:], f.durable-n
}

func (f *fakeFS) contents() map[fs.Ino][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.tree)
}

// Common to both ends.

func (f *fakeFS) History() (fs.History, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := fs.History{Lineage: f.lineage, Base: f.base, Last: f.durablePos()}
	for _, e := range f.epochs {
		if e.First <= h.Last.Seq {
			h.Epochs = append(h.Epochs, e)
		}
	}
	return h, nil
}

func (f *fakeFS) Durable() fs.Pos {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.durablePos()
}

func (f *fakeFS) Notify() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.notify
}

func (f *fakeFS) HistoryBytes() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.bytes
	for _, fr := range f.log[:f.durable] {
		n += fr.size()
	}
	return n
}

func (f *fakeFS) PosAt(seq uint64) (fs.Pos, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.posAt(seq)
}

func (f *fakeFS) posAt(seq uint64) (fs.Pos, error) {
	switch {
	case seq < f.base.Seq:
		return fs.Pos{}, ErrTrimmed
	case seq == f.base.Seq:
		return f.base, nil
	case seq > f.durablePos().Seq:
		return fs.Pos{}, fmt.Errorf("record %d is not here yet", seq)
	}
	return f.log[seq-f.base.Seq-1].r.Pos(), nil
}

// Source.

func (f *fakeFS) Has(pos fs.Pos) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if pos.Seq > f.durablePos().Seq {
		return false, nil
	}
	p, err := f.posAt(pos.Seq)
	return p == pos, err
}

func (f *fakeFS) Records(after uint64) (Records, error) {
	if _, err := f.PosAt(after); err != nil {
		return nil, err
	}
	return &fakeRecords{f: f, seq: after}, nil
}

type fakeRecords struct {
	f    *fakeFS
	seq  uint64
	lent []byte // spoilt at the next call, as a reused buffer would be
}

func (r *fakeRecords) Next(ctx context.Context) (*fs.Record, []byte, error) {
	for {
		changed := r.f.Notify()
		rec, payload, ok, err := r.TryNext()
		if ok || err != nil {
			return rec, payload, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

func (r *fakeRecords) TryNext() (*fs.Record, []byte, bool, error) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	clear(r.lent)
	if r.seq < r.f.base.Seq {
		return nil, nil, false, ErrTrimmed
	}
	i := int(r.seq - r.f.base.Seq)
	if i >= r.f.durable {
		return nil, nil, false, nil
	}
	r.seq++
	r.lent = bytes.Clone(r.f.log[i].payload)
	rec := *r.f.log[i].r
	return &rec, r.lent, true, nil
}

func (r *fakeRecords) Close() {}

type fakeMeta struct {
	Lineage fs.Lineage
	Epochs  []fs.EpochStart
	Bytes   uint64
}

func (f *fakeFS) OpenCheckpoint(_ context.Context, name string, fork *fs.Pos, writeSet []byte) (Checkpoint, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cp := f.checkpoints[name]; cp != nil {
		return cp.c, nil
	}
	cp := &fakeCheckpoint{tree: maps.Clone(f.tree)}
	keys := map[fs.Ino]bool{}
	if fork == nil {
		for ino := range f.tree {
			keys[ino] = true
		}
	} else {
		for _, ino := range f.changedSince(*fork) {
			keys[ino] = true
		}
		for _, ino := range parseInos(writeSet) {
			keys[ino] = true
		}
	}
	cp.keys = slices.Sorted(maps.Keys(keys))
	meta := fakeMeta{Lineage: f.lineage, Epochs: slices.Clone(f.epochs), Bytes: f.bytes}
	for _, fr := range f.log {
		meta.Bytes += fr.size()
	}
	b, err := json.Marshal(meta)
	cp.c = Checkpoint{Name: name, Pos: f.durablePos(), Parts: f.parts, Meta: b}
	f.checkpoints[name] = cp
	f.opened = append(f.opened, name)
	return cp.c, err
}

func (f *fakeFS) changedSince(fork fs.Pos) (inos []fs.Ino) {
	for _, fr := range f.log {
		if fr.r.Seq <= fork.Seq {
			continue
		}
		if m, err := fs.ParseMutation(fr.r.Mutation); err == nil {
			if w, ok := m.(*fs.Write); ok {
				inos = append(inos, w.Ino)
			}
		}
	}
	return inos
}

func parseInos(b []byte) (inos []fs.Ino) {
	for ; len(b) >= 8; b = b[8:] {
		inos = append(inos, fs.Ino(binary.BigEndian.Uint64(b)))
	}
	return inos
}

func (f *fakeFS) Items(ctx context.Context, name string, part, parts int, cursor []byte, fn func(Item) error) error {
	f.mu.Lock()
	cp, hook := f.checkpoints[name], f.itemsHook
	f.mu.Unlock()
	if cp == nil {
		return ErrNoCheckpoint
	}
	sent := 0
	for _, ino := range cp.keys {
		key := binary.BigEndian.AppendUint64(nil, uint64(ino))
		if int(uint64(ino)%uint64(parts)) != part || bytes.Compare(key, cursor) <= 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if hook != nil {
			if err := hook(sent); err != nil {
				return err
			}
		}
		if err := fn(Item{Cursor: key, Body: key, Payload: cp.tree[ino]}); err != nil {
			return err
		}
		sent++
	}
	return nil
}

func (f *fakeFS) ReleaseCheckpoint(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.checkpoints, name)
	return nil
}

func (f *fakeFS) openCheckpoints() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.checkpoints)
}

// Destination.

func (f *fakeFS) Append(_ context.Context, recs []Incoming) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.appendErr; err != nil {
		f.appendErr = nil
		return err
	}
	for _, in := range recs {
		if err := in.Record.Follows(f.last()); err != nil {
			return err
		}
		if f.poisonAt > 0 && in.Record.Seq == f.poisonAt {
			return fmt.Errorf("record %d: %w", in.Record.Seq, ErrPoison)
		}
		if len(in.Payload) > 0 && fs.Digest(in.Payload) != in.Record.PayloadDigest {
			return errors.New("the payload's digest is wrong")
		}
		f.apply(fakeRecord{in.Record, bytes.Clone(in.Payload)})
	}
	if !f.lazy {
		f.sync()
	}
	return nil
}

func (f *fakeFS) Sync(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stuck {
		return errors.New("the disk does not sync")
	}
	f.sync()
	return nil
}

func (f *fakeFS) WriteSet(fork fs.Pos) (set []byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fork.Seq < f.base.Seq {
		return nil, ErrTrimmed
	}
	for _, ino := range f.changedSince(fork) {
		set = binary.BigEndian.AppendUint64(set, uint64(ino))
	}
	return set, nil
}

type fakeStage struct {
	f    *fakeFS
	c    Checkpoint
	fork *fs.Pos

	mu      sync.Mutex
	cursors map[int][]byte
	done    map[int]bool
	items   []Item
	full    *atomic.Bool // while it is set, Put fails; nil: never
}

func (f *fakeFS) Stage(_ context.Context, c Checkpoint, fork *fs.Pos) (Stage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stage == nil || f.stage.c.Name != c.Name {
		var full *atomic.Bool
		if f.stage != nil {
			full = f.stage.full
		}
		f.stage = &fakeStage{f: f, c: c, fork: fork, cursors: map[int][]byte{}, done: map[int]bool{}, full: full}
	}
	if f.stage.c.Pos != c.Pos {
		return nil, fmt.Errorf("stage %s is for %s, not for %s", c.Name, f.stage.c.Pos, c.Pos)
	}
	return f.stage, nil
}

// keeperFS is a fakeFS that remembers its stage for a restarted process.
type keeperFS struct{ *fakeFS }

func (f keeperFS) Staged() (Checkpoint, *fs.Pos, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stage == nil || f.stage.c.Name == "" {
		return Checkpoint{}, nil, false
	}
	return f.stage.c, f.stage.fork, true
}

func (s *fakeStage) Cursor(part int) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursors[part], s.done[part]
}

var errDiskFull = errors.New("the disk is full")

func (s *fakeStage) Put(_ context.Context, part int, items []Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full != nil && s.full.Load() {
		return errDiskFull
	}
	s.items = append(s.items, items...)
	s.cursors[part] = items[len(items)-1].Cursor
	return nil
}

func (s *fakeStage) PartDone(part int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[part] = true
	return nil
}

func (s *fakeStage) Finish(context.Context) error {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if len(s.done) != s.c.Parts {
		return fmt.Errorf("%d of %d parts are done", len(s.done), s.c.Parts)
	}
	var meta fakeMeta
	if err := json.Unmarshal(s.c.Meta, &meta); err != nil {
		return err
	}
	if s.fork == nil {
		s.f.tree = map[fs.Ino][]byte{}
	} else {
		for _, fr := range s.f.log {
			if fr.r.Seq > s.fork.Seq {
				s.f.salvaged = append(s.f.salvaged, fr.r.Seq)
			}
		}
	}
	for _, it := range s.items {
		ino := fs.Ino(binary.BigEndian.Uint64(it.Body))
		if it.Payload == nil {
			delete(s.f.tree, ino)
		} else {
			s.f.tree[ino] = it.Payload
		}
	}
	s.f.lineage, s.f.epochs, s.f.bytes = meta.Lineage, meta.Epochs, meta.Bytes
	s.f.base, s.f.log, s.f.stage, s.f.stored = s.c.Pos, nil, nil, s.f.stored+len(s.items)
	s.f.sync()
	return nil
}

// itemCount tells how many items reached the stage that is open.
func (f *fakeFS) itemCount() int {
	f.mu.Lock()
	st := f.stage
	f.mu.Unlock()
	if st == nil {
		return 0
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.items)
}

var (
	_ Source      = (*fakeFS)(nil)
	_ Destination = (*fakeFS)(nil)
	_ StageKeeper = keeperFS{}
)

func sameTrees(a, b map[fs.Ino][]byte) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d files and %d files", len(a), len(b))
	}
	for _, ino := range slices.SortedFunc(maps.Keys(a), cmp.Compare) {
		if !bytes.Equal(a[ino], b[ino]) {
			return fmt.Errorf("file %d differs", ino)
		}
	}
	return nil
}
