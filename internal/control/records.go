package control

import (
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// LifeCycle is EFS's LifeCycleState, of file systems and mount targets.
type LifeCycle string

// The states that Holdfast uses.
const (
	Creating  LifeCycle = "creating"
	Available LifeCycle = "available"
	Deleting  LifeCycle = "deleting"
	Failed    LifeCycle = "error"
)

// Values of EFS's ReplicationOverwriteProtection.
const (
	ProtectionEnabled     = "ENABLED"
	ProtectionDisabled    = "DISABLED"
	ProtectionReplicating = "REPLICATING" // a destination; never set by a user
)

// Tag is a label of a file system.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// The records of the catalog. One that was put is never changed in place: who
// wants to change it copies it.

// FileSystem is a file system's record.
type FileSystem struct {
	ID              string    `json:"id"`
	CreationToken   string    `json:"creation_token"`
	CreationTime    time.Time `json:"creation_time"`
	State           LifeCycle `json:"state"`
	Message         string    `json:"message,omitempty"` // why the state is error
	PerformanceMode string    `json:"performance_mode"`
	ThroughputMode  string    `json:"throughput_mode"`
	// Provisioned is the limit of the throughput in MiB/s, in the mode
	// provisioned.
	Provisioned float64 `json:"provisioned_mibps,omitempty"`
	Protection  string  `json:"protection"`
	// KMSKey is the ARN of the key that wraps the data key of a file system that is
	// encrypted at rest; empty: it is not. It never changes.
	KMSKey string `json:"kms_key,omitempty"`
	Tags   []Tag  `json:"tags,omitempty"` // sorted by key
	// MadeFor is the replication whose destination this file system was made
	// as; empty for one that a user made.
	MadeFor string `json:"made_for,omitempty"`
	// Copied is what a destination has, or last had, from its source.
	Copied *Copied `json:"copied,omitempty"`
	// SettingsPrefix begins the keys of the settings that count here. A
	// destination that is not to have those of its source has a prefix of its
	// own; mostly it is empty.
	SettingsPrefix string `json:"settings_prefix,omitempty"`
}

// MountTarget is a mount target's record.
type MountTarget struct {
	ID           string `json:"id"`
	FileSystemID string `json:"file_system_id"`
	SubnetID     string `json:"subnet_id"`
	IPAddress    string `json:"ip_address,omitempty"`   // "": it has none of IPv4
	IPv6Address  string `json:"ipv6_address,omitempty"` // "": it has none of IPv6
	// SecurityGroups are ids; none admits everybody.
	SecurityGroups []string `json:"security_groups,omitempty"`
	// RootSquash is nil until somebody sets it: as configured.
	RootSquash   *RootSquash `json:"root_squash,omitempty"`
	InterfaceID  string      `json:"interface_id"`
	State        LifeCycle   `json:"state"`
	CreationTime time.Time   `json:"creation_time"`
}

// Side is the end of a replication that a region holds.
type Side string

// The sides.
const (
	SideSource      Side = "source"
	SideDestination Side = "destination"
)

// Stage is how far a replication has come.
//
//	source:       preparing -> enabling -> enabled -> deleting -> gone
//	destination:               enabling -> enabled -> deleting -> promoting -> gone
//
// Every arrow is one entry of the catalog, so a crash leaves one of these
// stages, and the worker of the file system goes on from there.
type Stage string

// The stages.
const (
	// StagePreparing: the destination has been or will be asked for. It is
	// finished, or undone with a Cleanup.
	StagePreparing Stage = "preparing"
	StageEnabling  Stage = "enabling"
	StageEnabled   Stage = "enabled"
	// StageDeleting: a source waits until its destination was promoted, a
	// destination until it holds Target.
	StageDeleting Stage = "deleting"
	// StagePromoting is the point of no return of a destination: from here on
	// it may have accepted changes and never follows again by itself.
	StagePromoting Stage = "promoting"
)

// Fault is a lasting reason for the status ERROR.
type Fault string

// The faults.
const (
	// FaultSuperseded: the destination was promoted without this source.
	FaultSuperseded Fault = "superseded"
	// FaultUnknown: the other region answers that it has no such replication.
	FaultUnknown Fault = "unknown"
)

// Replication is one region's record of a replication.
type Replication struct {
	ID           string `json:"id"` // 32 hex digits, the same in both regions
	Side         Side   `json:"side"`
	Stage        Stage  `json:"stage"`
	Fault        Fault  `json:"fault,omitempty"`
	FileSystemID string `json:"file_system_id"` // ours
	PeerRegion   string `json:"peer_region"`
	PeerID       string `json:"peer_id"`  // the other file system; empty while preparing a new one
	Existing     bool   `json:"existing"` // the destination existed before
	// PeerKMSKey is what the destination that is to be made shall be encrypted with,
	// in the words of the request; empty: see prepareRequest.
	PeerKMSKey   string    `json:"peer_kms_key,omitempty"`
	Lineage      string    `json:"lineage"` // of the source; 32 hex digits
	CreationTime time.Time `json:"creation_time"`
	// Followed, at the destination: records have flowed.
	Followed bool `json:"followed,omitempty"`

	// Of a deletion:
	DeletingSince time.Time `json:"deleting_since,omitzero"`
	// Target is the source's durable position when the deletion began.
	Target *fs.Pos `json:"target,omitempty"`
	// SourceAlive: the stream was up when the deletion began.
	SourceAlive bool `json:"source_alive,omitempty"`
	// TookPart: the source told Target, so both sides go on as writers.
	TookPart bool `json:"took_part,omitempty"`
	// BySource: the source asked for the deletion and waits for its end.
	BySource bool `json:"by_source,omitempty"`
	// Abandoned: the promotion gives back a file system whose replication was
	// never confirmed by its source.
	Abandoned bool `json:"abandoned,omitempty"`
}

// Outcome is how a replication ended in this region.
type Outcome string

// The outcomes.
const (
	OutcomePromoted  Outcome = "promoted"  // our destination became writable
	OutcomeDiscarded Outcome = "discarded" // our destination was never whole
	OutcomeAbandoned Outcome = "abandoned" // the creation was undone
	OutcomeDropped   Outcome = "dropped"   // our source's configuration was deleted
)

// Tombstone remembers a replication that ended, so that the other region
// learns it however late it asks.
type Tombstone struct {
	ID            string    `json:"id"`
	Outcome       Outcome   `json:"outcome"`
	SourceID      string    `json:"source_id"`
	DestinationID string    `json:"destination_id"`
	PeerRegion    string    `json:"peer_region"`
	PromotedAt    fs.Pos    `json:"promoted_at"`
	TookPart      bool      `json:"took_part"`
	Time          time.Time `json:"time"`
}

// Cleanup is the duty to tell a region that a replication whose creation
// failed is not wanted, until it has heard.
type Cleanup struct {
	ID         string    `json:"id"` // of the replication
	PeerRegion string    `json:"peer_region"`
	Time       time.Time `json:"time"`
}

func (r *Replication) sourceID() string {
	if r.Side == SideSource {
		return r.FileSystemID
	}
	return r.PeerID
}

func (r *Replication) destinationID() string {
	if r.Side == SideSource {
		return r.PeerID
	}
	return r.FileSystemID
}

// tombstone is the record that stays when r ends.
func (r *Replication) tombstone(o Outcome, at fs.Pos, now time.Time) *Tombstone {
	return &Tombstone{ID: r.ID, Outcome: o, SourceID: r.sourceID(), DestinationID: r.destinationID(),
		PeerRegion: r.PeerRegion, PromotedAt: at, TookPart: r.TookPart, Time: now}
}
