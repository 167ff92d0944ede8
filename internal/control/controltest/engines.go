package controltest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// World is the engines of several regions. A history is a list of words; a
// destination copies its source's whenever somebody looks at it and the
// network is up.
type World struct {
	mu      sync.Mutex
	regions map[string]*Engines
	paused  bool
	cut     func(a, b string) bool
	now     func() time.Time
}

// NewWorld makes a world without regions. cut tells whether two regions cannot
// reach each other.
func NewWorld(now func() time.Time, cut func(a, b string) bool) *World {
	return &World{regions: map[string]*Engines{}, now: now, cut: cut}
}

// Pause stops or resumes all transfers; streams stay connected.
func (w *World) Pause(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused = on
}

// Engines are the file systems of one region: a control.FileSystems.
type Engines struct {
	world  *World
	region string
	disk   map[string]*engine
	dead   bool
	fail   map[string]error // by method name
	crash  crash
}

// crash is when the process is to end: in the call with a number.
type crash struct {
	calls   int
	at      int  // counted from 1; 0: never
	applied bool // the call has its effect
	now     bool // when the running call returns
	happens func()
	done    bool
}

// CrashAt makes the process end in the n-th call from now that changes what is
// on the disk or opens it; applied tells whether the call has its effect, which
// its caller believes then. fn is called after it.
func (e *Engines) CrashAt(n int, applied bool, fn func()) {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	e.crash = crash{at: n, applied: applied, happens: fn}
}

// Crashed reports whether the crash has happened.
func (e *Engines) Crashed() bool {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	return e.crash.done
}

type engine struct {
	lineage  fs.Lineage
	kmsKey   string
	words    []string
	members  map[string]bool
	whole    bool
	epochs   int
	writes   bool // the last durable role was writer
	last     time.Time
	poison   string
	synced   bool // has the history of up
	settings settings

	open bool
	role control.Role
	up   control.Upstream
}

// Engines adds a region.
func (w *World) Engines(region string) *Engines {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := &Engines{world: w, region: region, disk: map[string]*engine{}, fail: map[string]error{}}
	w.regions[region] = e
	return e
}

// Kill ends the process: nothing works until Restart.
func (e *Engines) Kill() {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	e.dead = true
	for _, f := range e.disk {
		f.open = false
	}
}

// Restart brings the disk's state back, with nothing open.
func (e *Engines) Restart() {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	e.dead, e.crash.at = false, 0
	for _, f := range e.disk {
		f.open = false
	}
}

// Fail makes a method fail with err; nil lets it work again. "Open fs-..." is
// Open of one file system.
func (e *Engines) Fail(method string, err error) {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	e.fail[method] = err
}

// Poison makes the stream of a destination stand still for good.
func (e *Engines) Poison(id, why string) {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	e.disk[id].poison = why
}

// Write adds a word to a file system's history, as a client would.
func (e *Engines) Write(id, word string) error {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	f := e.disk[id]
	switch {
	case f == nil || !f.open || e.dead:
		return fs.ErrStale
	case f.role == control.RoleUndecided:
		return fs.ErrDelay
	case f.role != control.RoleWriter:
		return fs.ErrROFS
	}
	f.words = append(f.words, word)
	return nil
}

// Upstream is what a destination follows.
func (e *Engines) Upstream(id string) control.Upstream {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	return e.disk[id].up
}

// Words is the history of a file system; nil when there is none.
func (e *Engines) Words(id string) []string {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	if f := e.disk[id]; f != nil {
		return slices.Clone(f.words)
	}
	return nil
}

