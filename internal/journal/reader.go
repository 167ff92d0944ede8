package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Reader follows the durable records of a journal in order. One goroutine at a
// time may use it; any number of Readers may follow one journal.
type Reader struct {
	j       *Journal
	c       *cursor
	next    uint64 // sequence that comes next
	pending []entry
	closed  bool
}

// Entry is a durable record. Its payload can be fetched as long as the journal
// is open and the cleaner has not been there.
type Entry struct {
	Record *fs.Record
	Addr   fs.Addr
	j      *Journal
}

// Payload reads the record's payload into buf, growing it when it must; nil
// for a record without one. ErrCleaned: the cleaner removed it, in part at
// least, since the tree has no use for it any more.
func (e *Entry) Payload(buf []byte) ([]byte, error) {
	if e.Addr.IsZero() {
		return nil, nil
	}
	buf = slices.Grow(buf[:0], int(e.Addr.Length))[:e.Addr.Length]
	err := e.j.Read(e.Addr, 0, buf)
	if isGone(err) {
		return nil, fmt.Errorf("payload of record %d: %w", e.Record.Seq, ErrCleaned)
	}
	return buf, err
}

// Reader reads the records after a sequence. ErrTrimmed: history begins later;
// ErrNotWritten: it does not reach that far yet.
func (j *Journal) Reader(after uint64) (*Reader, error) {
	j.mu.Lock()
	c := &cursor{files: j.files, salt: j.salt, generation: j.generation, segs: j.segs}
	base, last, recovered := j.beginLocked().Seq, j.last.Seq, j.recovered
	j.mu.Unlock()
	switch {
	case !recovered:
		return nil, ErrNotRecovered
	case after < base:
		return nil, fmt.Errorf("read after %d, history begins after %d: %w", after, base, ErrTrimmed)
	case after > last:
		return nil, fmt.Errorf("read after %d, history ends at %d: %w", after, last, ErrNotWritten)
	}
	if err := c.seek(after); err != nil {
		return nil, c.trimmedMeanwhile(j, after, err)
	}
	return &Reader{j: j, c: c, next: after + 1}, nil
}

// Next waits until the next record is durable and returns it. ErrTrimmed after
// a Rebase; otherwise what ended the journal, or ctx.
func (r *Reader) Next(ctx context.Context) (*Entry, error) {
	for {
		changed := r.j.Notify()
		e, ok, err := r.TryNext()
		if ok || err != nil {
			return e, err
		}
		if err := r.j.Err(); err != nil {
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// TryNext returns the next record if it is durable already.
func (r *Reader) TryNext() (*Entry, bool, error) {
	if r.closed {
		return nil, false, ErrClosed
	}
	durable, err := r.look()
	if err != nil || durable < r.next {
		return nil, false, err
	}
	for len(r.pending) == 0 {
		if err := r.fill(); err != nil {
			return nil, false, err
		}
	}
	e := r.pending[0]
	r.pending = r.pending[1:]
	r.next++
	return &Entry{Record: e.rec, Addr: e.addr, j: r.j}, true, nil
}

// look takes the newest state of the journal.
func (r *Reader) look() (durable uint64, err error) {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	if r.j.generation != r.c.generation {
		return 0, fmt.Errorf("read after %d: %w", r.next-1, ErrTrimmed)
	}
	if r.j.closing {
		return 0, ErrClosed
	}
	if !r.c.followTrim(r.j.segs) {
		return 0, fmt.Errorf("read after %d: %w", r.next-1, ErrTrimmed)
	}
	return r.j.durable.Seq, nil
}

// trimmedMeanwhile: a segment that is not there may have been removed since the
// list of them was taken.
func (c *cursor) trimmedMeanwhile(j *Journal, after uint64, err error) error {
	if !isGone(err) {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.generation != c.generation || after < j.beginLocked().Seq {
		return fmt.Errorf("read after %d: %w", after, ErrTrimmed)
	}
	return err
}

// fill reads the next batch. What is durable must be good.
func (r *Reader) fill() error {
	if err := r.c.resize(); err != nil {
		return err
	}
	l, err := r.c.next()
	var bad *badBatch
	if errors.As(err, &bad) {
		return &fs.CorruptionError{File: bad.file, Offset: bad.offset,
			Detail: fmt.Sprintf("durable record %d cannot be read: %s", r.next, bad.detail)}
	}
	if err != nil {
		return r.c.trimmedMeanwhile(r.j, r.next-1, err)
	}
	for _, e := range l.entries {
		if e.kind == kindRecord && e.rec.Seq >= r.next {
			r.pending = append(r.pending, e)
		}
	}
	return nil
}

// Close lets go of the segment being read.
func (r *Reader) Close() {
	if !r.closed {
		r.closed = true
		r.c.close()
	}
}

// PosAt is the position of a record in history; the base's sequence gives the
// base. ErrTrimmed before it, ErrNotWritten after Last. A record that is not
// durable yet is made so first.
func (j *Journal) PosAt(seq uint64) (fs.Pos, error) {
	for _, known := range []fs.Pos{j.Last(), j.Durable()} {
		if known.Seq == seq {
			return known, nil
		}
	}
	j.mu.Lock()
	base := j.beginLocked()
	j.mu.Unlock()
	switch {
	case seq == base.Seq:
		return base, nil
	case seq < base.Seq:
		return fs.Pos{}, fmt.Errorf("position of %d, history begins after %d: %w", seq, base.Seq, ErrTrimmed)
	}
	if err := j.WaitDurable(context.Background(), seq); err != nil {
		return fs.Pos{}, err
	}
	r, err := j.Reader(seq - 1)
	if err != nil {
		return fs.Pos{}, err
	}
	defer r.Close()
	e, ok, err := r.TryNext()
	if err != nil {
		return fs.Pos{}, err
	}
	if !ok {
		return fs.Pos{}, fmt.Errorf("position of %d: %w", seq, ErrNotWritten)
	}
	return e.Record.Pos(), nil
}
