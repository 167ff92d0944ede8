package nfs

import (
	"bytes"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// opGetAttr is RFC 8881 §18.7.
func opGetAttr(c *compound) xdr.Status {
	want := c.args.Bitmap()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	if st := c.needObject(); st != xdr.OK {
		return st
	}
	if !want.And(setOnly).And(c.dialect.attrs).IsZero() {
		return xdr.ErrInval
	}
	a, st := c.attrs(&c.cur, want)
	if st != xdr.OK {
		return st
	}
	if st := c.askWriter(want, a); st != xdr.OK {
		return st
	}
	c.w.Attrs(a)
	return xdr.OK
}

// opSetAttr is RFC 8881 §18.30. The stateid matters only for the size.
func opSetAttr(c *compound) xdr.Status {
	id := c.resolve(c.args.StateID())
	set, mask, st := c.settable()
	if st != xdr.OK {
		return st
	}
	if mask.Has(xdr.AttrModeUmask) {
		return xdr.ErrInval // only for what is created (RFC 8275 §4.3)
	}
	if st := c.ready(); st != xdr.OK {
		return st
	}
	q := fs.SetAttrRequest{Cred: c.cred(), Ino: c.cur.ino, Set: set}
	if set.Size != nil {
		if q.Opened, st = c.checkIO(id, xdr.ShareWrite); st != xdr.OK {
			return st
		}
	}
	if st := c.alone(nil, c.cur.ino); st != xdr.OK {
		return st
	}
	res, err := c.cur.export.FS.SetAttr(c.ctx, &q)
	if err != nil {
		return c.status(err)
	}
	c.changed(res.Seq)
	c.w.Bitmap(mask)
	return xdr.OK
}

// opVerify is RFC 8881 §18.31, opNVerify §18.15.
func opVerify(c *compound) xdr.Status {
	same, st := c.same()
	if st == xdr.OK && !same {
		return xdr.ErrNotSame
	}
	return st
}

func opNVerify(c *compound) xdr.Status {
	same, st := c.same()
	if st == xdr.OK && same {
		return xdr.ErrSame
	}
	return st
}

// same compares the encoded attributes of the current object with those given.
func (c *compound) same() (bool, xdr.Status) {
	mask := c.args.Bitmap()
	values := c.args.Opaque(maxRequest)
	if c.args.Bad() {
		return false, xdr.ErrBadXDR
	}
	if st := c.needObject(); st != xdr.OK {
		return false, st
	}
	switch {
	case !mask.And(setOnly).And(c.dialect.attrs).IsZero() || mask.Has(xdr.AttrRdAttrError):
		return false, xdr.ErrInval
	case !mask.Without(supported.And(c.dialect.attrs)).IsZero():
		return false, xdr.ErrAttrNotSupp
	}
	a, st := c.attrs(&c.cur, mask)
	if st != xdr.OK {
		return false, st
	}
	w := xdr.NewWriter()
	defer w.Release()
	w.Attrs(a)
	r := xdr.NewReader(w.Bytes())
	r.Bitmap()
	return bytes.Equal(r.Opaque(w.Len()), values), xdr.OK
}

// The rights that ACCESS knows, by the permission that grants them. Linux
// caches the answer and decides by it.
var (
	dirRights = map[uint32]fs.Access{
		xdr.Access4Read: fs.AccessRead, xdr.Access4Lookup: fs.AccessExec, xdr.Access4Modify: fs.AccessWrite,
		xdr.Access4Extend: fs.AccessWrite, xdr.Access4Delete: fs.AccessWrite,
		xdr.Access4XARead: fs.AccessRead, xdr.Access4XAWrite: fs.AccessWrite, xdr.Access4XAList: fs.AccessRead,
	}
	fileRights = map[uint32]fs.Access{
		xdr.Access4Read: fs.AccessRead, xdr.Access4Modify: fs.AccessWrite, xdr.Access4Extend: fs.AccessWrite, xdr.Access4Execute: fs.AccessExec,
		xdr.Access4XARead: fs.AccessRead, xdr.Access4XAWrite: fs.AccessWrite, xdr.Access4XAList: fs.AccessRead,
	}
)

// accessBits41 are the rights that minor version 1 knows.
const accessBits41 = xdr.Access4XARead - 1

// opAccess is RFC 8881 §18.1.
func opAccess(c *compound) xdr.Status {
	want := c.args.Uint32()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	rights, have, st := c.access()
	if st != xdr.OK {
		return st
	}
	if !c.dialect.attrs.Has(xdr.AttrXattrSupport) {
		want &= accessBits41
	}
	var supported, granted uint32
	for right, needs := range rights {
		if want&right != 0 {
			supported |= right
			if have&needs != 0 {
				granted |= right
			}
		}
	}
	c.w.Uint32(supported)
	c.w.Uint32(granted)
	return xdr.OK
}

// access is what the caller may do with the current object.
func (c *compound) access() (map[uint32]fs.Access, fs.Access, xdr.Status) {
	switch c.cur.kind {
	case noObject:
		return nil, 0, xdr.ErrNoFileHandle
	case pseudoRoot:
		return dirRights, fs.AccessRead | fs.AccessExec, xdr.OK
	}
	a, err := c.cur.export.FS.GetAttr(c.cur.ino)
	if err != nil {
		return nil, 0, c.status(err)
	}
	cred := c.cred()
	have, err := c.cur.export.FS.Access(&cred, c.cur.ino, fs.AccessRead|fs.AccessWrite|fs.AccessExec)
	if err != nil {
		return nil, 0, c.status(err)
	}
	if !c.cur.export.rights.Write {
		have &^= fs.AccessWrite
	}
	if a.Type == fs.TypeDir {
		return dirRights, have, xdr.OK
	}
	return fileRights, have, xdr.OK
}
