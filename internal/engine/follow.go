package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/engine/writeset"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// ErrPoison marks a record that can never be applied here.
var ErrPoison = errors.New("the record cannot be applied")

// Incoming is a record of the source with its plain payload.
type Incoming struct {
	Record  *fs.Record
	Payload []byte
}

// Receive appends and applies records of the source, which must continue this
// history: sequence, chain and payload digests are checked. They are durable
// soon after. Only outside the writer's role.
func (e *Engine) Receive(recs []Incoming) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.j == nil {
		return ErrNotWhole
	}
	if Mode(e.mode.Load()) == Writer {
		return errors.New("receive records: this replica is a writer")
	}
	e.noteReceiving(true)
	for _, in := range recs {
		if err := e.Err(); err != nil {
			return err
		}
		m, err := check(in, e.last)
		if err != nil {
			return fmt.Errorf("%w: record %d: %w", ErrPoison, in.Record.Seq, err)
		}
		// The reserve is for what leads out of a full disk: a promotion, and
		// removing. So a full destination stands still in good health.
		if grows(m) && !e.space.ok() {
			e.cleanSoon()
			return fmt.Errorf("record %d: %w", in.Record.Seq, fs.ErrNoSpace)
		}
		if err := e.commit(in.Record, m, in.Payload); err != nil {
			return err
		}
		e.space.used(len(in.Payload))
		id := in.Record.Epoch
		if id != *e.epoch.Load() {
			e.epoch.Store(&id)
		}
		e.stamp = max(e.stamp, in.Record.Stamp.Time)
	}
	return nil
}

func check(in Incoming, last fs.Pos) (fs.Mutation, error) {
	r := in.Record
	if err := r.Follows(last); err != nil {
		return nil, err
	}
	if int(r.PayloadLen) != len(in.Payload) {
		return nil, fmt.Errorf("%d payload bytes came, the record has %d", len(in.Payload), r.PayloadLen)
	}
	if r.PayloadLen > 0 && fs.Digest(in.Payload) != r.PayloadDigest {
		return nil, errors.New("the payload does not match its digest")
	}
	m, err := fs.ParseMutation(r.Mutation)
	if err != nil {
		return nil, err
	}
	w, isWrite := m.(*fs.Write)
	switch {
	case isWrite && w.Length != r.PayloadLen:
		return nil, fmt.Errorf("a write of %d bytes has a payload of %d", w.Length, r.PayloadLen)
	case !isWrite && r.PayloadLen > 0:
		return nil, fmt.Errorf("a mutation of kind %d has a payload", m.Kind())
	}
	return m, nil
}

// Sync makes everything appended durable.
func (e *Engine) Sync(ctx context.Context) error {
	return e.WaitCommitted(ctx, e.LastApplied())
}

// Durable is the durable position; zero while nothing was received.
func (e *Engine) Durable() fs.Pos {
	j := e.journalNow()
	if j == nil {
		return fs.Pos{}
	}
	return j.Durable()
}

// Notify is closed when Durable next advances.
func (e *Engine) Notify() <-chan struct{} {
	j := e.journalNow()
	if j == nil {
		return make(chan struct{})
	}
	return j.Notify()
}

// History tells which history this replica holds; Last is durable.
func (e *Engine) History() (fs.History, error) {
	e.rw.RLock()
	defer e.rw.RUnlock()
	switch {
	case e.t == nil && e.closed.Load():
		return fs.History{}, errClosed // which is not to be empty
	case e.t == nil:
		return fs.History{}, nil
	}
	h := fs.History{Lineage: e.lineage, Last: e.j.Durable()}
	h.Base = e.j.Begin()
	for _, s := range e.t.Epochs() {
		if s.First <= h.Last.Seq { // the newest may not be durable yet
			h.Epochs = append(h.Epochs, s)
		}
	}
	return h, nil
}

// PosAt is the position after record seq, which must be in the journal.
func (e *Engine) PosAt(seq uint64) (fs.Pos, error) {
	j := e.journalNow()
	if j == nil {
		return fs.Pos{}, journal.ErrNotWritten
	}
	return j.PosAt(seq)
}

// Has reports whether pos is a durable position of this history.
func (e *Engine) Has(pos fs.Pos) (bool, error) {
	if pos.Seq > e.Durable().Seq {
		return false, nil
	}
	p, err := e.PosAt(pos.Seq)
	if errors.Is(err, journal.ErrTrimmed) || errors.Is(err, journal.ErrNotWritten) {
		return false, nil
	}
	return err == nil && p == pos, err
}

// Records reads the durable records after a sequence.
func (e *Engine) Records(after uint64) (*journal.Reader, error) {
	j := e.journalNow()
	if j == nil {
		return nil, journal.ErrNotWritten
	}
	return j.Reader(after)
}

// WriteSet is what this replica's history changed after fork, up to its
// durable position.
func (e *Engine) WriteSet(fork uint64) (*writeset.Set, error) {
	set := &writeset.Set{}
	err := e.eachRecord(fork, e.Durable().Seq, func(r *fs.Record, m fs.Mutation, _ *journal.Entry) error {
		set.Add(m)
		return nil
	})
	return set, err
}

// eachRecord calls fn for the durable records in (after, to].
func (e *Engine) eachRecord(after, to uint64, fn func(r *fs.Record, m fs.Mutation, en *journal.Entry) error) error {
	rd, err := e.Records(after)
	if err != nil {
		return fmt.Errorf("read the journal after %d: %w", after, err)
	}
	defer rd.Close()
	for seq := after; seq < to; {
		en, ok, err := rd.TryNext()
		if err != nil {
			return fmt.Errorf("read the journal after %d: %w", seq, err)
		}
		if !ok {
			return fmt.Errorf("the journal ends at %d, before %d", seq, to)
		}
		m, err := fs.ParseMutation(en.Record.Mutation)
		if err != nil {
			return fmt.Errorf("record %d: %w", en.Record.Seq, err)
		}
		if err := fn(en.Record, m, en); err != nil {
			return err
		}
		seq = en.Record.Seq
	}
	return nil
}
