package nfs

import (
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// opSetClientID is RFC 7530 §16.33. The callback is not kept: nothing is ever
// recalled.
func opSetClientID(c *compound) xdr.Status {
	verifier := c.args.Verifier()
	owner := c.args.Opaque(xdr.OpaqueLimit)
	c.args.Uint32() // cb_program
	c.args.Opaque(xdr.OpaqueLimit)
	c.args.Opaque(xdr.OpaqueLimit)
	c.args.Uint32() // callback_ident
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	c.s.observeTarget(c.ctx, c.view)
	id, confirm, st := c.s.table.SetClientID(state.ExchangeArgs{
		Identity: c.view.identity, Owner: owner, Verifier: verifier, Principal: c.principal(),
	}, c.s.cfg.Clock())
	switch st {
	case xdr.OK:
		c.w.Uint64(id)
		c.w.Fixed(confirm[:])
	case xdr.ErrClIDInUse:
		c.keep = true
		c.w.String("") // the network and the address of who uses it are its own business
		c.w.String("")
	}
	return st
}

// opSetClientIDConfirm is RFC 7530 §16.34.
func opSetClientIDConfirm(c *compound) xdr.Status {
	id, confirm := c.args.Uint64(), c.args.Verifier()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	eff, st := c.s.table.SetClientIDConfirm(c.view.identity, id, confirm, c.principal(), c.s.cfg.Clock())
	c.s.carryOut(c.ctx, eff)
	return st
}

// opRenew is RFC 7530 §16.28.
func opRenew(c *compound) xdr.Status {
	id := c.args.Uint64()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	return c.s.table.Renew40(c.view.identity, id, c.s.cfg.Clock())
}

// opReleaseLockOwner is RFC 7530 §16.37.
func opReleaseLockOwner(c *compound) xdr.Status {
	id, owner := c.args.Uint64(), c.args.Opaque(xdr.OpaqueLimit)
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	return c.s.table.ReleaseLockOwner(c.view.identity, id, owner, c.s.cfg.Clock())
}

// clientOf sets who asks to the client of a stateid. Its lease is renewed. own
// tells that it was the caller who opened the file.
func (c *compound) clientOf(id xdr.StateID) (own bool, st xdr.Status) {
	c.client, own, st = c.s.table.Client40(c.view.identity, id, c.principal(), c.s.cfg.Clock())
	return own, st
}
