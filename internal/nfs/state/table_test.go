package state

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

var start = time.Unix(1_700_000_000, 0)

func newTable() *Table {
	return NewTable(Config{Boot: 7<<32 | 9, Lease: time.Minute, Grace: time.Minute,
		Fore: xdr.ChannelAttrs{MaxRequest: 1 << 20, MaxResponse: 1 << 20, MaxResponseCached: MaxCachedReply, MaxOps: 16, MaxRequests: 4}})
}

var wish = xdr.ChannelAttrs{MaxRequest: 1 << 20, MaxResponse: 1 << 20, MaxResponseCached: 4096, MaxOps: 16, MaxRequests: 4}

// client makes a confirmed client that has completed its reclaims.
func (t *Table) client(tb testing.TB, identity, owner string, now time.Time) (uint64, xdr.SessionID) {
	tb.Helper()
	x, _, st := t.ExchangeID(ExchangeArgs{Identity: identity, Owner: []byte(owner), Principal: "p"}, now)
	if st != xdr.OK {
		tb.Fatal(st)
	}
	s, _, st := t.CreateSession(CreateArgs{Identity: identity, ClientID: x.ClientID, Sequence: x.Sequence, Principal: "p", Fore: wish, Back: wish}, now)
	if st != xdr.OK {
		tb.Fatal(st)
	}
	t.ReclaimComplete(x.ClientID, nil)
	return x.ClientID, s.ID
}

func (t *Table) open(tb testing.TB, client uint64, owner string, f File) xdr.StateID {
	tb.Helper()
	return t.openTo(tb, client, owner, f, xdr.ShareBoth)
}

func (t *Table) openTo(tb testing.TB, client uint64, owner string, f File, access uint32) xdr.StateID {
	tb.Helper()
	id, _, st := t.Open(OpenArgs{ClientID: client, Owner: []byte(owner), File: f, Access: access})
	if st != xdr.OK {
		tb.Fatal(st)
	}
	return id
}

func TestPrincipalsAreNotMixedUp(t *testing.T) {
	tab := newTable()
	id, _ := tab.client(t, "", "one", start)
	other := ExchangeArgs{Owner: []byte("one"), Principal: "q", Verifier: xdr.Verifier{1}}
	tab.open(t, id, "o", File{"fs", 1})
	if _, _, st := tab.ExchangeID(other, start); st != xdr.ErrClIDInUse {
		t.Errorf("another principal takes over state: %v", st)
	}
	if _, eff, st := tab.ExchangeID(other, start.Add(2*time.Minute)); st != xdr.OK || len(eff.Release) != 1 {
		t.Errorf("after the lease: %v, %+v", st, eff)
	}
}

func TestIdentitiesHaveClientsOfTheirOwn(t *testing.T) {
	tab := newTable()
	a, session := tab.client(t, "", "one", start)
	b, _ := tab.client(t, "fs-1", "one", start)
	if a == b {
		t.Fatal("one client id for two servers")
	}
	if _, st := tab.Sequence(SequenceArgs{Identity: "fs-1", Session: session, Sequence: 1, Sum: 1}, start); st != xdr.ErrBadSession {
		t.Errorf("session of the other identity: %v", st)
	}
	if _, st := tab.DestroyClientID("fs-1", a); st != xdr.ErrStaleClientID {
		t.Errorf("client of the other identity: %v", st)
	}
}

func TestSlotIsBusyUntilFinished(t *testing.T) {
	tab := newTable()
	_, session := tab.client(t, "", "one", start)
	a := SequenceArgs{Session: session, Sequence: 1, Sum: 5}
	k, st := tab.Sequence(a, start)
	if st != xdr.OK || k.Replay {
		t.Fatal(st)
	}
	if _, st := tab.Sequence(a, start); st != xdr.ErrDelay {
		t.Errorf("retry while it is carried out: %v", st)
	}
	b := a
	b.Sequence = 2
	if _, st := tab.Sequence(b, start); st != xdr.ErrSeqMisordered {
		t.Errorf("next request in a busy slot: %v", st)
	}
	if st := tab.DestroySession("", session, false); st != xdr.ErrDelay {
		t.Errorf("destroying a busy session: %v", st)
	}
	tab.Finish(k, []byte("reply"), start)
	k, st = tab.Sequence(a, start)
	if st != xdr.OK || !k.Replay || string(k.Reply) != "reply" {
		t.Errorf("%v %+v", st, k)
	}
	b.Sum = 6
	if k, st := tab.Sequence(b, start); st != xdr.OK {
		t.Error(st)
	} else {
		tab.Finish(k, nil, start)
	}
	if string(k.Reply) != "reply" {
		t.Error("a replay changes with the slot")
	}
	if k, st := tab.Sequence(b, start); st != xdr.OK || !k.Replay || k.Reply != nil {
		t.Errorf("reply that was not kept: %v %+v", st, k)
	}
}

