package replica

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// unfinished is what must be known of a transfer to go on with it. Only the
// same checkpoint will do, in position, fork point and parts: a source that
// lost a checkpoint makes a new one under the old name.
type unfinished struct {
	c    Checkpoint
	fork *fs.Pos
}

func (u *unfinished) hasFork(fork *fs.Pos) bool {
	return (u.fork == nil) == (fork == nil) && (fork == nil || *u.fork == *fork)
}

func (u *unfinished) is(c Checkpoint) bool {
	return u.c.Narrowed == c.Narrowed && u.c.Name == c.Name && u.c.Pos == c.Pos && u.c.Parts == c.Parts
}

// catchUp brings the destination to a position that the source has, by what
// the histories allow. nil: done, connect again.
func (f *Follower) catchUp(ctx context.Context, dest, src *fs.History) error {
	if f.followed && src.Lineage == f.cfg.Lineage && len(src.Epochs) > 0 {
		if err := checkNotBack(dest, src); err != nil {
			return err
		}
	}
	p, err := decide(dest, src, f.cfg.Lineage, f.cfg.AllowReplace)
	if err != nil {
		return err
	}
	var fork *fs.Pos
	var writeSet []byte
	if p.fork > 0 {
		if fork, writeSet, p, err = f.forkPoint(ctx, p); err != nil {
			return err
		}
	}
	switch {
	case fork != nil:
		err = f.transfer(ctx, fork, writeSet, p.why)
	case p.compare:
		forked := fs.Pos{Seq: p.forked}
		if known, perr := f.cfg.Dest.PosAt(forked.Seq); perr == nil {
			forked = known
		}
		err = f.compare(ctx, &forked, p.why)
	default:
		err = f.transfer(ctx, nil, nil, p.why)
	}
	if err == nil {
		f.gap = false
	}
	if errors.Is(err, ErrNoCheckpoint) && f.stage != nil {
		f.log.Warn("the source lost the checkpoint; the transfer starts anew", "name", f.stage.c.Name)
		f.lost, f.stage = f.stage.c.Name, nil
	}
	return err
}

// forkPoint checks that both sides agree on the fork point and gathers what
// this side changed since. Without a fork point the plan becomes a comparison.
func (f *Follower) forkPoint(ctx context.Context, p plan) (fork *fs.Pos, writeSet []byte, next plan, err error) {
	instead := func(forked uint64, why string) (*fs.Pos, []byte, plan, error) {
		return nil, nil, plan{compare: true, forked: forked, why: why}, nil
	}
	atSource := func(seq uint64) (fs.Pos, error) { return f.peer.posAt(ctx, seq) }
	pos, same, err := sameAt(f.cfg.Dest.PosAt, atSource, p.fork)
	if err != nil {
		return nil, nil, p, err
	}
	switch {
	case !same && pos == (fs.Pos{}):
		return instead(p.fork, fmt.Sprintf("the history was trimmed beyond record %d, where the sides part", p.fork))
	case !same:
		return instead(0, fmt.Sprintf("the sides do not agree on record %d", p.fork))
	}
	writeSet, err = f.cfg.Dest.WriteSet(pos)
	switch {
	case errors.Is(err, ErrTrimmed):
		return instead(p.fork, fmt.Sprintf("the destination no longer knows what it changed since record %d", p.fork))
	case err != nil:
		return nil, nil, p, fmt.Errorf("write set since record %d: %w", p.fork, err)
	case len(writeSet) > maxWriteSet:
		return instead(p.fork, "the destination changed too much to list")
	}
	return &pos, writeSet, p, nil
}

func kindOf(fork *fs.Pos) (TransferKind, uint64) {
	if fork == nil {
		return TransferBootstrap, 0
	}
	return TransferResync, fork.Seq
}

// transfer fetches a checkpoint, or the rest of one, and switches to it.
func (f *Follower) transfer(ctx context.Context, fork *fs.Pos, writeSet []byte, why string) error {
	c, resumed, err := f.openCheckpoint(ctx, fork, writeSet)
	if err != nil {
		return err
	}
	return f.fetch(ctx, c, resumed, fork, why)
}