// IDs lists the file systems on the disk, sorted.
func (e *Engines) IDs() []string {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	var ids []string
	for id := range e.disk {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// enter takes the lock; the caller leaves it.
func (e *Engines) enter(ctx context.Context, method string) error {
	e.world.mu.Lock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.dead {
		return ErrCrashed
	}
	if e.crash.calls++; e.crash.calls == e.crash.at {
		e.crash.now = true
		if !e.crash.applied {
			return ErrCrashed
		}
	}
	return e.fail[method]
}

func (e *Engines) leave() {
	crash := e.crash.now
	if crash {
		e.crash.now, e.crash.done, e.dead = false, true, true
		for _, f := range e.disk {
			f.open = false
		}
	}
	happens := e.crash.happens
	e.world.mu.Unlock()
	if crash && happens != nil {
		happens() // it takes locks of others
	}
}

// KMSKey tells what a file system was made to be encrypted with; "" also when
// there is none.
func (e *Engines) KMSKey(id string) string {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	if f := e.disk[id]; f != nil {
		return f.kmsKey
	}
	return ""
}

// Create implements control.FileSystems.
func (e *Engines) Create(ctx context.Context, id, kmsKey string) (fs.Lineage, error) {
	err := e.enter(ctx, "Create")
	defer e.leave()
	if err != nil {
		return fs.Lineage{}, err
	}
	if e.disk[id] == nil {
		sum := sha256.Sum256([]byte(id))
		e.disk[id] = &engine{kmsKey: kmsKey, lineage: fs.Lineage(sum[:16]), members: map[string]bool{}, whole: true, writes: true}
	}
	return e.disk[id].lineage, nil
}

// CreateDestination implements control.FileSystems.
func (e *Engines) CreateDestination(ctx context.Context, id, kmsKey string) error {
	err := e.enter(ctx, "CreateDestination")
	defer e.leave()
	if err == nil && e.disk[id] == nil {
		e.disk[id] = &engine{kmsKey: kmsKey, members: map[string]bool{}}
	}
	return err
}

// Open implements control.FileSystems.
func (e *Engines) Open(ctx context.Context, id string, role control.Role, up *control.Upstream) error {
	err := e.enter(ctx, "Open")
	defer e.leave()
	if err != nil {
		return err
	}
	f := e.disk[id]
	if f == nil {
		return fmt.Errorf("no file system %s", id)
	}
	if err := e.fail["Open "+id]; err != nil {
		return err
	}
	return f.become(role, up)
}

// SetRole implements control.FileSystems.
func (e *Engines) SetRole(ctx context.Context, id string, role control.Role, up *control.Upstream) error {
	err := e.enter(ctx, "SetRole")
	defer e.leave()
	if err != nil {
		return err
	}
	f := e.disk[id]
	if f == nil || !f.open {
		return fmt.Errorf("file system %s is not open", id)
	}
	return f.become(role, up)
}

func (f *engine) become(role control.Role, up *control.Upstream) error {
	f.open = true
	if role == control.RoleWriter && !f.whole {
		return control.ErrNotWhole
	}
	if role == control.RoleDestination {
		if up == nil {
			return fmt.Errorf("a destination needs an upstream")
		}
		f.synced = f.synced && f.up == *up
		f.up = *up
	}
	f.role, f.writes = role, role == control.RoleWriter
	if f.writes {
		f.epochs++
	}
	return nil
}

// Delete implements control.FileSystems.
func (e *Engines) Delete(ctx context.Context, id string) error {
	err := e.enter(ctx, "Delete")
	defer e.leave()
	if err == nil {
		delete(e.disk, id)
	}
	return err
}

// AddMember implements control.FileSystems.
func (e *Engines) AddMember(ctx context.Context, id, memberID, _ string) error {
	err := e.enter(ctx, "AddMember")
	defer e.leave()
	if err != nil {
		return err
	}
	f := e.disk[id]
	if f == nil || f.role != control.RoleWriter {
		return fmt.Errorf("%s is no writer", id)
	}
	f.members[memberID] = true
	return nil
}

// source returns the upstream of a destination, when it can be reached.
func (e *Engines) source(id string, f *engine) *engine {
	up := e.world.regions[f.up.Region]
	if up == nil || up.dead || e.dead || e.world.cut(e.region, f.up.Region) {
		return nil
	}
	s := up.disk[f.up.FileSystemID]
	if s == nil || !s.open || !s.members[id] || s.lineage != f.up.Lineage {
		return nil
	}
	return s
}

// pull copies the history of the source.
func (e *Engines) pull(id string, f *engine) (connected bool) {
	if !f.open || f.role != control.RoleDestination {
		return false
	}
	s := e.source(id, f)
	if s == nil {
		return false
	}
	if !e.world.paused {
		f.words, f.lineage, f.whole, f.synced, f.last = slices.Clone(s.words), s.lineage, true, true, e.world.now()
		f.settings.follow(&s.settings)
	}
	return true
}

// position of n words of a lineage.
func position(l fs.Lineage, words []string) fs.Pos {
	h := sha256.New()
	h.Write(l[:])
	for _, w := range words {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(w))))
		h.Write([]byte(w))
	}
	return fs.Pos{Epoch: fs.EpochID{Counter: 1}, Seq: uint64(len(words)), Chain: fs.Chain(h.Sum(nil)[:16])}
}

// Stat implements control.FileSystems.
func (e *Engines) Stat(id string) (control.Stat, bool) {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	f := e.disk[id]
	if f == nil || !f.open || e.dead {
		return control.Stat{}, false
	}
	st := control.Stat{Role: f.role, Connected: e.pull(id, f)}
	st.Lineage, st.Durable, st.Whole = f.lineage, position(f.lineage, f.words), f.whole
	st.BytesUsed, st.Files, st.LastReplicated = uint64(100*len(f.words)), uint64(len(f.words)), f.last
	st.Err = f.poison
	st.Following = st.Connected && f.synced
	return st, true
}

// waitStep is how often WaitReplicated looks.
const waitStep = 5 * time.Millisecond

// WaitReplicated implements control.FileSystems.
func (e *Engines) WaitReplicated(ctx context.Context, id string, pos fs.Pos) error {
	for {
		st, ok := e.Stat(id)
		if !ok {
			return fmt.Errorf("no file system %s", id)
		}
		if st.Durable.Seq >= pos.Seq {
			return nil
		}
		timer := time.NewTimer(waitStep)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}