func TestBusyClientDoesNotExpire(t *testing.T) {
	tab := newTable()
	id, session := tab.client(t, "", "one", start)
	k, _ := tab.Sequence(SequenceArgs{Session: session, Sequence: 1, Sum: 1}, start)
	late := start.Add(time.Hour)
	if x := tab.Expired(late); len(x) != 0 {
		t.Errorf("%+v expired during a request", x)
	}
	tab.Finish(k, nil, late)
	if x := tab.Expired(late.Add(time.Minute)); len(x) != 0 {
		t.Errorf("%+v expired within its lease", x)
	}
	if x := tab.Expired(late.Add(61 * time.Second)); len(x) != 1 || x[0].ClientID != id {
		t.Errorf("%+v", x)
	}
}

func TestExpiringClientBlocksUntilItIsDiscarded(t *testing.T) {
	tab := newTable()
	id, session := tab.client(t, "", "one", start)
	f := File{"fs", 1}
	if _, _, st := tab.Open(OpenArgs{ClientID: id, Owner: []byte("o"), File: f, Access: 1, Deny: 3}); st != xdr.OK {
		t.Fatal(st)
	}
	tab.Recorded(id, "fs")
	late := start.Add(2 * time.Minute)
	other, _ := tab.client(t, "", "two", late)
	if x := tab.Expired(late); len(x) != 0 {
		t.Fatalf("%+v: nobody conflicts with it", x)
	}
	if _, _, st := tab.Open(OpenArgs{ClientID: other, File: f, Access: 1, Now: late}); st != xdr.ErrDelay || !tab.Lapsed() {
		t.Fatalf("conflicting open: %v", st)
	}
	x := tab.Expired(late)
	if len(x) != 1 || len(x[0].Records) != 1 || x[0].Records[0] != (Record{"fs", "shared:one"}) {
		t.Fatalf("%+v", x)
	}
	if _, st := tab.Sequence(SequenceArgs{Session: session, Sequence: 1, Sum: 1}, late); st != xdr.ErrBadSession {
		t.Errorf("its session: %v", st)
	}
	if _, _, st := tab.Open(OpenArgs{ClientID: other, File: f, Access: 1, Now: late}); st != xdr.ErrDelay {
		t.Errorf("conflicting open before its record is gone: %v", st)
	}
	if eff := tab.Discard(id); len(eff.Release) != 1 || eff.Release[0] != f {
		t.Errorf("%+v", eff)
	}
	if _, _, st := tab.Open(OpenArgs{ClientID: other, File: f, Access: 1, Now: late}); st != xdr.OK {
		t.Errorf("afterwards: %v", st)
	}
}

func TestRecordIsNeededOncePerIncarnation(t *testing.T) {
	tab := newTable()
	id, _ := tab.client(t, "", "one", start)
	if !tab.NeedsRecord(id, "fs") || !tab.Recorded(id, "fs") || tab.NeedsRecord(id, "fs") {
		t.Error("first incarnation")
	}
	x, _, _ := tab.ExchangeID(ExchangeArgs{Owner: []byte("one"), Principal: "p", Verifier: xdr.Verifier{9}}, start)
	_, eff, st := tab.CreateSession(CreateArgs{ClientID: x.ClientID, Sequence: 1, Principal: "p", Fore: wish, Back: wish}, start)
	if st != xdr.OK || len(eff.Forget) != 0 {
		t.Errorf("%v, %+v: the record stays for the new incarnation", st, eff)
	}
	if !tab.NeedsRecord(x.ClientID, "fs") {
		t.Error("the new incarnation is not recorded anew")
	}
	if tab.Recorded(id, "fs") {
		t.Error("a client that is gone is recorded")
	}
	for s := range tab.clients[x.ClientID].sessions {
		tab.DestroySession("", s, false)
	}
	if eff, st := tab.DestroyClientID("", x.ClientID); st != xdr.OK || len(eff.Forget) != 1 {
		t.Errorf("%v, %+v: the inherited record goes with the client", st, eff)
	}
}

