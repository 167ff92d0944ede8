package region

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/engine/writeset"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
	"github.com/holdfast-fs/holdfast/internal/replica"
)

// source is an engine as replica sees the one that is followed.
type source struct {
	*engine.Engine
	x *volume // stays awake while its records are read; nil: nobody puts it to rest
}

var _ replica.Source = source{}

// HistoryBytes implements replica.Source and replica.Destination.
func (s source) HistoryBytes() uint64 { return s.Meta().HistoryBytes }

func (s source) PosAt(seq uint64) (fs.Pos, error) {
	p, err := s.Engine.PosAt(seq)
	return p, trimmed(err)
}

func trimmed(err error) error {
	if errors.Is(err, journal.ErrTrimmed) {
		return fmt.Errorf("%w: %w", replica.ErrTrimmed, err)
	}
	return err
}

func (s source) Records(after uint64) (replica.Records, error) {
	done := func() {}
	if s.x != nil {
		e := s.x.pin()
		if e != nil {
			done = s.x.done
		}
		if e != s.Engine {
			done()
			return nil, replica.ErrNotReady // it went to rest in between
		}
	}
	r, err := s.Engine.Records(after)
	if err != nil {
		done()
		return nil, trimmed(err)
	}
	return &records{r: r, done: done}, nil
}

type records struct {
	r    *journal.Reader
	buf  []byte
	done func()
}

func (r *records) Next(ctx context.Context) (*fs.Record, []byte, error) {
	en, err := r.r.Next(ctx)
	if err != nil {
		return nil, nil, trimmed(err)
	}
	return r.payload(en)
}

func (r *records) TryNext() (*fs.Record, []byte, bool, error) {
	en, ok, err := r.r.TryNext()
	if err != nil || !ok {
		return nil, nil, false, trimmed(err)
	}
	rec, p, err := r.payload(en)
	return rec, p, err == nil, err
}

func (r *records) payload(en *journal.Entry) (*fs.Record, []byte, error) {
	p, err := en.Payload(r.buf)
	if errors.Is(err, journal.ErrCleaned) {
		return nil, nil, fmt.Errorf("%w: %w", replica.ErrTrimmed, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("payload of record %d: %w", en.Record.Seq, err)
	}
	if p != nil {
		r.buf = p
	}
	return en.Record, p, nil
}

func (r *records) Close() {
	r.r.Close()
	r.done()
}

// source gives the engine to one who follows, for a moment: it asks again.
func (v *volumes) source(id string) (replica.Source, error) {
	x := v.get(id)
	if x == nil {
		return nil, replica.ErrNotReady
	}
	e, err := x.use(context.Background())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", replica.ErrNotReady, err)
	}
	defer x.done()
	return source{e, x}, nil
}

// acked tells an engine what its destination holds, so that the rest is kept.
func (v *volumes) acked(id, replication string, pos fs.Pos) {
	if x := v.get(id); x != nil {
		if e := x.pin(); e != nil {
			defer x.done()
			e.PeerHolds(replication, pos.Seq)
		}
	}
}

func (s source) OpenCheckpoint(_ context.Context, name string, fork *fs.Pos, ws []byte) (replica.Checkpoint, error) {
	var set *writeset.Set
	if fork != nil {
		set = &writeset.Set{}
		if err := set.Decode(ws); err != nil {
			return replica.Checkpoint{}, err
		}
	}
	info, err := s.Engine.OpenCheckpoint(name, fork, set)
	if err != nil {
		return replica.Checkpoint{}, trimmed(err)
	}
	return checkpointOf(name, &info)
}

func checkpointOf(name string, info *engine.CheckpointInfo) (replica.Checkpoint, error) {
	meta, err := json.Marshal(info)
	return replica.Checkpoint{Name: name, Pos: info.Pos, Parts: info.Parts(), Meta: meta, Narrowed: info.Narrowed}, err
}

func (s source) Compare(_ context.Context, name string, query []byte) ([]byte, error) {
	answer, err := s.AnswerCompare(name, query)
	return answer, noCheckpoint(err)
}

func (s source) Narrow(_ context.Context, name string, ws []byte) (replica.Checkpoint, error) {
	set := &writeset.Set{}
	if err := set.Decode(ws); err != nil {
		return replica.Checkpoint{}, err
	}
	info, err := s.NarrowCheckpoint(name, set)
	if err != nil {
		return replica.Checkpoint{}, noCheckpoint(err)
	}
	return checkpointOf(name, &info)
}

func noCheckpoint(err error) error {
	if errors.Is(err, engine.ErrNoCheckpoint) {
		return fmt.Errorf("%w: %w", replica.ErrNoCheckpoint, err)
	}
	return err
}

func (s source) Items(_ context.Context, name string, part, _ int, cursor []byte, fn func(replica.Item) error) error {
	return noCheckpoint(s.Engine.Items(name, part, cursor, func(it engine.Item) error { return fn(replica.Item(it)) }))
}
