// Package control holds the resources of a region and their life: file
// systems, mount targets and replications. It decides; engines, listeners and
// the wire to the other regions are behind the small interfaces of this file.
package control

import (
	"context"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Role is what a file system does in its region.
type Role string

// The roles.
const (
	// RoleWriter accepts changes.
	RoleWriter Role = "writer"
	// RoleUndecided is a source after a restart that has not yet heard from
	// its destination whether it was superseded: reads work, changes wait
	// (fs.ErrDelay).
	RoleUndecided Role = "undecided"
	// RoleSuperseded is an old source whose destination was promoted: reads
	// work, changes are refused (fs.ErrROFS) until the operator decides.
	RoleSuperseded Role = "superseded"
	// RoleDestination follows Upstream and refuses changes (fs.ErrROFS).
	RoleDestination Role = "destination"
)

// Upstream names the source that a destination follows.
type Upstream struct {
	Replication  string // id of the replication, shared by both regions
	Region       string
	FileSystemID string
	Lineage      fs.Lineage
	// Followed: records have flowed in this replication. From then on a source
	// whose history is not ahead of the destination's is not followed.
	Followed bool
}

// sameAs reports whether both name the same source. That records flow changes
// nothing for the one who follows.
func (u Upstream) sameAs(o Upstream) bool {
	u.Followed = o.Followed
	return u == o
}

// FileSystems are the engines of a region, by file system id ("fs-..."). Every
// method is idempotent, so that a step that a crash interrupted can be taken
// again; all may be called concurrently for different ids.
type FileSystems interface {
	// Create makes an empty writable file system of a new lineage, encrypted at rest
	// with a data key that the KMS key with this ARN wraps, unless it is "".
	Create(ctx context.Context, id, kmsKey string) (fs.Lineage, error)
	// CreateDestination makes room for a replica that has no content yet.
	CreateDestination(ctx context.Context, id, kmsKey string) error
	// Open starts an existing file system in a role; a file system that was
	// just created is opened too, before SetRole. Opening an open one in its
	// role does nothing. up is only for RoleDestination. To open one that was
	// a destination as RoleWriter is the promotion, with the answers of
	// SetRole: a crash may have come between the decision and SetRole.
	Open(ctx context.Context, id string, role Role, up *Upstream) error
	// SetRole changes the role of an open one. To RoleWriter it begins a new
	// epoch, durable when the call returns; it takes constant time. From
	// RoleDestination to RoleWriter it is the promotion: what was received is
	// kept, a stage that is not whole is discarded; a destination that never
	// became whole answers ErrNotWhole. To RoleDestination it starts to
	// follow: bootstrap, resync or continue, whatever the histories need.
	// After ErrNotWhole it stands still and follows nobody.
	SetRole(ctx context.Context, id string, role Role, up *Upstream) error
	// Delete stops it and removes its data.
	Delete(ctx context.Context, id string) error
	// AddMember registers a replica with the lineage, durably, before its
	// bootstrap (source only).
	AddMember(ctx context.Context, id, memberID, region string) error
	// Stat tells the state; ok is false when there is no such open file
	// system. It must neither block nor call the control plane: it is asked
	// while decisions are made.
	Stat(id string) (st Stat, ok bool)
	// WaitReplicated waits until a destination holds pos durably. It gives up
	// when ctx ends; progress can be watched with Stat meanwhile.
	WaitReplicated(ctx context.Context, id string, pos fs.Pos) error
}

// ErrNotWhole is the answer to a promotion of a destination whose first
// transfer has not finished.
const ErrNotWhole = controlError("the destination has not received the whole file system yet: it cannot become writable")

type controlError string

func (e controlError) Error() string { return string(e) }

// Stat is the state of one file system.
type Stat struct {
	Lineage   fs.Lineage
	Role      Role
	Durable   fs.Pos // everything up to here is synced here
	BytesUsed uint64
	Files     uint64
	// Of a destination:
	Whole          bool      // holds a complete tree
	Connected      bool      // the stream is up and heartbeats arrive (newest at most 1 s old)
	Following      bool      // the first transfer or resync is done, records flow
	SourceDurable  uint64    // newest known durable sequence of the source
	LastReplicated time.Time // all that was durable at the source then is durable here; zero: never
	Err            string    // why the stream stands still for good, "" while it does not
}

// Peers carries calls to the control plane of another region over mutual TLS.
// method is a short name such as "prepare-destination"; req and resp are
// structures that encoding/json can carry. An error is *PeerError when the
// other side answered with a refusal, anything else means that it could not be
// reached or that its answer was lost.
type Peers interface {
	Call(ctx context.Context, region, method string, req, resp any) error
	// Regions are the peers, without this region, sorted. It must not block.
	Regions() []string
}

// PeerError is a refusal by the other region; Code is an EFS error type.
type PeerError struct {
	Code    string
	Message string
}

func (e *PeerError) Error() string { return e.Message }

// Listeners opens and closes the addresses of mount targets.
type Listeners interface {
	// Listen exports the file system at "/" of one or two addresses to those
	// whom admit admits, on all of them or, after an error, on none; idempotent. When it listens already, it closes the connections that a
	// new admit does not admit before it returns.
	Listen(ctx context.Context, mountTargetID, fileSystemID string, ips []string, admit Admission) error
	Close(ctx context.Context, mountTargetID string) error
}
