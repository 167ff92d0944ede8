package control

import (
	"context"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Deletion modes of EFS.
const (
	DeleteAll       = "ALL_CONFIGURATIONS"
	DeleteLocalOnly = "LOCAL_CONFIGURATION_ONLY"
)

// deletionTime is how long a deletion waits for the promotion: a drain gives
// up after drainPatience without progress.
const deletionTime = 10 * time.Second

// DeleteReplication ends a replication, named by its source, or by its
// destination; mode "" is DeleteAll. In the destination's region it is the
// failover: with a dead source no other region is asked anything. When it
// returns nil the replication has ended or goes on ending (status DELETING).
// Errors: ReplicationNotFound, FileSystemNotFound, BadRequest,
// InternalServerError when the promotion fails (it is tried again).
func (c *Control) DeleteReplication(ctx context.Context, ref, mode string) error {
	local := mode == DeleteLocalOnly
	if !local && mode != "" && mode != DeleteAll {
		return refuse(CodeBadRequest, "deletionMode %.40q is unknown: give %s or %s", mode, DeleteAll, DeleteLocalOnly)
	}
	id, err := c.findReplication(ref)
	if err != nil {
		return asError(err)
	}
	var r *Replication
	err = c.update(func(t *tx) error {
		if r = t.replications[id]; r == nil {
			return noReplication(ref)
		}
		if r.Side == SideDestination {
			c.deleteAtDestination(t, r, local)
			return nil
		}
		return c.deleteAtSource(t, r, local)
	})
	if err != nil {
		return asError(err)
	}
	before := c.liveOf(r.FileSystemID)
	c.kick(r.FileSystemID)
	return c.awaitDeletion(ctx, r, before)
}

func (c *Control) deleteAtDestination(t *tx, r *Replication, local bool) {
	if r.Stage == StagePromoting || r.Stage == StageDeleting && !local {
		return
	}
	next := *r
	next.DeletingSince = c.cfg.Now().UTC()
	next.Stage = StagePromoting
	st, ok := c.cfg.FileSystems.Stat(r.FileSystemID)
	if !local && ok && st.Connected {
		next.Stage, next.SourceAlive = StageDeleting, true
	}
	t.putReplication(next)
}

func (c *Control) deleteAtSource(t *tx, r *Replication, local bool) error {
	switch {
	case r.Stage == StagePreparing:
		return refuse(CodeBadRequest, "the replication of file system '%s' is just being created; try again in a moment", r.FileSystemID)
	case local || r.Fault == FaultSuperseded:
		t.drop(kindReplication, r.ID)
		t.putTombstone(r.tombstone(OutcomeDropped, fs.Pos{}, c.cfg.Now()))
	case r.Stage != StageDeleting:
		next := *r
		next.Stage, next.DeletingSince = StageDeleting, c.cfg.Now().UTC()
		if st, ok := c.cfg.FileSystems.Stat(r.FileSystemID); ok {
			next.Target = &st.Durable
		}
		t.putReplication(next)
	}
	return nil
}

// awaitDeletion waits until the replication has ended and the file system is a
// writer, or until it is clear that this takes longer.
func (c *Control) awaitDeletion(ctx context.Context, r *Replication, before live) error {
	// The step that was running may still fail for an old reason.
	failed := func(l live) bool { return l.err != nil && l.steps > before.steps+1 }
	c.settle(ctx, deletionTime, func() bool {
		l := c.liveOf(r.FileSystemID)
		if c.replication(r.ID) == nil {
			f := c.fileSystem(r.FileSystemID)
			return f == nil || f.State == Failed || l.role == RoleWriter || failed(l)
		}
		return failed(l) || r.Side == SideSource && l.attempts > before.attempts && l.peerErr != nil
	})
	if l := c.liveOf(r.FileSystemID); failed(l) && r.Side == SideDestination {
		return refuse(CodeInternal, "the replication is being deleted, but file system %s has not become writable yet: %s. Holdfast goes on trying: see DescribeReplicationConfigurations for the state", r.FileSystemID, l.err)
	}
	return nil
}
