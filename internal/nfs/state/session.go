package state

import (
	"bytes"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

type session struct {
	id     xdr.SessionID
	client *client
	fore   xdr.ChannelAttrs
	slots  []slot
}

// slot is one line of a reply cache (RFC 8881 §2.10.6.1).
type slot struct {
	seq    uint32 // of the last request
	busy   bool   // which is still being carried out
	sum    uint64 // of its content, to know a retry
	cached bool   // reply holds the answer
	reply  []byte // its memory is used again and again
}

// CreateArgs are those of CREATE_SESSION.
type CreateArgs struct {
	Identity  string
	ClientID  uint64
	Sequence  uint32
	Principal string
	Fore      xdr.ChannelAttrs
	Back      xdr.ChannelAttrs
}

// SessionResult is what CREATE_SESSION answers.
type SessionResult struct {
	ID       xdr.SessionID
	Sequence uint32
	Fore     xdr.ChannelAttrs
	Back     xdr.ChannelAttrs
}

// CreateSession confirms a client and makes a session (RFC 8881 §18.36.4).
func (t *Table) CreateSession(a CreateArgs, now time.Time) (SessionResult, Effects, xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clients[a.ClientID]
	switch {
	case c == nil || c.key.identity != a.Identity || c.expiring:
		return SessionResult{}, Effects{}, xdr.ErrStaleClientID
	case a.Sequence == c.createSeq && c.createSeq > 0:
		return c.created, Effects{}, xdr.OK
	case a.Sequence != c.createSeq+1:
		return SessionResult{}, Effects{}, xdr.ErrSeqMisordered
	case c.principal != a.Principal:
		return SessionResult{}, Effects{}, xdr.ErrClIDInUse
	case len(c.sessions) >= MaxSessionsPerClient:
		return SessionResult{}, Effects{}, xdr.ErrNoSpc
	}
	fore, st := t.negotiate(a.Fore)
	if st != xdr.OK {
		return SessionResult{}, Effects{}, st
	}
	if a.Back.MaxRequest < MinChannel || a.Back.MaxResponse < MinChannel || a.Back.MaxOps < MinBackOps {
		return SessionResult{}, Effects{}, xdr.ErrTooSmall
	}
	var eff Effects
	if !c.confirmed {
		eff = t.confirm(c)
	}
	s := &session{id: t.newSessionID(), client: c, fore: fore, slots: make([]slot, fore.MaxRequests)}
	c.sessions[s.id], t.sessions[s.id] = s, s
	c.renewed, c.createSeq = now, a.Sequence
	c.created = SessionResult{s.id, a.Sequence, fore, backChannel(a.Back)}
	return c.created, eff, xdr.OK
}

// negotiate lowers what the client wants to what the server can do.
func (t *Table) negotiate(want xdr.ChannelAttrs) (xdr.ChannelAttrs, xdr.Status) {
	limit := t.cfg.Fore
	got := xdr.ChannelAttrs{
		MaxRequest:        min(want.MaxRequest, limit.MaxRequest),
		MaxResponse:       min(want.MaxResponse, limit.MaxResponse),
		MaxResponseCached: min(want.MaxResponseCached, limit.MaxResponseCached),
		MaxOps:            min(want.MaxOps, limit.MaxOps),
		MaxRequests:       min(want.MaxRequests, limit.MaxRequests),
	}
	switch {
	case got.MaxRequest < MinChannel || got.MaxResponse < MinChannel:
		return got, xdr.ErrTooSmall
	case got.MaxOps == 0 || got.MaxRequests == 0:
		return got, xdr.ErrInval
	}
	return got, xdr.OK
}

// backChannel answers the attributes of the back channel: one callback at a
// time.
func backChannel(want xdr.ChannelAttrs) xdr.ChannelAttrs {
	want.HeaderPad = 0
	want.MaxRequests = min(want.MaxRequests, 1)
	return want
}

// SessionOwner returns the client of a session of an identity; ok is false if
// there is none.
func (t *Table) SessionOwner(identity string, id xdr.SessionID) (clientID uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.find(identity, id)
	if s == nil {
		return 0, false
	}
	return s.client.id, true
}

func (t *Table) find(identity string, id xdr.SessionID) *session {
	s := t.sessions[id]
	if s == nil || s.client.key.identity != identity || s.client.expiring {
		return nil
	}
	return s
}

// HasSession tells whether there is such a session.
func (t *Table) HasSession(id xdr.SessionID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sessions[id] != nil
}

// DestroySession removes a session. own tells that the request came in by one
// of its own slots.
func (t *Table) DestroySession(identity string, id xdr.SessionID, own bool) xdr.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.find(identity, id)
	if s == nil {
		return xdr.ErrBadSession
	}
	busy := 0
	for i := range s.slots {
		if s.slots[i].busy {
			busy++
		}
	}
	if own {
		busy--
	}
	if busy > 0 {
		return xdr.ErrDelay
	}
	delete(s.client.sessions, id)
	delete(t.sessions, id)
	return xdr.OK
}

