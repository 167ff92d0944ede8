package nfs

import (
	"context"
	"errors"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

var statusOf = map[fs.Error]xdr.Status{
	fs.ErrPerm: xdr.ErrPerm, fs.ErrNoEnt: xdr.ErrNoEnt, fs.ErrIO: xdr.ErrIO, fs.ErrAccess: xdr.ErrAccess,
	fs.ErrExist: xdr.ErrExist, fs.ErrXDev: xdr.ErrXDev, fs.ErrNotDir: xdr.ErrNotDir, fs.ErrIsDir: xdr.ErrIsDir,
	fs.ErrInval: xdr.ErrInval, fs.ErrFBig: xdr.ErrFBig, fs.ErrNoSpace: xdr.ErrNoSpc, fs.ErrROFS: xdr.ErrROFS,
	fs.ErrMLink: xdr.ErrMLink, fs.ErrNameTooLong: xdr.ErrNameTooLong, fs.ErrNotEmpty: xdr.ErrNotEmpty,
	fs.ErrStale: xdr.ErrStale, fs.ErrNotSupp: xdr.ErrNotSupp, fs.ErrBadName: xdr.ErrBadName,
	fs.ErrSymlink: xdr.ErrSymlink, fs.ErrWrongType: xdr.ErrWrongType, fs.ErrDelay: xdr.ErrDelay,
	fs.ErrNoXattr: xdr.ErrNoXattr, fs.ErrDQuot: xdr.ErrDQuot,
	fs.ErrXattrTooBig: xdr.ErrXattr2Big,
}

// status maps an error of a file system. What is not a refusal is a fault of
// the server: it is logged here, the one place where it is, and the client
// gets NFS4ERR_IO.
func (c *compound) status(err error) xdr.Status {
	if err == nil {
		return xdr.OK
	}
	var refusal fs.Error
	if errors.As(err, &refusal) {
		if st, ok := statusOf[refusal]; ok {
			return st
		}
	}
	var st xdr.Status
	if errors.As(err, &st) {
		return st
	}
	if c.ctx.Err() != nil || errors.Is(err, context.Canceled) {
		c.drop = true // the server is stopping: its successor will answer
		return xdr.ErrDelay
	}
	c.s.log.Error("file system failed", "export", c.cur.export.Name, "op", c.op, "ino", c.cur.ino, "err", err)
	return xdr.ErrIO
}