func TestNewEpochKeepsLiveStateAndLetsOthersReclaim(t *testing.T) {
	tab := newTable()
	id, _ := tab.client(t, "", "live", start)
	tab.Begin("fs", fs.EpochID{Counter: 1}, true, nil, start)
	tab.open(t, id, "o", File{"fs", 1})
	live, eff := tab.Begin("fs", fs.EpochID{Counter: 2}, false, [][]byte{[]byte("shared:live"), []byte("shared:far")}, start)
	if len(live) != 1 || live[0] != id || len(eff.Ended) != 0 {
		t.Fatalf("live %v, %+v", live, eff)
	}
	if !tab.NeedsRecord(id, "fs") {
		t.Error("the live client's record is not made anew")
	}
	far, _, _ := tab.ExchangeID(ExchangeArgs{Owner: []byte("far"), Principal: "p"}, start)
	tab.CreateSession(CreateArgs{ClientID: far.ClientID, Sequence: 1, Principal: "p", Fore: wish, Back: wish}, start)
	if st := tab.MayLock(far.ClientID, "fs", true, start); st != xdr.OK {
		t.Errorf("reclaim: %v", st)
	}
	if st := tab.MayLock(id, "fs", false, start); st != xdr.ErrGrace {
		t.Errorf("new lock during grace: %v", st)
	}
	eff, _ = tab.ReclaimComplete(far.ClientID, nil)
	if len(eff.Ended) != 1 || len(eff.Forget) != 1 || eff.Forget[0].Owner != "shared:far" {
		t.Errorf("%+v", eff)
	}
}

