package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// compare brings a destination to a position of its source when the journals do
// not tell any more what lies between: both trees are compared, and what
// differs is fetched. fork is where the histories part, as far as it is known:
// what this side has beyond is set aside first.
func (f *Follower) compare(ctx context.Context, fork *fs.Pos, why string) error {
	c, resumed, err := f.comparedBefore(ctx)
	if err != nil {
		return err
	}
	if !resumed {
		if c, err = f.findDifferences(ctx, why); err != nil {
			return err
		}
	}
	if !c.Narrowed { // too much differs to list it
		return f.fetch(ctx, c, false, nil, why)
	}
	if resumed {
		fork = f.left().fork
	}
	return f.fetch(ctx, c, resumed, fork, why)
}

// comparedBefore finds the checkpoint of a transfer that was interrupted after
// its comparison, if the source still has it.
func (f *Follower) comparedBefore(ctx context.Context) (c Checkpoint, ok bool, err error) {
	old := f.left()
	if old == nil || !old.c.Narrowed || old.fork == nil {
		return c, false, nil
	}
	c, err = f.peer.openCheckpoint(ctx, old.c.Name, nil, nil)
	switch {
	case err == nil && old.is(c):
		return c, true, nil
	case err != nil && !errors.Is(err, ErrNoCheckpoint):
		return c, false, fmt.Errorf("checkpoint %s: %w", old.c.Name, err)
	}
	f.lost, f.stage, f.release = old.c.Name, nil, old.c.Name
	return c, false, nil
}

// findDifferences opens a checkpoint of the whole tree and narrows it to what
// this side lacks.
func (f *Follower) findDifferences(ctx context.Context, why string) (Checkpoint, error) {
	c, _, err := f.openCheckpoint(ctx, nil, nil)
	if err != nil {
		return c, err
	}
	f.log.Info("comparing with the source", "why", why, "name", c.Name, "pos", c.Pos)
	queries, bytes := 0, 0
	writeSet, err := f.cfg.Dest.Differences(ctx, func(ctx context.Context, query []byte) ([]byte, error) {
		answer, err := f.peer.compare(ctx, c.Name, query)
		queries, bytes = queries+1, bytes+len(query)+len(answer)
		return answer, err
	})
	if errors.Is(err, ErrTooDifferent) {
		f.log.Info("the whole tree is taken instead", "name", c.Name, "queries", queries, "bytes", bytes, "why", err)
		return c, nil
	}
	if err != nil {
		return c, err
	}
	f.log.Info("compared with the source", "name", c.Name, "queries", queries, "bytes", bytes, "write_set_bytes", len(writeSet))
	if len(writeSet) > maxWriteSet {
		return c, nil
	}
	return f.peer.narrow(ctx, c.Name, writeSet)
}
