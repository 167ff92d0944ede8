// Package engine runs one file system: rules decide a mutation, the journal
// makes it durable, the tree applies it. Recovery, following a source and
// promotion use the same journal and the same Apply.
//
// Lock order: cleaner.mu, Engine.stageMu, Stage.mu, Engine.checkMu, Engine.treeLife,
// Engine.mu (who may append), Engine.rw (tree against readers), Engine.holdMu.
// Waiting for a client's durability holds none of them.
package engine

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// Options of an engine.
type Options struct {
	FS     disk.FS
	Dir    string // the engine's own directory
	ID     string // the file system's id in this region, "fs-..."
	Region string
	Now    func() time.Time
	Rand   io.Reader
	Logger *slog.Logger
	Cache  *pebble.Cache // shared by all engines of a process; nil: a small one

	// Keys unwrap the data key of an encrypted file system. nil: none can be opened.
	Keys seal.Keeper
	// KMSKey is the ARN of the key that wraps the data key of a file system that is
	// made; one that exists is refused when it has no data key. "": what is made is
	// not encrypted, what exists is as it was made.
	KMSKey     string
	encryption encryption

	// Journal sizes; zero takes the journal's defaults.
	RecordSegmentBytes  int64
	PayloadSegmentBytes int64
	// ReserveBytes of free disk are kept for what must work on a full disk
	// (removing files, the tree's own flushes). 0: a twentieth of the disk, at
	// most 1 GiB.
	ReserveBytes uint64
	// CheckpointIdle is how long an unused checkpoint for a destination is
	// kept. 0: ten minutes.
	CheckpointIdle time.Duration
	Clean          CleanOptions
	// MaxDifferences that a comparison lists before the whole tree is taken
	// instead. 0: a million.
	MaxDifferences int
}

// Mode says what an engine does with changes that clients ask for.
type Mode int32

// The modes.
const (
	ReadOnly Mode = iota // refuse: fs.ErrROFS
	Waiting              // ask to try again: fs.ErrDelay
	Writer               // accept
)

// Engine is one open file system. Safe for concurrent use.
type Engine struct {
	o   Options
	log *slog.Logger

	// mu serialises everything that appends. The fields below it are its own.
	mu      sync.Mutex
	last    fs.Pos // newest appended and applied
	nextIno uint64 // within the epoch
	stamp   uint64 // newest stamp given
	base    baseMeta

	mode   atomic.Int32
	failed atomic.Pointer[error]
	damage atomic.Pointer[error] // first damage of file data met by a read
	// damageElsewhere is the first that was met in the tree or in a map: the scrub
	// can say nothing of it.
	damageElsewhere atomic.Pointer[error]
	closed          atomic.Bool
	epoch           atomic.Pointer[fs.EpochID]

	// rw guards j and t against the switch of a stage, and t's readers
	// against Apply.
	rw      sync.RWMutex
	j       *journal.Journal // nil: nothing received yet
	t       *tree.Tree
	lineage fs.Lineage // zero while j is nil
	// treeLife is held for reading by who uses a tree for long without rw, and
	// for writing by who closes one.
	treeLife sync.RWMutex

	holdMu  sync.Mutex
	holds   map[fs.Ino]int
	gone    []fs.Ino // released orphans for the reclaimer
	orphans bool     // it shall look at all orphans
	grace   bool     // clients may yet reclaim: everything counts as held
	// clients added while read-only live here only.
	localClients map[string]struct{}

	space   space
	cleaner cleaner
	brake   brake
	peers   peers
	grown   atomic.Int64 // bytes appended since the cleaner was asked
	kick    chan struct{}
	life    context.Context // ends with Close
	stop    context.CancelFunc
	done    chan struct{}

	stageMu     sync.Mutex
	stage       *Stage
	oldJournals []*journal.Journal // of a lineage that was replaced; needs mu
	checkMu     sync.Mutex
	checkpoints map[string]*checkpoint
}

// baseMeta stands in the journal's BASE: which store holds the tree, and the
// highest epoch counter that this replica ever used, so that no number is used
// twice even after its branch was given up.
type baseMeta struct {
	Tree    string `json:"tree"`
	Counter uint32 `json:"counter"`
}

const (
	treePrefix    = "tree-"
	journalPrefix = "journal-"
	firstTree     = treePrefix + "000001"
	firstJournal  = journalPrefix + "000001"
	currentFile   = "current.json"
)

// current names the journal in use: it changes when a replica of another
// lineage takes the place.
type current struct {
	Format  int        `json:"format"`
	Journal string     `json:"journal"`
	Lineage fs.Lineage `json:"-"`
	Hex     string     `json:"lineage"`
}

const currentFormat = 1

// Create makes an empty file system of a new lineage in o.Dir, which must not
// hold one, and returns it open in mode ReadOnly.
func Create(ctx context.Context, o Options) (*Engine, error) {
	var lineage fs.Lineage
	if _, err := io.ReadFull(o.Rand, lineage[:]); err != nil {
		return nil, fmt.Errorf("make a lineage: %w", err)
	}
	if err := CreateEmpty(o); err != nil {
		return nil, err
	}
	if c, err := readCurrent(&o); err != nil || c != nil {
		return nil, errors.Join(err, fmt.Errorf("create a file system in %s: %w", o.Dir, fs.ErrExist))
	}
	if err := o.unlock(); err != nil {
		return nil, err
	}
	// What an attempt left that a crash cut short.
	if err := o.plain().RemoveAll(filepath.Join(o.Dir, firstJournal)); err != nil {
		return nil, fmt.Errorf("create the journal: %w", err)
	}
	if err := journal.Create(o.journal(firstJournal, lineage)); err != nil {
		return nil, fmt.Errorf("create the journal: %w", err)
	}
	if err := writeCurrent(&o, firstJournal, lineage); err != nil {
		return nil, err
	}
	return Open(ctx, o)
}

