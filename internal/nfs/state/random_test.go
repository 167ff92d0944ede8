package state

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// chaos is clients that do what they like with a few files.
type chaos struct {
	*testing.T
	*Table
	rnd   *rand.Rand
	now   time.Time
	ids   []uint64
	boots byte
}

func (c *chaos) file() File { return File{"fs-a", fs.Ino(c.rnd.IntN(3))} }

func (c *chaos) who() uint64 { return c.ids[c.rnd.IntN(len(c.ids))] }

func (c *chaos) flip() bool { return c.rnd.IntN(2) == 0 }

// open picks one of a client's opens.
func (c *chaos) pick(id uint64) *open {
	for _, o := range c.opens {
		if o.client.id == id {
			return o
		}
	}
	return nil
}

func (c *chaos) step() {
	id := c.who()
	o := c.pick(id)
	from, n := uint64(c.rnd.IntN(20)), uint64(1+c.rnd.IntN(10))
	switch c.rnd.IntN(10) {
	case 0, 1:
		c.Open(OpenArgs{ClientID: id, Owner: []byte{byte(c.rnd.IntN(2))}, File: c.file(), Access: uint32(1 + c.rnd.IntN(3)), Deny: uint32(c.rnd.IntN(10) / 9), Now: c.now})
	case 2, 3, 4:
		if o != nil {
			c.Lock(LockArgs{ClientID: id, File: o.key.file, Write: c.flip(), Wait: c.flip(), Offset: from, Length: n, New: true,
				Open: o.stateID(), Owner: []byte{byte(c.rnd.IntN(3))}, Now: c.now})
		}
	case 5:
		for _, l := range c.locks {
			if l.owner.client.id == id {
				c.Unlock(id, l.stateID(), l.open.key.file, from, n*5)
				break
			}
		}
	case 6:
		if o != nil && c.flip() {
			c.Close(id, o.stateID(), o.key.file)
		}
	case 7:
		c.Delegate(DelegArgs{ClientID: id, File: c.file(), Write: c.flip(), Now: c.now})
	case 8:
		for _, n := range c.TakeNotices() {
			c.Noticed(n, c.flip(), c.now)
		}
		for _, r := range c.TakeRecalls() {
			c.Recalled(r.StateID, c.flip())
		}
	case 9:
		c.now = c.now.Add(time.Duration(c.rnd.IntN(5000)) * time.Millisecond)
		c.tick(id)
	}
}

// tick does what a server does from time to time; most clients renew.
func (c *chaos) tick(restarts uint64) {
	for _, x := range c.clients {
		if c.rnd.IntN(20) > 0 {
			x.renewed = c.now
		}
	}
	due, _ := c.RevokeDue(c.now)
	for _, d := range due {
		c.Revoke(d.StateID)
	}
	for _, x := range c.Expired(c.now) {
		c.Discard(x.ClientID)
	}
	c.SweepWaiters(c.now)
	for i, id := range c.ids {
		if c.clients[id] == nil || id == restarts && c.rnd.IntN(30) == 0 {
			c.boots++
			x, _, st := c.ExchangeID(ExchangeArgs{Owner: fmt.Append(nil, i), Verifier: xdr.Verifier{c.boots}, Principal: "p"}, c.now)
			if st != xdr.OK {
				continue
			}
			c.CreateSession(CreateArgs{ClientID: x.ClientID, Sequence: x.Sequence, Principal: "p", Fore: wish, Back: wish}, c.now)
			c.ids[i] = x.ClientID
		}
	}
}

// holds checks what must be so at any time.
func (c *chaos) holds() {
	c.Helper()
	queued, states := 0, map[*client]int{}
	for name, f := range c.files {
		if len(f.opens)+len(f.delegs) == 0 {
			c.Fatalf("%v is kept although nobody has it", name)
		}
		for i := range f.locks {
			if conflict(f.locks[:i], f.locks[i].Owner, f.locks[i].First, f.locks[i].Last, f.locks[i].Write) != nil {
				c.Fatalf("%v: conflicting locks %+v", name, f.locks)
			}
		}
		for _, w := range f.waiters {
			queued++
			if c.waiters[w.id] != w || !w.open.client.waits[w] || !f.opens[w.open] || c.clients[w.open.client.id] != w.open.client {
				c.Fatalf("%v: a waiter that nobody is", name)
			}
			if w.turn && conflict(f.locks, w.open.client.lockOwners[w.owner], w.first, w.last, w.write) != nil {
				c.Fatalf("%v: the turn of a waiter that is in conflict with a lock", name)
			}
		}
	}
	if queued != len(c.waiters) {
		c.Fatalf("%d waiters in queues, %d known", queued, len(c.waiters))
	}
	for _, o := range c.opens {
		states[o.client]++
	}
	for _, l := range c.locks {
		states[l.owner.client]++
	}
	for _, d := range c.delegs {
		states[d.client]++
	}
	for _, x := range c.clients {
		if x.states != states[x] {
			c.Fatalf("a client counts %d states and has %d", x.states, states[x])
		}
	}
}

// Whatever clients do, locks do not conflict, queues hold only who waits, and
// when all have gone nothing is left.
func TestWhateverClientsDo(t *testing.T) {
	for seed := range uint64(60) {
		c := &chaos{T: t, Table: newTable(), rnd: rand.New(rand.NewPCG(seed, 7)), now: start, ids: make([]uint64, 4)}
		c.serving["fs-a"] = &serving{}
		c.tick(0)
		for range 600 {
			c.step()
			c.holds()
		}
		c.now = c.now.Add(CourtesyTime + time.Hour)
		for range 2 {
			c.RevokeDue(c.now)
			for _, x := range c.Expired(c.now) {
				c.Discard(x.ClientID)
			}
		}
		c.TakeNotices() // of turns that came as others went
		c.TakeRecalls()
		if n := c.Footprint(); n != 0 {
			t.Fatalf("seed %d: %d entries are left", seed, n)
		}
	}
}
