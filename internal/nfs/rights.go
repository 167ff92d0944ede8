package nfs

import "github.com/holdfast-fs/holdfast/internal/nfs/xdr"

// allRights is what everybody has where nobody says otherwise.
var allRights = Rights{Mount: true, Write: true, Root: true}

// admit lets the COMPOUND into a file system, if the client may be there, and
// keeps that ready until it ends.
func (c *compound) admit(e *Export) xdr.Status {
	if st := c.mayMount(e); st != xdr.OK || e.Use == nil {
		return st
	}
	done, err := e.Use(c.ctx)
	if err != nil {
		return c.status(err)
	}
	c.entered = append(c.entered, done)
	return xdr.OK
}

// letGo undoes what admit has kept.
func (c *compound) letGo() {
	for _, done := range c.entered {
		done()
	}
	c.entered = nil
}

// mayMount checks that the client may be in a file system, and notes what it may
// do there: for this COMPOUND only.
func (c *compound) mayMount(e *Export) xdr.Status {
	e.rights = allRights
	if c.s.cfg.Access != nil {
		e.rights = c.s.cfg.Access.Rights(e.Name, c.caller())
	}
	if !e.rights.Mount {
		return xdr.ErrAccess
	}
	return xdr.OK
}

// changes are the operations that change something whatever their arguments.
// OPEN decides for itself.
var changes = map[xdr.Op]bool{
	xdr.OpCreate: true, xdr.OpLink: true, xdr.OpRemove: true, xdr.OpRename: true, xdr.OpSetAttr: true, xdr.OpWrite: true,
	xdr.OpSetXattr: true, xdr.OpRemoveXattr: true, xdr.OpAllocate: true, xdr.OpDeallocate: true, xdr.OpCopy: true, xdr.OpClone: true,
}

// mayChange refuses what would change a file system that the client may only
// read. A client finds it as read-only as a replica.
func (c *compound) mayChange() xdr.Status {
	if changes[c.op] && c.cur.kind == fileObject && !c.cur.export.rights.Write {
		return xdr.ErrROFS
	}
	return xdr.OK
}

// readOnly tells that the current file system is read-only for this client.
func (c *compound) readOnly() bool { return c.cur.export.FS.ReadOnly() || !c.cur.export.rights.Write }
