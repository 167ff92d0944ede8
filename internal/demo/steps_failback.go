package demo

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/efs/types"
)

// resync makes the old primary the destination. Only what changed may cross
// the wire, and what it alone had must be in its salvage.
func (s *story) resync(ctx context.Context, step *Step) error {
	us, eu := s.us(), s.eu()
	if err := us.unprotect(ctx); err != nil {
		return err
	}
	s.dest = us
	if err := eu.replicateTo(ctx, us); err != nil {
		return err
	}
	err := until(ctx, "LastReplicatedTimestamp is set", func() (bool, error) {
		d, err := eu.replication(ctx)
		if err != nil || d == nil {
			return false, err
		}
		if at := d.Destinations[0]; at.Status == types.ReplicationStatusError {
			return false, fmt.Errorf("the replication has status ERROR: %s", *at.StatusMessage)
		}
		return d.Destinations[0].LastReplicatedTimestamp != nil, nil
	})
	if err == nil {
		err = s.waitEqual(ctx, eu, us)
	}
	if err != nil {
		return err
	}
	return s.judgeResync(ctx, step)
}

func (s *story) judgeResync(ctx context.Context, step *Step) error {
	st, err := s.us().status(ctx)
	if err != nil {
		return err
	}
	if st.Replication == nil {
		return fmt.Errorf("%s is no destination any more: it has role %s", primary, st.Role)
	}
	sal, err := s.us().salvage(ctx)
	if err != nil {
		return err
	}
	payload := s.judgeSalvage(sal)
	back := &Failback{BytesChanged: s.changed + payload + s.writtenSince(), BytesWire: st.Replication.BytesReceived, Transfer: transferStream}
	if t := st.Replication.LastTransfer; t.Kind != "" {
		back.Transfer = t.Kind
	}
	s.rep.Failback = back
	if back.Transfer != transferResync && s.rep.Failover.SalvageRecords > 0 || back.Transfer == transferBootstrap {
		s.problem("the way home must be a resync, as the histories have forked; it was a %s", back.Transfer)
	}
	if limit := resyncLimit(back.BytesChanged, uint64(s.input.bytes)); back.BytesWire > limit {
		s.problem("the resync moved %s for %s of changes; at most %s would have been in order", size(back.BytesWire), size(back.BytesChanged), size(limit))
	}
	step.did("%s over the wire for %s of changes; %d records set aside", size(back.BytesWire), size(back.BytesChanged), s.rep.Failover.SalvageRecords)
	return nil
}

// Kinds of Failback.Transfer. Without a fork (everything had arrived before
// the kill) the old primary only follows.
const (
	transferResync    = "resync"
	transferBootstrap = "bootstrap"
	transferStream    = "stream"
)

// writtenSince is the content of the known files written after the failover.
func (s *story) writtenSince() (n uint64) {
	for _, path := range s.writes.all()[s.writes.before:] {
		n += uint64(len(contentOf(path)))
	}
	return n
}

// resyncLimit is what a resync may move: twice the changes, a tenth of the
// tree, and the keys around them. A copy of the tree is far above it, unless
// the tree is tiny.
func resyncLimit(changed, tree uint64) uint64 {
	const around = 256 << 10
	return 2*changed + tree/10 + around
}

// judgeSalvage counts the lost files that the salvage holds, and returns its
// bytes of content.
func (s *story) judgeSalvage(sal *salvageAnswer) (payload uint64) {
	there := map[string]bool{}
	for _, one := range sal.Salvages {
		s.rep.Failover.SalvageRecords += one.Records
		payload += one.PayloadBytes
		for _, p := range one.Paths {
			there[p.Path] = true
		}
	}
	for _, path := range s.writes.lost {
		if there[path] {
			s.rep.Failover.Salvaged++
		} else {
			s.problem("%s was acknowledged, lost, and is not in the salvage", path)
		}
	}
	return payload
}

// failback promotes the old primary, with the secondary alive, and lets it
// replicate the first way again.
func (s *story) failback(ctx context.Context, step *Step) error {
	us, eu := s.us(), s.eu()
	// The client goes to where the writing is; nothing of it stays behind.
	s.writer.Close()
	s.writer = nil
	if err := us.endReplication(ctx, eu.fsID); err != nil {
		return err
	}
	s.dest = nil
	if err := s.waitPromoted(ctx); err != nil {
		return err
	}
	if err := eu.unprotect(ctx); err != nil {
		return err
	}
	s.dest = eu
	if err := us.replicateTo(ctx, eu); err != nil {
		return err
	}
	if err := s.lastWrite(ctx); err != nil {
		return err
	}
	step.did("%s is the primary again; a write there arrived in %s", primary, secondary)
	return nil
}

func (s *story) waitPromoted(ctx context.Context) error {
	return until(ctx, primary+" is the writer and the replication is gone", func() (bool, error) {
		for _, r := range []*region{s.us(), s.eu()} {
			d, err := r.replication(ctx)
			if err != nil {
				return false, err
			}
			if d != nil {
				return false, notYet("%s describes it as %s", r.Region, d.Destinations[0].Status)
			}
		}
		st, err := s.us().status(ctx)
		if err != nil {
			return false, err
		}
		return st.Role == "writer", notYet("it has role %s", st.Role)
	})
}

const lastWritten = "/last-write-after-the-failback"

// lastWrite writes at the primary and waits until that can be read at the
// secondary.
func (s *story) lastWrite(ctx context.Context) error {
	c, err := s.us().dial(ctx, "")
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.WriteFile(ctx, lastWritten, contentOf(lastWritten), 0o644); err != nil {
		return err
	}
	s.writes.ack(lastWritten)
	there, err := s.eu().dial(ctx, "")
	if err != nil {
		return err
	}
	defer there.Close()
	return until(ctx, "the last write can be read in "+secondary, func() (bool, error) {
		missing, err := notWhole(ctx, there, []string{lastWritten})
		return len(missing) == 0, err
	})
}
