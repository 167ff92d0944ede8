package state

import (
	"slices"
	"time"
)

// unqueue forgets the waiters of a file for which gone is true.
func (t *Table) unqueue(f *file, gone func(*waiter) bool) {
	n := len(f.waiters)
	f.waiters = slices.DeleteFunc(f.waiters, func(w *waiter) bool {
		if !gone(w) {
			return false
		}
		delete(t.waiters, w.id)
		delete(w.open.client.waits, w)
		return true
	})
	if len(f.waiters) < n {
		t.wake(f)
	}
}

// wake gives their turn to the waiters that nothing is in the way of any more.
// It is called after every change of locks or of the queue. With very many locks
// it looks at the first waiters only; the others have their turn later.
func (t *Table) wake(f *file) {
	reach := max(maxWakeWork/(len(f.locks)+1), leastWake)
	for i, w := range f.waiters {
		free := !w.lapsed && i < reach
		for _, v := range f.waiters[:i] {
			free = free && (v.lapsed || v.of(w.open.client, w.owner) || !v.clashes(w.first, w.last, w.write))
		}
		free = free && conflict(f.locks, w.open.client.lockOwners[w.owner], w.first, w.last, w.write) == nil
		if w.turn == free {
			continue
		}
		w.turn, w.told = free, time.Time{}
		if free && !w.sending && w.open.client.v40 == nil {
			w.sending = true
			t.notices = append(t.notices, Notice{w.id, w.open.client.id, w.open.key.file, w.owner})
			t.noticed.Store(true)
		}
	}
}

// tidy ends the turns of waiters that did not come, and forgets those that
// have not asked for long. It is called before the queue is looked at.
func (t *Table) tidy(f *file, now time.Time) {
	if len(f.waiters) == 0 {
		return
	}
	lapsed := false
	for _, w := range f.waiters {
		if w.lapsed || !t.missed(w, now) {
			continue
		}
		if !w.told.IsZero() {
			w.open.client.missed++
		}
		w.turn, w.lapsed, lapsed = false, true, true
	}
	if lapsed {
		t.wake(f)
	}
	t.unqueue(f, func(w *waiter) bool {
		c := w.open.client
		return now.Sub(w.polled) > waiterLife || c.expiring || c.busy == 0 && now.Sub(c.renewed) > t.cfg.Lease
	})
}

// missed tells whether a waiter should have come by now. One that was told
// comes at once. One that cannot be told comes when it asks again: clients wait
// up to twice as long each time, and so long the lock is kept, but for a lease
// at most (RFC 8881 §9.6).
func (t *Table) missed(w *waiter, now time.Time) bool {
	switch {
	case w.sending || !w.turn && w.open.client.v40 == nil:
		return false
	case !w.told.IsZero():
		return now.Sub(w.told) > w.open.client.patience()
	}
	return now.Sub(w.polled) > min(2*w.every+pollPatience, t.cfg.Lease)
}

// patience is how long a lock is kept for a waiter of a client that has said
// that it was told. If the processes of a client that wait are killed, their
// turns come one after the other: each that is missed halves the time for the
// next, until one comes.
func (c *client) patience() time.Duration {
	return max(noticePatience>>min(c.missed, 10), leastPatience)
}

// Notice is a waiter to be told that its turn has come: CB_NOTIFY_LOCK.
type Notice struct {
	id       uint64
	ClientID uint64
	File     File
	Owner    string
}

// TakeNotices returns the waiters to be told. The caller tells them, and says
// by Noticed how that went.
func (t *Table) TakeNotices() []Notice {
	if !t.noticed.Load() {
		return nil // most requests free no lock: no mutex for them
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.notices
	t.notices = nil
	t.noticed.Store(false)
	return list
}

// Noticed notes whether a client has answered that it heard of its turn. After
// the time that is returned, the caller calls Tidy.
func (t *Table) Noticed(n Notice, told bool, now time.Time) (patience time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.waiters[n.id]
	if w == nil {
		return 0
	}
	w.sending = false
	if !told {
		return 0
	}
	w.told = now
	return w.open.client.patience()
}

// Tidy ends the turns of a file's waiters that did not come.
func (t *Table) Tidy(f File, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.files[f]; x != nil {
		t.tidy(x, now)
	}
}

// SweepWaiters tidies all queues, so that the next waiter is told when another
// has missed its turn.
func (t *Table) SweepWaiters(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	files := map[*file]bool{}
	for _, w := range t.waiters {
		files[t.files[w.open.key.file]] = true
	}
	for f := range files {
		t.tidy(f, now)
	}
}
