package nfs

import (
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// opOpen40 is RFC 7530 §16.16. Its errors count in the owner's sequence, those
// in the rest of the arguments too, so the owner is read first.
func opOpen40(c *compound) xdr.Status {
	if st := c.needObject(); st != xdr.OK {
		return st
	}
	head := *c.args
	a := openArgs{seqid: head.Uint32(), access: head.Uint32(), deny: head.Uint32(), client: head.Uint64(), owner: head.Opaque(xdr.OpaqueLimit)}
	if head.Bad() {
		return xdr.ErrBadXDR
	}
	reclaim := claimOf(c) == xdr.ClaimPrevious
	replay := false
	begin := func() (*state.Turn, <-chan struct{}, xdr.Status) {
		k, wait, eff, st := c.s.table.BeginOpen(c.seq(a.seqid), a.client, a.owner, reclaim, c.s.cfg.Clock())
		c.s.carryOut(c.ctx, eff)
		replay = replay || k != nil && k.Replay
		return k, wait, st
	}
	st := c.inTurn(begin, func() xdr.Status {
		st := opOpen(c)
		if st == xdr.ErrWrongType {
			return xdr.ErrSymlink // of devices and the like, too (RFC 7530 §16.16.6)
		}
		return st
	})
	if replay {
		c.readOpen() // the next operation follows the arguments
	}
	return st
}

// claimOf looks ahead for the claim of an OPEN.
func claimOf(c *compound) uint32 {
	ahead := *c
	args := *c.args
	ahead.args = &args
	a, st := ahead.readOpen()
	if st != xdr.OK {
		return xdr.ClaimNull
	}
	return a.claim
}

// opOpenConfirm is RFC 7530 §16.18.
func opOpenConfirm(c *compound) xdr.Status {
	id, seqid := c.args.StateID(), c.args.Uint32()
	return c.inState(seqid, id, nil, func() xdr.Status {
		id, st := c.s.table.ConfirmOpen(c.turn, id, c.cur.file())
		return c.putState(id, st)
	})
}

// putState appends the stateid that an operation leaves.
func (c *compound) putState(id xdr.StateID, st xdr.Status) xdr.Status {
	if st == xdr.OK {
		c.w.StateID(id)
	}
	return st
}

// opOpenDowngrade40 is RFC 7530 §16.19.
func opOpenDowngrade40(c *compound) xdr.Status {
	id, seqid := c.args.StateID(), c.args.Uint32()
	access, deny := c.args.Uint32(), c.args.Uint32()
	return c.inState(seqid, id, nil, func() xdr.Status {
		return c.putState(c.s.table.Downgrade(c.client, id, c.cur.file(), access, deny))
	})
}

// opClose40 is RFC 7530 §16.2.
func opClose40(c *compound) xdr.Status {
	seqid, id := c.args.Uint32(), c.args.StateID()
	return c.inState(seqid, id, nil, func() xdr.Status {
		eff, st := c.s.table.Close(c.client, id, c.cur.file())
		c.s.carryOut(c.ctx, eff)
		id.Seq++ // it names nothing any more
		return c.putState(id, st)
	})
}
