package control

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
)

// HandlePeer answers a call from another region, which the transport has
// identified by its certificate. The result is for encoding/json. An error is
// *PeerError: a refusal to be carried back.
func (c *Control) HandlePeer(ctx context.Context, fromRegion, method string, body json.RawMessage) (any, error) {
	resp, err := c.handlePeer(ctx, fromRegion, method, body)
	if err == nil {
		return resp, nil
	}
	var refused *Error
	errors.As(asError(err), &refused)
	return nil, &PeerError{Code: refused.Code, Message: refused.Message}
}

func (c *Control) handlePeer(ctx context.Context, from, method string, body json.RawMessage) (any, error) {
	if !slices.Contains(c.cfg.Peers.Regions(), from) {
		return nil, refuse(CodeAccessDenied, "region %.64q is no peer of %s: add it to peer.peers there", from, c.cfg.Region)
	}
	switch method {
	case methodPrepare:
		return withBody(body, func(r *prepareRequest) (any, error) { return c.handlePrepare(from, r) })
	case methodAbandon:
		return withBody(body, func(r *replicationRequest) (any, error) { return struct{}{}, c.handleAbandon(from, r.Replication) })
	case methodStatus:
		return withBody(body, func(r *replicationRequest) (any, error) { return c.handleStatus(from, r.Replication) })
	case methodSettings:
		return withBody(body, func(r *settingsRequest) (any, error) { return struct{}{}, c.handleSettings(from, r) })
	case methodBeginDelete:
		return withBody(body, func(r *replicationRequest) (any, error) { return c.handleBeginDelete(from, r.Replication) })
	case methodFinishDelete:
		return withBody(body, func(r *finishDeleteRequest) (any, error) { return c.handleFinishDelete(ctx, from, r) })
	case methodDeleted:
		return withBody(body, func(r *replicationRequest) (any, error) { return struct{}{}, c.handleDeleted(from, r.Replication) })
	}
	return nil, refuse(CodeBadRequest, "region %s does not know the call %.64q: bring both regions to the same release", c.cfg.Region, method)
}

func withBody[R any](body json.RawMessage, fn func(*R) (any, error)) (any, error) {
	r := new(R)
	if err := json.Unmarshal(body, r); err != nil {
		return nil, refuse(CodeBadRequest, "the request cannot be read: %s; use one release in both regions", err)
	}
	return fn(r)
}

// peersReplication finds a replication that is shared with the asking region.
func peersReplication(s *state, from, id string) (*Replication, error) {
	r := s.replications[id]
	if r == nil {
		return nil, refuse(CodeReplicationNotFound, "replication %.40q is not known: see DescribeReplicationConfigurations in both regions", id)
	}
	if r.PeerRegion != from {
		return nil, refuse(CodeAccessDenied, "replication %s is not with region %s: see DescribeReplicationConfigurations in both regions", id, from)
	}
	return r, nil
}

// handlePrepare makes the destination: it records the intent, which the worker
// of the file system carries out.
func (c *Control) handlePrepare(from string, req *prepareRequest) (any, error) {
	if err := checkPrepare(req, c.cfg.AccountID); err != nil {
		return nil, err
	}
	id, err := c.newID("fs-")
	if err != nil {
		return nil, err
	}
	err = c.update(func(t *tx) error {
		if r := t.replications[req.Replication]; r != nil {
			id = r.FileSystemID
			return checkSame(r, from, req)
		}
		if ts := t.tombstones[req.Replication]; ts != nil {
			return refuse(CodeConflict, "replication %s has ended here (%s): create a new one", req.Replication, ts.Outcome)
		}
		if req.Existing != "" {
			id = req.Existing
			return c.takeOver(t, from, req)
		}
		return c.makeDestination(t, id, from, req)
	})
	if err != nil {
		return nil, err
	}
	c.startWorker(id)
	c.kick(id)
	return prepareReply{FileSystemID: id}, nil
}

func checkPrepare(req *prepareRequest, account string) error {
	if !replicationIDPattern.MatchString(req.Replication) || !fileSystemPattern.MatchString(req.SourceID) {
		return refuse(CodeBadRequest, "replication %.40q of source %.60q: these are no ids; use one release in both regions", req.Replication, req.SourceID)
	}
	if _, err := upstreamOf(&Replication{ID: req.Replication, Lineage: req.Lineage}); err != nil {
		return refuse(CodeBadRequest, "%s: use one release in both regions", err)
	}
	if len(req.KMSKey) > maxKMSKey {
		return refuse(CodeBadRequest, "KmsKeyId has %d characters: give at most %d", len(req.KMSKey), maxKMSKey)
	}
	if len(req.SettingsPrefix) > maxSettingsPrefix {
		return refuse(CodeBadRequest, "the settings of the source begin with %d bytes, more than %d: use one release in both regions", len(req.SettingsPrefix), maxSettingsPrefix)
	}
	if req.Owner != account {
		return refuse(CodeBadRequest, "the source belongs to account %.20s, this region to %s, and replication between accounts is not offered by this release of Holdfast: set the same account_id in both configurations", req.Owner, account)
	}
	return nil
}

