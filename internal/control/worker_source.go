package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

func upstreamOf(r *Replication) (*Upstream, error) {
	l, err := fs.ParseLineage(r.Lineage)
	if err != nil {
		return nil, fmt.Errorf("replication %s: %w", r.ID, err)
	}
	return &Upstream{Replication: r.ID, Region: r.PeerRegion, FileSystemID: r.PeerID, Lineage: l, Followed: r.Followed}, nil
}

// replicate does what is next for the replication of the file system.
func (w *worker) replicate(ctx context.Context, v view) (time.Duration, error) {
	switch {
	case v.rep == nil || v.fs.State == Failed:
		return idle, nil
	case v.rep.Side == SideDestination:
		return w.destination(ctx, v)
	}
	switch v.rep.Stage {
	case StagePreparing:
		return w.prepare(ctx, v)
	case StageDeleting:
		return w.finishDelete(ctx, v.rep)
	}
	return w.source(ctx, v)
}

// prepare asks for the destination and registers it. When the other region
// refuses or does not answer, the creation is undone.
func (w *worker) prepare(ctx context.Context, v view) (time.Duration, error) {
	if !w.opened {
		return retryFirst, nil
	}
	r := v.rep
	req := prepareRequest{Replication: r.ID, SourceID: r.FileSystemID,
		SourceARN: w.c.fileSystemARN(w.c.cfg.Region, r.FileSystemID), Lineage: r.Lineage,
		Owner: w.c.cfg.AccountID, CreationTime: r.CreationTime,
		SettingsPrefix: v.fs.SettingsPrefix, KeepSettings: w.c.cfg.KeepSettings,
		Encrypted: v.fs.KMSKey != "", KMSKey: r.PeerKMSKey}
	if r.Existing {
		req.Existing = r.PeerID
	}
	var resp prepareReply
	err := w.call(ctx, callTimeout, r.PeerRegion, methodPrepare, req, &resp)
	if err == nil && !fileSystemPattern.MatchString(resp.FileSystemID) {
		err = fmt.Errorf("region %s answered with the file system id %.50q", r.PeerRegion, resp.FileSystemID)
	}
	if err == nil {
		err = w.c.cfg.FileSystems.AddMember(ctx, w.id, resp.FileSystemID, r.PeerRegion)
	}
	switch {
	case ctx.Err() != nil || errors.Is(err, errInterrupted):
		return again, nil
	case err != nil:
		return again, w.c.undoCreation(r, err)
	}
	return again, w.c.update(func(t *tx) error {
		cur := t.replications[r.ID]
		if cur == nil || cur.Stage != StagePreparing {
			return nil
		}
		next := *cur
		next.Stage, next.PeerID = StageEnabling, resp.FileSystemID
		t.putReplication(next)
		return nil
	})
}

