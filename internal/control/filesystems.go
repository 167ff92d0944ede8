package control

import (
	"context"
	"maps"
	"slices"
	"time"
)

// MaxFileSystems is EFS's limit of file systems in a region.
const MaxFileSystems = 1000

// settleTime is how long a request waits for its work to be done before it
// answers that it is under way.
const settleTime = 5 * time.Second

// nameTag is the tag that gives a file system its Name.
const nameTag = "Name"

// CreateFileSystemRequest asks for a new file system. The modes are EFS's
// values, checked by the REST surface; empty means EFS's default.
type CreateFileSystemRequest struct {
	CreationToken   string
	PerformanceMode string
	ThroughputMode  string
	Provisioned     float64 // MiB/s, with the mode provisioned
	// Encrypted at rest, with KMSKey: an id, an alias or an ARN of either; "": the
	// region's default.
	Encrypted bool
	KMSKey    string
	Tags      []Tag
}

// FileSystemDescription is what EFS tells of a file system.
type FileSystemDescription struct {
	FileSystem
	OwnerID       string
	ARN           string
	Name          string
	MountTargets  int
	SizeBytes     uint64
	SizeTimestamp time.Time
}

// CreateFileSystem makes an empty file system and waits a moment for it.
// Errors: FileSystemAlreadyExists, FileSystemLimitExceeded, BadRequest.
func (c *Control) CreateFileSystem(ctx context.Context, r CreateFileSystemRequest) (FileSystemDescription, error) {
	id, err := c.newID("fs-")
	if err != nil {
		return FileSystemDescription{}, asError(err)
	}
	err = c.update(func(t *tx) error {
		for _, f := range t.fileSystems {
			if f.CreationToken == r.CreationToken {
				return &Error{Code: CodeFileSystemExists, FileSystemID: f.ID,
					Message: "File system '" + f.ID + "' already exists with creation token '" + r.CreationToken + "': use it, or give another token"}
			}
		}
		f, err := c.makeFileSystem(t, id, r)
		if err == nil {
			t.putFileSystem(f)
		}
		return err
	})
	if err != nil {
		return FileSystemDescription{}, asError(err)
	}
	c.startWorker(id)
	c.settle(ctx, settleTime, func() bool {
		f, l := c.fileSystem(id), c.liveOf(id)
		return f == nil || f.State != Creating && l.role != "" || l.err != nil
	})
	return c.describeOne(id)
}

func (c *Control) makeFileSystem(t *tx, id string, r CreateFileSystemRequest) (FileSystem, error) {
	if len(t.fileSystems) >= MaxFileSystems {
		return FileSystem{}, refuse(CodeFileSystemLimit, "region %s has %d file systems, the limit; delete one first", c.cfg.Region, MaxFileSystems)
	}
	tags, err := mergeTags(nil, r.Tags)
	if err != nil {
		return FileSystem{}, err
	}
	f := FileSystem{ID: id, CreationToken: r.CreationToken, CreationTime: c.cfg.Now().UTC(), State: Creating,
		PerformanceMode: r.PerformanceMode, ThroughputMode: r.ThroughputMode, Provisioned: r.Provisioned, Protection: ProtectionEnabled, Tags: tags}
	if r.Encrypted {
		if f.KMSKey, err = c.kmsKey(r.KMSKey); err != nil {
			return FileSystem{}, err
		}
	}
	if f.PerformanceMode == "" {
		f.PerformanceMode = "generalPurpose"
	}
	if f.ThroughputMode == "" {
		f.ThroughputMode = "bursting"
	}
	return f, nil
}

func (c *Control) describeOne(id string) (FileSystemDescription, error) {
	all, err := c.DescribeFileSystems(id, "")
	if err != nil {
		return FileSystemDescription{}, err
	}
	return all[0], nil
}

// DescribeFileSystems returns the file systems with the id or ARN and the
// creation token, where given, sorted by id. Errors: FileSystemNotFound for an
// id that is not there.
func (c *Control) DescribeFileSystems(ref, creationToken string) ([]FileSystemDescription, error) {
	var all []FileSystemDescription
	var err error
	c.catalog.read(func(s *state) {
		ids := slices.Sorted(maps.Keys(s.fileSystems))
		if ref != "" {
			var f *FileSystem
			if f, err = c.localFileSystem(s, ref); err != nil {
				return
			}
			ids = []string{f.ID}
		}
		for _, id := range ids {
			if f := s.fileSystems[id]; creationToken == "" || f.CreationToken == creationToken {
				all = append(all, c.describe(s, f))
			}
		}
	})
	return all, asError(err)
}