// fetch receives a checkpoint, or the rest of it, and switches to it.
func (f *Follower) fetch(ctx context.Context, c Checkpoint, resumed bool, fork *fs.Pos, why string) error {
	kind, shared := kindOf(fork)
	stage, err := f.cfg.Dest.Stage(ctx, c, fork)
	if err != nil {
		return f.cannot("prepare", err)
	}
	f.stage = &unfinished{c, fork}
	done := 0
	for part := range c.Parts {
		if _, whole := stage.Cursor(part); whole {
			done++
		}
	}
	f.track.transferBegins(kind, shared, resumed, c.Parts, done)
	f.log.Info("transfer begins", "kind", kind, "why", why, "name", c.Name, "resumed", resumed, "pos", c.Pos, "parts", c.Parts, "parts_done", done)
	if err := f.fetchParts(ctx, stage, c); err != nil {
		return err
	}
	before := f.cfg.Dest.Durable()
	if err := stage.Finish(ctx); err != nil {
		return f.cannot("finish", err)
	}
	f.stage, f.release = nil, c.Name
	f.track.transferEnds()
	if f.cfg.Dest.Durable() == before {
		return fmt.Errorf("the %s to %s is finished, but the destination is still at %s", kind, c.Pos, before)
	}
	f.log.Info("transfer finished", "kind", kind, "pos", c.Pos, "bytes", f.track.transferred())
	return nil
}

func (f *Follower) cannot(what string, err error) error {
	return &appendError{f.cfg.Dest.Durable(), fmt.Errorf("it cannot %s a transfer: %w", what, err)}
}

// openCheckpoint goes on with an unfinished transfer if the source still has
// its checkpoint, and begins a new one under a new name otherwise.
func (f *Follower) openCheckpoint(ctx context.Context, fork *fs.Pos, writeSet []byte) (c Checkpoint, resumed bool, err error) {
	if old := f.left(); old != nil && !old.c.Narrowed && old.hasFork(fork) {
		c, err := f.peer.openCheckpoint(ctx, old.c.Name, fork, writeSet)
		if err == nil && old.is(c) {
			return c, true, nil
		}
		if err != nil && !errors.Is(err, ErrNoCheckpoint) {
			return c, false, fmt.Errorf("checkpoint %s: %w", old.c.Name, err)
		}
		f.lost, f.stage, f.release = old.c.Name, nil, old.c.Name
	}
	f.dropOld(ctx)
	name, err := f.newName()
	if err != nil {
		return c, false, err
	}
	if c, err = f.peer.openCheckpoint(ctx, name, fork, writeSet); err != nil {
		return c, false, fmt.Errorf("new checkpoint: %w", err)
	}
	return c, false, nil
}

// left is the transfer to go on with, from memory or from the destination.
func (f *Follower) left() *unfinished {
	u := f.stage
	if keeper, ok := f.cfg.Dest.(StageKeeper); ok && u == nil {
		if c, fork, ok := keeper.Staged(); ok {
			u = &unfinished{c, fork}
		}
	}
	if u == nil || u.c.Name == f.lost || !validName(u.c.Name) {
		return nil
	}
	return u
}

func (f *Follower) newName() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(f.cfg.Rand, b[:]); err != nil {
		return "", fmt.Errorf("name of a checkpoint: %w", err)
	}
	return "ckpt-" + hex.EncodeToString(b[:]), nil
}

// fetchParts fetches the parts over several connections. The first failure
// ends all; what was stored stays.
func (f *Follower) fetchParts(ctx context.Context, stage Stage, c Checkpoint) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(f.cfg.Parallel, c.Parts) {
		workers.Go(func() {
			for ctx.Err() == nil {
				part := int(next.Add(1)) - 1
				if part >= c.Parts {
					return
				}
				if err := f.fetchPart(ctx, stage, c, part); err != nil {
					cancel(fmt.Errorf("part %d of checkpoint %s: %w", part, c.Name, err))
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// fetchPart fetches what is missing of one part.
func (f *Follower) fetchPart(ctx context.Context, stage Stage, c Checkpoint, part int) error {
	cursor, done := stage.Cursor(part)
	if done {
		return nil
	}
	q := url.Values{keyName: {c.Name}, keyPart: {strconv.Itoa(part)}, keyParts: {strconv.Itoa(c.Parts)}}
	if cursor != nil {
		q.Set(keyCursor, hex.EncodeToString(cursor))
	}
	stream, err := f.peer.openFrames(ctx, callItems, q, true)
	if err != nil {
		return err
	}
	defer stream.close(nil)
	for {
		items, err := nextItems(stream, f.beatInTransfer)
		if errors.Is(err, errComplete) {
			break
		}
		if err != nil {
			return err
		}
		if err := stage.Put(ctx, part, items); err != nil {
			return f.cannot("store", err)
		}
	}
	if err := stage.PartDone(part); err != nil {
		return f.cannot("store", err)
	}
	f.track.partDone()
	return nil
}

func (f *Follower) beatInTransfer(h heartbeat) error {
	f.track.beat(h, 0)
	return nil
}

// nextItems reads one frame of items into memory of its own, which the stage
// may keep.
func nextItems(stream *frames, beat func(heartbeat) error) ([]Item, error) {
	t, body, err := stream.nextBatch(nil, beat)
	if err != nil {
		return nil, err
	}
	if t != frameItems {
		return nil, badFrame("records in a stream of items")
	}
	return parseItems(body)
}
