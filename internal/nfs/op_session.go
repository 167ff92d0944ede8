package nfs

import (
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// opSequence is RFC 8881 §18.46.
func opSequence(c *compound) xdr.Status {
	a := state.SequenceArgs{
		Identity: c.view.identity,
		Session:  c.args.SessionID(), Sequence: c.args.Uint32(), Slot: c.args.Uint32(), Highest: c.args.Uint32(),
	}
	cache := c.args.Bool()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	a.Sum = c.sum()
	k, st := c.s.table.Sequence(a, c.s.cfg.Clock())
	if st != xdr.OK {
		return st
	}
	c.ticket, c.client = k, k.ClientID
	c.w.Fixed(a.Session[:])
	flags := k.Flags | c.s.back.flags(k.Session, k.Delegs)
	for _, v := range [...]uint32{a.Sequence, a.Slot, k.Highest, k.Highest, flags} {
		c.w.Uint32(v)
	}
	if k.Replay {
		return xdr.OK
	}
	c.limit = int(k.Fore.MaxResponse)
	if cache && k.Fore.MaxResponseCached < k.Fore.MaxResponse {
		c.limit, c.tooBig = int(k.Fore.MaxResponseCached), xdr.ErrRepTooBigToCache
	}
	switch {
	case c.ops > int(k.Fore.MaxOps):
		return xdr.ErrTooManyOps
	case c.args.Offset()+c.args.Remaining() > int(k.Fore.MaxRequest):
		return xdr.ErrReqTooBig
	}
	return xdr.OK
}

// opBindConnToSession is RFC 8881 §18.34. Any connection may carry requests of
// any session (SP4_NONE); those of the back channel are kept.
func opBindConnToSession(c *compound) xdr.Status {
	id := c.args.SessionID()
	dir := c.args.Uint32()
	c.args.Bool() // RDMA
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	if _, ok := c.s.table.SessionOwner(c.view.identity, id); !ok {
		return xdr.ErrBadSession
	}
	var answer uint32
	switch dir {
	case xdr.ChanFore:
		answer = xdr.ChanFore
	case xdr.ChanBack, xdr.ChanForeOrBoth, xdr.ChanBackOrBoth:
		bound := c.s.back.bind(id, c.call.Conn)
		switch {
		case dir == xdr.ChanBack:
			answer = xdr.ChanBack
		case bound || dir == xdr.ChanBackOrBoth:
			answer = xdr.ChanBoth
		default:
			answer = xdr.ChanFore
		}
	default:
		return xdr.ErrInval
	}
	c.w.Fixed(id[:])
	c.w.Uint32(answer)
	c.w.Bool(false)
	return xdr.OK
}

// opBackchannelCtl is RFC 8881 §18.33.
func opBackchannelCtl(c *compound) xdr.Status {
	program, sys := c.args.Uint32(), readCallbackSec(c.args)
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	c.s.back.control(c.ticket.Session, program, sys)
	return xdr.OK
}

// opTestStateID is RFC 8881 §18.48.
func opTestStateID(c *compound) xdr.Status {
	n := c.args.Count(16)
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	if c.w.Len()+4*n > c.limit {
		return c.tooBig
	}
	c.w.Uint32(uint32(n))
	for range n {
		c.w.Uint32(uint32(c.s.table.TestStateID(c.client, c.args.StateID())))
	}
	return xdr.OK
}

// opFreeStateID is RFC 8881 §18.38.
func opFreeStateID(c *compound) xdr.Status {
	id := c.args.StateID()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	return c.s.table.FreeStateID(c.client, c.resolve(id))
}

// resolve replaces the special stateid "the current one" (RFC 8881 §16.2.3.1.2).
func (c *compound) resolve(id xdr.StateID) xdr.StateID {
	if id == xdr.CurrentStateID && c.dialect.sessions {
		return c.curState
	}
	return id
}
