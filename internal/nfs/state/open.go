package state

import (
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// open is what one open owner of a client has open of one file: the union of
// its OPENs (RFC 8881 §9.7).
type open struct {
	id        other
	seq       uint32
	client    *client
	key       openKey
	access    uint32
	deny      uint32
	modes     modes
	principal string // who asked for it, in minor version 0
	locks     map[*lockState]bool
}

type openKey struct {
	owner string
	file  File
}

// file is what all clients have open and locked of one file.
type file struct {
	opens   map[*open]bool
	locks   []Range
	waiters []*waiter // for locks, in the order in which they came
	delegs  map[*deleg]bool
}

// fileOf finds or makes the entry of a file.
func (t *Table) fileOf(f File) *file {
	x := t.files[f]
	if x == nil {
		x = &file{opens: map[*open]bool{}}
		t.files[f] = x
	}
	return x
}

// dropFile forgets a file that nobody has open; locks need opens.
func (t *Table) dropFile(f File) {
	if x := t.files[f]; len(x.opens) == 0 && len(x.delegs) == 0 {
		delete(t.files, f)
	}
}

func (o *open) stateID() xdr.StateID { return xdr.StateID{Seq: o.seq, Other: o.id} }

// nextSeq skips 0, which means "the current one" (RFC 8881 §8.2.2).
func nextSeq(n uint32) uint32 {
	if n == 0xffffffff {
		return 1
	}
	return n + 1
}

// OpenArgs ask for an open.
type OpenArgs struct {
	ClientID uint64
	Owner    []byte
	File     File
	Access   uint32 // xdr.ShareRead, ShareWrite
	Deny     uint32
	Reclaim  bool
	// Principal is who asks; it is kept for Client40.
	Principal string
	// Truncate tells that the size is about to be set: delegations end, as
	// with an open for writing.
	Truncate bool
	// Now tells whose lease is over: such a client must give way.
	Now time.Time
}

// Open grants an open, or adds to the one that the owner has: then again is
// true. The caller has checked grace and made the client's record; it holds
// the inode, and releases it if again is true or the status is not OK. After
// ErrDelay the caller looks for TakeRecalls and Lapsed.
func (t *Table) Open(a OpenArgs) (id xdr.StateID, again bool, st xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clients[a.ClientID]
	if c == nil || c.expiring {
		return id, false, xdr.ErrExpired
	}
	key := openKey{string(a.Owner), a.File}
	own := c.opens[key]
	f := t.files[a.File]
	if f != nil {
		if st := t.shareConflict(f, &a); st != xdr.OK {
			return id, false, st
		}
		change := a.Access&xdr.ShareWrite != 0 || a.Deny&xdr.ShareRead != 0 || a.Truncate
		if t.recallConflicts(f, a.ClientID, change, a.Now) {
			return id, false, xdr.ErrDelay
		}
	}
	if own != nil {
		own.access |= a.Access
		own.deny |= a.Deny
		own.modes.add(a.Access, a.Deny)
		own.principal = a.Principal
		own.seq = nextSeq(own.seq)
		return own.stateID(), true, xdr.OK
	}
	if !t.room(c) {
		return id, false, xdr.ErrDelay
	}
	f = t.fileOf(a.File)
	o := &open{id: t.otherFor(c), seq: 1, client: c, key: key, access: a.Access, deny: a.Deny, locks: map[*lockState]bool{}}
	o.modes.add(a.Access, a.Deny)
	o.principal = a.Principal
	f.opens[o], c.opens[key], t.opens[o.id] = true, o, o
	c.states++
	return o.stateID(), false, xdr.OK
}

// shareConflict tells whether share reservations forbid an open, the owner's
// own too (RFC 8881 §9.7). A client whose lease is over gives way: ErrDelay then.
func (t *Table) shareConflict(f *file, a *OpenArgs) xdr.Status {
	lapsed := false
	for o := range f.opens {
		switch {
		case o.deny&a.Access == 0 && a.Deny&o.access == 0:
		case t.giveWay(o.client, a.Now):
			lapsed = true
		case a.Reclaim:
			return xdr.ErrReclaimConflict
		default:
			return xdr.ErrShareDenied
		}
	}
	if lapsed {
		return xdr.ErrDelay
	}
	return xdr.OK
}

func (t *Table) room(c *client) bool {
	return c.states < MaxStatesPerClient && len(t.opens)+len(t.locks) < MaxStates
}

// dropOpen forgets an open with its locks; its inode is to be released.
func (t *Table) dropOpen(o *open) File {
	f := t.files[o.key.file]
	t.unqueue(f, func(w *waiter) bool { return w.open == o })
	for l := range o.locks {
		t.dropLock(l)
	}
	delete(f.opens, o)
	t.dropFile(o.key.file)
	delete(o.client.opens, o.key)
	delete(t.opens, o.id)
	o.client.states--
	return o.key.file
}

// findOpen resolves a client's stateid to an open of a file.
func (t *Table) findOpen(clientID uint64, id xdr.StateID, f File) (*open, xdr.Status) {
	o := t.opens[id.Other]
	if o == nil || o.client.id != clientID || o.client.expiring || o.key.file != f || !o.usable() {
		return nil, xdr.ErrBadStateID
	}
	return o, o.client.checkSeq(id.Seq, o.seq)
}

// checkSeq compares the seqid of a stateid with the current one.
func checkSeq(got, have uint32) xdr.Status {
	switch {
	case got == 0 || got == have:
		return xdr.OK
	case got < have:
		return xdr.ErrOldStateID
	}
	return xdr.ErrBadStateID
}

// Downgrade lowers an open to the access and deny given (RFC 8881 §18.18).
func (t *Table) Downgrade(clientID uint64, id xdr.StateID, f File, access, deny uint32) (xdr.StateID, xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o, st := t.findOpen(clientID, id, f)
	switch {
	case st != xdr.OK:
		return xdr.StateID{}, st
	case access == 0 || !o.modes.lower(access, deny):
		return xdr.StateID{}, xdr.ErrInval
	}
	o.access, o.deny = access, deny
	o.seq = nextSeq(o.seq)
	return o.stateID(), xdr.OK
}

// Close ends an open and frees the locks that came from it.
func (t *Table) Close(clientID uint64, id xdr.StateID, f File) (Effects, xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o, st := t.findOpen(clientID, id, f)
	if st != xdr.OK {
		return Effects{}, st
	}
	return Effects{Release: []File{t.dropOpen(o)}}, xdr.OK
}

// CheckIO tells whether a stateid allows reading or writing a file: want is
// xdr.ShareRead or ShareWrite. open tells that the stateid stands for an open,
// so that permission was checked then; with a special stateid the caller
// checks it now.
func (t *Table) CheckIO(clientID uint64, id xdr.StateID, f File, want uint32) (open bool, st xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id == xdr.BypassStateID && want == xdr.ShareRead {
		return false, xdr.OK
	}
	if id == xdr.AnonymousStateID || id == xdr.BypassStateID {
		return false, t.denied(f, want)
	}
	if d := t.delegs[id.Other]; d != nil {
		return true, d.checkIO(clientID, id, f, want)
	}
	o := t.opens[id.Other]
	seq := uint32(0)
	if o != nil {
		seq = o.seq
	} else if l := t.locks[id.Other]; l != nil {
		o, seq = l.open, l.seq
	}
	if o == nil || o.client.id != clientID || o.client.expiring || o.key.file != f || !o.usable() {
		return false, xdr.ErrBadStateID
	}
	if st := o.client.checkSeq(id.Seq, seq); st != xdr.OK {
		return false, st
	}
	switch {
	case o.access&want != 0:
	case want == xdr.ShareRead:
		return false, t.denied(f, want) // who writes may have to read (RFC 8881 §9.1.2)
	default:
		return false, xdr.ErrOpenMode
	}
	return true, xdr.OK
}

// denied tells whether somebody's share reservation forbids anonymous I/O.
func (t *Table) denied(f File, want uint32) xdr.Status {
	if x := t.files[f]; x != nil {
		for o := range x.opens {
			if o.deny&want != 0 {
				return xdr.ErrLocked
			}
		}
	}
	return xdr.OK
}

// TestStateID tells whether a client's stateid is valid (RFC 8881 §18.48).
func (t *Table) TestStateID(clientID uint64, id xdr.StateID) xdr.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o := t.opens[id.Other]; o != nil && o.client.id == clientID {
		return checkSeq(id.Seq, o.seq)
	}
	if l := t.locks[id.Other]; l != nil && l.owner.client.id == clientID {
		return checkSeq(id.Seq, l.seq)
	}
	if d := t.delegs[id.Other]; d != nil {
		return d.check(clientID, id)
	}
	return xdr.ErrBadStateID
}

// FreeStateID forgets a lock state without locks (RFC 8881 §18.38).
func (t *Table) FreeStateID(clientID uint64, id xdr.StateID) xdr.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o := t.opens[id.Other]; o != nil && o.client.id == clientID {
		return xdr.ErrLocksHeld
	}
	if d := t.delegs[id.Other]; d != nil {
		return t.freeDeleg(d, clientID, id)
	}
	l := t.locks[id.Other]
	if l == nil || l.owner.client.id != clientID {
		return xdr.ErrBadStateID
	}
	if st := checkSeq(id.Seq, l.seq); st != xdr.OK {
		return st
	}
	if l.held() {
		return xdr.ErrLocksHeld
	}
	t.dropLock(l)
	return xdr.OK
}

// OpenFiles lists the files of a file system that are open or delegated, once
// per open and per delegation.
func (t *Table) OpenFiles(l string) []File {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []File
	for _, o := range t.opens {
		if o.key.file.FS == l {
			list = append(list, o.key.file)
		}
	}
	for _, d := range t.delegs {
		if d.file.FS == l && !d.revoked {
			list = append(list, d.file)
		}
	}
	return list
}
