package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

const (
	// memTableBytes trades memory (two or three of these per busy file
	// system, on the Go heap) for fewer flushes.
	memTableBytes = 8 << 20
	// maxOpenTables bounds file descriptors per file system.
	maxOpenTables = 256
	// neverStall is beyond what a store can reach: pebble's own brakes would
	// stop Commit, and with it all readers. WaitRoom is the brake.
	neverStall = 1 << 20
)

// Options of a tree.
type Options struct {
	FS     vfs.FS
	Dir    string
	Cache  *pebble.Cache // shared by all trees of a process; nil: a small one
	Logger *slog.Logger
	// OnFailure is told once when the store can no longer persist what is
	// applied. Reads go on; the file system must stop accepting changes.
	OnFailure func(error)
	// ReadOnly opens an existing store for looking: nothing on disk changes.
	ReadOnly bool
}

// Meta is where the tree stands.
type Meta struct {
	Applied      fs.Pos // the position whose state this is
	Files        uint64 // inodes
	BytesUsed    uint64 // by extents
	HistoryBytes uint64 // mutations and payloads since the first record
	LastStamp    uint64 // newest stamp seen, for the hybrid clock
}

const metaVersion = 1

func (m *Meta) encode() []byte {
	b := fs.AppendPos([]byte{metaVersion}, m.Applied)
	for _, v := range [...]uint64{m.Files, m.BytesUsed, m.HistoryBytes, m.LastStamp} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func decodeMeta(b []byte) (Meta, error) {
	if len(b) != 1+fs.PosSize+32 || b[0] != metaVersion {
		return Meta{}, &fs.DecodeError{What: "tree position", Detail: fmt.Sprintf("%d bytes", len(b))}
	}
	p, err := fs.ParsePos(b[1:])
	c := b[1+fs.PosSize:]
	u := func(i int) uint64 { return binary.BigEndian.Uint64(c[8*i:]) }
	return Meta{p, u(0), u(1), u(2), u(3)}, err
}

// Tree is an open store. See the package comment for who may call what when.
type Tree struct {
	db      *pebble.DB
	gate    *gate
	dir     string
	log     *slog.Logger
	fail    func(error)
	closing chan struct{}
	backlog *backlog

	meta    Meta
	epochs  []fs.EpochStart
	cache   *inodeCache
	resolve Resolve // nil: nothing was ever moved
	// unresolved: an extent was written whose present address could not be told.
	unresolved atomic.Bool

	settings *settingsLog
}

// Open opens or creates the store in o.Dir. Call SetDurable before Apply.
func Open(o Options) (*Tree, error) {
	t := &Tree{gate: &gate{FS: o.FS}, dir: o.Dir, log: o.Logger, fail: o.OnFailure, closing: make(chan struct{}),
		backlog: newBacklog(), cache: newInodeCache(), settings: newSettingsLog()}
	t.gate.failed = t.stopStore
	if !o.ReadOnly {
		if err := o.FS.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the tree's directory: %w", err)
		}
	}
	db, err := pebble.Open(o.Dir, t.storeOptions(o))
	if err != nil {
		return nil, fmt.Errorf("open the tree in %s: %w", o.Dir, err)
	}
	t.db = db
	if err := errors.Join(t.gate.alive(), t.load()); err != nil {
		db.Close()
		return nil, fmt.Errorf("read the tree in %s: %w", o.Dir, err)
	}
	return t, nil
}

func (t *Tree) storeOptions(o Options) *pebble.Options {
	opts := &pebble.Options{
		FS:                 t.gate,
		Cache:              o.Cache,
		DisableWAL:         true, // the journal is the log
		MemTableSize:       memTableBytes,
		MaxOpenFiles:       maxOpenTables,
		FormatMajorVersion: pebble.FormatTableFormatV6,
		Logger:             storeLogger{t},
		ReadOnly:           o.ReadOnly,

		MemTableStopWritesThreshold: neverStall,
		L0StopWritesThreshold:       neverStall,
	}
	if o.Cache == nil {
		opts.CacheSize = 8 << 20
	}
	opts.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	opts.EventListener = t.backlog.listener(t.log.With("dir", t.dir))
	opts.EventListener.DataCorruption = func(i pebble.DataCorruptionInfo) {
		t.reportFailure(&fs.CorruptionError{File: i.Path, Detail: i.Details.Error()})
	}
	opts.EnsureDefaults()
	return opts
}

func (t *Tree) load() error {
	b, err := t.get(metaKey)
	if err != nil || b == nil {
		return err
	}
	if t.meta, err = decodeMeta(b); err != nil {
		return err
	}
	return t.scan([]byte{prefixEpoch}, []byte{prefixEpoch + 1}, func(k, v []byte) error {
		id, err := decodeEpoch(v)
		t.epochs = append(t.epochs, fs.EpochStart{ID: id, First: binary.BigEndian.Uint64(k[1:])})
		return err
	})
}

