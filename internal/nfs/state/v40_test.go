package state

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// client40For makes a confirmed client of minor version 0.
func (t *Table) client40For(tb rapid.TB, owner string, boot byte, now time.Time) uint64 {
	id, confirm, st := t.SetClientID(ExchangeArgs{Owner: []byte(owner), Verifier: xdr.Verifier{boot}, Principal: "p"}, now)
	if st == xdr.OK {
		_, st = t.SetClientIDConfirm("", id, confirm, "p", now)
	}
	if st != xdr.OK {
		tb.Fatalf("client %s: %v", owner, st)
	}
	return id
}

// request40 is what the model knows of an owner: its last request and answer.
type request40 struct {
	known  bool
	last   uint32
	op     xdr.Op
	answer xdr.Status
}

// TestEveryNumberOfAnOwnerIsCarriedOutOnce sends an owner's requests in any
// order: the next one is carried out, the last one is answered again, all others
// are refused; what the client does not count the server does not count.
func TestEveryNumberOfAnOwnerIsCarriedOutOnce(t *testing.T) {
	answers := []xdr.Status{xdr.OK, xdr.ErrNoEnt, xdr.ErrGrace, xdr.ErrShareDenied, xdr.ErrBadStateID, xdr.ErrResource, xdr.ErrDelay}
	rapid.Check(t, func(t *rapid.T) {
		tab := newTable()
		client := tab.client40For(t, "c", 1, start)
		model := map[string]*request40{"a": {}, "b": {}}
		for range rapid.IntRange(1, 80).Draw(t, "requests") {
			owner := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "owner")
			m := model[owner]
			seq := m.last + rapid.SampledFrom([]uint32{0, 1, 1, 1, 2, 0xffffffff}).Draw(t, "number")
			k, wait, _, st := tab.BeginOpen(Seq{Op: xdr.OpOpen, ID: seq}, client, []byte(owner), true, start)
			if wait != nil {
				t.Fatal("there is nothing to wait for")
			}
			switch {
			case m.known && seq == m.last:
				if st != xdr.OK || !k.Replay || k.Status != m.answer || string(k.Reply) != "reply" {
					t.Fatalf("the last number again: %v, %+v", st, k)
				}
			case m.known && !next(m.last, seq):
				if st != xdr.ErrBadSeqID {
					t.Fatalf("%d after %d: %v", seq, m.last, st)
				}
			case st != xdr.OK || k.Replay:
				t.Fatalf("%d after %d: %v, %+v", seq, m.last, st, k)
			default:
				answer := rapid.SampledFrom(answers).Draw(t, "answer")
				tab.FinishTurn(k, answer, []byte("reply"), File{}, start)
				if !stays[answer] {
					*m = request40{known: true, last: seq, op: xdr.OpOpen, answer: answer}
				}
			}
		}
	})
}

// next tells whether one number follows another (RFC 7530 §9.1.3).
func next(last, seq uint32) bool {
	return seq == last+1 || last == 0xffffffff && seq == 1
}

func TestASecondRequestOfAnOwnerWaitsForTheFirst(t *testing.T) {
	tab := newTable()
	client := tab.client40For(t, "c", 1, start)
	begin := func(seq uint32) (*Turn, <-chan struct{}, xdr.Status) {
		k, wait, _, st := tab.BeginOpen(Seq{Op: xdr.OpOpen, ID: seq}, client, []byte("o"), false, start)
		return k, wait, st
	}
	first, wait, _ := begin(1)
	if wait != nil {
		t.Fatal("the first waits")
	}
	_, wait, st := begin(1)
	if wait == nil || st != xdr.OK {
		t.Fatalf("a retry while the first is carried out: %v", st)
	}
	select {
	case <-wait:
		t.Fatal("the first is not finished")
	default:
	}
	tab.FinishTurn(first, xdr.ErrNoEnt, nil, File{}, start)
	<-wait
	if k, wait, st := begin(1); st != xdr.OK || wait != nil || !k.Replay || k.Status != xdr.ErrNoEnt {
		t.Errorf("after it: %+v, %v", k, st)
	}
}

func TestARestartedClientLeavesNothing(t *testing.T) {
	tab := newTable()
	now := start
	for boot := range byte(5) {
		client := tab.client40For(t, "c", boot, now)
		for _, owner := range []string{"a", "b"} {
			k, _, _, st := tab.BeginOpen(Seq{Op: xdr.OpOpen, ID: 1}, client, []byte(owner), true, now)
			if st != xdr.OK {
				t.Fatal(st)
			}
			id := tab.open(t, client, owner, File{"fs", 1})
			tab.FinishTurn(k, xdr.OK, nil, File{"fs", 1}, now)
			k, _, st = tab.BeginState(Seq{Op: xdr.OpLock, ID: 2}, id, &LockSeq{ClientID: client, Owner: []byte(owner), ID: 1}, now)
			if st != xdr.OK {
				t.Fatal(st)
			}
			if _, _, st := tab.Lock(LockArgs{ClientID: client, File: File{"fs", 1}, Length: 9, New: true, Open: id, Owner: []byte(owner), Now: now}); st != xdr.OK {
				t.Fatal(st)
			}
			tab.FinishTurn(k, xdr.OK, nil, File{"fs", 1}, now)
		}
		k, _, st := tab.BeginState(Seq{Op: xdr.OpClose, ID: 3}, tab.open(t, client, "a", File{"fs", 1}), nil, now)
		if st != xdr.OK {
			t.Fatal(st)
		}
		tab.FinishTurn(k, xdr.ErrIO, nil, File{}, now)
	}
	if len(tab.clients) != 1 || len(tab.opens) != 2 || len(tab.locks) != 2 || len(tab.closed) != 1 || len(tab.owners) != 1 {
		t.Errorf("%d clients, %d opens, %d locks, %d closed, %d owners", len(tab.clients), len(tab.opens), len(tab.locks), len(tab.closed), len(tab.owners))
	}
}

func TestDowngradeNeedsAUnionOfWhatWasOpened(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type pair struct{ access, deny uint32 }
		var m modes
		var opened []pair
		for range rapid.IntRange(1, 5).Draw(t, "opens") {
			p := pair{rapid.Uint32Range(1, 3).Draw(t, "access"), rapid.Uint32Range(0, 3).Draw(t, "deny")}
			m.add(p.access, p.deny)
			opened = append(opened, p)
		}
		to := pair{rapid.Uint32Range(1, 3).Draw(t, "to access"), rapid.Uint32Range(0, 3).Draw(t, "to deny")}
		want := false
		for subset := 1; subset < 1<<len(opened); subset++ {
			var u pair
			for i, p := range opened {
				if subset&(1<<i) != 0 {
					u.access, u.deny = u.access|p.access, u.deny|p.deny
				}
			}
			want = want || u == to
		}
		if got := m.lower(to.access, to.deny); got != want {
			t.Fatalf("%v to %v: %v, want %v", opened, to, got, want)
		}
	})
}
