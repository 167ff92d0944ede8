package nfs

import (
	"github.com/holdfast-fs/holdfast/internal/fs"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// lock locks and returns the lock stateid.
func (p *peer) lock(f file, s lockSpec) xdr.StateID {
	p.Helper()
	s.open = f.id
	res := p.must(putFH(f.fh), lock(s))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpLock)
	return res.StateID()
}

func TestShareReservations(t *testing.T) {
	s := newSite(t)
	p, q := s.mount("one"), s.mount("two")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareRead, deny: 2, how: unchecked(mode(0o666))})
	q.want(q.status(putA(), open(openSpec{name: "f", access: xdr.ShareWrite})), xdr.ErrShareDenied, "writing is denied")
	q.want(q.status(putFH(f.fh), write(xdr.AnonymousStateID, 0, xdr.FileSync, []byte("x"))), xdr.ErrLocked, "anonymous write")
	q.must(putA(), open(openSpec{name: "f", access: xdr.ShareRead}))
	q.want(q.status(putA(), open(openSpec{name: "f", deny: 1, owner: "x"})), xdr.ErrShareDenied, "denying what others have")
	p.must(putFH(f.fh), closeFile(f))
	q.must(putA(), open(openSpec{name: "f", access: xdr.ShareWrite}))
}

func TestUpgradeAndDowngrade(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", owner: "o", how: unchecked(mode(0o666))})
	p.want(p.status(putFH(f.fh), write(f.id, 0, xdr.FileSync, []byte("x"))), xdr.ErrOpenMode, "write with an open for reading")
	g := p.open(putA(), openSpec{name: "f", owner: "o", access: xdr.ShareBoth})
	if g.id.Other != f.id.Other || g.id.Seq != f.id.Seq+1 {
		t.Errorf("%v, then %v: one owner's opens of a file are one", f.id, g.id)
	}
	if n := s.a.Holds(inoOf(t, f.fh)); n != 1 {
		t.Errorf("%d holds", n)
	}
	p.must(putFH(f.fh), write(g.id, 0, xdr.FileSync, []byte("x")))
	p.want(p.status(putFH(f.fh), read(f.id, 0, 1)), xdr.ErrOldStateID, "old sequence")
	down := func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpOpenDowngrade))
		w.StateID(g.id)
		w.Uint32(0)
		w.Uint32(xdr.ShareRead)
		w.Uint32(0)
	}
	p.must(putFH(f.fh), down)
	g.id.Seq = 0 // "the current one"
	p.want(p.status(putFH(f.fh), write(g.id, 0, xdr.FileSync, []byte("x"))), xdr.ErrOpenMode, "write after the downgrade")
	p.must(putFH(f.fh), closeFile(g))
	p.want(p.status(putFH(f.fh), read(g.id, 0, 1)), xdr.ErrBadStateID, "read after the close")
	if n := s.a.Holds(inoOf(t, f.fh)); n != 0 {
		t.Errorf("%d holds after the close", n)
	}
}

func TestCurrentStateIDIsThatOfTheOpen(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	p.must(putA(), open(openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o666))}),
		write(xdr.CurrentStateID, 0, xdr.FileSync, []byte("x")), closeFile(file{id: xdr.CurrentStateID}))
	if _, _, opens, _ := s.srv.table.Counts(); opens != 0 {
		t.Errorf("%d opens left", opens)
	}
}

