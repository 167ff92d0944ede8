package fs

import "fmt"

// Error is a refusal that a client sees. Each maps to one NFS status and one
// POSIX errno.
type Error uint8

// The refusals.
const (
	ErrPerm        Error = iota + 1 // EPERM: only the owner or root may
	ErrNoEnt                        // ENOENT
	ErrIO                           // EIO
	ErrAccess                       // EACCES
	ErrExist                        // EEXIST
	ErrXDev                         // EXDEV
	ErrNotDir                       // ENOTDIR
	ErrIsDir                        // EISDIR
	ErrInval                        // EINVAL
	ErrFBig                         // EFBIG
	ErrNoSpace                      // ENOSPC
	ErrROFS                         // EROFS: a destination, or a superseded primary
	ErrMLink                        // EMLINK
	ErrNameTooLong                  // ENAMETOOLONG
	ErrNotEmpty                     // ENOTEMPTY
	ErrStale                        // ESTALE: no such inode any more
	ErrNotSupp                      // ENOTSUP
	ErrBadName                      // a name that no file can have
	ErrSymlink                      // a symbolic link where a file is needed
	ErrWrongType                    // neither file, directory nor link where one is needed
	ErrDelay                        // try again shortly
	ErrNoXattr                      // ENODATA
	ErrDQuot                        // EDQUOT
	ErrXattrTooBig                  // E2BIG: an extended attribute's value
)

var errorText = [...]string{
	ErrPerm: "operation not permitted", ErrNoEnt: "no such file or directory", ErrIO: "input/output error",
	ErrAccess: "permission denied", ErrExist: "file exists", ErrXDev: "link across file systems",
	ErrNotDir: "not a directory", ErrIsDir: "is a directory", ErrInval: "invalid argument",
	ErrFBig: "file too large", ErrNoSpace: "no space left on device", ErrROFS: "read-only file system",
	ErrMLink: "too many links", ErrNameTooLong: "file name too long", ErrNotEmpty: "directory not empty",
	ErrStale: "stale file handle", ErrNotSupp: "operation not supported", ErrBadName: "name not allowed",
	ErrSymlink: "is a symbolic link", ErrWrongType: "wrong type of file", ErrDelay: "try again later",
	ErrNoXattr: "no such attribute", ErrDQuot: "quota exceeded",
	ErrXattrTooBig: "extended attribute too large",
}

func (e Error) Error() string {
	if int(e) < len(errorText) && errorText[e] != "" {
		return errorText[e]
	}
	return fmt.Sprintf("file system error %d", uint8(e))
}

// CorruptionError says that bytes on disk are not what was written. It is
// never repaired in silence; who meets it stops the file system.
type CorruptionError struct {
	File   string
	Offset int64
	Detail string
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("corruption in %s at offset %d: %s", e.File, e.Offset, e.Detail)
}

// DecodeError says that bytes from disk or network are not a value of ours.
type DecodeError struct {
	What   string
	Detail string
}

func (e *DecodeError) Error() string { return "bad " + e.What + ": " + e.Detail }
