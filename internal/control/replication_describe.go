package control

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// EFS's values of a replication's status that Holdfast uses.
const (
	StatusEnabled  = "ENABLED"
	StatusEnabling = "ENABLING"
	StatusDeleting = "DELETING"
	StatusError    = "ERROR"
)

// ReplicationDescription is what EFS tells of a replication. There is exactly
// one destination.
type ReplicationDescription struct {
	ID            string // not part of EFS's answer; the key of pages
	SourceID      string
	SourceRegion  string
	SourceARN     string
	OwnerID       string
	CreationTime  time.Time
	DestinationID string
	DestRegion    string
	Status        string
	StatusMessage string
	// LastReplicated: all that was durable at the source then is durable at
	// the destination. Zero: not known.
	LastReplicated time.Time
}

// DescribeReplications returns the replication with the source or destination
// (id or ARN), or all of the region for "", sorted by id.
// Errors: BadRequest, FileSystemNotFound, ReplicationNotFound.
func (c *Control) DescribeReplications(ref string) ([]ReplicationDescription, error) {
	if ref != "" {
		id, err := c.findReplication(ref)
		if err != nil {
			return nil, asError(err)
		}
		r := c.replication(id)
		if r == nil || r.Stage == StagePreparing {
			return nil, noReplication(ref)
		}
		return []ReplicationDescription{c.describeReplication(r)}, nil
	}
	var found []*Replication
	c.catalog.read(func(s *state) {
		for _, id := range slices.Sorted(maps.Keys(s.replications)) {
			if r := s.replications[id]; r.Stage != StagePreparing {
				found = append(found, r)
			}
		}
	})
	all := make([]ReplicationDescription, 0, len(found))
	for _, r := range found {
		all = append(all, c.describeReplication(r))
	}
	return all, nil
}

// findReplication finds a replication of this region by either file system.
func (c *Control) findReplication(ref string) (id string, err error) {
	parsed, err := parseFileSystemRef(ref)
	if err != nil {
		return "", err
	}
	c.catalog.read(func(s *state) {
		local := parsed.of(c.cfg.Region, c.cfg.AccountID)
		if r := s.replicationOf(parsed.ID); r != nil && local {
			id = r.ID
			return
		}
		for _, r := range s.replications {
			if r.PeerID == parsed.ID && parsed.of(r.PeerRegion, c.cfg.AccountID) {
				id = r.ID
				return
			}
		}
		err = notReplicated(s, parsed, c.cfg.Region, c.cfg.AccountID)
	})
	return id, err
}

// notReplicated distinguishes a file system that is or was known from any other.
func notReplicated(s *state, ref fsRef, region, account string) error {
	local := ref.of(region, account)
	if s.fileSystems[ref.ID] != nil && local {
		return noReplication(ref.ID)
	}
	for _, t := range s.tombstones {
		if (local || ref.of(t.PeerRegion, account)) && (t.SourceID == ref.ID || t.DestinationID == ref.ID) {
			return noReplication(ref.ID)
		}
	}
	return noFileSystem(ref.ID, region)
}

func noReplication(ref string) error {
	return refuse(CodeReplicationNotFound, "File system '%s' is not in a replication configuration: see DescribeReplicationConfigurations for those that are.", ref)
}

func (c *Control) describeReplication(r *Replication) ReplicationDescription {
	d := ReplicationDescription{ID: r.ID, SourceID: r.sourceID(), SourceRegion: c.cfg.Region, OwnerID: c.cfg.AccountID,
		CreationTime: r.CreationTime, DestinationID: r.destinationID(), DestRegion: r.PeerRegion}
	if r.Side == SideDestination {
		d.SourceRegion, d.DestRegion = r.PeerRegion, c.cfg.Region
	}
	d.SourceARN = c.fileSystemARN(d.SourceRegion, d.SourceID)
	if r.Side == SideDestination {
		d.Status, d.StatusMessage, d.LastReplicated = c.destinationStatus(r)
	} else {
		d.Status, d.StatusMessage, d.LastReplicated = c.sourceStatus(r)
	}
	return d
}

