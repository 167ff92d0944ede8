package nfs

import (
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

func (p *peer) flagsOfOpen(dir op, s openSpec) uint32 {
	p.Helper()
	res := p.must(dir, open(s))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpOpen)
	res.StateID()
	res.ChangeInfo()
	return res.Uint32()
}

// notified waits for CB_NOTIFY_LOCK and returns the handle and the lock owner.
func (p *peer) notified() (fh []byte, client uint64, owner string) {
	p.Helper()
	r := p.callback(xdr.OpCBNotifyLock, nil)
	return r.FH(), r.Uint64(), r.String(100)
}

func TestWaiterIsToldOfItsTurn(t *testing.T) {
	s := newSite(t)
	p, q, r := s.mount("holder"), s.mountBack("waiter"), s.mount("other")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	id := p.lock(f, lockSpec{write: true, length: 10, owner: "p"})
	if n := p.flagsOfOpen(putA(), openSpec{name: "f"}); n&xdr.OpenResultMayNotifyLock != 0 {
		t.Error("a client without a back channel is told to wait for callbacks")
	}
	if n := q.flagsOfOpen(putA(), openSpec{name: "f"}); n&xdr.OpenResultMayNotifyLock == 0 {
		t.Error("a client with a back channel is not told that callbacks come")
	}
	g := q.open(putA(), openSpec{name: "f", access: xdr.ShareBoth})
	h := r.open(putA(), openSpec{name: "f", access: xdr.ShareBoth})
	waiting := lockSpec{write: true, wait: true, length: 10, open: g.id, owner: "q"}
	q.want(q.status(putFH(g.fh), lock(waiting)), xdr.ErrDenied, "a lock that somebody has")
	p.must(putFH(f.fh), unlock(id, 0, 10))
	fh, client, owner := q.notified()
	if string(fh) != string(g.fh) || client != q.client || owner != "q" {
		t.Errorf("told of %x to %x %q", fh, client, owner)
	}
	r.want(r.status(putFH(h.fh), lock(lockSpec{write: true, length: 1, open: h.id, owner: "r"})), xdr.ErrDenied, "a lock that is kept for a waiter")
	r.want(r.status(putFH(h.fh), testLock("r", true, 0, 1)), xdr.ErrDenied, "LOCKT of it")
	q.must(putFH(g.fh), lock(waiting))
}

// noLonger is longer than a lock is kept for who was told of it.
const noLonger = 3 * time.Second

// denier is the owner that keeps p from a lock.
func (p *peer) denier(f file) string {
	p.Helper()
	res := p.call(putFH(f.fh), testLock("x", true, 0, 1))
	p.want(res.status, xdr.ErrDenied, "a lock that is kept")
	p.ok(res, xdr.OpPutFH)
	res.next(xdr.OpLockT)
	res.Fixed(8 + 8 + 4 + 8)
	return res.String(100)
}

// In minor version 0 nobody can be told: who waits asks again, and has the lock
// if it does so soon.
func TestWaiterOfMinorVersionZeroPolls(t *testing.T) {
	s := newSite(t)
	p, q, r := s.mount("holder"), s.mount40("waiter"), s.mount("greedy")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	id := p.lock(f, lockSpec{write: true, length: 10, owner: "p"})
	g := q.file40(putA(), openSpec{name: "f", access: xdr.ShareBoth, owner: "o"})
	h := r.open(putA(), openSpec{name: "f", access: xdr.ShareBoth})
	waiting := lockSpec{write: true, wait: true, length: 10, open: g.id, owner: "q"}
	greedy := lockSpec{write: true, wait: true, length: 10, open: h.id, owner: "r"}
	q.want40(xdr.ErrDenied, "a lock that somebody has", putFH(g.fh), q.lock40(waiting, q.next40("o"), 1))
	s.clock.advance(time.Second)
	q.want40(xdr.ErrDenied, "the same", putFH(g.fh), q.lock40(waiting, q.next40("o"), 1))
	p.must(putFH(f.fh), unlock(id, 0, 10))
	for range 3 {
		s.clock.advance(time.Second)
		r.want(r.status(putFH(h.fh), lock(greedy)), xdr.ErrDenied, "a lock that is kept for a waiter")
	}
	q.must40(putFH(g.fh), q.lock40(waiting, q.next40("o"), 1))
}

// A waiter that has gone keeps the lock from others for seconds only, and its
// client is not asked for more.
func TestLockIsNotKeptForWhoHasGone(t *testing.T) {
	s := newSite(t)
	p, q, r := s.mount("holder"), s.mountBack("waiter"), s.mountBack("next")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	id := p.lock(f, lockSpec{write: true, length: 10, owner: "p"})
	g := q.open(putA(), openSpec{name: "f", access: xdr.ShareBoth})
	h := r.open(putA(), openSpec{name: "f", access: xdr.ShareBoth})
	q.want(q.status(putFH(g.fh), lock(lockSpec{write: true, wait: true, length: 10, open: g.id, owner: "q"})), xdr.ErrDenied, "the first waiter")
	next := lockSpec{write: true, wait: true, length: 10, open: h.id, owner: "r"}
	r.want(r.status(putFH(h.fh), lock(next)), xdr.ErrDenied, "the next")
	p.must(putFH(f.fh), unlock(id, 0, 10))
	q.notified()                          // and does nothing
	for n := 0; p.denier(f) != "r"; n++ { // q's answer is noted a moment after it was sent
		if n == 20 {
			t.Fatal("the lock is kept for a waiter that does not come")
		}
		s.clock.advance(noLonger)
		s.srv.Tick(t.Context())
	}
	r.notified()
	r.must(putFH(h.fh), lock(next))
}
