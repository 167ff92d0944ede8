package state

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// contest is clients that want locks of one file.
type contest struct {
	*testing.T
	*Table
	now    time.Time
	who    map[string]uint64
	opened map[string]xdr.StateID
	held   map[string]xdr.StateID
}

func newContest(t *testing.T, names ...string) *contest {
	c := &contest{T: t, Table: newTable(), now: start, who: map[string]uint64{}, opened: map[string]xdr.StateID{}, held: map[string]xdr.StateID{}}
	for _, n := range names {
		c.who[n], _ = c.client(t, "", n, c.now)
		c.opened[n] = c.openTo(t, c.who[n], "o", contested, xdr.ShareBoth)
	}
	return c
}

var contested = File{"fs-a", 7}

// pass lets time go by, in which all clients renew their leases.
func (c *contest) pass(d time.Duration) {
	c.now = c.now.Add(d)
	for _, id := range c.who {
		c.clients[id].renewed = c.now
	}
}

// ask asks for a lock of the bytes 0 to 9.
func (c *contest) ask(name string, write, wait bool) xdr.Status {
	id, _, st := c.Lock(LockArgs{ClientID: c.who[name], File: contested, Write: write, Wait: wait, Length: 10,
		New: true, Open: c.opened[name], Owner: []byte(name), Now: c.now})
	if st == xdr.OK {
		c.held[name] = id
	}
	return st
}

func (c *contest) want(name string, write, wait bool, want xdr.Status) {
	c.Helper()
	if st := c.ask(name, write, wait); st != want {
		c.Fatalf("%s asks (write %v, wait %v): %v, want %v", name, write, wait, st, want)
	}
}

func (c *contest) free(name string) {
	c.Helper()
	if _, st := c.Unlock(c.who[name], c.held[name], contested, 0, 10); st != xdr.OK {
		c.Fatal(st)
	}
}

// told takes the notices, as if they were sent and heard.
func (c *contest) told(want ...string) {
	c.Helper()
	var got []string
	for _, n := range c.TakeNotices() {
		got = append(got, n.Owner)
		c.Noticed(n, true, c.now)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		c.Fatalf("told %v, want %v", got, want)
	}
}

func (c *contest) queued(want int) {
	c.Helper()
	n := 0
	for _, x := range c.clients {
		n += len(x.waits)
	}
	if f := c.files[contested]; len(c.waiters) != want || n != want || f != nil && len(f.waiters) != want {
		c.Fatalf("%d waiters, %d of clients, want %d", len(c.waiters), n, want)
	}
}

func TestWaitersGetTheLockInTheirOrder(t *testing.T) {
	c := newContest(t, "a", "b", "c", "d")
	c.want("a", true, true, xdr.OK)
	c.want("b", true, true, xdr.ErrDenied)
	c.want("c", true, true, xdr.ErrDenied)
	c.want("c", true, true, xdr.ErrDenied) // asks again: no second place
	c.queued(2)
	c.told()
	c.free("a")
	c.told("b")
	c.want("c", true, true, xdr.ErrDenied)
	c.want("d", true, false, xdr.ErrDenied) // who cannot wait has to let it pass, too
	c.want("a", true, true, xdr.ErrDenied)  // and who had it
	if d, st := c.TestLock(c.who["d"], []byte("d"), contested, true, 0, 1, c.now); st != xdr.ErrDenied || d.Owner != "b" || d.Length != 10 {
		t.Errorf("LOCKT: %v by %+v", st, d)
	}
	c.want("b", true, true, xdr.OK)
	c.queued(2)
	c.free("b")
	c.told("c")
	c.want("c", true, true, xdr.OK)
	c.free("c")
	c.told("a")
	c.want("a", true, true, xdr.OK)
	c.queued(0)
}

func TestATurnThatIsMissedLapses(t *testing.T) {
	c := newContest(t, "a", "b", "c", "d")
	c.want("a", true, true, xdr.OK)
	c.want("b", true, true, xdr.ErrDenied)
	c.want("c", true, true, xdr.ErrDenied)
	c.free("a")
	c.told("b")
	c.pass(noticePatience)
	c.SweepWaiters(c.now)
	c.want("d", true, false, xdr.ErrDenied)
	c.pass(time.Millisecond)
	c.SweepWaiters(c.now)
	c.told("c")
	c.want("d", true, false, xdr.ErrDenied)
	c.want("c", true, true, xdr.OK)
	c.want("b", true, true, xdr.ErrDenied) // late, but it is still the first
	c.want("d", true, true, xdr.ErrDenied)
	c.free("c")
	c.told("b")
	c.pass(waiterLife + time.Second)
	c.SweepWaiters(c.now)
	c.queued(0)
	c.want("a", true, false, xdr.OK)
}

