package region

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/replica"
)

// destination is an engine as replica sees the one that follows.
type destination struct {
	source
	lineage fs.Lineage // that it is to follow
}

var (
	_ replica.Destination = destination{}
	_ replica.StageKeeper = destination{}
)

func (d destination) Append(_ context.Context, recs []replica.Incoming) error {
	in := make([]engine.Incoming, len(recs))
	for i, r := range recs {
		in[i] = engine.Incoming(r)
	}
	err := d.Receive(in)
	if errors.Is(err, engine.ErrPoison) {
		return fmt.Errorf("%w: %w", replica.ErrPoison, err)
	}
	return err
}

func (d destination) WriteSet(fork fs.Pos) ([]byte, error) {
	set, err := d.Engine.WriteSet(fork.Seq)
	if err != nil {
		return nil, trimmed(err)
	}
	return set.Encode(), nil
}

func (d destination) Stage(_ context.Context, c replica.Checkpoint, fork *fs.Pos) (replica.Stage, error) {
	var info engine.CheckpointInfo
	if err := json.Unmarshal(c.Meta, &info); err != nil {
		return nil, fmt.Errorf("the source describes its checkpoint in a way that this release does not know: %w", err)
	}
	if info.Pos != c.Pos || info.Parts() != c.Parts || info.Whole != (fork == nil) {
		return nil, errors.New("the source's description of its checkpoint contradicts itself")
	}
	s, err := d.OpenStage(c.Name, d.lineage, info, fork)
	if err != nil {
		return nil, err
	}
	return stage{s}, nil
}

// Staged implements replica.StageKeeper.
func (d destination) Staged() (c replica.Checkpoint, fork *fs.Pos, ok bool) {
	name, info, fork, ok := d.Engine.Staged()
	if !ok {
		return c, nil, false
	}
	c, err := checkpointOf(name, &info)
	return c, fork, err == nil
}

// Differences implements replica.Destination.
func (d destination) Differences(ctx context.Context, ask func(ctx context.Context, query []byte) ([]byte, error)) ([]byte, error) {
	set, err := d.Engine.Differences(ctx, ask)
	if errors.Is(err, engine.ErrTooDifferent) {
		return nil, fmt.Errorf("%w: %w", replica.ErrTooDifferent, err)
	}
	if err != nil {
		return nil, err
	}
	return set.Encode(), nil
}

type stage struct{ s *engine.Stage }

func (s stage) Cursor(part int) ([]byte, bool) {
	cursor, done, err := s.s.Cursor(part)
	if err != nil {
		return nil, false
	}
	return cursor, done
}

func (s stage) Put(_ context.Context, part int, items []replica.Item) error {
	in := make([]engine.Item, len(items))
	for i, it := range items {
		in[i] = engine.Item(it)
	}
	return s.s.Put(part, in)
}

func (s stage) PartDone(part int) error          { return s.s.PartDone(part) }
func (s stage) Finish(ctx context.Context) error { return s.s.Finish(ctx) }
