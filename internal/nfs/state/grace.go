package state

import (
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// serving is what the server knows of a file system that it serves.
type serving struct {
	epoch    fs.EpochID
	readOnly bool
	// wrote tells that there may be state from when this region wrote.
	wrote bool

	grace    bool
	deadline time.Time
	contact  time.Time       // when one that may reclaim came first
	asked    bool            // somebody wants what grace keeps from it
	reclaim  time.Time       // when something was reclaimed last
	may      map[string]bool // owners that may reclaim; false: has finished
	waiting  int             // how many have not finished
}

// Known tells whether the file system is served with this epoch and role, so
// that Begin has nothing to add.
func (t *Table) Known(l string, epoch fs.EpochID, readOnly bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.serving[l]
	return s != nil && s.epoch == epoch && s.readOnly == readOnly
}

// Begin starts to serve a file system, or serves it in a new epoch: after a
// restart or a promotion. owners are those that may reclaim (RFC 8881
// §8.4.2.1); if none of them has anything to reclaim, there is no grace. A
// read-only file system has none either: nothing on it can conflict.
//
// The clients that have files open here, with state that this Table still
// holds, are returned: their records must be made anew. State from before
// another region wrote is dropped: others may have had what it stands for.
func (t *Table) Begin(l string, epoch fs.EpochID, readOnly bool, owners [][]byte, now time.Time) ([]uint64, Effects) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &serving{epoch: epoch, readOnly: readOnly, may: map[string]bool{}}
	before := t.serving[l]
	t.serving[l] = s
	eff := t.handedOver(l, before, s)
	// A client that has said here that it has nothing more to reclaim means
	// this file system too, unless it has just become writable: then the
	// client may come from the region that wrote before.
	heard := before == nil || !before.readOnly
	var live []uint64
	lost := map[string]bool{}
	for _, o := range owners {
		lost[string(o)] = true
	}
	for _, c := range t.clients {
		_, had := c.records[l]
		if had {
			c.records[l] = false
		}
		switch {
		case c.opensOn(l):
			live = append(live, c.id)
			if heard || c.complete {
				delete(lost, c.record) // its state was never lost
			} // else it arrived ahead of the promotion: what it writes is still to come
		case heard && c.complete && c.sees(l):
			if lost[c.record] {
				s.may[c.record] = false
			}
		}
	}
	if readOnly {
		t.recallAll(l, now) // it changes as another region says
		return live, eff
	}
	for o := range lost {
		if _, done := s.may[o]; !done {
			s.may[o] = true
			s.waiting++
		}
	}
	s.grace = true
	s.deadline = now.Add(t.cfg.Grace)
	eff.add(t.endGrace(l, s))
	return live, eff
}

// handedOver drops the state that clients got while this region wrote, if
// another one has written since: its epoch came between, which the counter
// tells. A client of the mount target is forgotten as a whole. It finds this
// out as after a restart of the server, when its address comes back, and
// reclaims.
func (t *Table) handedOver(l string, before, now *serving) (eff Effects) {
	now.wrote = !now.readOnly
	if before == nil || !before.wrote {
		return eff
	}
	next := before.epoch.Counter + 1
	if now.epoch == before.epoch || !now.readOnly && now.epoch.Counter == next && now.epoch.Member == before.epoch.Member {
		now.wrote = true
		return eff
	}
	for _, c := range t.clients {
		if exportOf(c.key.identity) == l {
			eff.add(t.discard(c))
			continue
		}
		for k, o := range c.opens {
			if k.file.FS == l {
				eff.Release = append(eff.Release, t.dropOpen(o))
			}
		}
		for d := range c.delegs {
			if d.file.FS == l {
				eff.Release = append(eff.Release, t.dropDeleg(d)...)
			}
		}
	}
	eff.Forget = nil // those records are the other region's now
	return eff
}

func (c *client) opensOn(l string) bool {
	for k := range c.opens {
		if k.file.FS == l {
			return true
		}
	}
	return false
}

// endGrace ends the grace of a file system if everybody has finished. The
// records of those who reclaimed nothing are forgotten.
func (t *Table) endGrace(l string, s *serving) Effects {
	if !s.grace || s.waiting > 0 {
		return Effects{}
	}
	s.grace = false
	eff := Effects{Ended: []string{l}, Forget: t.unclaimed(l, s, false)}
	s.may = nil
	return eff
}

