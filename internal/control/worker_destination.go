package control

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

const (
	// drainPatience is how long a deletion waits without progress for the
	// destination to receive what the source had (design §8).
	drainPatience = 5 * time.Second
	// drainLook is how often the progress is looked at meanwhile.
	drainLook = 50 * time.Millisecond
)

// destination does what is next for a destination.
func (w *worker) destination(ctx context.Context, v view) (time.Duration, error) {
	switch v.rep.Stage {
	case StageDeleting:
		return w.drain(ctx, v.rep)
	case StagePromoting:
		if !w.opened || w.role != RoleWriter {
			return retryFirst, nil
		}
		return again, w.finishPromotion(v, OutcomePromoted)
	}
	return w.follow(v.rep)
}

// follow watches a running replication from its destination.
func (w *worker) follow(r *Replication) (time.Duration, error) {
	every := pollSteady
	if st, ok := w.c.cfg.FileSystems.Stat(w.id); ok && st.Following && !r.Followed {
		return again, w.c.setStage(r.ID, func(n *Replication) { n.Followed = true })
	}
	if r.Stage == StageEnabling {
		every = pollQuick
		if st, ok := w.c.cfg.FileSystems.Stat(w.id); ok && st.Connected {
			return again, w.c.setStage(r.ID, func(n *Replication) {
				if n.Stage == StageEnabling {
					n.Stage = StageEnabled
				}
			})
		}
	}
	if p := w.peerView(); p != nil {
		fault := Fault("")
		if p.Reply.State != peerKnown {
			fault = FaultUnknown
		}
		if fault != r.Fault {
			return again, w.c.setStage(r.ID, func(n *Replication) { n.Fault = fault })
		}
	}
	return min(every, w.poll(r, pollSteady)), nil
}

// errOtherHistory: the destination's sequence is past the target, but it is not
// (or no longer) the source's history that it counts.
var errOtherHistory = errors.New("the destination does not follow the source's history yet")

// drain waits until the destination holds what the source had when the
// deletion began, as long as there is progress; then it goes on to promote.
func (w *worker) drain(ctx context.Context, r *Replication) (time.Duration, error) {
	st, _ := w.c.cfg.FileSystems.Stat(w.id)
	if !st.Whole {
		return again, w.c.beginPromotion(r.ID)
	}
	if r.Target == nil {
		return w.askTarget(ctx, r)
	}
	now := w.c.cfg.Now()
	if w.rep.progressAt.IsZero() || st.Durable.Seq > w.rep.progress {
		w.rep.progress, w.rep.progressAt = st.Durable.Seq, now
	}
	look, cancel := context.WithTimeout(ctx, drainLook)
	defer cancel()
	err := w.c.cfg.FileSystems.WaitReplicated(look, w.id, *r.Target)
	// While a resync runs, the old history may be the longer one.
	if st, _ := w.c.cfg.FileSystems.Stat(w.id); err == nil && !st.Following && st.Durable != *r.Target {
		err = errOtherHistory
	}
	switch {
	case ctx.Err() != nil:
		return again, nil
	case err == nil:
		return again, w.c.beginPromotion(r.ID)
	case now.Sub(w.rep.progressAt) >= drainPatience:
		w.c.log.Warn("the source's last changes do not arrive; promoting without them", "file_system", w.id,
			"have", st.Durable.Seq, "source_had", r.Target.Seq)
		return again, w.c.beginPromotion(r.ID)
	case look.Err() == nil:
		return drainLook, nil
	}
	return again, nil
}

// askTarget asks the source what it had. A source that does not answer at once
// counts as dead: the promotion does not wait for it.
func (w *worker) askTarget(ctx context.Context, r *Replication) (time.Duration, error) {
	var resp beginDeleteReply
	err := w.call(ctx, beginTimeout, r.PeerRegion, methodBeginDelete, replicationRequest{r.ID}, &resp)
	switch {
	case ctx.Err() != nil || errors.Is(err, errInterrupted):
		return again, nil
	case err != nil:
		w.c.log.Warn("the source does not take part in the deletion of its replication; promoting without it",
			"file_system", w.id, "region", r.PeerRegion, "error", err)
		return again, w.c.beginPromotion(r.ID)
	}
	return again, w.c.setStage(r.ID, func(n *Replication) {
		n.Target, n.TookPart = &resp.Position, true
	})
}

// beginPromotion is the point of no return.
func (c *Control) beginPromotion(id string) error {
	return c.setStage(id, func(n *Replication) { n.Stage = StagePromoting })
}

// finishPromotion ends the replication after the engine has become a writer,
// or has said that it never was whole.
func (w *worker) finishPromotion(v view, outcome Outcome) error {
	st, _ := w.c.cfg.FileSystems.Stat(w.id)
	r := v.rep
	err := w.c.update(func(t *tx) error {
		f := t.fileSystems[w.id]
		if t.replications[r.ID] == nil || f == nil {
			return nil
		}
		next := *f
		next.Protection = ProtectionEnabled
		if outcome == OutcomeDiscarded {
			next.State, next.Message = Failed, "The replication was deleted before the first transfer from region "+
				r.PeerRegion+" was complete, so this file system has no content. Delete it; to replicate again, create a new replication configuration."
		}
		t.putFileSystem(next)
		t.drop(kindReplication, r.ID)
		t.putTombstone(r.tombstone(r.outcome(outcome), promotedAt(st, outcome), w.c.cfg.Now()))
		return nil
	})
	if err != nil {
		return err
	}
	w.c.log.Info("replication ended", "file_system", w.id, "replication", r.ID, "outcome", outcome, "source_took_part", r.TookPart)
	if r.TookPart && !r.BySource {
		w.c.spawn(func(ctx context.Context) { w.c.tellDeleted(ctx, r) })
	}
	return nil
}

func (r *Replication) outcome(o Outcome) Outcome {
	if r.Abandoned {
		return OutcomeAbandoned
	}
	return o
}

func promotedAt(st Stat, o Outcome) fs.Pos {
	if o == OutcomePromoted {
		return st.Durable
	}
	return fs.Pos{}
}

// tellDeleted lets the source look at once. When this is lost, the source's own
// poll finds out.
func (c *Control) tellDeleted(ctx context.Context, r *Replication) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	if err := c.cfg.Peers.Call(ctx, r.PeerRegion, methodDeleted, replicationRequest{r.ID}, &struct{}{}); err != nil {
		c.log.Info("the source will find the end of its replication by itself", "replication", r.ID, "region", r.PeerRegion, "error", err)
	}
}