func TestLocksConflict(t *testing.T) {
	s := newSite(t)
	p, q := s.mount("one"), s.mount("two")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	g := q.open(putA(), openSpec{name: "f", access: xdr.ShareBoth})
	id := p.lock(f, lockSpec{write: true, offset: 10, length: 10, owner: "pid1"})
	res := q.call(putFH(g.fh), lock(lockSpec{write: true, offset: 15, length: 100, open: g.id, owner: "pid2"}))
	p.want(res.status, xdr.ErrDenied, "overlapping lock")
	p.ok(res, xdr.OpPutFH)
	res.next(xdr.OpLock)
	offset, length, typ, client, owner := res.Uint64(), res.Uint64(), res.Uint32(), res.Uint64(), res.String(100)
	if offset != 10 || length != 10 || typ != xdr.LockWrite || client != p.client || owner != "pid1" || res.Remaining() != 0 {
		t.Errorf("denied by %d+%d type %d of %x %q", offset, length, typ, client, owner)
	}
	p.want(q.status(putFH(g.fh), testLock("pid2", false, 0, 11)), xdr.ErrDenied, "LOCKT of byte 10")
	q.must(putFH(g.fh), testLock("pid2", true, 0, 10))
	p.must(putFH(f.fh), testLock("pid1", true, 0, 100)) // its own
	q.lock(g, lockSpec{write: true, offset: 20, length: xdr.LockToEOF, owner: "pid2"})
	p.must(putFH(f.fh), unlock(id, 12, 2))
	q.lock(g, lockSpec{write: true, offset: 12, length: 2, owner: "pid2"})
	p.want(q.status(putFH(g.fh), testLock("pid2", true, 14, 1)), xdr.ErrDenied, "the rest of a split lock")
	p.must(putFH(f.fh), closeFile(f))
	q.lock(g, lockSpec{write: true, offset: 0, length: xdr.LockToEOF, owner: "pid2"})
}

func TestLockRefusals(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareRead, how: unchecked(mode(0o666))})
	for _, c := range []struct {
		what string
		spec lockSpec
		want xdr.Status
	}{
		{"nothing", lockSpec{length: 0, owner: "o"}, xdr.ErrInval},
		{"beyond the last byte", lockSpec{offset: 10, length: 1<<64 - 5, owner: "o"}, xdr.ErrInval},
		{"write lock with an open for reading", lockSpec{write: true, length: 1, owner: "o"}, xdr.ErrOpenMode},
		{"reclaim without grace", lockSpec{length: 1, owner: "o", reclaim: true}, xdr.ErrNoGrace},
		{"unknown lock state", lockSpec{length: 1, by: &xdr.StateID{Seq: 1, Other: [12]byte{1}}}, xdr.ErrBadStateID},
	} {
		c.spec.open = f.id
		p.want(p.status(putFH(f.fh), lock(c.spec)), c.want, c.what)
	}
	p.must(putA(), mkdir("d", 0o755))
	p.want(p.status(putA(), testLock("o", true, 0, 1)), xdr.ErrIsDir, "a directory")
	p.lock(f, lockSpec{offset: 1<<64 - 1, length: 1, owner: "o"})
}

func TestFreeAndTestStateID(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	id := p.lock(f, lockSpec{write: true, length: 5, owner: "o"})
	free := func(id xdr.StateID) op {
		return func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpFreeStateID)); w.StateID(id) }
	}
	p.want(p.status(free(f.id)), xdr.ErrLocksHeld, "an open")
	p.want(p.status(free(id)), xdr.ErrLocksHeld, "a lock")
	res := p.must(putFH(f.fh), unlock(id, 0, xdr.LockToEOF))
	res.Uint64()
	p.ok(res, xdr.OpLockU)
	id = res.StateID()
	test := func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpTestStateID))
		w.Uint32(3)
		w.StateID(f.id)
		w.StateID(id)
		w.StateID(xdr.StateID{Seq: 1, Other: [12]byte{7}})
	}
	res = p.must(test)
	p.ok(res, xdr.OpTestStateID)
	if n, a, b, c := res.Uint32(), res.Uint32(), res.Uint32(), res.Uint32(); n != 3 || a != 0 || b != 0 || c != uint32(xdr.ErrBadStateID) {
		t.Errorf("%d: %d %d %d", n, a, b, c)
	}
	p.must(free(id))
	p.want(p.status(free(id)), xdr.ErrBadStateID, "freed before")
}