// PageOfFileSystems returns the file systems whose ids come after an id,
// sorted by id, at most limit, and whether there are more. It describes no
// others: each description asks an engine.
func (c *Control) PageOfFileSystems(after string, limit int) (part []FileSystemDescription, more bool) {
	c.catalog.read(func(s *state) {
		var ids []string
		for id := range s.fileSystems {
			if id > after {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		more = len(ids) > limit
		for _, id := range ids[:min(len(ids), limit)] {
			part = append(part, c.describe(s, s.fileSystems[id]))
		}
	})
	return part, more
}

func (c *Control) describe(s *state, f *FileSystem) FileSystemDescription {
	d := FileSystemDescription{FileSystem: *f, OwnerID: c.cfg.AccountID, ARN: c.fileSystemARN(c.cfg.Region, f.ID),
		MountTargets: len(s.targetsOf[f.ID]), SizeTimestamp: c.cfg.Now()}
	d.Tags = slices.Clone(f.Tags)
	for _, t := range f.Tags {
		if t.Key == nameTag {
			d.Name = t.Value
		}
	}
	if st, ok := c.cfg.FileSystems.Stat(f.ID); ok {
		d.SizeBytes = st.BytesUsed
	}
	return d
}

// UpdateProtection sets the protection against becoming a destination.
// Errors: ReplicationAlreadyExists on a destination, BadRequest,
// FileSystemNotFound, IncorrectFileSystemLifeCycleState.
func (c *Control) UpdateProtection(ref, protection string) (string, error) {
	if protection != ProtectionEnabled && protection != ProtectionDisabled {
		return "", refuse(CodeBadRequest, "ReplicationOverwriteProtection %.40q cannot be set: give ENABLED or DISABLED", protection)
	}
	err := c.update(func(t *tx) error {
		f, err := c.availableFileSystem(t.state, ref)
		if err != nil {
			return err
		}
		if r := t.replicationOf(f.ID); r != nil && r.Side == SideDestination {
			return refuse(CodeReplicationExists, "File system '%s' is the destination of a replication and protected by it. Delete the replication configuration first.", f.ID)
		}
		next := *f
		next.Protection = protection
		t.putFileSystem(next)
		return nil
	})
	return protection, asError(err)
}

// provisionedMode is the throughput mode with a limit.
const provisionedMode = "provisioned"

// UpdateFileSystem sets the throughput mode ("" leaves it) and the provisioned
// throughput in MiB/s (0 leaves it). Clients feel it at once. Errors: BadRequest,
// FileSystemNotFound, IncorrectFileSystemLifeCycleState.
func (c *Control) UpdateFileSystem(ref, throughputMode string, mibps float64) (FileSystemDescription, error) {
	var id string
	err := c.update(func(t *tx) error {
		f, err := c.availableFileSystem(t.state, ref)
		if err != nil {
			return err
		}
		id = f.ID
		next := *f
		if throughputMode != "" {
			next.ThroughputMode = throughputMode
		}
		if mibps != 0 {
			next.Provisioned = mibps
		}
		if err := next.checkThroughput(mibps); err != nil {
			return err
		}
		if next.ThroughputMode != f.ThroughputMode || next.Provisioned != f.Provisioned {
			t.putFileSystem(next)
		}
		return nil
	})
	if err != nil {
		return FileSystemDescription{}, asError(err)
	}
	return c.describeOne(id)
}

// checkThroughput checks mode and amount against each other; asked is the amount
// of the request, 0 for none.
func (f *FileSystem) checkThroughput(asked float64) error {
	switch {
	case f.ThroughputMode == "elastic" && f.PerformanceMode == "maxIO":
		return refuse(CodeBadRequest, "File system '%s' has PerformanceMode maxIO, which cannot be combined with ThroughputMode elastic: choose bursting or provisioned", f.ID)
	case f.ThroughputMode != provisionedMode && asked != 0:
		return refuse(CodeBadRequest, "ProvisionedThroughputInMibps belongs to ThroughputMode provisioned, and file system '%s' has %s: give both", f.ID, f.ThroughputMode)
	case f.ThroughputMode != provisionedMode:
		f.Provisioned = 0
	case f.Provisioned == 0:
		return refuse(CodeBadRequest, "ThroughputMode provisioned needs ProvisionedThroughputInMibps: give the throughput in MiB/s")
	}
	return nil
}

// Throughput is the limit of a file system in bytes per second, 0 for none. It
// is quick: the NFS server asks with every transfer.
func (c *Control) Throughput(fileSystemID string) float64 {
	f := c.fileSystem(fileSystemID)
	if f == nil || f.ThroughputMode != provisionedMode {
		return 0
	}
	return f.Provisioned * (1 << 20)
}

// CheckAvailable says why a file system's settings cannot be changed now, or
// nil. Errors: FileSystemNotFound, IncorrectFileSystemLifeCycleState.
func (c *Control) CheckAvailable(ref string) (err error) {
	c.catalog.read(func(s *state) { _, err = c.availableFileSystem(s, ref) })
	return asError(err)
}

func (c *Control) availableFileSystem(s *state, ref string) (*FileSystem, error) {
	f, err := c.localFileSystem(s, ref)
	if err != nil {
		return nil, err
	}
	switch f.State {
	case Available:
		return f, nil
	case Failed:
		return nil, refuse(CodeIncorrectState, "File system '%s' is in the state error; see why: %s", f.ID, f.Message)
	}
	return nil, refuse(CodeIncorrectState, "File system '%s' is %s, not available; try again when it is.", f.ID, f.State)
}

// DeleteFileSystem removes a file system and its data for good.
// Errors: FileSystemInUse while it has mount targets or is part of a
// replication, FileSystemNotFound.
func (c *Control) DeleteFileSystem(ctx context.Context, ref string) error {
	var id string
	err := c.update(func(t *tx) error {
		f, err := c.localFileSystem(t.state, ref)
		if err != nil {
			return err
		}
		id = f.ID
		if f.State == Deleting {
			return nil
		}
		if n := len(t.targetsOf[id]); n > 0 {
			return refuse(CodeFileSystemInUse, "File system '%s' has %d mount target(s). Delete them first (DeleteMountTarget).", id, n)
		}
		if r := t.replicationOf(id); r != nil {
			return refuse(CodeFileSystemInUse, "You cannot delete file system '%s' because it is in a replication configuration. Delete the replication configuration first (DeleteReplicationConfiguration --source-file-system-id %s).", id, r.sourceID())
		}
		next := *f
		next.State = Deleting
		t.putFileSystem(next)
		return nil
	})
	if err != nil {
		return asError(err)
	}
	c.kick(id)
	c.settle(ctx, settleTime, func() bool { return c.fileSystem(id) == nil || c.liveOf(id).err != nil })
	return nil
}