func checkSame(r *Replication, from string, req *prepareRequest) error {
	if r.Side != SideDestination || r.PeerRegion != from || r.PeerID != req.SourceID {
		return refuse(CodeConflict, "replication %s is another one here: create the replication anew", req.Replication)
	}
	return nil
}

func (c *Control) makeDestination(t *tx, id, from string, req *prepareRequest) error {
	f, err := c.makeFileSystem(t, id, CreateFileSystemRequest{CreationToken: "replication-" + req.Replication,
		Encrypted: req.Encrypted || req.KMSKey != "", KMSKey: req.KMSKey})
	if err != nil {
		return err
	}
	f.Protection, f.MadeFor, f.SettingsPrefix = ProtectionReplicating, req.Replication, req.prefixFor(id)
	t.putFileSystem(f)
	t.putReplication(destinationRecord(id, from, req))
	return nil
}

// prefixFor begins the keys of the settings that count at a destination: those
// of the source, or, if it is to have none of these, keys that only it has.
func (r *prepareRequest) prefixFor(id string) string {
	if r.KeepSettings {
		return id + "/"
	}
	return r.SettingsPrefix
}

func destinationRecord(id, from string, req *prepareRequest) Replication {
	return Replication{ID: req.Replication, Side: SideDestination, Stage: StageEnabling, FileSystemID: id, PeerRegion: from,
		PeerID: req.SourceID, Existing: req.Existing != "", Lineage: req.Lineage, CreationTime: req.CreationTime}
}

// takeOver makes an existing file system the destination. The stale
// configuration of a superseded source goes with it.
func (c *Control) takeOver(t *tx, from string, req *prepareRequest) error {
	f, err := c.availableFileSystem(t.state, req.Existing)
	if err != nil {
		return err
	}
	if f.Protection != ProtectionDisabled {
		return refuse(CodeBadRequest, "File system '%s' in region %s cannot be a destination: its ReplicationOverwriteProtection is %s. Set it to DISABLED first (UpdateFileSystemProtection); its content is replaced then.", f.ID, c.cfg.Region, f.Protection)
	}
	if req.Encrypted && f.KMSKey == "" {
		return refuse(CodeConflict, "File system '%s' in region %s is not encrypted at rest and its source is: what is encrypted is not replicated to where it is not. Replicate to a new file system, or to one that was made with Encrypted: true.", f.ID, c.cfg.Region)
	}
	if r := t.replicationOf(f.ID); r != nil {
		if r.Fault != FaultSuperseded {
			return refuse(CodeConflict, "File system '%s' in region %s is the %s of another replication (with region %s). Delete that replication configuration first.", f.ID, c.cfg.Region, r.Side, r.PeerRegion)
		}
		t.drop(kindReplication, r.ID)
	}
	next := *f
	next.Protection, next.SettingsPrefix = ProtectionReplicating, req.prefixFor(f.ID)
	t.putFileSystem(next)
	t.putReplication(destinationRecord(f.ID, from, req))
	return nil
}

// handleAbandon undoes a preparation: a file system that was made for it is
// deleted, one that existed becomes a writer again.
func (c *Control) handleAbandon(from, id string) error {
	if !replicationIDPattern.MatchString(id) {
		return refuse(CodeBadRequest, "%.40q is no replication id: use one release in both regions", id)
	}
	fileSystem := ""
	err := c.update(func(t *tx) error {
		if t.tombstones[id] != nil {
			return nil
		}
		r := t.replications[id]
		if r == nil {
			t.putTombstone(&Tombstone{ID: id, Outcome: OutcomeAbandoned, PeerRegion: from, Time: c.cfg.Now().UTC()})
			return nil
		}
		if _, err := peersReplication(t.state, from, id); err != nil {
			return err
		}
		fileSystem = r.FileSystemID
		c.abandon(t, r)
		return nil
	})
	if err == nil && fileSystem != "" {
		c.kick(fileSystem)
	}
	return err
}

