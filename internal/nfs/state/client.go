package state

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

type ownerKey struct{ identity, owner string }

// incarnations are the clients of one owner: the one in use, and one that has
// not been confirmed by CREATE_SESSION yet.
type incarnations struct{ confirmed, unconfirmed *client }

type client struct {
	id        uint64
	key       ownerKey
	record    string // the name of its reclaim records
	verifier  xdr.Verifier
	principal string
	confirmed bool

	renewed  time.Time
	busy     int       // requests being carried out
	expiring bool      // its lease is over; its records are being removed
	since    time.Time // when that began

	createSeq uint32        // of the last CREATE_SESSION carried out
	created   SessionResult // its result, for a retry
	sessions  map[xdr.SessionID]*session

	states     int // opens, lock states and delegations
	lockOwners map[string]*lockOwner
	opens      map[openKey]*open
	delegs     map[*deleg]bool // with those that were revoked
	revoked    int             // how many of them were
	waits      map[*waiter]bool
	missed     int // turns one after the other that its waiters did not come to

	// records are the file systems that may have a reclaim record of the
	// owner; true: this incarnation made it.
	records  map[string]bool
	complete bool // RECLAIM_COMPLETE was received

	v40 *client40 // nil: of a minor version with sessions
}

// ExchangeArgs are those of EXCHANGE_ID.
type ExchangeArgs struct {
	Identity  string
	Owner     []byte
	Verifier  xdr.Verifier
	Principal string
	Update    bool // EXCHGID4_FLAG_UPD_CONFIRMED_REC_A
}

// ExchangeResult is what EXCHANGE_ID answers.
type ExchangeResult struct {
	ClientID  uint64
	Sequence  uint32 // for the next CREATE_SESSION
	Confirmed bool
}

// ExchangeID finds or makes the client of an owner (RFC 8881 §18.35.4).
func (t *Table) ExchangeID(a ExchangeArgs, now time.Time) (ExchangeResult, Effects, xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := ownerKey{a.Identity, string(a.Owner)}
	in := t.owners[key]
	if in == nil {
		in = &incarnations{}
	}
	old := in.confirmed
	if old != nil && old.expiring {
		return ExchangeResult{}, Effects{}, xdr.ErrDelay
	}
	if a.Update {
		return exchangeUpdate(old, &a, now)
	}
	var eff Effects
	switch {
	case old == nil:
	case old.principal != a.Principal:
		if old.states > 0 && now.Sub(old.renewed) <= t.cfg.Lease {
			return ExchangeResult{}, Effects{}, xdr.ErrClIDInUse
		}
		eff = t.discard(old)
	case old.verifier == a.Verifier:
		old.renewed = now
		return ExchangeResult{old.id, old.createSeq + 1, true}, Effects{}, xdr.OK
	}
	if len(t.clients) >= MaxClients {
		return ExchangeResult{}, eff, xdr.ErrDelay
	}
	if in.unconfirmed != nil {
		t.discard(in.unconfirmed)
	}
	c := t.newClient(t.newClientID(), key, &a, now)
	return ExchangeResult{c.id, 1, false}, eff, xdr.OK
}

// exchangeUpdate is case 6 to 9 of the RFC: change what is confirmed.
func exchangeUpdate(c *client, a *ExchangeArgs, now time.Time) (ExchangeResult, Effects, xdr.Status) {
	switch {
	case c == nil:
		return ExchangeResult{}, Effects{}, xdr.ErrNoEnt
	case c.verifier != a.Verifier:
		return ExchangeResult{}, Effects{}, xdr.ErrNotSame
	case c.principal != a.Principal:
		return ExchangeResult{}, Effects{}, xdr.ErrPerm
	}
	c.renewed = now
	return ExchangeResult{c.id, c.createSeq + 1, true}, Effects{}, xdr.OK
}

func (t *Table) newClient(id uint64, key ownerKey, a *ExchangeArgs, now time.Time) *client {
	c := &client{
		id: id, key: key, record: recordName(key), verifier: a.Verifier, principal: a.Principal, renewed: now,
		sessions: map[xdr.SessionID]*session{}, lockOwners: map[string]*lockOwner{},
		opens: map[openKey]*open{}, delegs: map[*deleg]bool{}, records: map[string]bool{},
		waits: map[*waiter]bool{},
	}
	t.clients[c.id] = c
	in := t.owners[key]
	if in == nil {
		in = &incarnations{}
		t.owners[key] = in
	}
	in.unconfirmed = c
	return c
}

// recordName names a client in the reclaim records of file systems. One host
// has the same owner at the shared address and at a mount target, and reclaims
// at each for itself, so the name tells them apart, as it does the access
// points by which it comes; it is the same in every region, so that a client
// can reclaim in another one.
func recordName(k ownerKey) string {
	tag := "shared:"
	export, binding := splitIdentity(k.identity)
	if export != "" {
		tag = "target:"
	}
	if binding != "" {
		tag += binding + ":"
	}
	if len(tag)+len(k.owner) > fs.MaxClientName {
		sum := sha256.Sum256([]byte(k.owner))
		return tag + "sha256:" + hex.EncodeToString(sum[:])
	}
	return tag + k.owner
}

