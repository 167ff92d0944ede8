package nfs

import "github.com/holdfast-fs/holdfast/internal/nfs/xdr"

// opOpenDowngrade is RFC 8881 §18.18.
func opOpenDowngrade(c *compound) xdr.Status {
	id := c.resolve(c.args.StateID())
	c.args.Uint32() // seqid
	access, deny := c.args.Uint32(), c.args.Uint32()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	if st := c.needFile(); st != xdr.OK {
		return st
	}
	access &^= xdr.ShareWantMask | xdr.ShareWhenMask
	id, st := c.s.table.Downgrade(c.client, id, c.cur.file(), access, deny)
	if st != xdr.OK {
		return st
	}
	c.curState = id
	c.w.StateID(id)
	return xdr.OK
}

// opClose is RFC 8881 §18.2.
func opClose(c *compound) xdr.Status {
	c.args.Uint32() // seqid
	id := c.resolve(c.args.StateID())
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	if st := c.needFile(); st != xdr.OK {
		return st
	}
	eff, st := c.s.table.Close(c.client, id, c.cur.file())
	c.s.carryOut(c.ctx, eff)
	if st != xdr.OK {
		return st
	}
	c.curState = xdr.InvalidStateID
	c.w.StateID(xdr.InvalidStateID)
	return xdr.OK
}