// The processes of a client that wait are killed, and their turns come one after
// the other: others wait for seconds, not for two for each.
func TestKilledWaitersCostLittle(t *testing.T) {
	c := newContest(t, "a", "b", "c")
	c.want("a", true, true, xdr.OK)
	const killed = 50
	for n := range killed {
		if _, _, st := c.Lock(LockArgs{ClientID: c.who["b"], File: contested, Write: true, Wait: true, Length: 10,
			New: true, Open: c.opened["b"], Owner: fmt.Append(nil, n), Now: c.now}); st != xdr.ErrDenied {
			t.Fatal(st)
		}
	}
	c.want("c", true, true, xdr.ErrDenied)
	c.free("a")
	begin := c.now
	for told := ""; told != "c"; {
		for _, n := range c.TakeNotices() {
			told = n.Owner
			c.pass(c.Noticed(n, true, c.now) + time.Millisecond)
		}
		c.Tidy(contested, c.now)
		if c.now.Sub(begin) > 10*time.Second {
			t.Fatalf("after %v it is the turn of %q", c.now.Sub(begin), told)
		}
	}
	c.want("c", true, true, xdr.OK)
}

// A client that cannot be told has the lock kept until it can be expected to
// have asked again, for a lease at most.
func TestTheLockIsKeptForWhoPolls(t *testing.T) {
	untold := func(c *contest) {
		for _, n := range c.TakeNotices() {
			c.Noticed(n, false, c.now)
		}
	}
	for _, x := range []struct {
		lease, every, at time.Duration
		want             xdr.Status
	}{
		{60 * time.Second, 8 * time.Second, 18 * time.Second, xdr.ErrDenied},
		{60 * time.Second, 8 * time.Second, 19 * time.Second, xdr.OK},
		{10 * time.Second, 8 * time.Second, 10 * time.Second, xdr.ErrDenied},
		{10 * time.Second, 8 * time.Second, 11 * time.Second, xdr.OK},
	} {
		c := newContest(t, "a", "b", "c")
		c.cfg.Lease = x.lease
		c.want("a", true, true, xdr.OK)
		c.want("b", true, true, xdr.ErrDenied)
		c.pass(x.every)
		c.want("b", true, true, xdr.ErrDenied)
		c.free("a")
		untold(c)
		c.pass(x.at)
		c.SweepWaiters(c.now)
		c.want("c", true, false, x.want)
		if x.want == xdr.ErrDenied {
			c.want("b", true, true, xdr.OK)
		}
	}
}

func TestReadersDoNotStarveAWriter(t *testing.T) {
	c := newContest(t, "r", "s", "w", "x")
	c.want("r", false, true, xdr.OK)
	c.want("w", true, true, xdr.ErrDenied)
	c.want("s", false, true, xdr.ErrDenied) // waits behind the writer
	c.want("x", false, false, xdr.OK)       // cannot wait, and nothing conflicts
	c.free("x")
	c.want("r", false, true, xdr.OK) // has a lock already
	c.free("r")
	c.told("w")
	c.want("w", true, true, xdr.OK)
	c.free("w")
	c.told("s")
	c.want("s", false, true, xdr.OK)

	// Who waits may need the reader that is kept waiting: not for ever.
	c.want("w", true, true, xdr.ErrDenied)
	c.want("r", false, true, xdr.ErrDenied)
	for range 2 {
		c.pass(40 * time.Second)
		c.want("w", true, true, xdr.ErrDenied)
	}
	c.want("r", false, true, xdr.OK)
}

func TestTwoReadersHaveTheirTurnTogether(t *testing.T) {
	c := newContest(t, "a", "b", "c", "d")
	c.want("a", true, true, xdr.OK)
	c.want("b", false, true, xdr.ErrDenied)
	c.want("c", false, true, xdr.ErrDenied)
	c.want("d", true, true, xdr.ErrDenied)
	c.free("a")
	c.told("b", "c")
	c.want("c", false, true, xdr.OK)
	c.want("b", false, true, xdr.OK)
	c.free("b")
	c.told()
	c.free("c")
	c.told("d")
}

func TestADowngradeWakesReaders(t *testing.T) {
	c := newContest(t, "a", "b")
	c.want("a", true, true, xdr.OK)
	c.want("b", false, true, xdr.ErrDenied)
	c.want("a", false, false, xdr.OK)
	c.told("b")
	c.want("b", false, true, xdr.OK)
	c.queued(0)
}

