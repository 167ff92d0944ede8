package journal

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Journal is an open journal. Open makes it readable, Recover writeable. Its
// methods may be called at the same time, but Append and Rebase are for one
// caller at a time, who builds the chain.
type Journal struct {
	o     Options
	log   *slog.Logger
	files *files
	lock  io.Closer

	salt    uint64
	lineage fs.Lineage

	appendMu sync.Mutex // one Append or Rebase at a time
	encoded  []byte     // Append's record, guarded by appendMu

	ioMu sync.Mutex // one sync, Rebase or Close at a time writes record segments

	payMu sync.Mutex
	pay   *payloadSegment // being filled; nil: none yet

	mu   sync.Mutex
	cond *sync.Cond // appenders and SyncPayloads wait here; on mu

	generation  uint64
	topGen      uint64 // highest generation seen, also of attempts that a crash cut short
	baseSegment uint64
	base        fs.Pos
	baseMeta    []byte
	segs        []segmentStart // of this generation, in order; the last is written to

	nextID    uint64
	recovered bool
	last      fs.Pos
	durable   fs.Pos
	claimed   uint64 // what batches on disk claim
	tail      *recordSegment
	building  *batch
	queue     []*batch // cut, not yet taken by the writer
	inflight  []*batch // taken, perhaps not yet written
	spare     *recordSegment
	making    bool
	makeErr   error // of the last attempt at a spare

	dirty     map[uint64]*segmentFile // payload segments to sync
	dirtySize int64                   // bytes written to them since the last sync
	undurable int64                   // bytes appended or put and not synced

	started, done uint64 // rounds of the writer
	force         bool   // a round is wanted although nothing is to be written
	armed         bool   // the timer runs
	markDue       bool
	timer         *time.Timer
	wake          chan struct{}
	notify        chan struct{}
	err           error
	closing       bool
	quit          chan struct{}
	wg            sync.WaitGroup
}

// segmentStart is a record segment of the history and the position before its
// first record.
type segmentStart struct {
	id    uint64
	start fs.Pos
}

// recordSegment is one that is or will be written to.
type recordSegment struct {
	file   *segmentFile
	size   int64
	next   int64          // where the next batch will begin
	header *segmentHeader // still to be written; nil when it was
	ended  bool           // no batch may begin here any more
}

// Base tells where this journal's history begins, and what Rebase was given
// beside it. The zero Pos and nil for a lineage's first replica.
func (j *Journal) Base() (fs.Pos, []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.base, append([]byte(nil), j.baseMeta...)
}

// Begin is the position after which the records are still there: the base, or
// later when the history was trimmed.
func (j *Journal) Begin() fs.Pos {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.beginLocked()
}

// beginLocked needs mu, or that nobody else has the journal yet.
func (j *Journal) beginLocked() fs.Pos { return j.segs[0].start }

// Last is the newest position appended, durable or not.
func (j *Journal) Last() fs.Pos {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// Durable is the position up to which everything, payloads included, is synced.
func (j *Journal) Durable() fs.Pos {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.durable
}

// Notify gives a channel that is closed when the durable position next
// changes, and when the journal fails or is closed. Take it, then look at
// Durable and Err, then wait.
func (j *Journal) Notify() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.notify
}

// Err tells why the journal accepts nothing any more; nil while it does. After
// a failed write or sync it says so until the journal is opened anew.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Bytes is the disk space that the segments use, in bytes.
func (j *Journal) Bytes() int64 { return j.files.bytes.Load() }

// ShortSegment is the size, in bytes, below which a record segment counts as
// short: an encrypted journal leaves one behind with most restarts.
const ShortSegment = 64 << 10

// Short is how many short record segments there are.
func (j *Journal) Short() int64 { return j.files.short.Load() }

// WaitDurable waits until the record with this sequence is durable; it asks
// for a sync at once. A sequence that was not appended is ErrNotWritten.
func (j *Journal) WaitDurable(ctx context.Context, seq uint64) error {
	j.mu.Lock()
	for {
		switch {
		case j.durable.Seq >= seq:
			j.mu.Unlock()
			return nil
		case j.err != nil:
			err := j.err
			j.mu.Unlock()
			return err
		case j.last.Seq < seq:
			j.mu.Unlock()
			return fmt.Errorf("wait for %d: %w", seq, ErrNotWritten)
		}
		j.kick()
		ch := j.notify
		j.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
		j.mu.Lock()
	}
}

// SyncPayloads makes all payloads put so far durable, and all records.
func (j *Journal) SyncPayloads() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.roundLocked()
}

// roundLocked waits for a whole round of the writer that begins after now.
func (j *Journal) roundLocked() error {
	target := j.started + 1
	for j.done < target && j.err == nil {
		j.force = true
		j.kick()
		j.cond.Wait()
	}
	if j.done >= target {
		return nil
	}
	return j.err
}

// kick asks the writer for a round; mu is held.
func (j *Journal) kick() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// arm makes sure that a round comes within the sync interval; mu is held.
func (j *Journal) arm() {
	if !j.armed {
		j.armed = true
		j.timer.Reset(j.o.SyncInterval)
	}
}

// fail ends the use of the journal; mu is held. The first reason stays.
func (j *Journal) fail(err error) {
	if j.err == nil {
		j.err = err
		j.log.Error("journal stopped", "dir", j.o.Dir, "err", err)
	}
	j.broadcast()
}

// broadcast wakes everybody who waits for anything; mu is held.
func (j *Journal) broadcast() {
	close(j.notify)
	j.notify = make(chan struct{})
	j.cond.Broadcast()
}

// usable says why nothing can be appended, or nil; mu is held.
func (j *Journal) usable() error {
	switch {
	case j.err != nil:
		return j.err
	case j.closing:
		return ErrClosed
	case !j.recovered:
		return ErrNotRecovered
	}
	return nil
}

// Close makes everything durable and claimed, and lets go of the directory.
// It returns why that failed; the journal is closed all the same.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		return ErrClosed
	}
	j.closing = true
	err := j.err
	if err == nil && j.recovered {
		if err = j.roundLocked(); err == nil && j.claimed < j.durable.Seq {
			j.markDue = true
			err = j.roundLocked()
		}
	}
	if j.err == nil {
		j.err = ErrClosed
	}
	j.broadcast()
	j.mu.Unlock()
	close(j.quit)
	j.wg.Wait()
	j.timer.Stop()
	return firstError(err, j.releaseAll())
}

// releaseAll gives back reserved space, files and lock. The writer has ended.
func (j *Journal) releaseAll() error {
	j.payMu.Lock()
	var err error
	if j.pay != nil {
		err = disk.ReleaseBeyond(j.pay.file, j.pay.next)
		j.files.release(j.pay.file)
		j.pay = nil
	}
	j.payMu.Unlock()
	j.mu.Lock()
	rest := &round{batches: j.queue, payloads: j.dirty}
	if j.building != nil {
		rest.batches = append(rest.batches, j.building)
	}
	j.building, j.queue, j.dirty = nil, nil, map[uint64]*segmentFile{}
	j.mu.Unlock()
	rest.release(j.files)
	for _, s := range []*recordSegment{j.tail, j.spare} {
		if s != nil {
			j.files.release(s.file)
		}
	}
	err = firstError(err, j.files.closeAll())
	if j.lock != nil {
		err = firstError(err, j.lock.Close())
	}
	return err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
