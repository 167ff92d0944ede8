package state

import (
	"encoding/binary"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// client40 is what a client of minor version 0 has besides.
type client40 struct {
	confirm xdr.Verifier // what SETCLIENTID_CONFIRM has given, or must give
	update  xdr.Verifier // of a SETCLIENTID that only changes the callback
	owners  map[string]*openOwner
}

// owner40 begins the owners of minor version 0, so that one host has two
// clients, and two reclaim records, if it mounts with both (RFC 8881 §2.4.1
// leaves that to the server).
const owner40 = "v4.0:"

// SetClientID makes a client that SetClientIDConfirm will confirm, or finds
// the one in use (RFC 7530 §16.33.5).
func (t *Table) SetClientID(a ExchangeArgs, now time.Time) (id uint64, confirm xdr.Verifier, st xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := ownerKey{a.Identity, owner40 + string(a.Owner)}
	if in := t.owners[key]; in != nil {
		old := in.confirmed
		switch {
		case old == nil:
		case old.expiring:
			return 0, confirm, xdr.ErrDelay
		case old.principal != a.Principal:
			if old.states > 0 && now.Sub(old.renewed) <= t.cfg.Lease {
				return 0, confirm, xdr.ErrClIDInUse
			}
		case old.verifier == a.Verifier:
			old.v40.update = t.newVerifier()
			return old.id, old.v40.update, xdr.OK
		}
		if in.unconfirmed != nil {
			t.discard(in.unconfirmed)
		}
	}
	if len(t.clients) >= MaxClients {
		return 0, confirm, xdr.ErrResource
	}
	c := t.newClient(t.newClientID40(), key, &a, now)
	c.v40 = &client40{confirm: t.newVerifier(), owners: map[string]*openOwner{}}
	return c.id, c.v40.confirm, xdr.OK
}

// SetClientIDConfirm puts a client in use; an earlier incarnation of it loses
// its state (RFC 7530 §16.34.5).
func (t *Table) SetClientIDConfirm(identity string, id uint64, confirm xdr.Verifier, principal string, now time.Time) (Effects, xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clients[id]
	if c == nil || c.v40 == nil || c.key.identity != identity || c.expiring {
		return Effects{}, xdr.ErrStaleClientID
	}
	update := c.confirmed && confirm == c.v40.update
	switch {
	case confirm != c.v40.confirm && !update || confirm == xdr.Verifier{}:
		return Effects{}, xdr.ErrStaleClientID
	case c.principal != principal:
		return Effects{}, xdr.ErrClIDInUse
	case update:
		c.v40.confirm, c.v40.update = confirm, xdr.Verifier{}
	}
	c.renewed = now
	if c.confirmed {
		return Effects{}, xdr.OK
	}
	return t.confirm(c), xdr.OK
}

// Renew40 tells whether a client is in use, and renews its lease.
func (t *Table) Renew40(identity string, id uint64, now time.Time) xdr.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, st := t.client40(identity, id, now)
	return st
}

func (t *Table) client40(identity string, id uint64, now time.Time) (*client, xdr.Status) {
	c := t.clients[id]
	switch {
	case c == nil && uint32(id>>32) == t.boot32():
		return nil, xdr.ErrExpired
	case c == nil || c.v40 == nil || !c.confirmed || c.key.identity != identity:
		return nil, xdr.ErrStaleClientID
	case c.expiring:
		return nil, xdr.ErrExpired
	}
	c.renewed = now
	return c, xdr.OK
}

// Client40 finds the client of a stateid and renews its lease. own tells that
// principal has opened the file: others need permission of their own. A special
// stateid has no client: it is 0.
func (t *Table) Client40(identity string, id xdr.StateID, principal string, now time.Time) (clientID uint64, own bool, st xdr.Status) {
	if id == xdr.AnonymousStateID || id == xdr.BypassStateID {
		return 0, false, xdr.OK
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.opens[id.Other]
	if l := t.locks[id.Other]; l != nil {
		o = l.open
	}
	if o == nil || o.client.key.identity != identity {
		return 0, false, t.lost(id)
	}
	_, st = t.client40(identity, o.client.id, now)
	return o.client.id, o.principal == principal, st
}

// tag40 is in the client ids of minor version 0, and in the client's part of
// its stateids.
const tag40 = 1 << 31

func (t *Table) newClientID40() uint64 {
	for {
		t.last++
		id := uint64(t.boot32())<<32 | tag40 | t.last&(tag40-1)
		if t.clients[id] == nil {
			return id
		}
	}
}

// otherFor makes the identifying part of a stateid. That of minor version 0
// names the client, so that the state of one that has gone is recognised:
//
//	4  boot
//	4  low half of the client id
//	4  counter
func (t *Table) otherFor(c *client) other {
	if c.v40 == nil {
		return t.newOther()
	}
	for {
		o := t.newOther()
		binary.BigEndian.PutUint32(o[4:], uint32(c.id))
		if t.opens[o] == nil && t.locks[o] == nil && t.closed[o] == nil {
			return o
		}
	}
}

// lost tells why there is no such stateid (RFC 7530 §9.1.4.4).
func (t *Table) lost(id xdr.StateID) xdr.Status {
	if id == xdr.AnonymousStateID || id == xdr.BypassStateID {
		return xdr.ErrBadStateID
	}
	if binary.BigEndian.Uint32(id.Other[:]) != t.boot32() {
		return xdr.ErrStaleStateID
	}
	low := binary.BigEndian.Uint32(id.Other[4:])
	given := low&tag40 != 0 && uint64(low&^tag40) <= t.last
	if given && t.clients[uint64(t.boot32())<<32|uint64(low)] == nil {
		return xdr.ErrExpired
	}
	return xdr.ErrBadStateID
}

func (t *Table) newVerifier() (v xdr.Verifier) {
	t.last++
	binary.BigEndian.PutUint32(v[:], t.boot32())
	binary.BigEndian.PutUint32(v[4:], uint32(t.last))
	return v
}

// checkSeq compares the seqid of a stateid with the current one. In minor
// version 0 zero is not "the current one".
func (c *client) checkSeq(got, have uint32) xdr.Status {
	if c.v40 == nil {
		return checkSeq(got, have)
	}
	switch {
	case got == have:
		return xdr.OK
	case int32(got-have) < 0:
		return xdr.ErrOldStateID
	}
	return xdr.ErrBadStateID
}