// reboot restarts the server and gives the peer a new session, as a client
// does that finds its old one gone.
func (p *peer) reboot(s *site) *peer {
	s.Helper()
	q := s.dial(PseudoRoot(), p.owner)
	q.boot = p.boot
	q.connect()
	return q
}

func TestReclaimAfterRestart(t *testing.T) {
	s := newSite(t)
	p, q := s.mount("one"), s.mount("two")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, deny: 2, owner: "o", how: unchecked(mode(0o666))})
	p.lock(f, lockSpec{write: true, length: 10, owner: "pid"})
	g := q.open(putA(), openSpec{name: "g", owner: "o", how: unchecked(mode(0o666))})
	p.must(putA(), named(xdr.OpRemove, "f"))
	s.restart()

	stranger := s.mount("three")
	stranger.want(stranger.status(putA(), open(openSpec{name: "g"})), xdr.ErrGrace, "open during grace")
	stranger.want(stranger.status(putFH(g.fh), open(openSpec{claim: xdr.ClaimPrevious})), xdr.ErrNoGrace, "reclaim by a stranger")
	stranger.want(stranger.status(putFH(g.fh), read(xdr.AnonymousStateID, 0, 1)), xdr.ErrGrace, "anonymous read during grace")
	stranger.must(put([16]byte{'b'}, 1), getAttr(xdr.AttrType))

	p = p.reboot(s)
	f = p.open(putFH(f.fh), openSpec{claim: xdr.ClaimPrevious, access: xdr.ShareBoth, deny: 2, owner: "o"})
	p.lock(f, lockSpec{write: true, length: 10, owner: "pid", reclaim: true})
	p.want(p.status(putA(), open(openSpec{name: "g"})), xdr.ErrGrace, "new open during grace")
	p.must(reclaimComplete())
	p.want(p.status(putFH(g.fh), open(openSpec{claim: xdr.ClaimPrevious})), xdr.ErrNoGrace, "reclaim after RECLAIM_COMPLETE")
	p.want(p.status(putA(), open(openSpec{name: "g"})), xdr.ErrGrace, "while another has not finished")

	q = q.reboot(s)
	q.want(q.status(putFH(f.fh), open(openSpec{claim: xdr.ClaimPrevious, access: xdr.ShareWrite, owner: "o"})), xdr.ErrReclaimConflict, "reclaim of what another has")
	q.must(reclaimComplete())
	p.open(putA(), openSpec{name: "g"})
	if got := p.content(f); got != "" {
		t.Errorf("%q", got)
	}
	p.must(putFH(f.fh), closeFile(f))
	p.want(p.status(putFH(f.fh), getAttr(xdr.AttrType)), xdr.ErrStale, "the removed file after its last close")
	p.want(p.status(reclaimComplete()), xdr.ErrCompleteAlready, "RECLAIM_COMPLETE again")
}

func TestGraceEndsWithTime(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	p.must(putA(), named(xdr.OpRemove, "f"))
	s.restart()
	q := s.mount("two")
	q.want(q.status(putA(), open(openSpec{name: "x", how: unchecked(mode(0))})), xdr.ErrGrace, "at once")
	s.clock.advance(59 * time.Second)
	s.srv.Tick(t.Context())
	q.want(q.status(putA(), open(openSpec{name: "x", how: unchecked(mode(0))})), xdr.ErrGrace, "after 59 s")
	s.clock.advance(time.Second)
	s.srv.Tick(t.Context())
	q.must(putA(), open(openSpec{name: "x", how: unchecked(mode(0))}))
	q.want(q.status(putFH(f.fh), getAttr(xdr.AttrType)), xdr.ErrStale, "the removed file that nobody reclaimed")
	if c, _ := s.a.Clients(); len(c) != 1 || string(c[0]) != "shared:two" {
		t.Errorf("records: %q", c)
	}
}