func (c *Control) abandon(t *tx, r *Replication) {
	f := t.fileSystems[r.FileSystemID]
	if r.Side != SideDestination || r.Stage == StagePromoting || f == nil {
		return
	}
	if f.MadeFor != r.ID {
		next := *r
		next.Stage, next.Abandoned, next.DeletingSince = StagePromoting, true, c.cfg.Now().UTC()
		t.putReplication(next)
		return
	}
	next := *f
	next.State = Deleting
	t.putFileSystem(next)
	ts := r.tombstone(OutcomeAbandoned, promotedAt(Stat{}, OutcomeAbandoned), c.cfg.Now().UTC())
	t.drop(kindReplication, r.ID)
	t.putTombstone(ts)
}

// handleStatus tells the other side how a replication is here.
func (c *Control) handleStatus(from, id string) (any, error) {
	var r *Replication
	var f *FileSystem
	var ts *Tombstone
	var err error
	c.catalog.read(func(s *state) {
		ts = s.tombstones[id]
		if s.replications[id] != nil {
			if r, err = peersReplication(s, from, id); err == nil {
				f = s.fileSystems[r.FileSystemID]
			}
		}
	})
	switch {
	case err != nil:
		return nil, err
	case r != nil && r.Side == SideDestination:
		d := c.describeReplication(r)
		return statusReply{State: peerKnown, Status: d.Status, Message: d.StatusMessage, LastReplicated: d.LastReplicated, Settings: copiedHash(f, r)}, nil
	case r != nil:
		return statusReply{State: peerKnown}, nil
	case ts != nil && ts.PeerRegion == from:
		return statusReply{State: string(ts.Outcome), TookPart: ts.TookPart}, nil
	}
	return statusReply{State: peerUnknown}, nil
}

// handleBeginDelete tells what the source has; both sides are writers after this.
func (c *Control) handleBeginDelete(from, id string) (any, error) {
	var r *Replication
	var err error
	c.catalog.read(func(s *state) { r, err = peersReplication(s, from, id) })
	if err != nil {
		return nil, err
	}
	st, ok := c.cfg.FileSystems.Stat(r.FileSystemID)
	if r.Side != SideSource || !ok {
		return nil, refuse(CodeIncorrectState, "file system %s is not open as a source: see the log of its region, and try again", r.FileSystemID)
	}
	return beginDeleteReply{Position: st.Durable}, nil
}

// handleFinishDelete ends a destination for its source and waits a while for
// that; the source asks again until it is done.
func (c *Control) handleFinishDelete(ctx context.Context, from string, req *finishDeleteRequest) (any, error) {
	var r *Replication
	var ended bool
	err := c.update(func(t *tx) error {
		ended = t.tombstones[req.Replication] != nil
		if ended {
			return nil
		}
		var err error
		if r, err = peersReplication(t.state, from, req.Replication); err != nil {
			return err
		}
		if r.Side != SideDestination {
			return refuse(CodeIncorrectState, "file system %s is not the destination of replication %s: see DescribeReplicationConfigurations in both regions", r.FileSystemID, r.ID)
		}
		c.finishForSource(t, r, req)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if ended {
		return finishDeleteReply{Done: true}, nil
	}
	c.kick(r.FileSystemID)
	c.settle(ctx, finishWait, func() bool { return c.replication(r.ID) == nil })
	return finishDeleteReply{Done: c.replication(r.ID) == nil}, nil
}

func (c *Control) finishForSource(t *tx, r *Replication, req *finishDeleteRequest) {
	if r.Stage == StagePromoting || r.Stage == StageDeleting && r.BySource {
		return
	}
	next := *r
	next.BySource, next.TookPart, next.SourceAlive = true, true, true
	next.Stage, next.Target = StageDeleting, req.Position
	if next.DeletingSince.IsZero() {
		next.DeletingSince = c.cfg.Now().UTC()
	}
	if req.Position == nil { // the source could not tell: nothing to wait for
		next.Stage = StagePromoting
	}
	t.putReplication(next)
}

// handleDeleted lets the source ask for the truth at once.
func (c *Control) handleDeleted(from, id string) error {
	var r *Replication
	var err error
	c.catalog.read(func(s *state) { r, err = peersReplication(s, from, id) })
	if err != nil {
		return nil // nothing to look at any more
	}
	c.askNow(r)
	return nil
}

// askNow polls the other region outside of the rhythm.
func (c *Control) askNow(r *Replication) {
	c.mu.Lock()
	w := c.workers[r.FileSystemID]
	c.mu.Unlock()
	if w == nil {
		return
	}
	c.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, pollTimeout)
		defer cancel()
		p := pollResult{replication: r.ID}
		p.err = c.cfg.Peers.Call(ctx, r.PeerRegion, methodStatus, replicationRequest{r.ID}, &p.reply)
		select {
		case w.asked <- p:
		case <-ctx.Done():
		}
	})
}
