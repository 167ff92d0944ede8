package nfs

import (
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// opLock40 is RFC 7530 §16.10.
func opLock40(c *compound) xdr.Status {
	var a state.LockArgs
	a.Write, a.Wait = c.lockType()
	a.Reclaim = c.args.Bool()
	a.Offset, a.Length, a.New = c.args.Uint64(), c.args.Uint64(), c.args.Bool()
	var seqid uint32
	var by xdr.StateID
	var lock *state.LockSeq
	if a.New {
		seqid, a.Open = c.args.Uint32(), c.args.StateID()
		lock = &state.LockSeq{ID: c.args.Uint32(), ClientID: c.args.Uint64(), Owner: c.args.Opaque(xdr.OpaqueLimit)}
		a.Owner, by = lock.Owner, a.Open
	} else {
		a.Lock, seqid = c.args.StateID(), c.args.Uint32()
		by = a.Lock
	}
	return c.inState(seqid, by, lock, func() xdr.Status { return c.lock40(a) })
}

func (c *compound) lock40(a state.LockArgs) xdr.Status {
	if st := c.regular(); st != xdr.OK {
		return st
	}
	if st := c.mayLock(a.Reclaim); st != xdr.OK {
		return st
	}
	a.ClientID, a.File = c.client, c.cur.file()
	a.Now = c.s.cfg.Clock()
	var id xdr.StateID
	var denied *state.Denied
	st := c.insist(func() (st xdr.Status) {
		id, denied, st = c.s.table.Lock(a)
		return st
	})
	if denied != nil {
		c.putDenied(denied)
		return st
	}
	return c.putState(id, st)
}

// opLockT40 is RFC 7530 §16.11.
func opLockT40(c *compound) xdr.Status {
	write, _ := c.lockType()
	offset, length := c.args.Uint64(), c.args.Uint64()
	client, owner := c.args.Uint64(), c.args.Opaque(xdr.OpaqueLimit)
	if st := c.lockable(); st != xdr.OK {
		return st
	}
	if st := c.s.table.Renew40(c.view.identity, client, c.s.cfg.Clock()); st != xdr.OK {
		return st
	}
	if st := c.outOfGrace(); st != xdr.OK {
		return st
	}
	var denied *state.Denied
	st := c.insist(func() (st xdr.Status) {
		denied, st = c.s.table.TestLock(client, owner, c.cur.file(), write, offset, length, c.s.cfg.Clock())
		return st
	})
	if denied != nil {
		c.putDenied(denied)
	}
	return st
}

// opLockU40 is RFC 7530 §16.12.
func opLockU40(c *compound) xdr.Status {
	c.lockType()
	seqid, id := c.args.Uint32(), c.args.StateID()
	offset, length := c.args.Uint64(), c.args.Uint64()
	return c.inState(seqid, id, nil, func() xdr.Status {
		return c.putState(c.s.table.Unlock(c.client, id, c.cur.file(), offset, length))
	})
}