// Whatever ends the interest of a waiter takes its place away, and the next has
// its turn.
func TestPlacesAreGivenUp(t *testing.T) {
	for what, leave := range map[string]func(c *contest){
		"a request that does not wait": func(c *contest) { c.want("b", true, false, xdr.ErrDenied) },
		"closing the file": func(c *contest) {
			if _, st := c.Close(c.who["b"], c.opened["b"], contested); st != xdr.OK {
				c.Fatal(st)
			}
		},
		"the client's restart": func(c *contest) {
			x, _, _ := c.ExchangeID(ExchangeArgs{Owner: []byte("b"), Verifier: xdr.Verifier{9}, Principal: "p"}, c.now)
			if _, _, st := c.CreateSession(CreateArgs{ClientID: x.ClientID, Sequence: x.Sequence, Principal: "p", Fore: wish, Back: wish}, c.now); st != xdr.OK {
				c.Fatal(st)
			}
		},
		"the end of its lease": func(c *contest) {
			c.pass(40 * time.Second)
			c.want("c", true, true, xdr.ErrDenied)
			c.clients[c.who["b"]].renewed = start
			c.now = c.now.Add(21 * time.Second)
			c.SweepWaiters(c.now)
		},
		"not asking again": func(c *contest) {
			c.pass(40 * time.Second)
			c.want("c", true, true, xdr.ErrDenied)
			c.pass(6 * time.Second)
			c.SweepWaiters(c.now)
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := newContest(t, "a", "b", "c")
			c.want("a", true, true, xdr.OK)
			c.want("b", true, true, xdr.ErrDenied)
			c.want("c", true, true, xdr.ErrDenied)
			leave(c)
			c.queued(1)
			c.free("a")
			c.told("c")
			c.want("c", true, true, xdr.OK)
			c.queued(0)
		})
	}
}

func TestAnUnlockGivesUpThePlacesOfItsOwner(t *testing.T) {
	c := newContest(t, "a", "b")
	c.want("a", true, true, xdr.OK)
	id, _, st := c.Lock(LockArgs{ClientID: c.who["b"], File: contested, Write: true, Offset: 20, Length: 5, New: true, Open: c.opened["b"], Owner: []byte("b"), Now: c.now})
	if st != xdr.OK {
		t.Fatal(st)
	}
	c.want("b", true, true, xdr.ErrDenied)
	c.queued(1)
	if _, st := c.Unlock(c.who["b"], id, contested, 0, xdr.LockToEOF); st != xdr.OK {
		t.Fatal(st)
	}
	c.queued(0)
}

func TestQueuesAreBounded(t *testing.T) {
	c := newContest(t, "a", "b")
	c.want("a", true, true, xdr.OK)
	ask := func(n int) xdr.Status {
		_, _, st := c.Lock(LockArgs{ClientID: c.who["b"], File: contested, Write: true, Wait: true, Length: 10,
			New: true, Open: c.opened["b"], Owner: fmt.Append(nil, n), Now: c.now})
		return st
	}
	for n := range MaxWaitersPerFile + 10 {
		if st := ask(n); st != xdr.ErrDenied {
			t.Fatal(st)
		}
	}
	c.queued(MaxWaitersPerFile)
	if _, _, _, locks := c.Counts(); locks != 1 || len(c.clients[c.who["b"]].lockOwners) != 0 {
		t.Errorf("%d locks, %d lock owners of who only waits", locks, len(c.clients[c.who["b"]].lockOwners))
	}
	c.free("a")
	for n := range 3 {
		if st := ask(n); st != xdr.OK {
			t.Fatalf("waiter %d: %v", n, st)
		}
		id := c.clients[c.who["b"]].lockOwners[fmt.Sprint(n)].states[contested].stateID()
		if _, st := c.Unlock(c.who["b"], id, contested, 0, 10); st != xdr.OK {
			t.Fatal(st)
		}
	}
}

// One by one, whatever happens, somebody gets the lock within a bounded time,
// and nobody gets it twice while another waits.
func TestNobodyStarves(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e"}
	c := newContest(t, names...)
	got := map[string]int{}
	holder := ""
	for range 1000 {
		if holder != "" {
			c.free(holder)
			holder = ""
		}
		// All ask at once, the greedy one always first.
		for _, n := range names {
			if c.ask(n, true, true) == xdr.OK {
				if holder != "" {
					t.Fatalf("%s and %s have the lock", holder, n)
				}
				holder = n
				got[n]++
			}
		}
		c.pass(time.Second)
	}
	for _, n := range names {
		if got[n] < 190 || got[n] > 210 {
			t.Errorf("%v: a fifth each is fair", got)
			break
		}
	}
}
