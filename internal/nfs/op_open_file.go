package nfs

import (
	"errors"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// opened is what an OPEN found or made.
type opened struct {
	ino  fs.Ino
	made bool // by this request, or by an earlier try of it
	dir  fs.ChangeInfo
	mask xdr.Bitmap // attributes that were set
}

// openTarget finds or makes the file.
func (c *compound) openTarget(a *openArgs) (opened, xdr.Status) {
	if a.claim != xdr.ClaimNull && a.claim != xdr.ClaimDelegateCur {
		return opened{ino: c.cur.ino}, xdr.OK
	}
	if a.create && a.claim == xdr.ClaimNull && !c.cur.export.FS.ReadOnly() {
		return c.openCreate(a)
	}
	d, err := c.cur.export.FS.GetAttr(c.cur.ino)
	if err != nil {
		return opened{}, c.status(err)
	}
	o, st := c.lookup(a.name)
	switch {
	case st == xdr.ErrNoEnt && a.create && a.claim == xdr.ClaimNull:
		return opened{}, xdr.ErrROFS
	case st != xdr.OK:
		return opened{}, st
	case a.create && a.claim == xdr.ClaimDelegateCur:
		return c.openDelegated(a, o)
	case a.create && a.mode != xdr.CreateUnchecked:
		return opened{}, xdr.ErrExist
	}
	return opened{ino: o.ino, dir: fs.ChangeInfo{Before: d.Change, After: d.Change}}, xdr.OK
}

// openDelegated is a create by the holder of a delegation, of which there is a
// file then: nothing is made.
func (c *compound) openDelegated(a *openArgs, o object) (opened, xdr.Status) {
	there, err := o.export.FS.GetAttr(o.ino)
	if err != nil {
		return opened{}, c.status(err)
	}
	found, st := c.openExisting(a, &there)
	found.made = false // it is the delegation that gives the right
	return found, st
}

// openCreate makes the file, or finds it where the mode allows that.
func (c *compound) openCreate(a *openArgs) (opened, xdr.Status) {
	q := fs.CreateRequest{
		Cred: c.cred(), Parent: c.cur.ino, Name: a.name, Type: fs.TypeRegular, Attrs: a.attrs, Verifier: a.verifier,
	}
	res, err := c.cur.export.FS.Create(c.ctx, &q)
	if errors.Is(err, fs.ErrExist) {
		return c.openExisting(a, &res.Attr)
	}
	if err != nil {
		return opened{}, c.notDir(c.status(err))
	}
	c.changed(res.Seq)
	found := opened{ino: res.Attr.Ino, made: true, dir: res.Parent, mask: a.mask}
	if a.attrs.Size == nil || *a.attrs.Size == 0 {
		return found, xdr.OK
	}
	sized, err := c.cur.export.FS.SetAttr(c.ctx, &fs.SetAttrRequest{
		Cred: q.Cred, Ino: found.ino, Set: fs.AttrChange{Size: a.attrs.Size}, Opened: true,
	})
	if err != nil {
		return opened{}, c.status(err)
	}
	c.changed(sized.Seq)
	return found, xdr.OK
}

// openExisting decides what a create does that finds its name in use.
func (c *compound) openExisting(a *openArgs, there *fs.Attr) (opened, xdr.Status) {
	found := opened{ino: there.Ino}
	switch {
	case a.mode == xdr.CreateUnchecked:
		if a.attrs.Size != nil && *a.attrs.Size == 0 { // others are ignored (RFC 8881 §18.16.3)
			found.mask = xdr.Bits(xdr.AttrSize)
		}
	case a.mode != xdr.CreateGuarded && a.verifier != xdr.Verifier{} && there.Verifier == a.verifier:
		found.made = true // the reply to the first try was lost
	default:
		return found, xdr.ErrExist
	}
	if d, err := c.cur.export.FS.GetAttr(c.cur.ino); err == nil {
		found.dir = fs.ChangeInfo{Before: d.Change, After: d.Change}
	}
	return found, xdr.OK
}

// truncate sets the size that an UNCHECKED4 create of an existing file asks for.
func (c *compound) truncate(a *openArgs) xdr.Status {
	res, err := c.cur.export.FS.SetAttr(c.ctx, &fs.SetAttrRequest{
		Cred: c.cred(), Ino: c.cur.ino, Set: fs.AttrChange{Size: a.attrs.Size}, Opened: a.access&xdr.ShareWrite != 0,
	})
	if err != nil {
		return c.status(err)
	}
	c.changed(res.Seq)
	return xdr.OK
}