// SequenceArgs are those of SEQUENCE. Sum identifies the rest of the COMPOUND
// and who sent it, so that another request in the guise of a retry is noticed.
type SequenceArgs struct {
	Identity string
	Session  xdr.SessionID
	Sequence uint32
	Slot     uint32
	Highest  uint32
	Sum      uint64
}

// Ticket is a request that got through SEQUENCE. It must be given to Finish.
type Ticket struct {
	ClientID uint64
	Session  xdr.SessionID
	Fore     xdr.ChannelAttrs
	Highest  uint32 // sr_highest_slotid and sr_target_highest_slotid
	Flags    uint32 // sr_status_flags that the client's state calls for
	Delegs   bool   // the client has delegations

	// Replay tells that the request was carried out before; Reply is the
	// answer, or nil if it was not kept. Finish must not be called then.
	Replay bool
	Reply  []byte

	session *session
	slot    uint32
}

// Sequence admits a request to a slot (RFC 8881 §18.46.3).
func (t *Table) Sequence(a SequenceArgs, now time.Time) (*Ticket, xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.find(a.Identity, a.Session)
	switch {
	case s == nil:
		return nil, xdr.ErrBadSession
	case int64(a.Slot) >= int64(len(s.slots)):
		return nil, xdr.ErrBadSlot
	case int64(a.Highest) >= int64(len(s.slots)):
		return nil, xdr.ErrBadHighSlot
	}
	k := &Ticket{
		ClientID: s.client.id, Session: s.id, Fore: s.fore, Highest: uint32(len(s.slots) - 1),
		Delegs: len(s.client.delegs) > 0, session: s, slot: a.Slot,
	}
	if s.client.revoked > 0 {
		k.Flags |= xdr.SeqRecallableRevoked
	}
	p := &s.slots[a.Slot]
	switch a.Sequence {
	case p.seq:
		return k, p.retry(a.Sum, k)
	case p.seq + 1:
	default:
		return nil, xdr.ErrSeqMisordered
	}
	if p.busy {
		return nil, xdr.ErrSeqMisordered
	}
	*p = slot{seq: a.Sequence, busy: true, sum: a.Sum, reply: p.reply[:0]}
	s.client.busy++
	s.client.renewed = now
	return k, xdr.OK
}

// retry answers a request whose sequence the slot has seen.
func (p *slot) retry(sum uint64, k *Ticket) xdr.Status {
	switch {
	case p.busy:
		return xdr.ErrDelay
	case !p.cached && p.sum == 0: // the slot was never used
		return xdr.ErrSeqMisordered
	case p.sum != sum:
		return xdr.ErrSeqFalseRetry
	}
	k.Replay = true
	if p.cached {
		k.Reply = bytes.Clone(p.reply)
	}
	return xdr.OK
}

// Finish ends a request. reply, which is copied, is kept for a retry; nil says
// that it is too large to keep.
func (t *Table) Finish(k *Ticket, reply []byte, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &k.session.slots[k.slot]
	p.busy = false
	if reply != nil {
		p.reply, p.cached = append(p.reply[:0], reply...), true
	}
	k.session.client.busy--
	k.session.client.renewed = now
}
