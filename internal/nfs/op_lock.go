package nfs

import (
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// lockType reads nfs_lock_type4. The blocking kinds are asked for again by the
// client until they are granted, in the order of the queue.
func (c *compound) lockType() (write, wait bool) {
	kind := c.args.Uint32()
	switch kind {
	case xdr.LockRead, xdr.LockWrite, xdr.LockReadWait, xdr.LockWriteWait:
	default:
		c.args.Fail()
	}
	return kind == xdr.LockWrite || kind == xdr.LockWriteWait, kind == xdr.LockReadWait || kind == xdr.LockWriteWait
}

// lockable checks the current handle.
func (c *compound) lockable() xdr.Status {
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	if st := c.needFile(); st != xdr.OK {
		return st
	}
	return c.regular()
}

func (c *compound) mayLock(reclaim bool) xdr.Status { return c.mayHave(reclaim, false) }

// mayHave tells whether the client may get opens and locks of the current file
// system now, and makes its reclaim record.
func (c *compound) mayHave(reclaim, delegated bool) xdr.Status {
	if err := c.s.observe(c.ctx, &c.cur.export); err != nil {
		return c.status(err)
	}
	may := func(now time.Time) xdr.Status {
		return c.s.table.MayLock(c.client, c.cur.export.Name, reclaim, now)
	}
	now := c.s.cfg.Clock()
	st := may(now)
	if st == xdr.ErrGrace {
		c.s.endGraces(c.ctx, now) // its time may be over, if nobody asked before
		st = may(now)
	}
	if st != xdr.OK && !(delegated && st == xdr.ErrGrace) {
		return st
	}
	return c.status(c.s.record(c.ctx, c.client, &c.cur.export))
}

// opLock is RFC 8881 §18.10.
func opLock(c *compound) xdr.Status {
	a := state.LockArgs{ClientID: c.client}
	a.Write, a.Wait = c.lockType()
	a.Reclaim = c.args.Bool()
	a.Offset, a.Length, a.New = c.args.Uint64(), c.args.Uint64(), c.args.Bool()
	if a.New {
		c.args.Uint32() // open seqid
		a.Open = c.resolve(c.args.StateID())
		c.args.Uint32() // lock seqid
		c.args.Uint64() // the client is that of the session
		a.Owner = c.args.Opaque(xdr.OpaqueLimit)
	} else {
		a.Lock = c.resolve(c.args.StateID())
		c.args.Uint32() // lock seqid
	}
	if st := c.lockable(); st != xdr.OK {
		return st
	}
	if st := c.mayLock(a.Reclaim); st != xdr.OK {
		return st
	}
	a.File = c.cur.file()
	a.Now = c.s.cfg.Clock()
	var id xdr.StateID
	var denied *state.Denied
	st := c.insist(func() (st xdr.Status) {
		id, denied, st = c.s.table.Lock(a)
		return st
	})
	switch {
	case denied != nil:
		c.putDenied(denied)
	case st == xdr.OK:
		c.curState = id
		c.w.StateID(id)
	}
	return st
}

// putDenied appends a LOCK4denied, which follows the status NFS4ERR_DENIED.
func (c *compound) putDenied(d *state.Denied) {
	c.keep = true
	c.w.Uint64(d.Offset)
	c.w.Uint64(d.Length)
	if d.Write {
		c.w.Uint32(xdr.LockWrite)
	} else {
		c.w.Uint32(xdr.LockRead)
	}
	c.w.Uint64(d.ClientID)
	c.w.String(d.Owner)
}

// opLockT is RFC 8881 §18.11.
func opLockT(c *compound) xdr.Status {
	write, _ := c.lockType()
	offset, length := c.args.Uint64(), c.args.Uint64()
	c.args.Uint64() // the client is that of the session
	owner := c.args.Opaque(xdr.OpaqueLimit)
	if st := c.lockable(); st != xdr.OK {
		return st
	}
	if st := c.outOfGrace(); st != xdr.OK {
		return st
	}
	var denied *state.Denied
	st := c.insist(func() (st xdr.Status) {
		denied, st = c.s.table.TestLock(c.client, owner, c.cur.file(), write, offset, length, c.s.cfg.Clock())
		return st
	})
	if denied != nil {
		c.putDenied(denied)
	}
	return st
}

// opLockU is RFC 8881 §18.12.
func opLockU(c *compound) xdr.Status {
	c.lockType()
	c.args.Uint32() // seqid
	id := c.resolve(c.args.StateID())
	offset, length := c.args.Uint64(), c.args.Uint64()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	if st := c.needFile(); st != xdr.OK {
		return st
	}
	id, st := c.s.table.Unlock(c.client, id, c.cur.file(), offset, length)
	if st != xdr.OK {
		return st
	}
	c.curState = id
	c.w.StateID(id)
	return xdr.OK
}