// CreateEmpty makes the place for a replica that has received nothing yet.
func CreateEmpty(o Options) error {
	if err := o.FS.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("make the file system's directory: %w", err)
	}
	if err := disk.SyncDir(o.FS, filepath.Dir(o.Dir)); err != nil {
		return fmt.Errorf("make the file system's directory: %w", err)
	}
	return o.makeKey()
}

func writeCurrent(o *Options, name string, l fs.Lineage) error {
	b, err := json.Marshal(current{Format: currentFormat, Journal: name, Hex: l.String()})
	if err != nil {
		return err
	}
	if err := disk.WriteFileAtomic(o.plain(), filepath.Join(o.Dir, currentFile), b); err != nil {
		return fmt.Errorf("record which journal is in use: %w", err)
	}
	return nil
}

func readCurrent(o *Options) (*current, error) {
	b, err := disk.ReadFile(o.plain(), filepath.Join(o.Dir, currentFile))
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which journal is in use: %w", err)
	}
	c := &current{}
	if err := json.Unmarshal(b, c); err != nil || c.Format != currentFormat {
		return nil, &fs.CorruptionError{File: filepath.Join(o.Dir, currentFile), Detail: "not a description of a file system that this release knows"}
	}
	c.Lineage, err = fs.ParseLineage(c.Hex)
	return c, err
}

func (o *Options) journal(name string, l fs.Lineage) journal.Options {
	return journal.Options{FS: o.plain(), Dir: filepath.Join(o.Dir, name), Lineage: l, Key: o.encryption.key,
		RecordSegmentBytes: o.RecordSegmentBytes, PayloadSegmentBytes: o.PayloadSegmentBytes, Logger: o.Logger}
}

// Close syncs and closes. Nobody may use the engine any more; to close it
// again does nothing.
func (e *Engine) Close() error { return e.close(func(*Engine) error { return nil }) }

// close lets last look at the engine when all is flushed and nothing works on
// it any more, unless it has failed.
func (e *Engine) close(last func(*Engine) error) error {
	if e.closed.Swap(true) {
		return nil
	}
	e.stop()
	<-e.done
	e.closeCleaner()
	e.closeCheckpoints()
	err := e.closeStage()
	// A server may still be about its last requests: those that use the tree
	// end first, later ones find none.
	e.treeLife.Lock()
	defer e.treeLife.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mode.Store(int32(ReadOnly))
	if e.j == nil {
		return err
	}
	if e.Err() == nil {
		// So that the next start has little to replay.
		err = errors.Join(err, e.t.Flush(), last(e))
		e.failed.CompareAndSwap(nil, &errClosed)
	}
	for _, j := range e.oldJournals {
		err = errors.Join(err, j.Close())
	}
	e.rw.Lock()
	t := e.t
	e.t = nil
	e.rw.Unlock()
	return errors.Join(err, t.Close(), e.j.Close())
}

// errClosed is what the calls get that come after Close.
var errClosed = errors.New("the file system was closed in this process")

// fail makes the engine refuse changes until it is opened again.
func (e *Engine) fail(err error) {
	if err == nil {
		return
	}
	if e.failed.CompareAndSwap(nil, &err) {
		e.log.Error("file system stopped accepting changes; what was acknowledged is safe; mend the cause and restart", "error", err)
	}
}

// Err tells why the engine accepts nothing any more; nil while it is healthy.
func (e *Engine) Err() error {
	if p := e.failed.Load(); p != nil {
		return *p
	}
	if j := e.journalNow(); j != nil {
		if err := j.Err(); err != nil && !errors.Is(err, journal.ErrClosed) {
			e.fail(err)
			return err
		}
	}
	return nil
}

// member is this replica's number within the lineage.
func (e *Engine) member() (uint16, error) {
	b, err := e.t.Setting(memberKey(e.o.ID))
	if err != nil {
		return 0, err
	}
	if len(b) != 2 {
		return 0, fmt.Errorf("file system %s is not registered as a member of lineage %s", e.o.ID, e.Lineage())
	}
	return binary.BigEndian.Uint16(b), nil
}

func memberKey(id string) string { return memberPrefix + id }

const memberPrefix = "member/"

func isNotExist(err error) bool { return disk.IsNotExist(err) }

// OpenOrCreate opens what is in o.Dir, or creates a file system there: also
// one whose creation a crash cut short.
func OpenOrCreate(ctx context.Context, o Options) (*Engine, error) {
	c, err := readCurrent(&o)
	if err != nil {
		return nil, err
	}
	if c != nil {
		return Open(ctx, o)
	}
	if err := o.FS.RemoveAll(o.Dir); err != nil && !isNotExist(err) {
		return nil, fmt.Errorf("clear a file system that was never finished: %w", err)
	}
	return Create(ctx, o)
}
