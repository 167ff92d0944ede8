package nfs

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

func TestSetClientID(t *testing.T) {
	s := newSite(t)
	p := s.mount40("one")
	f := p.file40(putA(), rw40)

	id, confirm := p.setClientID()
	if id != p.client {
		t.Errorf("a new callback: client %x, was %x", id, p.client)
	}
	p.want40(xdr.ErrStaleClientID, "the wrong verifier", setClientIDConfirm(id, xdr.Verifier{9}))
	p.want40(xdr.ErrStaleClientID, "no verifier", setClientIDConfirm(id, xdr.Verifier{}))
	p.must40(setClientIDConfirm(id, confirm))
	p.must40(setClientIDConfirm(id, confirm), renew(id))
	p.must40(putFH(f.fh), write(f.id, 0, xdr.FileSync, []byte("kept")))

	other := &peer40{peer: s.dial(PseudoRoot(), "one"), seqs: map[string]uint32{}}
	other.uid = 7
	other.want40(xdr.ErrClIDInUse, "another principal", other.asClient())
	other.want40(xdr.ErrClIDInUse, "another principal confirms", setClientIDConfirm(id, confirm))

	p.boot++
	first, old := p.setClientID()
	again, confirm := p.setClientID()
	if first == p.client || again == first || again == p.client {
		t.Errorf("clients %x, %x, %x: want all different", p.client, first, again)
	}
	p.want40(xdr.ErrStaleClientID, "one that was replaced", setClientIDConfirm(first, old))
	p.want40(xdr.ErrStaleClientID, "one that is not confirmed", renew(again))
	p.must40(putFH(f.fh), read(f.id, 0, 10))
	p.must40(setClientIDConfirm(again, confirm))
	p.want40(xdr.ErrExpired, "a stateid from before the restart of the client", putFH(f.fh), read(f.id, 0, 10))
	p.want40(xdr.ErrExpired, "the client from before", renew(p.client))
	p.want40(xdr.ErrStaleClientID, "a client of another server", renew(12345))
}

func TestMinorVersionsDoNotShareState(t *testing.T) {
	s := newSite(t)
	old, young := s.mount40("one"), s.mount("one")
	f, g := old.file40(putA(), rw40), young.open(putA(), openSpec{name: "g", how: unchecked(mode(0o666))})
	young.want(young.status(putFH(f.fh), read(f.id, 0, 1)), xdr.ErrBadStateID, "a stateid of 4.0 in a session")
	old.want40(xdr.ErrStaleClientID, "a stateid of a session", putFH(g.fh), read(g.id, 0, 1))
	old.want40(xdr.ErrBadStateID, "closing it", putFH(g.fh), withState(xdr.OpClose, g.id, 1))
	old.want40(xdr.ErrStaleClientID, "a client id of 4.1", renew(young.client))
	target := s.mount40At(FileSystemRoot(fsA), "one")
	target.want40(xdr.ErrBadStateID, "a stateid of another server identity", putFH(f.fh), read(f.id, 0, 1))
	young.want(young.status(putFH(f.fh), open(openSpec{claim: xdr.ClaimFH, deny: xdr.DenyBoth})), xdr.ErrShareDenied, "what 4.0 has open")
}

