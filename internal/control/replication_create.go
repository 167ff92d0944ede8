package control

import (
	"context"
	"slices"
	"strings"
	"time"
)

// creationTime bounds how long a CreateReplication request waits: two calls to
// the other region and some.
const creationTime = 15 * time.Second

// DestinationRequest names the destination of a new replication: a region in
// which a file system is made, or an existing file system (id or ARN).
type DestinationRequest struct {
	Region       string
	FileSystemID string
	// KMSKey is the key of the destination's region that a file system which is
	// made there is encrypted with; "": its default if the source is encrypted, else
	// none.
	KMSKey string
}

// CreateReplication makes the source's file system replicate. It answers when
// the destination exists (status ENABLING).
// Errors: BadRequest, ConflictException, FileSystemNotFound,
// IncorrectFileSystemLifeCycleState, FileSystemLimitExceeded (of the other
// region), InternalServerError when the other region does not answer.
func (c *Control) CreateReplication(ctx context.Context, ref string, d DestinationRequest) (ReplicationDescription, error) {
	region, existing, err := c.checkDestination(d)
	if err != nil {
		return ReplicationDescription{}, asError(err)
	}
	id, err := c.newReplicationID()
	if err != nil {
		return ReplicationDescription{}, asError(err)
	}
	c.expectOutcome(id)
	defer c.takeOutcome(id)
	var source string
	err = c.update(func(t *tx) error {
		f, err := c.freeSource(t.state, ref)
		if err != nil {
			return err
		}
		source = f.ID
		st, ok := c.cfg.FileSystems.Stat(f.ID)
		if !ok {
			return refuse(CodeInternal, "file system %s is not open in this region; see the log of holdfast for the reason", f.ID)
		}
		t.putReplication(Replication{ID: id, Side: SideSource, Stage: StagePreparing, FileSystemID: f.ID, PeerRegion: region,
			PeerID: existing, Existing: existing != "", PeerKMSKey: d.KMSKey, Lineage: st.Lineage.String(), CreationTime: c.cfg.Now().UTC()})
		return nil
	})
	if err != nil {
		return ReplicationDescription{}, asError(err)
	}
	c.kick(source)
	return c.awaitCreation(ctx, id, region)
}

func (c *Control) awaitCreation(ctx context.Context, id, region string) (ReplicationDescription, error) {
	c.settle(ctx, creationTime, func() bool {
		r := c.replication(id)
		return r == nil || r.Stage != StagePreparing
	})
	switch r := c.replication(id); {
	case r == nil:
		return ReplicationDescription{}, c.creationError(c.takeOutcome(id), region)
	case r.Stage == StagePreparing:
		return ReplicationDescription{}, refuse(CodeInternal, "the replication is still being created; see DescribeReplicationConfigurations in a moment")
	default:
		return c.describeReplication(r), nil
	}
}

// creationError tells why a creation was undone.
func (c *Control) creationError(cause error, region string) error {
	if p, refused := refusedByPeer(cause); refused {
		return refuse(p.Code, "Region %s refuses: %s", region, p.Message)
	}
	if cause == nil {
		return refuse(CodeInternal, "the replication was deleted while it was being created: create it again if you want it")
	}
	return refuse(CodeInternal, "The replication could not be created with region %s: %s. Nothing was changed in this region; what region %s may have made is removed as soon as it answers. See that it runs and that peer.peers has its address, then try again.",
		region, cause, region)
}

// checkDestination finds region and existing file system of a request.
func (c *Control) checkDestination(d DestinationRequest) (region, existing string, err error) {
	region = d.Region
	if d.FileSystemID != "" {
		ref, err := parseFileSystemRef(d.FileSystemID)
		if err != nil {
			return "", "", err
		}
		switch {
		case ref.ARN && ref.Account != c.cfg.AccountID:
			return "", "", refuse(CodeBadRequest, "the destination %s belongs to another account than %s, and replication between accounts is not offered by this release of Holdfast: choose a file system of the same account", d.FileSystemID, c.cfg.AccountID)
		case region == "":
			region = ref.Region
		case ref.ARN && ref.Region != region:
			return "", "", refuse(CodeBadRequest, "the destination's ARN names region %s, its Region %s: give the same", ref.Region, region)
		}
		existing = ref.ID
		if d.KMSKey != "" {
			return "", "", refuse(CodeBadRequest, "KmsKeyId is for a destination that is made; '%s' exists and stays encrypted as it is: leave one of the two out", existing)
		}
	}
	peers := c.cfg.Peers.Regions()
	switch {
	case region == "":
		return "", "", refuse(CodeBadRequest, "the destination needs a Region: give one of %s", listRegions(peers))
	case region == c.cfg.Region:
		return "", "", refuse(CodeBadRequest, "replication within one region is not offered by this release of Holdfast: choose a destination Region of %s", listRegions(peers))
	case !slices.Contains(peers, region):
		return "", "", refuse(CodeBadRequest, "region %s is no peer of %s: choose one of %s, or add it to peer.peers of the configuration", region, c.cfg.Region, listRegions(peers))
	}
	return region, existing, nil
}

func listRegions(all []string) string {
	if len(all) == 0 {
		return "(none is configured; add one to peer.peers of the configuration)"
	}
	return strings.Join(all, ", ")
}

func (c *Control) freeSource(s *state, ref string) (*FileSystem, error) {
	f, err := c.availableFileSystem(s, ref)
	if err != nil {
		return nil, err
	}
	r := s.replicationOf(f.ID)
	switch {
	case r == nil:
		return f, nil
	case r.Fault == FaultSuperseded:
		return nil, refuse(CodeConflict, "File system '%s' was superseded by its destination '%s' in region %s: %s", f.ID, r.PeerID, r.PeerRegion, supersededText(r))
	}
	return nil, refuse(CodeConflict, "File system '%s' is already the %s of a replication with region %s; a file system can be in one. Delete that replication configuration first.", f.ID, r.Side, r.PeerRegion)
}

// expectOutcome, setOutcome and takeOutcome hand the reason of an undone
// creation from the worker to the request.
func (c *Control) expectOutcome(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcomes[id] = nil
}

func (c *Control) setOutcome(id string, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, waiting := c.outcomes[id]; waiting {
		c.outcomes[id] = cause
	}
}

func (c *Control) takeOutcome(id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	cause := c.outcomes[id]
	delete(c.outcomes, id)
	return cause
}