// sees tells whether a client can have state on a file system: at the shared
// address on every one, at a mount target on its own.
func (c *client) sees(l string) bool {
	export := exportOf(c.key.identity)
	return export == "" || export == l
}

// confirm makes c the client in use. An earlier incarnation loses its state:
// the client has restarted.
func (t *Table) confirm(c *client) Effects {
	in := t.owners[c.key]
	old := in.confirmed
	in.confirmed, in.unconfirmed = c, nil
	c.confirmed = true
	if old == nil {
		return Effects{}
	}
	for l := range old.records {
		c.records[l] = false
	}
	eff := t.discard(old)
	eff.Forget = nil // c has inherited the records
	return eff
}

// discard removes a client and all that it has.
func (t *Table) discard(c *client) Effects {
	var eff Effects
	for _, o := range c.opens {
		eff.Release = append(eff.Release, t.dropOpen(o))
	}
	for d := range c.delegs {
		eff.Release = append(eff.Release, t.dropDeleg(d)...)
	}
	for id := range c.sessions {
		delete(t.sessions, id)
	}
	for l := range c.records {
		eff.Forget = append(eff.Forget, Record{l, c.record})
	}
	for _, w := range c.openOwners() {
		t.dropOpenOwner(w)
	}
	delete(t.clients, c.id)
	in := t.owners[c.key]
	if in.confirmed == c {
		in.confirmed = nil
	}
	if in.unconfirmed == c {
		in.unconfirmed = nil
	}
	if *in == (incarnations{}) {
		delete(t.owners, c.key)
	}
	return eff
}

// DestroyClientID removes a client that has neither sessions nor state.
func (t *Table) DestroyClientID(identity string, id uint64) (Effects, xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clients[id]
	switch {
	case c == nil || c.key.identity != identity || c.expiring:
		return Effects{}, xdr.ErrStaleClientID
	case len(c.sessions) > 0 || c.states > 0:
		return Effects{}, xdr.ErrClientIDBusy
	}
	return t.discard(c), xdr.OK
}

// Expired returns clients whose leases are over and whose state must go, with
// their reclaim records: those that have none, that somebody conflicts with,
// or whose time of courtesy is over. Their state still stands, so that nothing
// conflicting is granted, but they cannot use it: the caller removes the
// records durably and then calls Discard. A client is returned again until then.
func (t *Table) Expired(now time.Time) []Expiry {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lapsed = false
	crowded := len(t.clients) > MaxClients/2 || len(t.opens)+len(t.locks)+len(t.delegs) > MaxStates/2
	var list []Expiry
	for _, c := range t.clients {
		late := now.Sub(c.renewed)
		if !c.expiring && (c.busy > 0 || late <= t.cfg.Lease) {
			continue
		}
		if !c.expiring && c.states > 0 && !crowded && late <= CourtesyTime {
			continue
		}
		c.expire(now)
		x := Expiry{ClientID: c.id, Owner: c.key.owner, Overdue: now.Sub(c.since) > t.cfg.Lease}
		for l := range c.records {
			x.Records = append(x.Records, Record{l, c.record})
		}
		list = append(list, x)
	}
	return list
}

// giveWay tells whether a client that stands in somebody's way must be
// discarded, because its lease is over; it is then among Expired.
func (t *Table) giveWay(c *client, now time.Time) bool {
	if !c.expiring && (c.busy > 0 || now.Sub(c.renewed) <= t.cfg.Lease) {
		return false
	}
	c.expire(now)
	t.lapsed = true
	return true
}

func (c *client) expire(now time.Time) {
	if !c.expiring {
		c.expiring, c.since = true, now
	}
}

// Lapsed tells whether a request met the state of a client whose lease is
// over, so that RevokeDue and Expired should be carried out now, and the
// request tried again.
func (t *Table) Lapsed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lapsed
}

// Expiry is a client whose lease is over.
type Expiry struct {
	ClientID uint64
	Owner    string
	Records  []Record
	// Overdue tells that it should have gone a whole lease ago: a file system that cannot
	// remove its record must not block the client and others for ever.
	Overdue bool
}

// Discard removes an expired client.
func (t *Table) Discard(id uint64) Effects {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clients[id]
	if c == nil || !c.expiring {
		return Effects{}
	}
	eff := t.discard(c)
	eff.Forget = nil // done
	return eff
}

// NeedsRecord tells whether the client must be recorded on the file system
// before it may be granted state there.
func (t *Table) NeedsRecord(id uint64, l string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clients[id]
	return c != nil && !c.records[l]
}

// Recorded notes that the record is durable. It returns false if the client
// has gone meanwhile; then the caller removes the record again.
func (t *Table) Recorded(id uint64, l string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clients[id]
	if c == nil || c.expiring {
		return false
	}
	c.records[l] = true
	return true
}

// HasRecord tells whether any live client of the owner is recorded on the file
// system, so that its record must stay.
func (t *Table) HasRecord(r Record) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.hasRecord(r)
}

func (t *Table) hasRecord(r Record) bool {
	for _, c := range t.clients {
		if c.record == r.Owner && !c.expiring && c.records[r.FS] {
			return true
		}
	}
	return false
}

// RecordName is the name of a client's reclaim records, "" if there is no such
// client.
func (t *Table) RecordName(id uint64) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.clients[id]; c != nil {
		return c.record
	}
	return ""
}
