package nfs

import (
	"bytes"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

func TestRetryGetsTheSameReplyAndIsCarriedOutOnce(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	p.seq++
	body := encode([]op{p.sequence(0, p.seq), putA(), mkdir("d", 0o755), getFH()})
	p.send(body)
	first := bytes.Clone(p.receive())
	if st := parse(first).status; st != xdr.OK {
		t.Fatal(st)
	}
	changes := s.a.LastApplied()
	p.send(body)
	if again := p.receive(); !bytes.Equal(first, again) {
		t.Errorf("the retry is answered otherwise:\n%x\n%x", first, again)
	}
	if s.a.LastApplied() != changes {
		t.Error("the retry changed something")
	}
}

func TestRetryOverAnotherConnection(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	p.seq++
	body := encode([]op{p.sequence(0, p.seq), putA(), mkdir("d", 0o755)})
	p.send(body)
	first := bytes.Clone(p.receive())
	q := s.dial(PseudoRoot(), "one")
	q.send(body)
	if again := q.receive(); !bytes.Equal(first, again) {
		t.Error("the retry is answered otherwise")
	}
}

func TestOtherRequestInTheGuiseOfARetry(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	p.must(putA(), mkdir("d", 0o755))
	res := p.raw(p.sequence(0, p.seq), putA(), mkdir("e", 0o755))
	p.want(res.status, xdr.ErrSeqFalseRetry, "other operations")
}

func TestLargeReplyIsNotKept(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o644))})
	p.must(putFH(f.fh), write(f.id, 0, xdr.FileSync, make([]byte, 10000)))
	p.must(putFH(f.fh), read(f.id, 0, 10000))
	res := p.raw(p.sequence(0, p.seq), putFH(f.fh), read(f.id, 0, 10000))
	p.want(res.status, xdr.ErrRetryUncachedRep, "retry of a READ")
	if res.count != 2 {
		t.Errorf("%d results, want SEQUENCE and the failure", res.count)
	}
}

func TestReplyTooBigToCache(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o644))})
	p.must(putFH(f.fh), write(f.id, 0, xdr.FileSync, make([]byte, 10000)))
	p.cache = true
	long := make([]op, 0, 50)
	for range 40 {
		long = append(long, getAttr(xdr.AttrSupportedAttrs, xdr.AttrFileHandle, xdr.AttrOwner, xdr.AttrOwnerGroup, xdr.AttrTimeAccess, xdr.AttrTimeModify))
	}
	p.want(p.status(append([]op{putFH(f.fh)}, long...)...), xdr.ErrRepTooBigToCache, "a reply of more than 4 KiB")
}

func TestSequenceRefusals(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	p.want(p.raw(p.sequence(0, p.seq+2)).status, xdr.ErrSeqMisordered, "sequence skipped")
	p.want(p.raw(p.sequence(5, 0)).status, xdr.ErrSeqMisordered, "sequence 0 of a new slot")
	p.want(p.raw(p.sequence(64, 1)).status, xdr.ErrBadSlot, "slot out of range")
	p.want(p.raw(putRoot()).status, xdr.ErrOpNotInSession, "no SEQUENCE")
	p.want(p.status(p.sequence(1, 1)), xdr.ErrSequencePos, "second SEQUENCE")
	p.want(p.raw(p.exchangeID(0), putRoot()).status, xdr.ErrNotOnlyOp, "EXCHANGE_ID with company")
	q := *p
	q.session[3] ^= 1
	p.want(p.raw(q.sequence(0, 1)).status, xdr.ErrBadSession, "unknown session")
	many := make([]op, 70)
	for i := range many {
		many[i] = putRoot()
	}
	p.want(p.raw(append([]op{p.sequence(0, p.seq+1)}, many...)...).status, xdr.ErrTooManyOps, "71 operations")
	p.must(putRoot())
}

func TestUnknownMinorVersionsAreRefused(t *testing.T) {
	s := newSite(t)
	p := s.dial(PseudoRoot(), "one")
	for _, minor := range []uint32{3, 9} {
		w := xdr.NewWriter()
		w.String("x")
		w.Uint32(minor)
		w.Uint32(1)
		putRoot()(w)
		p.send(w.Bytes())
		res := parse(p.receive())
		if res.status != xdr.ErrMinorVersMismatch || res.count != 0 {
			t.Errorf("minor version %d: %v, %d results", minor, res.status, res.count)
		}
		w.Release()
	}
}

