package nfsclient

import (
	"errors"
	iofs "io/fs"
	"syscall"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// Error is a refusal by the server. errors.Is finds in it the xdr.Status, the
// fs.Error and the syscall.Errno that mean the same, and of the errors of
// package io/fs ErrNotExist, ErrExist and ErrPermission.
type Error struct {
	Verb   string // what the caller wanted, such as "create"
	Path   string
	Op     xdr.Op // the operation that failed
	Status xdr.Status
}

func (e *Error) Error() string {
	what := e.Status.String() + " of " + e.Op.String()
	if m, ok := meanings[e.Status]; ok {
		what = m.refusal.Error() + " (" + what + ")"
	}
	if e.Path == "" {
		return e.Verb + ": " + what
	}
	return e.Verb + " " + e.Path + ": " + what
}

// Unwrap gives the status.
func (e *Error) Unwrap() error { return e.Status }

// Is compares with the refusals of package fs, with errnos and with the errors
// of package io/fs.
func (e *Error) Is(target error) bool {
	m, ok := meanings[e.Status]
	return ok && (target == m.refusal || target == m.errno || m.errno.Is(target))
}

type meaning struct {
	refusal fs.Error
	errno   syscall.Errno
}

// meanings are the statuses that say the same as a refusal of package fs.
var meanings = map[xdr.Status]meaning{
	xdr.ErrPerm:        {fs.ErrPerm, syscall.EPERM},
	xdr.ErrNoEnt:       {fs.ErrNoEnt, syscall.ENOENT},
	xdr.ErrIO:          {fs.ErrIO, syscall.EIO},
	xdr.ErrAccess:      {fs.ErrAccess, syscall.EACCES},
	xdr.ErrExist:       {fs.ErrExist, syscall.EEXIST},
	xdr.ErrXDev:        {fs.ErrXDev, syscall.EXDEV},
	xdr.ErrNotDir:      {fs.ErrNotDir, syscall.ENOTDIR},
	xdr.ErrIsDir:       {fs.ErrIsDir, syscall.EISDIR},
	xdr.ErrInval:       {fs.ErrInval, syscall.EINVAL},
	xdr.ErrFBig:        {fs.ErrFBig, syscall.EFBIG},
	xdr.ErrNoSpc:       {fs.ErrNoSpace, syscall.ENOSPC},
	xdr.ErrROFS:        {fs.ErrROFS, syscall.EROFS},
	xdr.ErrMLink:       {fs.ErrMLink, syscall.EMLINK},
	xdr.ErrNameTooLong: {fs.ErrNameTooLong, syscall.ENAMETOOLONG},
	xdr.ErrNotEmpty:    {fs.ErrNotEmpty, syscall.ENOTEMPTY},
	xdr.ErrDQuot:       {fs.ErrDQuot, syscall.EDQUOT},
	xdr.ErrStale:       {fs.ErrStale, syscall.ESTALE},
	xdr.ErrNotSupp:     {fs.ErrNotSupp, syscall.ENOTSUP},
	xdr.ErrBadName:     {fs.ErrBadName, syscall.EINVAL},
	xdr.ErrBadChar:     {fs.ErrBadName, syscall.EINVAL},
	xdr.ErrSymlink:     {fs.ErrSymlink, syscall.ELOOP},
	xdr.ErrWrongType:   {fs.ErrWrongType, syscall.EINVAL},
	xdr.ErrDelay:       {fs.ErrDelay, syscall.EAGAIN},
}

// errSessionLost ends an exchange whose session the server does not know any
// more. Whether the request was carried out is not known.
var errSessionLost = errors.New("the server has forgotten the session")

// errNotSent ends an exchange whose session went before the server could carry
// the request out.
var errNotSent = errors.New("the session ended before the request")

var errConnLost = errors.New("connection lost")

// ErrClosed is the answer to calls of a closed Client.
var ErrClosed = errors.New("nfs client is closed")

// ErrChanged says that a local file changed while it was being copied.
var ErrChanged = errors.New("file changed while it was being copied")

// statusOf is the NFS status in err, or OK when there is none.
func statusOf(err error) xdr.Status {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return xdr.OK
}

// isNotThere reports whether err says that there is no such file.
func isNotThere(err error) bool { return errors.Is(err, iofs.ErrNotExist) }
