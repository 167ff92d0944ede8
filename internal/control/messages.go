package control

import (
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// The calls between control planes. Members may be added; what a release does
// not know it ignores.
const (
	// methodPrepare asks the destination's region to make or take over the
	// destination. Idempotent by the replication's id.
	methodPrepare = "prepare-destination"
	// methodAbandon undoes methodPrepare, whether it arrived or not, and
	// refuses it should it arrive later.
	methodAbandon = "abandon-destination"
	// methodStatus asks, in either direction, how a replication is.
	methodStatus = "replication-status"
	// methodSettings gives the destination the settings of its source.
	methodSettings = "replication-settings"
	// methodBeginDelete asks the source for its durable position.
	methodBeginDelete = "begin-delete"
	// methodFinishDelete asks the destination to drain, promote and end.
	methodFinishDelete = "finish-delete"
	// methodDeleted is a hint to the source to ask for the status at once.
	methodDeleted = "replication-deleted"
)

// Time limits of the calls.
const (
	callTimeout   = 5 * time.Second // prepare: a durable entry there, two for a slow disk
	pollTimeout   = 2 * time.Second
	beginTimeout  = time.Second // a dead source must not hold up a promotion
	finishTimeout = 12 * time.Second
	// finishWait is how long the destination's region waits with its answer;
	// less than finishTimeout, more than a drain without progress takes.
	finishWait = 10 * time.Second
)

type prepareRequest struct {
	Replication  string    `json:"replication"`
	SourceID     string    `json:"source_id"`
	SourceARN    string    `json:"source_arn"`
	Lineage      string    `json:"lineage"`
	Owner        string    `json:"owner"`
	Existing     string    `json:"existing,omitempty"` // file system to take over
	CreationTime time.Time `json:"creation_time"`
	// SettingsPrefix begins the keys of the source's settings; KeepSettings:
	// the destination is to have its own.
	SettingsPrefix string `json:"settings_prefix,omitempty"`
	KeepSettings   bool   `json:"keep_settings,omitempty"`
	// Encrypted: the source is encrypted at rest, so the destination has to be.
	// KMSKey is the key for it, of the destination's region; empty with Encrypted:
	// its default.
	Encrypted bool   `json:"encrypted,omitempty"`
	KMSKey    string `json:"kms_key,omitempty"`
}

type prepareReply struct {
	FileSystemID string `json:"file_system_id"`
}

// replicationRequest is the request of all methods that only name a replication.
type replicationRequest struct {
	Replication string `json:"replication"`
}

// What statusReply.State says.
const (
	peerKnown     = "known"
	peerUnknown   = "unknown"
	peerPromoted  = string(OutcomePromoted)
	peerDiscarded = string(OutcomeDiscarded)
	peerAbandoned = string(OutcomeAbandoned)
	peerDropped   = string(OutcomeDropped)
)

type statusReply struct {
	State          string    `json:"state"`
	TookPart       bool      `json:"took_part,omitempty"` // with "promoted"
	Status         string    `json:"status,omitempty"`    // with "known": EFS's status
	Message        string    `json:"message,omitempty"`
	LastReplicated time.Time `json:"last_replicated,omitzero"`
	// Settings is the hash of the settings that a destination has from its
	// source, "" for none. A release that copies none leaves it out.
	Settings *string `json:"settings,omitempty"`
}

type beginDeleteReply struct {
	Position fs.Pos `json:"position"`
}

type finishDeleteRequest struct {
	Replication string  `json:"replication"`
	Position    *fs.Pos `json:"position,omitempty"`
}

type finishDeleteReply struct {
	Done bool `json:"done"`
}
