package control

import (
	"errors"
	"fmt"
)

// The EFS error types that this package answers with (API contract §6). The
// HTTP status belongs to the REST surface.
const (
	CodeBadRequest            = "BadRequest"
	CodeInternal              = "InternalServerError"
	CodeAccessDenied          = "AccessDenied"
	CodeAccessDeniedException = "AccessDeniedException"
	CodeConflict              = "ConflictException"
	CodeFileSystemExists      = "FileSystemAlreadyExists"
	CodeFileSystemInUse       = "FileSystemInUse"
	CodeFileSystemLimit       = "FileSystemLimitExceeded"
	CodeFileSystemNotFound    = "FileSystemNotFound"
	CodeAccessPointNotFound   = "AccessPointNotFound"
	CodeAccessPointExists     = "AccessPointAlreadyExists"
	CodeAccessPointLimit      = "AccessPointLimitExceeded"
	CodeIncorrectState        = "IncorrectFileSystemLifeCycleState"
	CodeIPAddressInUse        = "IpAddressInUse"
	CodeMountTargetConflict   = "MountTargetConflict"
	CodeMountTargetNotFound   = "MountTargetNotFound"
	CodeInterfaceLimit        = "NetworkInterfaceLimitExceeded"
	CodeNoFreeAddresses       = "NoFreeAddressesInSubnet"
	CodeReplicationExists     = "ReplicationAlreadyExists"
	CodeReplicationNotFound   = "ReplicationNotFound"
	CodePolicyNotFound        = "PolicyNotFound"
	CodeInvalidPolicy         = "InvalidPolicyException"
	CodeValidation            = "ValidationException"
	CodeGroupNotFound         = "SecurityGroupNotFound"
	CodeGroupLimit            = "SecurityGroupLimitExceeded"
	CodeTargetState           = "IncorrectMountTargetState"
	CodeSubnetNotFound        = "SubnetNotFound"
	CodeUnsupportedZone       = "UnsupportedAvailabilityZone"
	CodeThroughputLimit       = "ThroughputLimitExceeded"
)

// Error is a refusal with its EFS error type. Message is for the operator: what
// was refused, and what to do.
type Error struct {
	Code    string
	Message string
	// FileSystemID is the existing file system of FileSystemAlreadyExists.
	FileSystemID string
	// AccessPointID is the existing access point of AccessPointAlreadyExists.
	AccessPointID string
}

func (e *Error) Error() string { return e.Message }

func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// asError gives every error that leaves the package an EFS type.
func asError(err error) error {
	var refused *Error
	var peer *PeerError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &peer):
		return &Error{Code: peer.Code, Message: peer.Message}
	}
	return &Error{Code: CodeInternal, Message: err.Error()}
}

// undecided reports whether the other region may have carried out a call that
// failed: its answer did not arrive, or tells of a fault there, in the middle of
// which nobody knows what its catalog keeps.
func undecided(err error) bool {
	p, refused := refusedByPeer(err)
	return err != nil && (!refused || p.Code == CodeInternal)
}

// refusedByPeer reports whether the other region answered, with a refusal.
func refusedByPeer(err error) (*PeerError, bool) {
	var p *PeerError
	ok := errors.As(err, &p)
	return p, ok
}
