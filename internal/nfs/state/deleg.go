package state

import (
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// deleg is a delegation: its holder may answer for the file by itself, until
// it is recalled (RFC 8881 §10.4). It has an inode hold of its own.
type deleg struct {
	id       other
	client   *client
	file     File
	write    bool
	change   uint64 // the change attribute when a write delegation was granted
	recalled time.Time
	revoked  bool
	sending  bool          // CB_RECALL is being sent
	told     bool          // and was answered
	returned chan struct{} // closed when it is returned or revoked
}

func (d *deleg) stateID() xdr.StateID { return xdr.StateID{Seq: 1, Other: d.id} }

func (d *deleg) check(clientID uint64, id xdr.StateID) xdr.Status {
	switch {
	case d.client.id != clientID || d.client.expiring:
		return xdr.ErrBadStateID
	case d.revoked:
		return xdr.ErrDelegRevoked
	}
	return checkSeq(id.Seq, 1)
}

func (d *deleg) checkIO(clientID uint64, id xdr.StateID, f File, want uint32) xdr.Status {
	st := d.check(clientID, id)
	switch {
	case st != xdr.OK:
		return st
	case d.file != f:
		return xdr.ErrBadStateID
	case want&xdr.ShareWrite != 0 && !d.write:
		return xdr.ErrOpenMode
	}
	return xdr.OK
}

// DelegArgs ask for a delegation after an OPEN. The caller holds the inode for
// it, and releases it unless the delegation is granted.
type DelegArgs struct {
	ClientID uint64
	File     File
	Write    bool
	Change   uint64 // of the file, for a write delegation
	// Reclaim tells that the client had it before the server restarted. What
	// it may keep nobody remembers, so it is recalled at once.
	Reclaim bool
	Now     time.Time
}

// Delegate grants a delegation if nobody could conflict with it now. If not, ok
// is false, and why is one of xdr's reasons.
func (t *Table) Delegate(a DelegArgs) (id xdr.StateID, why uint32, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, f, s := t.clients[a.ClientID], t.files[a.File], t.serving[a.File.FS]
	switch {
	case c == nil || f == nil || s == nil || c.expiring || s.grace != a.Reclaim || s.readOnly:
		return id, xdr.WhyNoDelegResource, false
	case t.changing[a.File.FS] > 0 || len(c.delegs) >= MaxDelegsPerClient || !t.room(c):
		return id, xdr.WhyNoDelegResource, false
	case a.Now.Before(t.cool[a.File]):
		return id, xdr.WhyNoDelegContention, false
	}
	if why, ok := f.delegable(c, a.Write, a.Reclaim); !ok {
		return id, why, false
	}
	d := &deleg{id: t.newOther(), client: c, file: a.File, write: a.Write, change: a.Change, returned: make(chan struct{})}
	if f.delegs == nil {
		f.delegs = map[*deleg]bool{}
	}
	f.delegs[d], c.delegs[d], t.delegs[d.id] = true, true, d
	c.states++
	if a.Reclaim {
		d.recalled, d.told = a.Now, true // the reply to OPEN says so
	}
	return d.stateID(), 0, true
}

// delegable tells whether nobody has a file open or delegated in a way that a
// delegation to a client excludes. With reclaim, the client's own opens for
// writing may have come before.
func (f *file) delegable(c *client, write, reclaim bool) (why uint32, ok bool) {
	for o := range f.opens {
		own := o.client == c
		if o.access&xdr.ShareWrite != 0 && !(own && (write || reclaim)) || o.deny != 0 || write && !own {
			return xdr.WhyNoDelegContention, false
		}
	}
	for d := range f.delegs {
		switch {
		case d.client == c && write && !d.write:
			return xdr.WhyNoDelegUpgrade, false
		case d.client == c && !write && d.write:
			return xdr.WhyNoDelegDowngrade, false
		case d.client == c || d.write || write:
			return xdr.WhyNoDelegContention, false
		}
	}
	return 0, true
}

// Recall is a delegation to be recalled from its holder.
type Recall struct {
	ClientID uint64
	StateID  xdr.StateID
	File     File
	Returned <-chan struct{} // closed when it is returned or revoked
}

// recallConflicts recalls the delegations of others that stand in the way of a
// client: with change of any, else those for writing. It tells whether there
// are any. That of a holder whose lease is over is due to be revoked at once.
func (t *Table) recallConflicts(f *file, clientID uint64, change bool, now time.Time) (some bool) {
	for d := range f.delegs {
		if d.client.id == clientID || !change && !d.write {
			continue
		}
		some = true
		if now.Sub(d.client.renewed) > t.cfg.Lease && d.client.busy == 0 {
			// It keeps what else it has: see RevokeDue.
			t.lapsed = true
		}
		if d.recalled.IsZero() {
			d.recalled, d.sending = now, true
			if len(t.cool) < maxCool {
				t.cool[d.file] = now.Add(coolTime)
			}
			t.recalls = append(t.recalls, d.recall())
		}
	}
	return some
}

func (d *deleg) recall() Recall { return Recall{d.client.id, d.stateID(), d.file, d.returned} }

// TakeRecalls returns the delegations whose recall has been decided and not
// been sent. The caller sends it; one that is not answered is revoked in time.
func (t *Table) TakeRecalls() []Recall {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.recalls
	t.recalls = nil
	return list
}

// Conflict looks for delegations of others that forbid what a client is about
// to do with a file, and recalls them: see recallConflicts. OK, or ErrDelay.
func (t *Table) Conflict(clientID uint64, f File, change bool, now time.Time) xdr.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.files[f]; x != nil && t.recallConflicts(x, clientID, change, now) {
		return xdr.ErrDelay
	}
	return xdr.OK
}