func TestLimitsHold(t *testing.T) {
	tab := newTable()
	id, _ := tab.client(t, "", "one", start)
	for range MaxSessionsPerClient - 1 {
		tab.CreateSession(CreateArgs{ClientID: id, Sequence: tab.clients[id].createSeq + 1, Principal: "p", Fore: wish, Back: wish}, start)
	}
	if _, _, st := tab.CreateSession(CreateArgs{ClientID: id, Sequence: tab.clients[id].createSeq + 1, Principal: "p", Fore: wish, Back: wish}, start); st != xdr.ErrNoSpc {
		t.Errorf("session %d: %v", MaxSessionsPerClient+1, st)
	}
	f := File{"fs", 1}
	open := tab.open(t, id, "o", f)
	for i := range uint64(50) {
		if _, _, st := tab.Lock(LockArgs{ClientID: id, File: f, Write: true, Offset: 2 * i, Length: 1, New: true, Open: open, Owner: []byte("p")}); st != xdr.OK {
			t.Fatalf("lock %d: %v", i, st)
		}
	}
	file := tab.files[f] // asking for the rest would take long
	for len(file.locks) < MaxLocksPerFile {
		file.locks = append(file.locks, Range{1 << 60, 1 << 60, false, file.locks[0].Owner})
	}
	if _, _, st := tab.Lock(LockArgs{ClientID: id, File: f, Offset: 1 << 61, Length: 1, New: true, Open: open, Owner: []byte("q")}); st != xdr.ErrDelay {
		t.Errorf("one lock too many: %v", st)
	}
	if len(tab.clients[id].lockOwners) != 1 {
		t.Error("a refused lock leaves its owner behind")
	}
	tab.clients[id].states = MaxStatesPerClient
	if _, _, st := tab.Open(OpenArgs{ClientID: id, Owner: []byte("z"), File: f, Access: 1}); st != xdr.ErrDelay {
		t.Errorf("one open too many: %v", st)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	tab := newTable()
	id, session := tab.client(t, "", "one", start)
	for i := range 20 {
		f := File{"fs", fs.Ino(i % 5)}
		open := tab.open(t, id, fmt.Sprint("o", i), f)
		if _, _, st := tab.Lock(LockArgs{ClientID: id, File: f, Write: i%2 == 0, Offset: uint64(i), Length: 1, New: true, Open: open, Owner: []byte{byte(i)}}); st != xdr.OK {
			t.Fatal(st)
		}
		if i%3 == 0 {
			if _, st := tab.Close(id, open, f); st != xdr.OK {
				t.Fatal(st)
			}
		}
	}
	tab.DestroySession("", session, false)
	if _, st := tab.DestroyClientID("", id); st != xdr.ErrClientIDBusy {
		t.Errorf("client with opens: %v", st)
	}
	tab.serving["fs"] = &serving{}
	g := File{"fs", 99}
	tab.openTo(t, id, "reader", g, xdr.ShareRead)
	if _, _, ok := tab.Delegate(DelegArgs{ClientID: id, File: g, Now: start}); !ok {
		t.Fatal("no delegation")
	}
	tab.Expired(start.Add(CourtesyTime + time.Hour))
	tab.Discard(id)
	if tab.Footprint() != 0 {
		t.Errorf("left: %+v", tab)
	}
}

func TestGraceLastsUntilTheMissingAreForgotten(t *testing.T) {
	tab := newTable()
	id, _ := tab.client(t, "", "here", start)
	tab.Begin("fs", fs.EpochID{Counter: 1}, false, [][]byte{[]byte("shared:gone")}, start)
	if st := tab.MayLock(id, "fs", false, start); st != xdr.ErrGrace {
		t.Error(st)
	}
	if due := tab.GraceDue(start.Add(59 * time.Second)); len(due) != 0 {
		t.Fatalf("%+v too early", due)
	}
	late := start.Add(time.Minute)
	for range 2 { // the file system could not remove the record the first time
		due := tab.GraceDue(late)
		if len(due) != 1 || len(due[0].Forget) != 1 || due[0].Forget[0] != (Record{"fs", "shared:gone"}) {
			t.Fatalf("%+v", due)
		}
		if st := tab.MayLock(id, "fs", false, start); st != xdr.ErrGrace {
			t.Errorf("granted while the missing may still reclaim: %v", st)
		}
	}
	if eff := tab.EndGrace("fs", late); len(eff.Ended) != 1 {
		t.Errorf("%+v", eff)
	}
	if st := tab.MayLock(id, "fs", false, start); st != xdr.OK {
		t.Error(st)
	}
}

// Somebody moves the clients' address a while after the promotion: what they had
// is theirs unless another wanted something before they came.
func TestGraceWaitsForWhoComesLate(t *testing.T) {
	begin := func() (tab *Table, first, second, other uint64) {
		tab = newTable()
		tab.Begin("fs", fs.EpochID{Counter: 1}, false, [][]byte{[]byte("shared:first"), []byte("shared:second")}, start)
		other, _ = tab.client(t, "", "other", start)
		ids := map[string]uint64{}
		for _, n := range []string{"first", "second"} {
			x, _, _ := tab.ExchangeID(ExchangeArgs{Owner: []byte(n), Principal: "p"}, start)
			if _, _, st := tab.CreateSession(CreateArgs{ClientID: x.ClientID, Sequence: x.Sequence, Principal: "p", Fore: wish, Back: wish}, start); st != xdr.OK {
				t.Fatal(st)
			}
			ids[n] = x.ClientID
		}
		first, second = ids["first"], ids["second"]
		return tab, first, second, other
	}
	late := start.Add(8 * time.Minute)
	tab, first, second, other := begin()
	if due := tab.GraceDue(late); len(due) != 0 {
		t.Errorf("%+v: nobody wants anything", due)
	}
	if st := tab.MayLock(first, "fs", true, late); st != xdr.OK {
		t.Errorf("who comes late: %v", st)
	}
	if st := tab.MayLock(other, "fs", false, late.Add(time.Second)); st != xdr.ErrGrace {
		t.Errorf("something new: %v", st)
	}
	if due := tab.GraceDue(late.Add(59 * time.Second)); len(due) != 0 {
		t.Errorf("%+v: the second may come a little later", due)
	}
	if st := tab.MayLock(second, "fs", true, late.Add(59*time.Second)); st != xdr.OK {
		t.Errorf("the second: %v", st)
	}
	if due := tab.GraceDue(late.Add(62 * time.Second)); len(due) != 1 {
		t.Errorf("%+v: the time is over", due)
	}

	tab, first, _, other = begin()
	tab.MayLock(other, "fs", false, late)
	if due := tab.GraceDue(late); len(due) != 1 || len(tab.EndGrace("fs", late).Ended) != 1 {
		t.Errorf("%+v: somebody wants something and nobody has come", due)
	}
	if st := tab.MayLock(first, "fs", true, late); st != xdr.ErrNoGrace {
		t.Errorf("who comes after another got something: %v", st)
	}

	tab, _, _, _ = begin()
	if due := tab.GraceDue(start.Add(12 * time.Minute)); len(due) != 1 {
		t.Errorf("%+v: goes on for ever", due)
	}
}

func TestWhoFinishedIsNotWaitedForAgain(t *testing.T) {
	tab := newTable()
	owners := [][]byte{[]byte("shared:one")}
	tab.Begin("fs", fs.EpochID{Counter: 1}, false, owners, start)
	tab.client(t, "", "one", start)
	// The file system was undecided until now; its records could not be removed.
	if _, eff := tab.Begin("fs", fs.EpochID{Counter: 2}, false, owners, start); len(eff.Ended) != 1 {
		t.Errorf("%+v: grace lasts although nobody is missing", eff)
	}
}

func TestGraceGoesOnWhileSomebodyReclaims(t *testing.T) {
	tab := newTable()
	id, _ := tab.client(t, "", "late", start)
	tab.clients[id].complete = false
	tab.Begin("fs", fs.EpochID{Counter: 1}, false, [][]byte{[]byte("shared:late"), []byte("shared:gone")}, start)
	now := start
	for now.Before(start.Add(time.Minute + maxMoreGrace - time.Second)) {
		if st := tab.MayLock(id, "fs", true, now); st != xdr.OK {
			t.Fatalf("after %v: %v", now.Sub(start), st)
		}
		now = now.Add(time.Second)
		if due := tab.GraceDue(now); len(due) != 0 {
			t.Fatalf("ends after %v", now.Sub(start))
		}
	}
	tab.AskInGrace("fs")
	if due := tab.GraceDue(start.Add(time.Minute + maxMoreGrace)); len(due) != 1 {
		t.Error("goes on for ever")
	}
}

// TestStateIsDroppedWhenAnotherRegionHasWritten: the file system was handed
// over and comes back to a server that has run all the time.
func TestStateIsDroppedWhenAnotherRegionHasWritten(t *testing.T) {
	for _, seen := range []bool{true, false} { // as a destination in between, or too short to be seen
		tab := newTable()
		tab.Begin("fs", fs.EpochID{Counter: 1}, false, nil, start)
		target, _ := tab.client(t, "fs", "target", start)
		shared, _ := tab.client(t, "", "shared", start)
		for _, id := range []uint64{target, shared} {
			tab.open(t, id, "o", File{"fs", 1})
			tab.open(t, id, "o", File{"other", 1})
		}
		if seen {
			if live, _ := tab.Begin("fs", fs.EpochID{Counter: 1}, true, nil, start); len(live) != 2 {
				t.Fatalf("live before another region writes: %v", live)
			}
			if _, eff := tab.Begin("fs", fs.EpochID{Counter: 2, Member: 1}, true, nil, start); len(eff.Release) != 3 {
				t.Errorf("%+v", eff)
			}
		}
		live, eff := tab.Begin("fs", fs.EpochID{Counter: 3}, false, [][]byte{[]byte("target:target")}, start)
		if len(live) != 0 || len(eff.Ended) != 0 || seen != (len(eff.Release) == 0) {
			t.Errorf("live %v, %+v", live, eff)
		}
		if _, _, opens, _ := tab.Counts(); opens != 1 {
			t.Errorf("%d opens, want the one on another file system", opens)
		}
		again, _, st := tab.ExchangeID(ExchangeArgs{Identity: "fs", Owner: []byte("target"), Principal: "p"}, start)
		if st != xdr.OK || again.Confirmed || again.ClientID == target {
			t.Fatalf("the client is known still: %+v, %v", again, st)
		}
		tab.CreateSession(CreateArgs{Identity: "fs", ClientID: again.ClientID, Sequence: 1, Principal: "p", Fore: wish, Back: wish}, start)
		if st := tab.MayLock(again.ClientID, "fs", true, start); st != xdr.OK {
			t.Errorf("reclaim: %v", st)
		}
	}
}

func TestStateOutlivesABreakInWhichNobodyWrote(t *testing.T) {
	tab := newTable()
	tab.Begin("fs", fs.EpochID{Counter: 1}, false, nil, start)
	id, _ := tab.client(t, "fs", "target", start)
	tab.open(t, id, "o", File{"fs", 1})
	tab.Begin("fs", fs.EpochID{Counter: 1}, true, nil, start)
	if live, eff := tab.Begin("fs", fs.EpochID{Counter: 2}, false, nil, start); len(live) != 1 || len(eff.Release) != 0 {
		t.Errorf("live %v, %+v", live, eff)
	}
}
