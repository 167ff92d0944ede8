package state

import (
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// lockOwner is who holds locks: a process of a client.
type lockOwner struct {
	client *client
	owner  string
	states map[File]*lockState
	seq    *sequence // of requests of 4.0
}

// lockState stands for the locks of one owner on one file; its stateid names
// them in LOCK, LOCKU and I/O.
type lockState struct {
	id    other
	seq   uint32
	owner *lockOwner
	open  *open // where the first lock came from
	file  *file
}

func (l *lockState) stateID() xdr.StateID { return xdr.StateID{Seq: l.seq, Other: l.id} }

func (l *lockState) held() bool {
	for i := range l.file.locks {
		if l.file.locks[i].Owner == l.owner {
			return true
		}
	}
	return false
}

// Denied describes the lock that stands in the way.
type Denied struct {
	Offset, Length uint64
	Write          bool
	ClientID       uint64
	Owner          string
}

func deniedBy(r *Range) *Denied {
	d := &Denied{Offset: r.First, Length: r.Last - r.First + 1, Write: r.Write, ClientID: r.Owner.client.id, Owner: r.Owner.owner}
	if r.Last == maxOffset {
		d.Length = xdr.LockToEOF
	}
	return d
}

// lastByte checks a range and returns its last byte (RFC 8881 §18.10.3).
func lastByte(offset, length uint64) (uint64, xdr.Status) {
	switch {
	case length == 0:
		return 0, xdr.ErrInval
	case length == xdr.LockToEOF:
		return maxOffset, xdr.OK
	case length-1 > maxOffset-offset:
		return 0, xdr.ErrInval
	}
	return offset + length - 1, xdr.OK
}

// LockArgs ask for a lock. With New set, Open and Owner name the open and the
// lock owner; else Lock names the lock state.
type LockArgs struct {
	ClientID       uint64
	File           File
	Write          bool
	Wait           bool // READW_LT, WRITEW_LT: if it is denied, it is queued
	Reclaim        bool
	Offset, Length uint64
	New            bool
	Open           xdr.StateID
	Owner          []byte
	Lock           xdr.StateID
	Now            time.Time // tells whose lease is over: see OpenArgs
}

// Lock grants a lock, or answers xdr.ErrDenied and what is in the way. The
// caller has checked grace.
func (t *Table) Lock(a LockArgs) (xdr.StateID, *Denied, xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, st := lastByte(a.Offset, a.Length)
	if st != xdr.OK {
		return xdr.StateID{}, nil, st
	}
	l, o, st := t.locker(&a)
	if st != xdr.OK {
		return xdr.StateID{}, nil, st
	}
	f := t.files[a.File]
	q := request{client: o.client, owner: string(a.Owner), first: a.Offset, last: last, write: a.Write, wait: a.Wait}
	if l != nil {
		q.owner = l.owner.owner
	}
	q.holder = o.client.lockOwners[q.owner]
	if d, st := t.lockable(f, o, &q, a.Reclaim, a.Now); st != xdr.OK {
		return xdr.StateID{}, d, st
	}
	if len(f.locks) >= MaxLocksPerFile || l == nil && !t.room(o.client) {
		return xdr.StateID{}, nil, xdr.ErrDelay
	}
	if l == nil {
		l = t.newLock(t.lockOwner(o.client, q.owner), o)
	} else {
		l.seq = nextSeq(l.seq)
	}
	f.locks = with(f.locks, Range{a.Offset, last, a.Write, l.owner})
	t.unqueue(f, func(w *waiter) bool { return w.is(&q) })
	o.client.missed = 0
	t.wake(f) // a downgrade frees something
	return l.stateID(), nil, xdr.OK
}

// lockable tells what keeps a request from being granted: a lock, or a waiter
// that comes first. One that can wait is queued then; one that cannot gives up
// the place that it had (RFC 8881 §9.6).
func (t *Table) lockable(f *file, o *open, q *request, reclaim bool, now time.Time) (*Denied, xdr.Status) {
	var d *Denied
	t.tidy(f, now)
	if r := conflict(f.locks, q.holder, q.first, q.last, q.write); r != nil {
		switch {
		case t.giveWay(r.Owner.client, now):
			return nil, xdr.ErrDelay
		case reclaim:
			return nil, xdr.ErrReclaimConflict
		}
		d = deniedBy(r)
	} else if w := t.ahead(f, q, now); w != nil && !reclaim {
		d = w.denied()
	}
	switch {
	case d == nil:
		return nil, xdr.OK
	case q.wait:
		t.await(f, o, q, now)
	default:
		t.unqueue(f, func(w *waiter) bool { return w.is(q) })
	}
	return d, xdr.ErrDenied
}

// locker resolves who asks: the lock state, nil if it is the owner's first
// lock on the file, and the open.
func (t *Table) locker(a *LockArgs) (*lockState, *open, xdr.Status) {
	var l *lockState
	var o *open
	if a.New {
		var st xdr.Status
		if o, st = t.findOpen(a.ClientID, a.Open, a.File); st != xdr.OK {
			return nil, nil, st
		}
		if owner := o.client.lockOwners[string(a.Owner)]; owner != nil {
			l = owner.states[a.File]
		}
	} else {
		l = t.locks[a.Lock.Other]
		if l == nil || l.owner.client.id != a.ClientID || l.owner.client.expiring || l.open.key.file != a.File {
			return nil, nil, xdr.ErrBadStateID
		}
		if st := l.owner.client.checkSeq(a.Lock.Seq, l.seq); st != xdr.OK {
			return nil, nil, st
		}
		o = l.open
	}
	want := uint32(xdr.ShareRead)
	if a.Write {
		want = xdr.ShareWrite
	}
	if o.access&want == 0 {
		return nil, nil, xdr.ErrOpenMode
	}
	return l, o, xdr.OK
}

func (t *Table) lockOwner(c *client, name string) *lockOwner {
	w := c.lockOwners[name]
	if w == nil {
		w = &lockOwner{client: c, owner: name, states: map[File]*lockState{}}
		if c.v40 != nil {
			w.seq = &sequence{}
		}
		c.lockOwners[w.owner] = w
	}
	return w
}

// dropOwner forgets a lock owner without lock states.
func (t *Table) dropOwner(w *lockOwner) {
	if len(w.states) == 0 {
		delete(w.client.lockOwners, w.owner)
	}
}

func (t *Table) newLock(w *lockOwner, o *open) *lockState {
	l := &lockState{id: t.otherFor(o.client), seq: 1, owner: w, open: o, file: t.files[o.key.file]}
	w.states[o.key.file], t.locks[l.id], o.locks[l] = l, l, true
	w.client.states++
	return l
}

// dropLock forgets a lock state and frees its locks.
func (t *Table) dropLock(l *lockState) {
	l.file.locks = without(l.file.locks, l.owner, 0, maxOffset)
	t.wake(l.file)
	delete(l.owner.states, l.open.key.file)
	delete(l.open.locks, l)
	delete(t.locks, l.id)
	l.owner.client.states--
	t.dropOwner(l.owner)
}

// TestLock tells what would keep an owner from locking (RFC 8881 §18.11).
func (t *Table) TestLock(clientID uint64, owner []byte, f File, write bool, offset, length uint64, now time.Time) (*Denied, xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, st := lastByte(offset, length)
	if st != xdr.OK {
		return nil, st
	}
	x := t.files[f]
	if x == nil {
		return nil, xdr.OK
	}
	q := request{owner: string(owner), first: offset, last: last, write: write}
	if q.client = t.clients[clientID]; q.client != nil {
		q.holder = q.client.lockOwners[q.owner]
	}
	t.tidy(x, now)
	if r := conflict(x.locks, q.holder, offset, last, write); r != nil {
		if t.giveWay(r.Owner.client, now) {
			return nil, xdr.ErrDelay
		}
		return deniedBy(r), xdr.ErrDenied
	}
	if w := t.ahead(x, &q, now); w != nil {
		return w.denied(), xdr.ErrDenied
	}
	return nil, xdr.OK
}

// Unlock frees a range (RFC 8881 §18.12).
func (t *Table) Unlock(clientID uint64, id xdr.StateID, f File, offset, length uint64) (xdr.StateID, xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, st := lastByte(offset, length)
	if st != xdr.OK {
		return xdr.StateID{}, st
	}
	l := t.locks[id.Other]
	if l == nil || l.owner.client.id != clientID || l.owner.client.expiring || l.open.key.file != f {
		return xdr.StateID{}, xdr.ErrBadStateID
	}
	if st := l.owner.client.checkSeq(id.Seq, l.seq); st != xdr.OK {
		return xdr.StateID{}, st
	}
	l.file.locks = without(l.file.locks, l.owner, offset, last)
	t.unqueue(l.file, func(w *waiter) bool {
		return w.of(l.owner.client, l.owner.owner) && offset <= w.first && w.last <= last
	})
	t.wake(l.file)
	l.seq = nextSeq(l.seq)
	return l.stateID(), xdr.OK
}
