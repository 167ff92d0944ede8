package nfs

import (
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// opSeek is RFC 7862 §15.11: the next data or hole. The end of the file is a
// hole, so only data can be missing.
func opSeek(c *compound) xdr.Status {
	id := c.resolve(c.args.StateID())
	offset, what := c.args.Uint64(), c.args.Uint32()
	switch {
	case c.args.Bad():
		return xdr.ErrBadXDR
	case what != xdr.ContentData && what != xdr.ContentHole:
		return xdr.ErrUnionNotSupp
	}
	if st := c.needFile(); st != xdr.OK {
		return st
	}
	if st := c.regular(); st != xdr.OK {
		return wrongType(st)
	}
	if st := c.mayIO(id, xdr.ShareRead); st != xdr.OK {
		return st
	}
	x := c.cur.export.FS
	a, err := x.GetAttr(c.cur.ino)
	if err != nil {
		return c.status(err)
	}
	if offset >= a.Size {
		return xdr.ErrNXIO
	}
	at, found, err := x.Seek(c.cur.ino, offset, what == xdr.ContentData)
	if err != nil {
		return c.status(err)
	}
	if !found {
		at = a.Size
	}
	c.w.Bool(!found || at >= a.Size)
	c.w.Uint64(at)
	return xdr.OK
}

// wrongType is what the operations of NFSv4.2 answer on anything that is no
// regular file.
func wrongType(st xdr.Status) xdr.Status {
	if st == xdr.ErrIsDir || st == xdr.ErrSymlink {
		return xdr.ErrWrongType
	}
	return st
}

// readRange reads and checks the arguments of ALLOCATE and DEALLOCATE.
func (c *compound) readRange() (fs.RangeRequest, xdr.Status) {
	id := c.resolve(c.args.StateID())
	q := fs.RangeRequest{Offset: c.args.Uint64(), Length: c.args.Uint64()}
	if st := c.ready(); st != xdr.OK {
		return q, st
	}
	if st := c.regular(); st != xdr.OK {
		return q, wrongType(st)
	}
	if q.Length == 0 || q.Offset+q.Length < q.Offset {
		return q, xdr.ErrInval
	}
	q.Cred, q.Ino = c.cred(), c.cur.ino
	return q, c.mayIO(id, xdr.ShareWrite)
}

// opAllocate is RFC 7862 §15.1.
func opAllocate(c *compound) xdr.Status {
	q, st := c.readRange()
	if st != xdr.OK {
		return st
	}
	res, err := c.cur.export.FS.Allocate(c.ctx, &q)
	if err != nil {
		return c.status(err)
	}
	c.changed(res.Seq)
	return xdr.OK
}

// opDeallocate is RFC 7862 §15.4.
func opDeallocate(c *compound) xdr.Status {
	q, st := c.readRange()
	if st != xdr.OK {
		return st
	}
	res, err := c.cur.export.FS.Deallocate(c.ctx, &q)
	c.changed(res.Seq)
	if err != nil {
		return c.status(err)
	}
	return xdr.OK
}

// opIOAdvise is RFC 7862 §15.5. The advice is heard, and none is followed.
func opIOAdvise(c *compound) xdr.Status {
	id := c.resolve(c.args.StateID())
	c.args.Uint64()
	c.args.Uint64()
	c.args.Bitmap()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	if st := c.needFile(); st != xdr.OK {
		return st
	}
	if st := c.regular(); st != xdr.OK {
		return st
	}
	st := c.mayIO(id, xdr.ShareRead)
	if st == xdr.ErrOpenMode {
		st = c.mayIO(id, xdr.ShareWrite)
	}
	if st != xdr.OK {
		return st
	}
	c.w.Bitmap(xdr.Bitmap{})
	return xdr.OK
}
