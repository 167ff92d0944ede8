package nfs

import (
	"bytes"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// second makes one more session of a client, on a connection of its own.
func (p *peer) second(s *site, seq uint32) *peer {
	p.Helper()
	q := s.dial(PseudoRoot(), p.owner)
	res := q.raw(createSession(p.client, seq))
	q.ok(res, xdr.OpCreateSession)
	q.client, q.session = p.client, res.SessionID()
	return q
}

// TestSeveralSessionsOfAClient: they have slots of their own and share the
// client's state, which outlives each of them.
func TestSeveralSessionsOfAClient(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	q := p.second(s, 2)
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o644))})
	q.must(putFH(f.fh), write(f.id, 0, xdr.FileSync, []byte("by the other session")))
	q.want(q.raw(q.sequence(0, 9)).status, xdr.ErrSeqMisordered, "a number of the first session's slot")
	id := q.lock(f, lockSpec{write: true, length: 10, owner: "o"})
	p.want(q.raw(destroySession(p.session)).status, xdr.OK, "destroy the first session by the second's connection")
	p.want(p.raw(p.sequence(0, p.seq+1)).status, xdr.ErrBadSession, "the destroyed session")
	q.must(putFH(f.fh), unlock(id, 0, 10))
	q.must(putFH(f.fh), closeFile(f))

	for n := uint32(3); ; n++ {
		st := q.raw(createSession(p.client, n)).status
		if st == xdr.OK {
			continue
		}
		p.want(st, xdr.ErrNoSpc, "one session too many")
		if n != 3+state.MaxSessionsPerClient-1 {
			t.Errorf("refused after %d sessions, the limit is %d", n-2, state.MaxSessionsPerClient)
		}
		break
	}
}

// TestSeveralConnectionsOfASession: requests of one session come over any
// connection, at the same time in different slots; the answer goes where the
// request came from.
func TestSeveralConnectionsOfASession(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	var conns []*peer
	for range 4 {
		q := s.dial(PseudoRoot(), p.owner)
		q.client, q.session = p.client, p.session
		q.raw(bindConn(p.session, xdr.ChanFore))
		conns = append(conns, q)
	}
	for i, q := range conns {
		q.send(encode([]op{q.sequence(uint32(1+i), 1), putA(), mkdir(string(rune('a'+i)), 0o755)}))
	}
	for i, q := range conns {
		if st := parse(q.receive()).status; st != xdr.OK {
			t.Errorf("connection %d: %v", i, st)
		}
	}
	p.must(putA(), lookup("a"), putA(), lookup("d"))
	conns[0].conn.Close() // a connection is not the session
	body := encode([]op{p.sequence(2, 2), putA(), lookup("b")})
	conns[1].send(body)
	first := bytes.Clone(conns[1].receive())
	conns[2].send(body)
	if again := conns[2].receive(); !bytes.Equal(first, again) || parse(again).status != xdr.OK {
		t.Error("a retry over another connection is answered otherwise")
	}
}

// TestLockChangesItsKind: an upgrade waits for other readers, a downgrade and a
// split let others in where nothing is in their way (RFC 8881 §9.5, §18.10).
func TestLockChangesItsKind(t *testing.T) {
	s := newSite(t)
	p, q := s.mount("one"), s.mount("two")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	g := q.open(putA(), openSpec{name: "f", access: xdr.ShareBoth})
	id := p.lock(f, lockSpec{length: 100, owner: "p"})
	other := q.lock(g, lockSpec{offset: 50, length: 10, owner: "q"})
	upgrade := lockSpec{write: true, length: 100, by: &id}
	p.want(p.status(putFH(f.fh), lock(upgrade)), xdr.ErrDenied, "upgrade beside another reader")
	q.want(q.status(putFH(g.fh), testLock("q", false, 0, 100)), xdr.OK, "what was held stays as it was")
	q.must(putFH(g.fh), unlock(other, 50, 10))
	res := p.must(putFH(f.fh), lock(upgrade))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpLock)
	if next := res.StateID(); next.Other != id.Other || next.Seq != id.Seq+1 {
		t.Errorf("%v becomes %v", id, next)
	} else {
		id = next
	}
	q.want(q.status(putFH(g.fh), testLock("q", false, 0, 1)), xdr.ErrDenied, "reading what is upgraded")
	old := id
	res = p.must(putFH(f.fh), lock(lockSpec{offset: 20, length: 30, by: &id})) // downgrade of a part
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpLock)
	id = res.StateID()
	for _, x := range []struct {
		write     bool
		offset, n uint64
		want      xdr.Status
	}{{false, 0, 20, xdr.ErrDenied}, {false, 20, 30, xdr.OK}, {true, 20, 30, xdr.ErrDenied}, {false, 50, 50, xdr.ErrDenied}, {true, 100, 1, xdr.OK}} {
		q.want(q.status(putFH(g.fh), testLock("q", x.write, x.offset, x.n)), x.want, "after a downgrade of a part")
	}
	p.want(p.status(putFH(f.fh), unlock(old, 0, 100)), xdr.ErrOldStateID, "the stateid before the downgrade")
	p.must(putFH(f.fh), unlock(id, 30, 10))
	q.must(putFH(g.fh), testLock("q", true, 30, 10))
	q.want(q.status(putFH(g.fh), testLock("q", true, 29, 1)), xdr.ErrDenied, "the left part")
	q.want(q.status(putFH(g.fh), testLock("q", true, 40, 1)), xdr.ErrDenied, "the right part")
}