// BeginChange keeps a file system from granting delegations until EndChange,
// while names or attributes change. It tells whether there are delegations.
func (t *Table) BeginChange(l string) (delegs bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changing[l]++
	return len(t.delegs) > 0
}

// EndChange undoes one BeginChange.
func (t *Table) EndChange(l string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changing[l]--; t.changing[l] == 0 {
		delete(t.changing, l)
	}
}

// recallAll recalls the delegations of a file system.
func (t *Table) recallAll(l string, now time.Time) {
	for _, d := range t.delegs {
		if d.file.FS == l && !d.revoked && d.recalled.IsZero() {
			d.recalled, d.sending = now, true
			t.recalls = append(t.recalls, d.recall())
		}
	}
}

// Waiting are recalls under way of delegations of a file: to wait for.
func (t *Table) Waiting(f File) []<-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []<-chan struct{}
	if x := t.files[f]; x != nil {
		for d := range x.delegs {
			if !d.recalled.IsZero() {
				list = append(list, d.returned)
			}
		}
	}
	return list
}

// detach takes a delegation from its file; the inode hold is to be released.
func (t *Table) detach(d *deleg) []File {
	if d.revoked {
		return nil
	}
	delete(t.files[d.file].delegs, d)
	t.dropFile(d.file)
	close(d.returned)
	return []File{d.file}
}

// dropDeleg forgets a delegation.
func (t *Table) dropDeleg(d *deleg) []File {
	release := t.detach(d)
	if d.revoked {
		d.client.revoked--
	}
	delete(d.client.delegs, d)
	delete(t.delegs, d.id)
	d.client.states--
	return release
}

// DelegReturn ends a delegation (RFC 8881 §18.6).
func (t *Table) DelegReturn(clientID uint64, id xdr.StateID, f File) (Effects, xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.delegs[id.Other]
	if d == nil || d.file != f {
		return Effects{}, xdr.ErrBadStateID
	}
	if st := d.check(clientID, id); st != xdr.OK {
		return Effects{}, st
	}
	return Effects{Release: t.dropDeleg(d)}, xdr.OK
}

// CheckDeleg tells whether a client holds a delegation of a file that allows
// an open with this access: the claims CLAIM_DELEGATE_CUR and its like.
func (t *Table) CheckDeleg(clientID uint64, id xdr.StateID, f File, access uint32) xdr.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.delegs[id.Other]
	if d == nil {
		return xdr.ErrBadStateID
	}
	return d.checkIO(clientID, id, f, access)
}

// freeDeleg is FREE_STATEID of a delegation: only of one that was revoked.
func (t *Table) freeDeleg(d *deleg, clientID uint64, id xdr.StateID) xdr.Status {
	switch st := d.check(clientID, id); st {
	case xdr.OK:
		return xdr.ErrLocksHeld
	case xdr.ErrDelegRevoked:
		t.dropDeleg(d)
		return xdr.OK
	default:
		return st
	}
}

// Revocation is a delegation that was recalled and not returned in time. The
// record is of its client: it is removed before the delegation is revoked, so
// that after a restart nobody reclaims what others have got meanwhile.
type Revocation struct {
	StateID  xdr.StateID
	ClientID uint64
	Record   Record
}

// RevokeDue lists the delegations to be revoked: those that were recalled a
// lease ago, or whose holder has not been heard of for a lease. The caller makes that durable
// and calls Revoke. It also returns the recalls to be sent again.
func (t *Table) RevokeDue(now time.Time) (due []Revocation, again []Recall) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for f, until := range t.cool {
		if now.After(until) {
			delete(t.cool, f)
		}
	}
	for _, d := range t.delegs {
		switch {
		case d.recalled.IsZero() || d.revoked || d.client.expiring:
		case now.Sub(d.recalled) > t.cfg.Lease || d.client.busy == 0 && now.Sub(d.client.renewed) > t.cfg.Lease:
			if _, ok := d.client.records[d.file.FS]; ok {
				d.client.records[d.file.FS] = false
			}
			due = append(due, Revocation{d.stateID(), d.client.id, Record{d.file.FS, d.client.record}})
		case !d.sending && !d.told:
			d.sending = true
			again = append(again, d.recall())
		}
	}
	return due, again
}

// Recalled notes whether the holder has answered the recall; if not, it is
// sent again.
func (t *Table) Recalled(id xdr.StateID, told bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.delegs[id.Other]; d != nil {
		d.sending, d.told = false, told
	}
}

// Revoke takes a delegation from its holder, which learns of it by a flag of
// SEQUENCE, and frees it with FREE_STATEID.
func (t *Table) Revoke(id xdr.StateID) Effects {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.delegs[id.Other]
	if d == nil || d.revoked || d.recalled.IsZero() {
		return Effects{}
	}
	eff := Effects{Release: t.detach(d)}
	d.revoked = true
	d.client.revoked++
	return eff
}

// Writer finds the write delegation that somebody else than a client holds of
// a file, and the change attribute with which it was granted.
func (t *Table) Writer(clientID uint64, f File) (r Recall, change uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.files[f]; x != nil {
		for d := range x.delegs {
			if d.write && d.client.id != clientID {
				return d.recall(), d.change, true
			}
		}
	}
	return r, 0, false
}