// undoCreation takes the intent back. Unless the other region refused, it may
// have made something, which a cleanup takes care of.
func (c *Control) undoCreation(r *Replication, cause error) error {
	c.setOutcome(r.ID, cause)
	err := c.update(func(t *tx) error {
		if t.replications[r.ID] == nil {
			return nil
		}
		t.drop(kindReplication, r.ID)
		if undecided(cause) {
			t.putCleanup(Cleanup{ID: r.ID, PeerRegion: r.PeerRegion, Time: c.cfg.Now()})
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.kickCleaner()
	return nil
}

// source watches a running replication from its source.
func (w *worker) source(ctx context.Context, v view) (time.Duration, error) {
	r := v.rep
	if r.Fault == FaultSuperseded {
		return idle, nil
	}
	every := pollSteady
	switch {
	case !w.decided:
		every = pollUndecided
		w.remindUndecided(r)
	case r.Stage == StageEnabling:
		every = pollQuick
	}
	if p := w.peerView(); p != nil {
		changed, err := w.heard(r, p.Reply)
		if changed || err != nil {
			return again, err
		}
		w.shareSettings(ctx, v, p.Reply)
	}
	return w.poll(r, every), nil
}

// heard draws the conclusions from an answer of the destination's region.
func (w *worker) heard(r *Replication, reply statusReply) (changed bool, err error) {
	switch reply.State {
	case peerPromoted:
		if reply.TookPart {
			return true, w.c.dropSource(r.ID)
		}
		w.c.log.Error("this source was superseded: its destination was promoted without it; it is read-only now",
			"file_system", r.FileSystemID, "replication", r.ID, "remedy", supersededText(r))
		return true, w.c.setStage(r.ID, func(n *Replication) { n.Fault = FaultSuperseded })
	case peerDiscarded, peerAbandoned:
		return true, w.c.dropSource(r.ID)
	}
	// No other side has accepted changes for this replication: the source goes on.
	decidedNow := !w.decided
	w.decided = true
	next := *r
	next.Fault = ""
	if reply.State != peerKnown {
		next.Fault = FaultUnknown
	}
	if r.Stage == StageEnabling && reply.Status == StatusEnabled {
		next.Stage = StageEnabled
	}
	if next == *r {
		return decidedNow, nil
	}
	return true, w.c.setStage(r.ID, func(n *Replication) { n.Fault, n.Stage = next.Fault, next.Stage })
}

// setStage changes a replication that is still there.
func (c *Control) setStage(id string, change func(*Replication)) error {
	return c.update(func(t *tx) error {
		r := t.replications[id]
		if r == nil {
			return nil
		}
		next := *r
		change(&next)
		t.putReplication(next)
		return nil
	})
}

// dropSource removes the configuration of a source; it is a writer of its own then.
func (c *Control) dropSource(id string) error {
	return c.update(func(t *tx) error {
		r := t.replications[id]
		if r == nil {
			return nil
		}
		t.drop(kindReplication, id)
		t.putTombstone(r.tombstone(OutcomeDropped, fs.Pos{}, c.cfg.Now()))
		return nil
	})
}

// remindUndecided tells the operator, loudly and rarely, why changes wait, and
// applies the policy.
func (w *worker) remindUndecided(r *Replication) {
	now := w.c.cfg.Now()
	l := w.c.liveOf(w.id)
	if l.peerErr == nil {
		return
	}
	if w.c.cfg.OnPeerUnreachable == Serve && now.Sub(w.startedAt) >= ServeAfter {
		w.c.log.Warn("the destination's region does not answer; this source accepts changes without knowing whether it was superseded, as on_peer_unreachable says",
			"file_system", w.id, "region", r.PeerRegion)
		w.decided = true
		w.kick()
		return
	}
	if now.Sub(w.remindedAt) < remindEvery {
		return
	}
	w.remindedAt = now
	w.c.log.Error("changes to this file system wait: its destination might have been promoted while this region was down, and the region does not answer",
		"file_system", w.id, "region", r.PeerRegion, "error", l.peerErr,
		"remedy", fmt.Sprintf("bring region %s back; or, if nobody uses the replica there, call DeleteReplicationConfiguration for %s here with deletionMode LOCAL_CONFIGURATION_ONLY", r.PeerRegion, w.id))
}

// finishDelete asks the destination to end, again and again until it has.
func (w *worker) finishDelete(ctx context.Context, r *Replication) (time.Duration, error) {
	var resp finishDeleteReply
	err := w.call(ctx, finishTimeout, r.PeerRegion, methodFinishDelete,
		finishDeleteRequest{Replication: r.ID, Position: r.Target}, &resp)
	if ctx.Err() != nil || errors.Is(err, errInterrupted) {
		return again, nil
	}
	w.reached(err)
	if p, refused := refusedByPeer(err); refused {
		if p.Code == CodeReplicationNotFound {
			return again, w.c.dropSource(r.ID)
		}
		return pollSteady, fmt.Errorf("region %s refuses to end replication %s: %w", r.PeerRegion, r.ID, err)
	}
	switch {
	case err != nil:
		w.c.log.Warn("the deletion of a replication waits for the other region", "replication", r.ID, "region", r.PeerRegion, "error", err)
		return pollSteady, nil
	case resp.Done:
		return again, w.c.dropSource(r.ID)
	}
	return pollQuick, nil
}