// unclaimed lists the records of the owners that have reclaimed nothing; with
// missing, only of those that have not finished either.
func (t *Table) unclaimed(l string, s *serving, missing bool) []Record {
	var list []Record
	for o, open := range s.may {
		if r := (Record{l, o}); (open || !missing) && !t.hasRecord(r) {
			list = append(list, r)
		}
	}
	return list
}

// GraceDue is a grace whose time is over although clients have not finished.
type GraceDue struct {
	FS     string
	Forget []Record // of those that did not come back
}

// GraceDue lists the graces whose time is over, and that keep something from
// somebody, or have lasted for long. The caller removes the records
// durably and then calls EndGrace: after that others may get what the missing
// clients had, so those must not reclaim it after another restart (RFC 8881
// §8.4.3).
func (t *Table) GraceDue(now time.Time) []GraceDue {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []GraceDue
	for l, s := range t.serving {
		if s.grace && t.graceOver(s, now) && (s.asked || now.Sub(s.deadline) > idleGrace) {
			list = append(list, GraceDue{l, t.unclaimed(l, s, true)})
		}
	}
	return list
}

// graceOver tells whether the time of a grace is over. It runs anew from when
// the first client comes that may reclaim: after a failover that is when their
// address has moved. As long as clients reclaim it goes on, but not for more
// than maxMoreGrace (RFC 8881 §8.4.2.1: a server may extend it).
func (t *Table) graceOver(s *serving, now time.Time) bool {
	deadline := s.deadline
	if end := s.contact.Add(t.cfg.Grace); end.After(deadline) {
		deadline = end
	}
	switch {
	case now.Before(deadline):
		return false
	case now.Before(deadline.Add(maxMoreGrace)):
		return now.Sub(s.reclaim) > reclaimPause
	}
	return true
}

// EndGrace ends a grace that is due.
func (t *Table) EndGrace(l string, now time.Time) Effects {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.serving[l]
	if s == nil || !s.grace || !t.graceOver(s, now) {
		return Effects{}
	}
	for o, missing := range s.may {
		if missing {
			delete(s.may, o) // its record is gone
		}
	}
	s.waiting = 0
	return t.endGrace(l, s)
}

// AskInGrace is InGrace for somebody who wants what grace keeps from it, so that
// a grace whose time is over ends.
func (t *Table) AskInGrace(l string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.serving[l]
	if s != nil && s.grace {
		s.asked = true
	}
	return s != nil && s.grace
}

// InGrace tells whether only reclaims are granted on a file system.
func (t *Table) InGrace(l string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.serving[l]
	return s != nil && s.grace
}

// MayLock says whether a client may get new opens and locks on a file system
// now, or, with reclaim, those that it had before: OK, ErrGrace or ErrNoGrace.
// What can be had on a read-only file system conflicts with nothing there, so
// that nobody needs to have recorded it: whoever comes back has it again.
func (t *Table) MayLock(clientID uint64, l string, reclaim bool, now time.Time) xdr.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, s := t.clients[clientID], t.serving[l]
	switch {
	case c == nil || c.expiring:
		return xdr.ErrExpired
	case s == nil:
		return xdr.ErrDelay
	}
	if s.grace && s.may[c.record] && s.contact.IsZero() {
		s.contact = now
	}
	switch {
	case reclaim && (s.grace && s.may[c.record] || s.readOnly && !c.complete):
		s.reclaim = now
		return xdr.OK
	case reclaim:
		return xdr.ErrNoGrace
	case s.grace || !c.complete && c.v40 == nil:
		s.asked = true
		return xdr.ErrGrace
	}
	return xdr.OK
}

// ReclaimComplete notes that a client will reclaim nothing more: on one file
// system, or on all (RFC 8881 §18.51).
func (t *Table) ReclaimComplete(clientID uint64, one *string) (Effects, xdr.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clients[clientID]
	if c == nil {
		return Effects{}, xdr.ErrExpired
	}
	var eff Effects
	for l, s := range t.serving {
		if one != nil && *one != l || !c.sees(l) || !s.grace || !s.may[c.record] {
			continue
		}
		s.may[c.record] = false
		s.waiting--
		eff.add(t.endGrace(l, s))
	}
	if one != nil {
		return eff, xdr.OK
	}
	if c.complete {
		return eff, xdr.ErrCompleteAlready
	}
	c.complete = true
	return eff, xdr.OK
}
