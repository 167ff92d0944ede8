package state

import (
	"bytes"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// sequence orders the requests of an open owner or a lock owner and keeps the
// last answer (RFC 7530 §9.1.7).
type sequence struct {
	used bool // last is known
	last uint32
	busy chan struct{} // closed when the request being carried out is finished

	op     xdr.Op
	status xdr.Status
	reply  []byte
	file   File // the current file handle after it
}

// follows tells whether a request is the next. Zero may be left out when the
// numbers wrap around (RFC 7530 §9.1.3).
func (s *sequence) follows(seqid uint32) bool {
	return !s.used || seqid == s.last+1 || seqid == nextSeq(s.last)
}

// openOwner is who opens files in minor version 0.
type openOwner struct {
	client    *client
	name      string
	confirmed bool // by OPEN_CONFIRM
	seq       sequence
	closed    other // what it closed last, to know a retry
	used      time.Time
}

// usable tells that the open was confirmed, if it has to be.
func (o *open) usable() bool {
	if o.client.v40 == nil {
		return true
	}
	w := o.client.v40.owners[o.key.owner]
	return w != nil && w.confirmed
}

func (c *client) openOwners() map[string]*openOwner {
	if c.v40 == nil {
		return nil
	}
	return c.v40.owners
}

// dropOpens ends what an owner has open.
func (t *Table) dropOpens(w *openOwner) (eff Effects) {
	for k, o := range w.client.opens {
		if k.owner == w.name {
			eff.Release = append(eff.Release, t.dropOpen(o))
		}
	}
	return eff
}

// dropOpenOwner forgets an owner that has nothing open.
func (t *Table) dropOpenOwner(w *openOwner) {
	t.forgetClosed(w)
	delete(w.client.v40.owners, w.name)
}

func (t *Table) forgetClosed(w *openOwner) {
	if t.closed[w.closed] == w {
		delete(t.closed, w.closed)
	}
}

// Turn is a request that has its place in the order of an owner's requests. It
// must be given to FinishTurn, unless it is a Replay.
type Turn struct {
	ClientID uint64
	// Confirm tells that what an OPEN opens must be confirmed.
	Confirm bool

	// Replay tells that the request was carried out before, with this result;
	// File was the current file after an OPEN.
	Replay bool
	Status xdr.Status
	Reply  []byte
	File   File

	client *client
	seq    *sequence
	seqid  uint32
	op     xdr.Op
	owner  *openOwner // nil: a lock owner's turn
	other  other      // the stateid that was given
	lock   *LockSeq
}

// Seq is what a request says about its place.
type Seq struct {
	Identity string
	Op       xdr.Op
	ID       uint32
}

// LockSeq is a lock owner's place, in a LOCK that has an open owner's too.
type LockSeq struct {
	ClientID uint64
	Owner    []byte
	ID       uint32
}

// begin admits a request. If another of the owner is being carried out, wait
// is not nil and is closed when that is finished: then ask again.
func (t *Table) begin(k *Turn) (wait <-chan struct{}, st xdr.Status) {
	s := k.seq
	switch {
	case s.busy != nil:
		return s.busy, xdr.OK
	case s.used && k.seqid == s.last:
		if s.op != k.op {
			return nil, xdr.ErrBadSeqID
		}
		k.Replay, k.Status, k.Reply, k.File = true, s.status, bytes.Clone(s.reply), s.file
		return nil, xdr.OK
	case !s.follows(k.seqid):
		return nil, xdr.ErrBadSeqID
	}
	s.busy = make(chan struct{})
	if k.owner != nil {
		t.forgetClosed(k.owner)
	}
	if k.op == xdr.OpClose {
		k.owner.closed = k.other
		t.closed[k.other] = k.owner
	}
	return nil, xdr.OK
}

// BeginOpen admits an OPEN. An owner that is not known, or was never confirmed,
// begins anew; reclaim opens need no confirmation (RFC 7530 §9.1.11).
func (t *Table) BeginOpen(q Seq, clientID uint64, owner []byte, reclaim bool, now time.Time) (k *Turn, wait <-chan struct{}, eff Effects, st xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, st := t.client40(q.Identity, clientID, now)
	if st != xdr.OK {
		return nil, nil, eff, st
	}
	w := c.v40.owners[string(owner)]
	if w != nil && !w.confirmed && w.seq.busy == nil && !(w.seq.used && w.seq.last == q.ID && w.seq.op == q.Op) {
		eff = t.dropOpens(w)
		t.dropOpenOwner(w)
		w = nil
	}
	if w == nil {
		if len(c.v40.owners) >= MaxOpenOwners {
			return nil, nil, eff, xdr.ErrResource
		}
		w = &openOwner{client: c, name: string(owner), confirmed: reclaim, used: now}
		c.v40.owners[w.name] = w
	}
	k = &Turn{ClientID: c.id, Confirm: !w.confirmed, client: c, seq: &w.seq, seqid: q.ID, op: q.Op, owner: w}
	wait, st = t.begin(k)
	return k, wait, eff, st
}

// BeginState admits a request that names its owner by a stateid: that of an
// open, or, for LOCKU and a LOCK without lock, of a lock state. lock is the
// lock owner of a LOCK that names an open.
func (t *Table) BeginState(q Seq, id xdr.StateID, lock *LockSeq, now time.Time) (*Turn, <-chan struct{}, xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := &Turn{seqid: q.ID, op: q.Op, other: id.Other, lock: lock}
	if q.Op == xdr.OpLockU || q.Op == xdr.OpLock && lock == nil {
		if l := t.locks[id.Other]; l != nil {
			k.client, k.seq = l.owner.client, l.owner.seq
		}
	} else if k.owner = t.openOwnerOf(id.Other); k.owner != nil {
		k.client, k.seq = k.owner.client, &k.owner.seq
	}
	if k.seq == nil || k.client.key.identity != q.Identity {
		return nil, nil, t.lost(id)
	}
	if _, st := t.client40(q.Identity, k.client.id, now); st != xdr.OK {
		return nil, nil, st
	}
	k.ClientID = k.client.id
	if k.owner != nil && !k.owner.confirmed && q.Op != xdr.OpOpenConfirm {
		return nil, nil, xdr.ErrBadStateID
	}
	wait, st := t.begin(k)
	if lock != nil && wait == nil && st == xdr.OK && !k.Replay {
		if st = t.checkLockSeq(k, now); st != xdr.OK {
			t.yield(k)
		}
	}
	return k, wait, st
}

// openOwnerOf is the owner of an open, or of what it closed last.
func (t *Table) openOwnerOf(o other) *openOwner {
	if x := t.opens[o]; x != nil {
		return x.client.openOwners()[x.key.owner]
	}
	return t.closed[o]
}

// checkLockSeq checks a lock owner that is named together with an open.
func (t *Table) checkLockSeq(k *Turn, now time.Time) xdr.Status {
	c, st := t.client40(k.client.key.identity, k.lock.ClientID, now)
	switch {
	case st != xdr.OK:
		return st
	case c != k.client:
		return xdr.ErrBadStateID
	}
	if w := c.lockOwners[string(k.lock.Owner)]; w != nil && !w.seq.follows(k.lock.ID) {
		return xdr.ErrBadSeqID
	}
	return xdr.OK
}

// yield lets the next request of an owner in.
func (t *Table) yield(k *Turn) {
	close(k.seq.busy)
	k.seq.busy = nil
}

// stays are the answers after which the client does not count on (RFC 7530
// §9.1.7).
var stays = map[xdr.Status]bool{
	xdr.ErrStaleClientID: true, xdr.ErrStaleStateID: true, xdr.ErrBadStateID: true, xdr.ErrBadSeqID: true,
	xdr.ErrBadXDR: true, xdr.ErrResource: true, xdr.ErrNoFileHandle: true, xdr.ErrMoved: true,
}

// FinishTurn ends a request. reply, which is copied, is what follows its
// status; file is the current file after it.
func (t *Table) FinishTurn(k *Turn, st xdr.Status, reply []byte, file File, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.yield(k)
	if k.owner != nil {
		k.owner.used = now
	}
	if stays[st] {
		if k.owner != nil && !k.owner.seq.used && k.client.v40.owners[k.owner.name] == k.owner {
			t.dropOpenOwner(k.owner)
		}
		return
	}
	if len(reply) > maxOwnerReply {
		reply = nil // no operation has so long a result
	}
	*k.seq = sequence{used: true, last: k.seqid, op: k.op, status: st, reply: append(k.seq.reply[:0], reply...), file: file}
	if k.lock != nil {
		if w := k.client.lockOwners[string(k.lock.Owner)]; w != nil && w.seq.busy == nil {
			w.seq.used, w.seq.last = true, k.lock.ID
			w.seq.op, w.seq.status, w.seq.reply, w.seq.file = k.op, st, append(w.seq.reply[:0], reply...), file
		}
	}
}

// maxOwnerReply is a denied LOCK with the longest owner, bytes.
const maxOwnerReply = 8 + 8 + 4 + 8 + 4 + xdr.OpaqueLimit

// ConfirmOpen confirms the owner of an open (RFC 7530 §16.18).
func (t *Table) ConfirmOpen(k *Turn, id xdr.StateID, f File) (xdr.StateID, xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.opens[id.Other]
	if o == nil || o.key.file != f || k.owner.confirmed {
		return xdr.StateID{}, xdr.ErrBadStateID
	}
	if st := o.client.checkSeq(id.Seq, o.seq); st != xdr.OK {
		return xdr.StateID{}, st
	}
	k.owner.confirmed = true
	o.seq = nextSeq(o.seq)
	return o.stateID(), xdr.OK
}

// ReleaseLockOwner forgets a lock owner that holds no locks (RFC 7530 §16.37).
func (t *Table) ReleaseLockOwner(identity string, clientID uint64, owner []byte, now time.Time) xdr.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, st := t.client40(identity, clientID, now)
	if st != xdr.OK {
		return st
	}
	w := c.lockOwners[string(owner)]
	if w != nil {
		for _, l := range w.states {
			if l.held() {
				return xdr.ErrLocksHeld
			}
		}
	}
	for x := range c.waits {
		if x.owner == string(owner) {
			t.unqueue(t.files[x.open.key.file], func(y *waiter) bool { return y == x })
		}
	}
	if w == nil {
		return xdr.OK
	}
	for _, l := range w.states {
		t.dropLock(l)
	}
	return xdr.OK
}

// Sweep40 forgets open owners that nobody uses: those without opens, and those
// that were not confirmed within a lease (RFC 7530 §16.18.5).
func (t *Table) Sweep40(now time.Time) (eff Effects) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.swept) < t.cfg.Lease {
		return eff
	}
	t.swept = now
	for _, c := range t.clients {
		inUse := map[string]bool{}
		if len(c.openOwners()) > 0 {
			for k := range c.opens {
				inUse[k.owner] = true
			}
		}
		for name, w := range c.openOwners() {
			if w.seq.busy != nil || now.Sub(w.used) <= 2*t.cfg.Lease || w.confirmed && inUse[name] {
				continue
			}
			eff.add(t.dropOpens(w))
			t.dropOpenOwner(w)
		}
	}
	return eff
}