func TestNoGraceWhenNobodyMayReclaim(t *testing.T) {
	s := newSite(t)
	s.restart()
	p := s.mount("one")
	p.open(putA(), openSpec{name: "f", how: unchecked(mode(0o644))})
}

func TestNothingIsGrantedBeforeReclaimComplete(t *testing.T) {
	s := newSite(t)
	p := s.dial(PseudoRoot(), "one")
	p.connect()
	p.want(p.status(putA(), open(openSpec{name: "f", how: unchecked(mode(0))})), xdr.ErrGrace, "before RECLAIM_COMPLETE")
	p.must(reclaimComplete())
	p.must(putA(), open(openSpec{name: "f", how: unchecked(mode(0))}))
}

func TestPromotionLetsClientsOfTheOtherRegionReclaim(t *testing.T) {
	s := newSite(t)
	s.a.SetReadOnly(true)
	local := s.mount("local")
	local.must(putA(), getAttr(xdr.AttrType))
	root := fileHandle(s.a.Lineage(), fs.RootIno)
	s.srv.Tick(t.Context())
	// The records of the other region's clients came with its data.
	s.a.SetReadOnly(false)
	if _, err := s.a.AddClient(t.Context(), []byte("shared:far")); err != nil {
		t.Fatal(err)
	}
	local.want(local.status(putFH(root), read(xdr.AnonymousStateID, 0, 1)), xdr.ErrGrace, "anonymous read after the promotion")
	local.want(local.status(putA(), open(openSpec{name: "f", how: unchecked(mode(0))})), xdr.ErrGrace, "after the promotion")
	far := s.dial(PseudoRoot(), "far")
	far.connect()
	far.must(reclaimComplete())
	local.open(putA(), openSpec{name: "f", how: unchecked(mode(0))})
}

func TestOneHostAtTwoAddressesReclaimsAtEach(t *testing.T) {
	s := newSite(t)
	shared, target := s.mount("one"), s.mountAt(FileSystemRoot(fsA), "one")
	f := shared.open(putA(), openSpec{name: "f", owner: "o", how: unchecked(mode(0o666))})
	g := target.open(putA(), openSpec{name: "g", owner: "o", how: unchecked(mode(0o666))})
	s.restart()
	target = s.dial(FileSystemRoot(fsA), "one")
	target.connect()
	target.open(putFH(g.fh), openSpec{claim: xdr.ClaimPrevious, owner: "o"})
	target.must(reclaimComplete())
	shared = shared.reboot(s)
	shared.open(putFH(f.fh), openSpec{claim: xdr.ClaimPrevious, owner: "o"})
	shared.must(reclaimComplete())
	shared.open(putA(), openSpec{name: "h", how: unchecked(mode(0))})
}

// TestReclaimOnADestination: what was open for reading is given back at once,
// also after a restart; what was open for writing, in the region that writes,
// waits for the promotion.
func TestReclaimOnADestination(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, owner: "o", how: unchecked(mode(0o666))})
	s.a.SetReadOnly(true)
	s.restart()
	p = p.reboot(s)
	p.want(p.status(putFH(f.fh), open(openSpec{claim: xdr.ClaimPrevious, access: xdr.ShareBoth, owner: "o"})), xdr.ErrDelay, "reclaim of an open for writing")
	p.want(p.status(putA(), open(openSpec{name: "f", access: xdr.ShareBoth, owner: "o"})), xdr.ErrROFS, "a new open for writing")
	r := p.open(putFH(f.fh), openSpec{claim: xdr.ClaimPrevious, access: xdr.ShareRead, owner: "r"})
	p.lock(r, lockSpec{length: 10, owner: "pid", reclaim: true})

	s.a.SetReadOnly(false)
	p.open(putFH(f.fh), openSpec{claim: xdr.ClaimPrevious, access: xdr.ShareBoth, owner: "o"})
	p.must(reclaimComplete())
	p.open(putA(), openSpec{name: "g", access: xdr.ShareBoth, owner: "o", how: unchecked(mode(0o666))})
}
