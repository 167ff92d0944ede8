package state

import (
	"slices"
	"time"
)

// waiter is a blocking lock request that was denied: a place in the queue of
// its file (RFC 8881 §9.6). The client asks again by itself, and for the lock
// to be kept until it does, the waiter whose turn it is keeps others off.
//
// A turn is short: nobody can tell a client that is about to ask from one
// whose process was killed, and until the turn lapses the lock is idle.
type waiter struct {
	id          uint64
	open        *open
	owner       string
	first, last uint64
	write       bool

	since  time.Time     // when it came into the queue
	polled time.Time     // when it asked last
	every  time.Duration // between the last two times

	turn    bool      // nothing is in its way any more
	sending bool      // and the client is being told
	told    time.Time // when the client said that it has heard
	lapsed  bool      // it did not come in its turn: it has none until it asks again
}

// request is what a LOCK or LOCKT asks for.
type request struct {
	client      *client // nil: not known to LOCKT
	owner       string
	holder      *lockOwner // the owner's entry, nil if it has no locks anywhere
	first, last uint64
	write       bool
	wait        bool
}

func (w *waiter) of(c *client, owner string) bool { return w.open.client == c && w.owner == owner }

// is tells whether a request is the one that waits.
func (w *waiter) is(q *request) bool {
	return w.of(q.client, q.owner) && w.first == q.first && w.last == q.last && w.write == q.write
}

func (w *waiter) clashes(first, last uint64, write bool) bool {
	return w.first <= last && first <= w.last && (write || w.write)
}

func (w *waiter) denied() *Denied {
	return deniedBy(&Range{w.first, w.last, w.write, &lockOwner{client: w.open.client, owner: w.owner}})
}

// ahead finds the waiter that a request must let pass: one whose turn it is,
// and for a request that can wait, one that came before. The second holds only
// half of the time, a lease in turns: whoever waits for a lock may need
// somebody to get another one first, and nobody here can know. An owner that
// holds a lock on the file is let through, so that it can finish with it.
func (t *Table) ahead(f *file, q *request, now time.Time) *waiter {
	queues := q.wait && len(f.waiters) > 0 && !f.lockedBy(q.holder)
	for _, w := range f.waiters {
		switch {
		case w.is(q):
			return nil
		case w.of(q.client, q.owner) || w.lapsed || !w.clashes(q.first, q.last, q.write):
		case w.turn:
			return w
		case queues && now.Sub(w.since)/t.cfg.Lease%2 == 0:
			return w
		}
	}
	return nil
}

func (f *file) lockedBy(w *lockOwner) bool {
	return w != nil && slices.ContainsFunc(f.locks, func(r Range) bool { return r.Owner == w })
}

// await notes a request that was denied in the queue, or that one in the
// queue has asked again. One that finds no room just asks again.
func (t *Table) await(f *file, o *open, q *request, now time.Time) {
	for _, w := range f.waiters {
		if w.is(q) {
			w.every, w.polled = now.Sub(w.polled), now
			w.told, w.lapsed = time.Time{}, false
			return
		}
	}
	if len(f.waiters) >= MaxWaitersPerFile || len(q.client.waits) >= MaxWaitersPerClient || len(t.waiters) >= MaxWaiters {
		return
	}
	t.last++
	w := &waiter{id: t.last, open: o, owner: q.owner, first: q.first, last: q.last, write: q.write, since: now, polled: now}
	f.waiters = append(f.waiters, w)
	q.client.waits[w], t.waiters[w.id] = true, w
}