func stageStatus(s Stage) string {
	switch s {
	case StageDeleting, StagePromoting:
		return StatusDeleting
	case StageEnabled:
		return StatusEnabled
	}
	return StatusEnabling
}

func (c *Control) destinationStatus(r *Replication) (status, message string, last time.Time) {
	st, _ := c.cfg.FileSystems.Stat(r.FileSystemID)
	l := c.replicationLive(r)
	status = stageStatus(r.Stage)
	switch {
	case status == StatusDeleting && l.err != nil:
		message = "becoming writable fails and is tried again: " + l.err.Error()
	case status == StatusDeleting:
	case st.Err != "":
		status, message = StatusError, st.Err
	case l.err != nil:
		status, message = StatusError, l.err.Error()
	case r.Fault == FaultUnknown:
		status, message = StatusError, fmt.Sprintf("Region %s no longer has this replication: nothing more arrives and this file system stays read-only. To make it writable, call DeleteReplicationConfiguration here.", r.PeerRegion)
	case !st.Connected:
		message = fmt.Sprintf("not connected to the source in region %s", r.PeerRegion)
	}
	return status, message, st.LastReplicated
}

func (c *Control) sourceStatus(r *Replication) (status, message string, last time.Time) {
	l := c.replicationLive(r)
	status = stageStatus(r.Stage)
	if l.peer != nil {
		last = l.peer.Reply.LastReplicated
	}
	switch {
	case r.Fault == FaultSuperseded:
		return StatusError, supersededText(r), last
	case status == StatusDeleting && l.peerErr != nil:
		return status, fmt.Sprintf("Region %s has not answered since %s (%s), so its file system cannot be made writable from here; Holdfast goes on trying. To delete only this side, call DeleteReplicationConfiguration with deletionMode LOCAL_CONFIGURATION_ONLY.",
			r.PeerRegion, l.peerErrTime.UTC().Format(time.RFC3339), l.peerErr), last
	case status == StatusDeleting:
		return status, "", last
	case r.Fault == FaultUnknown:
		return StatusError, fmt.Sprintf("Region %s does not know this replication. Delete it here (deletionMode LOCAL_CONFIGURATION_ONLY) and create it again.", r.PeerRegion), last
	case l.role == RoleUndecided && l.peerErr != nil:
		return StatusError, fmt.Sprintf("This region was down and asks region %s whether the destination was promoted meanwhile; changes wait for the answer. If region %s is lost for good, call DeleteReplicationConfiguration with deletionMode LOCAL_CONFIGURATION_ONLY.", r.PeerRegion, r.PeerRegion), last
	case l.err != nil:
		return StatusError, l.err.Error(), last
	case l.peerErr != nil:
		return status, fmt.Sprintf("region %s has not answered since %s: %s", r.PeerRegion, l.peerErrTime.UTC().Format(time.RFC3339), l.peerErr), last
	case l.peer != nil && l.peer.Reply.State == peerKnown && (l.peer.Reply.Status == StatusError || l.peer.Reply.Status == StatusDeleting):
		return l.peer.Reply.Status, l.peer.Reply.Message, last
	}
	return status, "", last
}

// supersededText tells the two ways on.
func supersededText(r *Replication) string {
	return fmt.Sprintf("The destination %s in region %s was promoted without this file system, which is read-only now. Either keep it as a file system of its own: call DeleteReplicationConfiguration for it in this region. Or make it the destination: set its ReplicationOverwriteProtection to DISABLED and call CreateReplicationConfiguration in region %s for %s with this file system %s as destination; changes that never reached region %s are kept as salvage.",
		r.PeerID, r.PeerRegion, r.PeerRegion, r.PeerID, r.FileSystemID, r.PeerRegion)
}
