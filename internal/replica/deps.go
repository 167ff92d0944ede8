// Package replica carries the history of a file system to another region: the
// source serves records and checkpoints, the destination pulls them. It knows
// nothing of trees: items, cursors and write sets are opaque bytes here.
package replica

import (
	"context"
	"errors"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Source is a file system that others may follow. Safe for concurrent use.
type Source interface {
	History() (fs.History, error)
	// Durable is the newest position that may leave the machine.
	Durable() fs.Pos
	// Notify is closed when Durable next advances; take a new one each time.
	Notify() <-chan struct{}
	// HistoryBytes counts the bytes of mutations and payloads from the first
	// record to the newest durable one; the same on every replica at a position.
	HistoryBytes() uint64
	// Has reports whether pos is a position of this history.
	Has(pos fs.Pos) (bool, error)
	// PosAt gives the position after record seq (fs ErrTrimmed: see journal).
	PosAt(seq uint64) (fs.Pos, error)
	// Records reads the durable records after seq.
	Records(after uint64) (Records, error)

	// OpenCheckpoint pins the tree at one durable position under a name; with
	// a name that exists it returns that one again (also after a restart). A
	// nil fork asks for the whole tree. Otherwise for what changed since then:
	// the union of this side's write set since fork and the destination's,
	// which writeSet holds. It expires when not used for a while.
	OpenCheckpoint(ctx context.Context, name string, fork *fs.Pos, writeSet []byte) (Checkpoint, error)
	// Items calls fn for the items of one part (0..parts-1 of the key space)
	// after cursor (nil: from the start), in cursor order.
	Items(ctx context.Context, name string, part, parts int, cursor []byte, fn func(Item) error) error
	// ReleaseCheckpoint drops the pin; unknown names are fine.
	ReleaseCheckpoint(name string) error

	// Compare answers a query of a destination's Differences about a checkpoint
	// of the whole tree. Both are opaque here.
	Compare(ctx context.Context, name string, query []byte) (answer []byte, err error)
	// Narrow makes a checkpoint of the whole tree one of writeSet only.
	Narrow(ctx context.Context, name string, writeSet []byte) (Checkpoint, error)
}

// Records is a reader of durable records. Not safe for concurrent use.
type Records interface {
	// Next blocks until a record is durable. payload is valid until the next call.
	Next(ctx context.Context) (r *fs.Record, payload []byte, err error)
	// TryNext is Next without blocking; ok is false when there is none yet.
	TryNext() (r *fs.Record, payload []byte, ok bool, err error)
	Close()
}

// Checkpoint describes a pinned tree. Parts is how many parts the source
// suggests to fetch side by side, Meta what the destination's Stage needs to
// know (opaque here).
type Checkpoint struct {
	Name  string
	Pos   fs.Pos
	Parts int
	Meta  []byte
	// Narrowed: a comparison found what it holds.
	Narrowed bool
}

// Item is one piece of a checkpoint.
type Item struct {
	Cursor  []byte // at most 1 KiB
	Body    []byte // at most 128 KiB
	Payload []byte // at most fs.MaxWrite; nil for none
}

// Incoming is one record with its plain payload.
type Incoming struct {
	Record  *fs.Record
	Payload []byte
}

// Destination is a file system that follows. One follower uses it at a time.
type Destination interface {
	// History of what it holds; Last is its durable position. A replica that
	// never received anything has no epochs and a zero lineage.
	History() (fs.History, error)
	Durable() fs.Pos
	Notify() <-chan struct{}
	HistoryBytes() uint64
	PosAt(seq uint64) (fs.Pos, error)
	// Append checks that the records continue the history (sequence, chain,
	// payload digests), appends and applies them. They are durable shortly
	// after: watch Durable. An error that errors.Is ErrPoison will not go away
	// by trying again.
	Append(ctx context.Context, recs []Incoming) error
	// Sync makes everything appended durable.
	Sync(ctx context.Context) error
	// WriteSet is what this side changed since fork, for OpenCheckpoint.
	WriteSet(fork fs.Pos) ([]byte, error)
	// Stage prepares to receive a checkpoint beside the present tree. A stage
	// of the same name goes on where it was (also after a restart); one of
	// another name is discarded. fork is nil for a whole tree.
	Stage(ctx context.Context, c Checkpoint, fork *fs.Pos) (Stage, error)
	// Differences finds, by queries to the source's Compare, what the checkpoint
	// holds that this side does not, and the other way round, as a write set.
	// ErrTooDifferent: it is not worth listing.
	Differences(ctx context.Context, ask func(ctx context.Context, query []byte) (answer []byte, err error)) (writeSet []byte, err error)
}

// StageKeeper is what a Destination should be too: it tells of the stage that
// an interrupted transfer left, so that the follower of a restarted process can
// go on with it. Without it an interrupted transfer goes on only within one
// process.
type StageKeeper interface {
	// Staged returns what Stage was called with; ok is false without a stage.
	Staged() (c Checkpoint, fork *fs.Pos, ok bool)
}

// Stage receives a checkpoint. Put may be called from one goroutine per part.
type Stage interface {
	// Cursor tells how far a part is stored; nil: nothing yet. done: all of it.
	Cursor(part int) (cursor []byte, done bool)
	Put(ctx context.Context, part int, items []Item) error
	// PartDone records that a part is complete.
	PartDone(part int) error
	// Finish switches the destination to the checkpoint's position in one
	// durable step, salvaging first what only this side had.
	Finish(ctx context.Context) error
}

// Errors of the parts behind these interfaces.
var (
	// ErrPoison: a record cannot be applied and never will be.
	ErrPoison = errors.New("the record cannot be applied")
	// ErrTrimmed: the journal no longer holds the record.
	ErrTrimmed = errors.New("the journal no longer reaches back to this record")
	// ErrTooDifferent: two trees differ in too much to list it.
	ErrTooDifferent = errors.New("the trees differ in too much to list it")
	// ErrNoCheckpoint: no checkpoint of this name (expired or lost); ask anew.
	ErrNoCheckpoint = errors.New("no such checkpoint")
)
