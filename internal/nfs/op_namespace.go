package nfs

import (
	"errors"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// putChange appends the change of a directory; every change is atomic.
func (c *compound) putChange(i fs.ChangeInfo) {
	c.w.ChangeInfo(xdr.ChangeInfo{Atomic: true, Before: i.Before, After: i.After})
}

// ready checks the current handle and the room for the result of an operation
// that changes something.
func (c *compound) ready() xdr.Status {
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	if st := c.needFile(); st != xdr.OK {
		return st
	}
	return c.room()
}

// opCreate is RFC 8881 §18.4: everything but regular files.
func opCreate(c *compound) xdr.Status {
	q := fs.CreateRequest{Type: fs.Type(c.args.Uint32() & 0xff)}
	switch q.Type {
	case fs.TypeSymlink:
		q.Target = c.args.String(maxRequest)
	case fs.TypeBlock, fs.TypeChar:
		q.Major, q.Minor = c.args.Uint32(), c.args.Uint32()
	}
	q.Name = c.name()
	var mask xdr.Bitmap
	var st xdr.Status
	q.Attrs, mask, st = c.settable()
	switch {
	case st != xdr.OK:
		return st
	case q.Type == fs.TypeRegular || q.Type > fs.TypeFIFO || q.Type == 0:
		return xdr.ErrBadType
	case q.Attrs.Size != nil:
		return xdr.ErrInval
	}
	if st := c.ready(); st != xdr.OK {
		return st
	}
	q.Cred, q.Parent = c.cred(), c.cur.ino
	res, err := c.cur.export.FS.Create(c.ctx, &q)
	if err != nil {
		return c.notDir(c.status(err))
	}
	c.changed(res.Seq)
	c.foundAt(res.Attr.Ino, q.Type, q.Parent, q.Name)
	c.move(c.at(res.Attr.Ino))
	c.putChange(res.Parent)
	c.w.Bitmap(mask)
	return xdr.OK
}

// savedDir checks that the saved handle is in the current file system.
func (c *compound) savedThere() xdr.Status {
	switch {
	case c.saved.kind == noObject:
		return xdr.ErrNoFileHandle
	case c.saved.kind == pseudoRoot || c.saved.export.Name != c.cur.export.Name:
		return xdr.ErrXDev
	}
	return xdr.OK
}

// opLink is RFC 8881 §18.9.
func opLink(c *compound) xdr.Status {
	name := c.name()
	if st := c.ready(); st != xdr.OK {
		return st
	}
	if st := c.savedThere(); st != xdr.OK {
		return st
	}
	if st := c.alone(nil, c.saved.ino); st != xdr.OK {
		return st
	}
	res, err := c.cur.export.FS.Link(c.ctx, &fs.LinkRequest{Cred: c.cred(), Ino: c.saved.ino, Parent: c.cur.ino, Name: name})
	if err != nil {
		return c.notDir(c.status(err))
	}
	c.changed(res.Seq)
	c.foundAt(c.saved.ino, fs.TypeRegular, c.cur.ino, name) // of whatever type: directories have one name
	c.putChange(res.Parent)
	return xdr.OK
}

// opRemove is RFC 8881 §18.25.
func opRemove(c *compound) xdr.Status {
	name := c.name()
	if st := c.ready(); st != xdr.OK {
		return st
	}
	if st := c.alone(c.found(c.cur.ino, name)); st != xdr.OK {
		return st
	}
	res, err := c.cur.export.FS.Remove(c.ctx, &fs.RemoveRequest{Cred: c.cred(), Parent: c.cur.ino, Name: name})
	if err != nil {
		return c.notDir(c.status(err))
	}
	c.changed(res.Seq)
	c.putChange(res.Parent)
	return xdr.OK
}

// opRename is RFC 8881 §18.26.
func opRename(c *compound) xdr.Status {
	from, to := c.name(), c.name()
	if st := c.ready(); st != xdr.OK {
		return st
	}
	if st := c.savedThere(); st != xdr.OK {
		return st
	}
	for _, find := range []func() (fs.Ino, bool){c.found(c.saved.ino, from), c.found(c.cur.ino, to)} {
		if st := c.alone(find); st != xdr.OK {
			return st
		}
	}
	done := c.follow(place{c.saved.ino, from}, place{c.cur.ino, to})
	res, err := c.cur.export.FS.Rename(c.ctx, &fs.RenameRequest{
		Cred: c.cred(), From: c.saved.ino, FromName: from, To: c.cur.ino, ToName: to,
	})
	if errors.Is(err, fs.ErrIsDir) || errors.Is(err, fs.ErrNotDir) {
		if st, ok := c.renameClash(err); ok {
			return st
		}
	}
	if err != nil {
		return c.status(err)
	}
	done()
	c.changed(res.Seq)
	c.putChange(res.From)
	c.putChange(res.To)
	return xdr.OK
}

// renameClash answers a file in place of a directory, or the reverse: RFC 8881
// §18.26.3 asks for NFS4ERR_EXIST. ok is false if a parent is no directory.
func (c *compound) renameClash(err error) (st xdr.Status, ok bool) {
	for _, dir := range []fs.Ino{c.saved.ino, c.cur.ino} {
		if a, err := c.cur.export.FS.GetAttr(dir); err != nil || a.Type != fs.TypeDir {
			return 0, false
		}
	}
	return xdr.ErrExist, true
}

// opReadlink is RFC 8881 §18.24.
func opReadlink(c *compound) xdr.Status {
	switch c.cur.kind {
	case noObject:
		return xdr.ErrNoFileHandle
	case pseudoRoot:
		return xdr.ErrWrongType
	}
	target, err := c.cur.export.FS.Readlink(c.cur.ino)
	if errors.Is(err, fs.ErrInval) {
		return xdr.ErrWrongType
	}
	if err != nil {
		return c.status(err)
	}
	c.w.String(target)
	return xdr.OK
}
