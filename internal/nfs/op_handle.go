package nfs

import (
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// needObject and needFile check the current file handle: that there is one,
// and that it is in a file system.
func (c *compound) needObject() xdr.Status {
	if c.cur.kind == noObject {
		return xdr.ErrNoFileHandle
	}
	return xdr.OK
}

func (c *compound) needFile() xdr.Status {
	switch c.cur.kind {
	case noObject:
		return xdr.ErrNoFileHandle
	case pseudoRoot:
		return xdr.ErrROFS
	}
	return xdr.OK
}

// move sets the current file handle; the current stateid goes with it.
func (c *compound) move(o object) {
	c.cur, c.curState = o, xdr.StateID{}
}

// at is another object of the current file system.
func (c *compound) at(ino fs.Ino) object {
	return object{fileObject, c.cur.export, ino}
}

// opPutFH is RFC 8881 §18.19. Whether the inode is still there is found out by
// the operation that follows.
func opPutFH(c *compound) xdr.Status {
	b := c.args.FH()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	l, ino, pseudo, st := parseHandle(b)
	if st != xdr.OK {
		return st
	}
	if pseudo {
		if c.view.root.Export != "" {
			return xdr.ErrStale
		}
		c.move(object{kind: pseudoRoot})
		return xdr.OK
	}
	e, ok := c.s.byLineage(c.view, l)
	if !ok {
		return xdr.ErrStale
	}
	o := object{fileObject, e, ino}
	if st := c.admit(&o.export); st != xdr.OK {
		return st
	}
	if st := c.mayEnter(b, &o); st != xdr.OK {
		return st
	}
	c.move(o)
	return xdr.OK
}

// opPutRootFH is RFC 8881 §18.21: the pseudo root, or the root of the one file
// system, or of the access point, that the connection shows.
func opPutRootFH(c *compound) xdr.Status {
	if c.view.root.Export == "" {
		c.move(object{kind: pseudoRoot})
		return xdr.OK
	}
	e, ok := c.s.cfg.Exports.ByName(c.view.root.Export)
	if !ok {
		return xdr.ErrDelay // being made, or being deleted
	}
	if st := c.admit(&e); st != xdr.OK {
		return st
	}
	ino := fs.Ino(fs.RootIno)
	if c.confined() {
		var st xdr.Status
		if ino, st = c.pointRoot(&e); st != xdr.OK {
			return st
		}
	}
	c.move(object{fileObject, e, ino})
	return xdr.OK
}

// opGetFH is RFC 8881 §18.8.
func opGetFH(c *compound) xdr.Status {
	if st := c.needObject(); st != xdr.OK {
		return st
	}
	c.w.Opaque(c.handleOf(&c.cur))
	return xdr.OK
}

// opSaveFH and opRestoreFH are RFC 8881 §18.27 and §18.28.
func opSaveFH(c *compound) xdr.Status {
	if st := c.needObject(); st != xdr.OK {
		return st
	}
	c.saved, c.savedState = c.cur, c.curState
	return xdr.OK
}

func opRestoreFH(c *compound) xdr.Status {
	if c.saved.kind == noObject {
		return c.dialect.nothingSaved
	}
	c.cur, c.curState = c.saved, c.savedState
	return xdr.OK
}

// name reads a component4. Longer names than any that can be are read in full,
// so that they are refused as too long and not as malformed.
func (c *compound) name() fs.Name { return fs.Name(c.args.Opaque(maxRequest)) }

// opLookup is RFC 8881 §18.13.
func opLookup(c *compound) xdr.Status {
	name := c.name()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	o, st := c.lookup(name)
	if st == xdr.OK {
		c.move(o)
	}
	return st
}

func (c *compound) lookup(name fs.Name) (object, xdr.Status) {
	switch c.cur.kind {
	case noObject:
		return object{}, xdr.ErrNoFileHandle
	case pseudoRoot:
		if err := name.Check(); err != nil {
			return object{}, c.status(err)
		}
		e, ok := c.s.cfg.Exports.ByName(string(name))
		if !ok {
			return object{}, xdr.ErrNoEnt
		}
		if st := c.admit(&e); st != xdr.OK {
			return object{}, st
		}
		return object{fileObject, e, fs.RootIno}, xdr.OK
	}
	cred := c.cred()
	a, err := c.cur.export.FS.Lookup(&cred, c.cur.ino, name)
	if err != nil {
		return object{}, c.notDir(c.status(err))
	}
	c.foundAt(a.Ino, a.Type, c.cur.ino, name)
	return c.at(a.Ino), xdr.OK
}

// notDir tells a symbolic link from other things that are no directories, as
// the client has to follow it (RFC 8881 §15.1.2.8).
func (c *compound) notDir(st xdr.Status) xdr.Status {
	if st == xdr.ErrNotDir {
		if a, err := c.cur.export.FS.GetAttr(c.cur.ino); err == nil && a.Type == fs.TypeSymlink {
			return xdr.ErrSymlink
		}
	}
	return st
}

// opLookupP is RFC 8881 §18.14.
func opLookupP(c *compound) xdr.Status {
	o, st := c.parent()
	if st == xdr.OK {
		c.move(o)
	}
	return st
}

func (c *compound) parent() (object, xdr.Status) {
	switch c.cur.kind {
	case noObject:
		return object{}, xdr.ErrNoFileHandle
	case pseudoRoot:
		return object{}, xdr.ErrNoEnt
	}
	a, err := c.cur.export.FS.GetAttr(c.cur.ino)
	switch {
	case err != nil:
		return object{}, c.status(err)
	case a.Type == fs.TypeSymlink:
		return object{}, xdr.ErrSymlink
	case a.Type != fs.TypeDir:
		return object{}, xdr.ErrNotDir
	case !c.maySearch():
		return object{}, xdr.ErrAccess
	case c.confined():
		return c.parentInside(a)
	case a.Ino != fs.RootIno:
		return c.at(a.Parent), xdr.OK
	case c.view.root.Export != "":
		return object{}, xdr.ErrNoEnt
	}
	return object{kind: pseudoRoot}, xdr.OK
}

// maySearch tells whether the caller may look names up in the current directory.
func (c *compound) maySearch() bool {
	cred := c.cred()
	has, err := c.cur.export.FS.Access(&cred, c.cur.ino, fs.AccessExec)
	return err == nil && has&fs.AccessExec != 0
}

// opSecInfo is RFC 8881 §18.29, opSecInfoNoName §18.45. Both consume the
// current file handle, except in minor version 0.
func opSecInfo(c *compound) xdr.Status {
	name := c.name()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	if _, st := c.lookup(name); st != xdr.OK {
		return st
	}
	return c.flavors()
}

func opSecInfoNoName(c *compound) xdr.Status {
	style := c.args.Uint32()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	st := c.needObject()
	switch {
	case st != xdr.OK:
	case style == xdr.SecInfoParent:
		_, st = c.parent()
	case style != xdr.SecInfoCurrentFH:
		st = xdr.ErrInval
	}
	if st != xdr.OK {
		return st
	}
	return c.flavors()
}

func (c *compound) flavors() xdr.Status {
	if c.dialect.sessions {
		c.move(object{})
	}
	c.w.Uint32(1)
	c.w.Uint32(xdr.AuthSys)
	return xdr.OK
}