func TestAnOwnerIsConfirmedOnce(t *testing.T) {
	s := newSite(t)
	p := s.mount40("one")
	res := p.must40(putA(), p.open40(1, rw40), getFH())
	p.ok(res, xdr.OpPutFH)
	f, confirm := p.opened40(res)
	if !confirm {
		t.Fatal("the first OPEN of an owner need not be confirmed")
	}
	p.want40(xdr.ErrBadStateID, "WRITE before the confirmation", putFH(f.fh), write(f.id, 0, xdr.FileSync, []byte("x")))
	p.want40(xdr.ErrBadStateID, "CLOSE before it", putFH(f.fh), withState(xdr.OpClose, f.id, 2))
	p.want40(xdr.ErrBadSeqID, "OPEN_CONFIRM out of order", putFH(f.fh), withState(xdr.OpOpenConfirm, f.id, 3))

	res = p.must40(putA(), p.open40(77, rw40), getFH())
	p.ok(res, xdr.OpPutFH)
	g, _ := p.opened40(res)
	p.want40(xdr.ErrBadStateID, "the first OPEN was cancelled", putFH(f.fh), withState(xdr.OpOpenConfirm, f.id, 2))
	id := p.stateOf(p.must40(putFH(g.fh), withState(xdr.OpOpenConfirm, g.id, 78)), xdr.OpOpenConfirm)
	p.want40(xdr.ErrBadStateID, "OPEN_CONFIRM of what is confirmed", putFH(g.fh), withState(xdr.OpOpenConfirm, id, 79))
	p.must40(putFH(g.fh), write(id, 0, xdr.FileSync, []byte("x")))

	res = p.must40(putA(), p.open40(79, openSpec{name: "f", owner: "o"}), getFH())
	p.ok(res, xdr.OpPutFH)
	if h, confirm := p.opened40(res); confirm || h.id.Other != id.Other || h.id.Seq != id.Seq+1 {
		t.Errorf("the second OPEN: confirm %v, %v after %v", confirm, h.id, id)
	}
}

func TestRepeatedRequestsOfOwnersGetTheSameAnswer(t *testing.T) {
	s := newSite(t)
	p := s.mount40("one")
	f := p.file40(putA(), rw40)
	seq := p.seqs["o"]

	spec := openSpec{name: "new", access: xdr.ShareBoth, owner: "o", how: guarded(mode(0o600))}
	p.sendTwice("OPEN", putA(), p.open40(seq+1, spec), getFH())
	p.sendTwice("OPEN that fails", putA(), p.open40(seq+2, spec), getFH())
	p.want40(xdr.ErrBadSeqID, "a number that was left out", putA(), p.open40(seq+4, spec))
	p.want40(xdr.ErrBadSeqID, "an old number", putA(), p.open40(seq+1, spec))
	p.want40(xdr.ErrBadSeqID, "the last number for another operation", putFH(f.fh), withState(xdr.OpClose, f.id, seq+2))

	first := p.lock40(lockSpec{write: true, length: 10, open: f.id, owner: "l"}, seq+3, 1)
	l := p.stateOf(parse(p.sendTwice("LOCK", putFH(f.fh), first)), xdr.OpLock)
	p.want40(xdr.ErrBadSeqID, "LOCK by an open with an old number of the lock owner", putFH(f.fh),
		p.lock40(lockSpec{write: true, length: 10, open: f.id, owner: "l"}, seq+4, 1))
	more := p.lock40(lockSpec{write: true, offset: 20, length: 10, by: &l}, 0, 2)
	l = p.stateOf(parse(p.sendTwice("LOCK by a lock", putFH(f.fh), more)), xdr.OpLock)
	q := s.mount40("two")
	g := q.file40(putA(), rw40)
	denied := parse(q.sendTwice("LOCK that is denied", putFH(g.fh), q.lock40(lockSpec{length: 5, open: g.id, owner: "q"}, 3, 1)))
	q.want(denied.status, xdr.ErrDenied, "LOCK of what another has")
	l = p.stateOf(parse(p.sendTwice("LOCKU", putFH(f.fh), unlock40(l, 3, 0, 100))), xdr.OpLockU)
	p.want40(xdr.ErrBadSeqID, "LOCKU out of order", putFH(f.fh), unlock40(l, 5, 0, 100))

	p.sendTwice("OPEN_DOWNGRADE that fails", putFH(f.fh), withState(xdr.OpOpenDowngrade, f.id, seq+4, xdr.ShareRead, 0))
	p.sendTwice("CLOSE", putFH(f.fh), withState(xdr.OpClose, f.id, seq+5))
	p.want40(xdr.ErrBadStateID, "CLOSE of what is closed", putFH(f.fh), withState(xdr.OpClose, f.id, seq+6))
	p.want40(xdr.ErrBadStateID, "LOCKU after CLOSE", putFH(f.fh), unlock40(l, 4, 0, 100))
}