func TestExchangeIDFindsTheClientAgain(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	res := p.raw(p.exchangeID(0))
	p.ok(res, xdr.OpExchangeID)
	id, seq, flags := res.Uint64(), res.Uint32(), res.Uint32()
	if id != p.client || seq != 2 || flags&xdr.ExchgConfirmedR == 0 {
		t.Errorf("id %x (was %x), sequence %d, flags %x", id, p.client, seq, flags)
	}
	p.want(p.raw(p.exchangeID(xdr.ExchgUpdConfirmedRecA)).status, xdr.OK, "update")
	q := *p
	q.owner = "two"
	p.want(p.raw(q.exchangeID(xdr.ExchgUpdConfirmedRecA)).status, xdr.ErrNoEnt, "update of nobody")
	q = *p
	q.boot = 9
	p.want(p.raw(q.exchangeID(xdr.ExchgUpdConfirmedRecA)).status, xdr.ErrNotSame, "update with another verifier")
}

func TestClientRestartFreesItsState(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, deny: xdr.DenyBoth, how: unchecked(mode(0o644))})
	q := s.dial(PseudoRoot(), "one")
	q.boot = 1
	q.connect()
	q.must(reclaimComplete())
	p.want(p.raw(p.sequence(0, p.seq+1)).status, xdr.ErrBadSession, "the old session")
	q.want(q.status(putFH(f.fh), read(f.id, 0, 1)), xdr.ErrBadStateID, "the old stateid")
	g := q.open(putA(), openSpec{name: "f"})
	if s.a.Holds(inoOf(t, g.fh)) != 1 {
		t.Error("the old open still holds the file")
	}
}

func TestStatesOfAnotherServerInstanceAreStale(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	s.restart()
	q := s.dial(PseudoRoot(), "one")
	q.client, q.session, q.seq = p.client, p.session, p.seq
	q.want(q.raw(q.sequence(0, q.seq+1)).status, xdr.ErrBadSession, "session")
	q.want(q.raw(createSession(p.client, 2)).status, xdr.ErrStaleClientID, "client id")
}

func TestCreateSessionIsReplayed(t *testing.T) {
	s := newSite(t)
	p := s.dial(PseudoRoot(), "one")
	res := p.raw(p.exchangeID(0))
	p.ok(res, xdr.OpExchangeID)
	p.client = res.Uint64()
	seq := res.Uint32()
	p.send(encode([]op{createSession(p.client, seq)}))
	first := bytes.Clone(p.receive())
	p.send(encode([]op{createSession(p.client, seq)}))
	if !bytes.Equal(first, p.receive()) {
		t.Error("the retry made another session")
	}
	p.want(p.raw(createSession(p.client, seq+2)).status, xdr.ErrSeqMisordered, "sequence skipped")
	small := channel
	small.MaxRequest = 100
	p.want(p.raw(createSessionWith(p.client, seq+1, small)).status, xdr.ErrTooSmall, "requests of 100 bytes")
}

func TestSessionLimitsAreLowered(t *testing.T) {
	s := newSite(t)
	p := s.dial(PseudoRoot(), "one")
	res := p.raw(p.exchangeID(0))
	p.ok(res, xdr.OpExchangeID)
	client, seq := res.Uint64(), res.Uint32()
	res = p.raw(createSessionWith(client, seq, xdr.ChannelAttrs{MaxRequest: 1 << 30, MaxResponse: 1 << 30, MaxResponseCached: 1 << 30, MaxOps: 1 << 30, MaxRequests: 1 << 30}))
	p.ok(res, xdr.OpCreateSession)
	res.Fixed(16)
	res.Uint32()
	res.Uint32()
	if got := res.ChannelAttrs(); got != foreLimits {
		t.Errorf("%+v", got)
	}
}