// SetDurable gives the gate the function that makes the journal durable
// through a sequence. Before the first Apply; a stage that becomes the tree
// gets another one.
func (t *Tree) SetDurable(f func(seq uint64) error) {
	g := func(seq uint64) error {
		err := f(seq)
		if err == nil {
			return nil
		}
		t.reportFailure(fmt.Errorf("the journal cannot be made durable, so the tree is not flushed: %w", err))
		// Pebble takes a failed MANIFEST write for fatal. Hold it here: reads
		// go on, nothing is applied any more, and Close lets go.
		<-t.closing
		return err
	}
	t.gate.durable.Store(&g)
}

// SetStaged gives a stage's gate the function that makes the staged payloads
// durable: no table that names them counts before.
func (t *Tree) SetStaged(sync func() error) {
	t.gate.newest.Store(1)
	t.SetDurable(func(uint64) error { return sync() })
}

// stopStore is for errors after which pebble's memory may be wrong.
func (t *Tree) stopStore(err error) {
	t.gate.stop(err)
	t.reportFailure(err)
}

func (t *Tree) reportFailure(err error) {
	if t.backlog.die(err) && t.fail != nil {
		t.fail(err)
	}
}

// storeLogger passes pebble's complaints on. Fatalf must not end the process:
// other file systems live in it.
type storeLogger struct{ t *Tree }

func (l storeLogger) Infof(string, ...any) {}

func (l storeLogger) Errorf(format string, a ...any) {
	l.t.log.Error("tree store: "+fmt.Sprintf(format, a...), "dir", l.t.dir)
}

func (l storeLogger) Fatalf(format string, a ...any) {
	l.t.stopStore(errors.New("tree store: " + fmt.Sprintf(format, a...)))
}

// Meta tells where the tree stands.
func (t *Tree) Meta() Meta { return t.meta }

// Dir is where the store is.
func (t *Tree) Dir() string { return t.dir }

// Epochs is the history of writers, oldest first; do not change it.
func (t *Tree) Epochs() []fs.EpochStart { return t.epochs }

// Flush makes everything applied part of the flushed tree (and so, by the
// gate, of the durable journal). It may run beside readers and Apply. When the
// disk refuses it gives up; the store goes on trying by itself.
func (t *Tree) Flush() error {
	flushed, err := t.db.AsyncFlush()
	if err == nil {
		err = t.backlog.await(flushed)
	}
	if err != nil {
		return fmt.Errorf("flush the tree: %w", err)
	}
	return nil
}

// WaitRoom waits while the store is behind with its flushes. To be called
// before each Prepare, with no reader kept waiting. fs.ErrNoSpace: it is behind
// because the disk is full; any other error means that the tree is of no use
// any more.
func (t *Tree) WaitRoom() error {
	err := t.backlog.wait(t.db)
	if err != nil && err != fs.ErrNoSpace {
		t.reportFailure(err)
	}
	return err
}

// Checkpoint flushes and makes a copy in dir, which must not exist, by hard
// links: its cost does not grow with the tree. It may run beside readers and
// Apply; the copy is the state at one position.
func (t *Tree) Checkpoint(dir string) error {
	if err := t.Flush(); err != nil {
		return err
	}
	if err := t.db.Checkpoint(dir); err != nil {
		return fmt.Errorf("checkpoint the tree into %s: %w", dir, err)
	}
	return nil
}

// DiskBytes is the space that the store takes.
func (t *Tree) DiskBytes() uint64 { return t.db.Metrics().DiskSpaceUsage() }

// Close closes the store without flushing: what is missing is in the journal.
func (t *Tree) Close() error {
	close(t.closing)
	return t.db.Close()
}

func (t *Tree) get(key []byte) ([]byte, error) {
	v, c, err := t.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, storeError(err)
	}
	b := append(make([]byte, 0, len(v)), v...)
	return b, c.Close()
}

// scan calls fn for the keys in [lo, hi). k and v are valid during the call.
func (t *Tree) scan(lo, hi []byte, fn func(k, v []byte) error) error {
	return scan(t.db, lo, hi, fn)
}

func scan(r pebble.Reader, lo, hi []byte, fn func(k, v []byte) error) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return storeError(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return storeError(err)
		}
		if err := fn(it.Key(), v); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return storeError(err)
	}
	return nil
}

// ErrStore: the disk below the tree refused a read.
var ErrStore = errors.New("the store of the tree cannot be read")

// storeError gives pebble's errors our names.
func storeError(err error) error {
	if pebble.IsCorruptionError(err) {
		detail, _, _ := strings.Cut(err.Error(), "\n") // what follows is pebble's own
		return &fs.CorruptionError{File: "tree", Detail: detail}
	}
	return fmt.Errorf("%w: %w", ErrStore, err)
}

func decodeEpoch(b []byte) (fs.EpochID, error) {
	if len(b) != 14 {
		return fs.EpochID{}, &fs.DecodeError{What: "epoch", Detail: "stored value has a wrong length"}
	}
	return fs.EpochID{Counter: binary.BigEndian.Uint32(b), Member: binary.BigEndian.Uint16(b[4:]), Nonce: binary.BigEndian.Uint64(b[6:])}, nil
}

func encodeEpoch(e fs.EpochID) []byte {
	b := binary.BigEndian.AppendUint32(nil, e.Counter)
	b = binary.BigEndian.AppendUint16(b, e.Member)
	return binary.BigEndian.AppendUint64(b, e.Nonce)
}