func TestStateIDsAreChecked(t *testing.T) {
	s := newSite(t)
	p := s.mount40("one")
	f := p.file40(putA(), rw40)
	stale, old, future, bad := f.id, f.id, f.id, f.id
	stale.Other = [12]byte{3: 1}
	old.Seq--
	future.Seq++
	bad.Other[11]++
	for want, id := range map[xdr.Status]xdr.StateID{xdr.ErrStaleStateID: stale, xdr.ErrOldStateID: old, xdr.ErrBadStateID: future} {
		p.want40(want, "READ", putFH(f.fh), read(id, 0, 1))
		p.want40(want, "WRITE", putFH(f.fh), write(id, 0, 0, []byte("x")))
		p.want40(want, "SETATTR of the size", putFH(f.fh), setAttr(id, xdr.Attrs{Mask: xdr.Bits(xdr.AttrSize)}))
		seq := p.seqs["o"] + 1
		p.want40(want, "CLOSE", putFH(f.fh), withState(xdr.OpClose, id, seq))
		if want == xdr.ErrOldStateID {
			p.next40("o") // this one counts (RFC 7530 §9.1.7)
		}
	}
	zero := f.id
	zero.Seq = 0
	p.want40(xdr.ErrOldStateID, "0 is not the current one", putFH(f.fh), read(zero, 0, 1))
	p.want40(xdr.ErrBadStateID, "nobody's", putFH(f.fh), read(bad, 0, 1))
	p.want40(xdr.ErrBadStateID, "a special one in CLOSE", putFH(f.fh), withState(xdr.OpClose, xdr.AnonymousStateID, 9))
	p.want40(xdr.ErrBadStateID, "of another file", putA(), read(f.id, 0, 1))
	p.must40(putFH(f.fh), read(xdr.AnonymousStateID, 0, 1))
	p.want40(xdr.ErrNoFileHandle, "no file", withState(xdr.OpClose, f.id, p.seqs["o"]+1))
	p.must40(putFH(f.fh), withState(xdr.OpClose, f.id, p.next40("o")))
}

func TestDowngradeIsHeldToWhatWasOpened(t *testing.T) {
	s := newSite(t)
	p := s.mount40("one")
	f := p.file40(putA(), rw40)
	down := func(access uint32) op {
		return withState(xdr.OpOpenDowngrade, f.id, p.next40("o"), access, 0)
	}
	p.want40(xdr.ErrInval, "to what was never opened alone", putFH(f.fh), down(xdr.ShareRead))
	f = p.file40(putA(), openSpec{name: "f", owner: "o"})
	f.id = p.stateOf(p.must40(putFH(f.fh), down(xdr.ShareRead)), xdr.OpOpenDowngrade)
	p.want40(xdr.ErrOpenMode, "WRITE after it", putFH(f.fh), write(f.id, 0, 0, []byte("x")))
	p.want40(xdr.ErrInval, "back up", putFH(f.fh), down(xdr.ShareBoth))
}

func TestAnotherUserCannotUseAStateIDWithoutPermission(t *testing.T) {
	s := newSite(t)
	p := s.mount40("one")
	p.must40(putA(), setAttr(xdr.StateID{}, mode(0o777)))
	spec := rw40
	spec.how = unchecked(mode(0o600))
	p.uid = 5
	p.connectAs("five")
	f := p.file40(putA(), spec)
	p.uid = 6
	p.want40(xdr.ErrAccess, "WRITE", putFH(f.fh), write(f.id, 0, 0, []byte("x")))
	p.want40(xdr.ErrAccess, "READ", putFH(f.fh), read(f.id, 0, 1))
	p.uid = 5
	p.must40(putFH(f.fh), write(f.id, 0, 0, []byte("x")))
}

func (p *peer40) connectAs(owner string) {
	p.Helper()
	p.owner = owner
	p.connect40()
}