func TestDestroying(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", how: unchecked(mode(0o644))})
	p.want(p.raw(destroyClient(p.client)).status, xdr.ErrClientIDBusy, "client with a session")
	p.must(putFH(f.fh), closeFile(f))
	p.want(p.raw(destroySession(p.session)).status, xdr.OK, "session")
	p.want(p.raw(destroySession(p.session)).status, xdr.ErrBadSession, "session again")
	if c, _ := s.a.Clients(); len(c) != 1 {
		t.Errorf("reclaim records: %q", c)
	}
	p.want(p.raw(destroyClient(p.client)).status, xdr.OK, "client")
	p.want(p.raw(destroyClient(p.client)).status, xdr.ErrStaleClientID, "client again")
	if c, _ := s.a.Clients(); len(c) != 0 {
		t.Errorf("reclaim records after the client left: %q", c)
	}
}

func TestStateOutlivesTheLeaseUntilSomebodyConflicts(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, deny: xdr.DenyBoth, how: unchecked(mode(0o644))})
	s.clock.advance(time.Hour)
	s.srv.Tick(t.Context())
	p.must(putFH(f.fh), write(f.id, 0, xdr.FileSync, []byte("after the lease")))
	s.clock.advance(time.Hour)
	q := s.mount("two")
	q.want(q.status(putA(), open(openSpec{name: "f", access: xdr.ShareBoth})), xdr.OK, "a conflict after the lease")
	p.want(p.raw(p.sequence(0, p.seq+1)).status, xdr.ErrBadSession, "who had it")
}

func TestCourtesyEnds(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", how: unchecked(mode(0o644))})
	s.clock.advance(state.CourtesyTime + time.Minute)
	s.srv.Tick(t.Context())
	if n := s.a.Holds(inoOf(t, f.fh)); n != 0 {
		t.Errorf("%d holds of a client that was away for a day", n)
	}
}

func TestLocksGiveWayAfterTheLease(t *testing.T) {
	s := newSite(t)
	p, q := s.mount("one"), s.mount("two")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	g := q.open(putA(), openSpec{name: "f", access: xdr.ShareBoth})
	p.must(putFH(f.fh), lock(lockSpec{write: true, length: 10, open: f.id, owner: "p"}))
	q.want(q.status(putFH(g.fh), testLock("q", true, 0, 10)), xdr.ErrDenied, "LOCKT while the lease holds")
	s.clock.advance(40 * time.Second)
	q.must(putRoot())
	s.clock.advance(40 * time.Second)
	q.must(putFH(g.fh), lock(lockSpec{write: true, length: 10, open: g.id, owner: "q"}))
}

func TestLeaseExpiryFreesEverything(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	q := s.mount("two")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, deny: xdr.DenyBoth, how: unchecked(mode(0o644))})
	q.want(q.status(putA(), open(openSpec{name: "f"})), xdr.ErrShareDenied, "while the lease holds")
	for range 3 {
		s.clock.advance(40 * time.Second)
		q.must(putRoot()) // renews
		s.srv.Tick(t.Context())
	}
	q.open(putA(), openSpec{name: "f"})
	p.want(p.raw(p.sequence(0, p.seq+1)).status, xdr.ErrBadSession, "after somebody wanted what it had")
	if n := s.a.Holds(inoOf(t, f.fh)); n != 1 {
		t.Errorf("%d holds, want the new one", n)
	}
	if c, _ := s.a.Clients(); len(c) != 1 || string(c[0]) != "shared:two" {
		t.Errorf("reclaim records: %q", c)
	}
}

func TestServerOwnersDiffer(t *testing.T) {
	s := newSite(t)
	owner := func(root Root) (string, string) {
		p := s.dial(root, "one")
		res := p.raw(p.exchangeID(0))
		p.ok(res, xdr.OpExchangeID)
		res.Uint64()
		res.Uint32()
		res.Uint32()
		res.Uint32()
		res.Uint64()
		return res.String(1024), res.String(1024)
	}
	shared, sharedScope := owner(PseudoRoot())
	a, aScope := owner(FileSystemRoot(fsA))
	b, bScope := owner(FileSystemRoot(fsB))
	if shared == a || a == b || sharedScope == aScope || aScope != (fs.Lineage{'a'}).String() || bScope == aScope {
		t.Errorf("owners %q %q %q, scopes %q %q %q", shared, a, b, sharedScope, aScope, bScope)
	}
}

func inoOf(t *testing.T, h []byte) fs.Ino {
	t.Helper()
	_, ino, _, st := parseHandle(h)
	if st != xdr.OK {
		t.Fatal(st)
	}
	return ino
}
