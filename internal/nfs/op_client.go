package nfs

import (
	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// opExchangeID is RFC 8881 §18.35.
func opExchangeID(c *compound) xdr.Status {
	verifier := c.args.Verifier()
	owner := c.args.Opaque(xdr.OpaqueLimit)
	flags := c.args.Uint32()
	how := c.args.Uint32()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	switch {
	case flags&^c.dialect.exchange != 0 || len(owner) == 0:
		return xdr.ErrInval
	case how == xdr.StateProtectSSV:
		return xdr.ErrEncrAlgUnsupp
	case how != xdr.StateProtectNone:
		return xdr.ErrInval // SP4_MACH_CRED needs RPCSEC_GSS
	}
	skipImplID(c.args)
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	c.s.observeTarget(c.ctx, c.view)
	res, eff, st := c.s.table.ExchangeID(state.ExchangeArgs{
		Identity: c.view.identity, Owner: owner, Verifier: verifier, Principal: c.principal(),
		Update: flags&xdr.ExchgUpdConfirmedRecA != 0,
	}, c.s.cfg.Clock())
	c.s.carryOut(c.ctx, eff)
	if st != xdr.OK {
		return st
	}
	out := uint32(xdr.ExchgUseNonPNFS)
	if res.Confirmed {
		out |= xdr.ExchgConfirmedR
	}
	c.w.Uint64(res.ClientID)
	c.w.Uint32(res.Sequence)
	c.w.Uint32(out)
	c.w.Uint32(xdr.StateProtectNone)
	owner4, scope := c.s.identity(c.view)
	c.w.Uint64(0) // so_minor_id
	c.w.String(owner4)
	c.w.String(scope)
	c.w.Uint32(0) // no eir_server_impl_id
	return xdr.OK
}

// skipImplID reads the optional nfs_impl_id4, which is only informative.
func skipImplID(r *xdr.Reader) {
	switch r.Uint32() {
	case 0:
	case 1:
		r.Opaque(xdr.OpaqueLimit)
		r.Opaque(xdr.OpaqueLimit)
		r.Time()
	default:
		r.Fail()
	}
}

// identity is the server owner's major id and the server scope (RFC 8881
// §2.10.4). A mount target's scope is that of the data, so that a client whose
// address moves to another region reclaims; its owner differs by region and by
// file system, so that no client takes two roots for one.
func (s *Server) identity(v *view) (owner, scope string) {
	if v.root.Export == "" {
		return "holdfast:" + s.cfg.Region + v.identity, "holdfast:" + s.cfg.Region
	}
	scope = v.root.Export
	if e, ok := s.cfg.Exports.ByName(v.root.Export); ok {
		scope = e.FS.Lineage().String()
	}
	return "holdfast:" + s.cfg.Region + ":" + v.identity, scope
}

// opCreateSession is RFC 8881 §18.36.
func opCreateSession(c *compound) xdr.Status {
	a := state.CreateArgs{Identity: c.view.identity, Principal: c.principal()}
	a.ClientID = c.args.Uint64()
	a.Sequence = c.args.Uint32()
	flags := c.args.Uint32()
	a.Fore, a.Back = c.args.ChannelAttrs(), c.args.ChannelAttrs()
	program, sys := c.args.Uint32(), readCallbackSec(c.args)
	switch {
	case c.args.Bad():
		return xdr.ErrBadXDR
	case flags&^(xdr.SessionPersist|xdr.SessionBackChan|xdr.SessionRDMA) != 0:
		return xdr.ErrInval
	}
	res, eff, st := c.s.table.CreateSession(a, c.s.cfg.Clock())
	c.s.carryOut(c.ctx, eff)
	if st != xdr.OK {
		return st
	}
	c.w.Fixed(res.ID[:])
	c.w.Uint32(res.Sequence)
	flags &= xdr.SessionBackChan // replies do not outlive the server
	if flags != 0 {
		c.s.back.make(res.ID, a.ClientID, c.dialect.minor, program, sys)
		c.s.back.bind(res.ID, c.call.Conn)
	}
	c.w.Uint32(flags)
	c.w.ChannelAttrs(res.Fore)
	c.w.ChannelAttrs(res.Back)
	return xdr.OK
}

// readCallbackSec reads callback_sec_parms4<> and gives the first of the
// flavours that can be used: AUTH_SYS with its credential, or AUTH_NONE, which
// is nil.
func readCallbackSec(r *xdr.Reader) (sys *oncrpc.SysCred) {
	chosen := false
	for range r.Count(4) {
		flavor := r.Uint32()
		var one *oncrpc.SysCred
		switch flavor {
		case xdr.AuthNone:
		case xdr.AuthSys:
			one = oncrpc.ReadSys(r)
		case xdr.AuthGSS:
			r.Uint32()
			r.Opaque(xdr.OpaqueLimit)
			r.Opaque(xdr.OpaqueLimit)
		default:
			r.Fail()
		}
		if r.Bad() {
			return nil
		}
		if !chosen && flavor != xdr.AuthGSS {
			sys, chosen = one, true
		}
	}
	return sys
}

// opDestroySession is RFC 8881 §18.37. In a COMPOUND that came in by the
// session it must be the last operation.
func opDestroySession(c *compound) xdr.Status {
	id := c.args.SessionID()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	own := c.ticket != nil && c.ticket.Session == id
	if own && c.index != c.ops-1 {
		return xdr.ErrNotOnlyOp
	}
	st := c.s.table.DestroySession(c.view.identity, id, own)
	if st == xdr.OK {
		c.s.back.drop(id)
	}
	return st
}

// opDestroyClientID is RFC 8881 §18.50.
func opDestroyClientID(c *compound) xdr.Status {
	id := c.args.Uint64()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	eff, st := c.s.table.DestroyClientID(c.view.identity, id)
	c.s.carryOut(c.ctx, eff)
	return st
}

// opReclaimComplete is RFC 8881 §18.51.
func opReclaimComplete(c *compound) xdr.Status {
	one := c.args.Bool()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	var name *string
	if one {
		if st := c.needObject(); st != xdr.OK {
			return st
		}
		name = &c.cur.export.Name // "": nothing can be reclaimed in the pseudo root
	} else {
		c.s.observeAll(c.ctx)
	}
	eff, st := c.s.table.ReclaimComplete(c.client, name)
	c.s.carryOut(c.ctx, eff)
	return st
}