func TestLockOwnersAreReleased(t *testing.T) {
	s := newSite(t)
	p := s.mount40("one")
	f := p.file40(putA(), rw40)
	l := p.locked(f, "o", lockSpec{write: true, length: 10, owner: "l"})
	p.want40(xdr.OK, "its own lock", putFH(f.fh), p.testLock40("l", true, 0, 10))
	p.want40(xdr.ErrDenied, "another's", putFH(f.fh), p.testLock40("m", false, 0, 10))
	p.want40(xdr.ErrLocksHeld, "while it holds a lock", p.releaseLockOwner("l"))
	l = p.stateOf(p.must40(putFH(f.fh), unlock40(l, 2, 0, 10)), xdr.OpLockU)
	p.must40(p.releaseLockOwner("l"), p.releaseLockOwner("nobody"))
	p.want40(xdr.ErrBadStateID, "its stateid", putFH(f.fh), unlock40(l, 3, 0, 10))
	p.locked(f, "o", lockSpec{write: true, length: 10, owner: "l"})
	p.must40(putFH(f.fh), withState(xdr.OpClose, f.id, p.next40("o")))
	if _, _, opens, locks := s.srv.table.Counts(); opens != 0 || locks != 0 {
		t.Errorf("%d opens, %d lock states after CLOSE", opens, locks)
	}
}

func TestLeasesOfMinorVersionZero(t *testing.T) {
	s := newSite(t)
	p, q := s.mount40("one"), s.mount40("two")
	f, g := p.file40(putA(), rw40), q.file40(putA(), rw40)
	p.locked(f, "o", lockSpec{write: true, length: 10, owner: "l"})
	for range 3 {
		s.clock.advance(40 * time.Second)
		p.must40(renew(p.client))
		q.must40(putFH(g.fh), read(g.id, 0, 1))
		s.srv.Tick(t.Context())
	}
	q.want40(xdr.ErrDenied, "while the lease lasts", putFH(g.fh), q.testLock40("m", true, 0, 1))
	s.clock.advance(40 * time.Second)
	q.must40(putFH(g.fh), read(g.id, 0, 1))
	s.clock.advance(40 * time.Second)
	s.srv.Tick(t.Context())
	q.must40(putFH(g.fh), q.testLock40("m", true, 0, 1))
	p.want40(xdr.ErrExpired, "RENEW", renew(p.client))
	p.want40(xdr.ErrExpired, "CLOSE", putFH(f.fh), withState(xdr.OpClose, f.id, p.next40("o")))
	p.want40(xdr.ErrExpired, "READ", putFH(f.fh), read(f.id, 0, 1))
	if c, _ := s.a.Clients(); len(c) != 1 || string(c[0]) != "shared:v4.0:two" {
		t.Errorf("records: %q", c)
	}
}

func TestOwnersThatAreNotUsedAreForgotten(t *testing.T) {
	s := newSite(t)
	p := s.mount40("one")
	p.must40(putA(), p.open40(1, rw40)) // never confirmed
	spec := rw40
	spec.owner = "second"
	f := p.file40(putA(), spec)
	p.must40(putFH(f.fh), withState(xdr.OpClose, f.id, p.next40("second")))
	spec.owner = "third"
	p.file40(putA(), spec)
	for range 4 {
		s.clock.advance(50 * time.Second)
		p.must40(renew(p.client))
		s.srv.Tick(t.Context())
	}
	if _, _, opens, _ := s.srv.table.Counts(); opens != 1 {
		t.Errorf("%d opens, want that of the third owner", opens)
	}
	for _, owner := range []string{"o", "second"} {
		spec.owner = owner
		res := p.must40(putA(), p.open40(500, spec), getFH())
		p.ok(res, xdr.OpPutFH)
		if _, confirm := p.opened40(res); !confirm {
			t.Errorf("%s is still known", owner)
		}
	}
}

func TestReclaimOfMinorVersionZero(t *testing.T) {
	s := newSite(t)
	p := s.mount40("one")
	f := p.file40(putA(), rw40)
	p.must40(putFH(f.fh), write(f.id, 0, xdr.FileSync, []byte("kept")))
	p.must40(putA(), named(xdr.OpRemove, "f"))
	before := p.locked(f, "o", lockSpec{write: true, length: 10, owner: "l"})
	s.restart()

	p, q := &peer40{peer: s.dial(PseudoRoot(), "one"), seqs: map[string]uint32{}}, s.mount40("two")
	p.want40(xdr.ErrStaleStateID, "a stateid from before the restart", putFH(f.fh), read(before, 0, 1))
	p.want40(xdr.ErrStaleClientID, "RENEW", renew(1<<40))
	p.connect40()
	q.want40(xdr.ErrGrace, "OPEN in grace", putA(), q.open40(q.next40("o"), rw40))
	reclaim := openSpec{claim: xdr.ClaimPrevious, access: xdr.ShareBoth, owner: "o"}
	q.want40(xdr.ErrNoGrace, "a reclaim without a record", putFH(f.fh), q.open40(q.next40("o"), reclaim))
	res := p.must40(putFH(f.fh), p.open40(p.next40("o"), reclaim), getFH())
	p.ok(res, xdr.OpPutFH)
	g, confirm := p.opened40(res)
	if confirm {
		t.Error("a reclaim must be confirmed")
	}
	p.locked(g, "o", lockSpec{write: true, reclaim: true, length: 10, owner: "l"})
	p.must40(putFH(g.fh), read(g.id, 0, 10))

	s.clock.advance(time.Minute)
	p.must40(renew(p.client))
	s.srv.Tick(t.Context())
	p.must40(putFH(g.fh), write(g.id, 4, xdr.FileSync, []byte(" on")))
	p.want40(xdr.ErrNoGrace, "a reclaim after grace", putFH(f.fh), p.open40(p.next40("o"), reclaim))
	q.connect40()
	q.file40(putA(), rw40)
}

func TestRetriesAreNotCarriedOutAgain(t *testing.T) {
	s := newSite(t)
	p := s.mount40("one")
	again := func(body []byte) []byte {
		p.xid--
		p.send(body)
		return p.receive()
	}
	body := encode40([]op{putA(), mkdir("d", 0o755), getFH()})
	p.send(body)
	first := p.receive()
	if got := again(body); !bytes.Equal(got, first) {
		t.Errorf("CREATE: %x, then %x", first, got)
	}
	if st := parse(again(encode40([]op{putA(), mkdir("e", 0o755), getFH()}))).status; st != xdr.OK {
		t.Errorf("another request with the same xid: %v", st)
	}
	p.want40(xdr.ErrExist, "the same with another xid", putA(), mkdir("d", 0o755), getFH())
	s.clock.advance(retryLife + time.Second)
	if st := parse(again(body)).status; st != xdr.ErrExist {
		t.Errorf("after the life of a reply: %v", st)
	}
	for range maxRetries + 100 {
		p.must40(putA(), setAttr(xdr.StateID{}, mode(0o755)))
		p.must40(putA(), getAttr(xdr.AttrType))
	}
	s.srv.retries.mu.Lock()
	defer s.srv.retries.mu.Unlock()
	if n, m := len(s.srv.retries.byKey), len(s.srv.retries.oldest); n != maxRetries || m != maxRetries {
		t.Errorf("%d replies are kept, %d in order, want %d", n, m, maxRetries)
	}
}

func TestAFailedCommitIsNotTheAnswerThatIsKept(t *testing.T) {
	s := newSite(t)
	p := s.mount40("one")
	p.file40(putA(), rw40)
	s.a.FailCommits(errors.New("disk on fire"))
	spec := openSpec{name: "lost", access: xdr.ShareBoth, owner: "o", how: guarded(mode(0o600))}
	seq := p.next40("o")
	p.want40(xdr.ErrIO, "OPEN", putA(), p.open40(seq, spec))
	s.a.FailCommits(nil)
	p.want40(xdr.ErrIO, "OPEN sent again", putA(), p.open40(seq, spec))
}
