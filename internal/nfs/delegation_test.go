package nfs

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// mountBack is mount with a back channel.
func (s *site) mountBack(owner string) *peer {
	s.Helper()
	p := s.dial(PseudoRoot(), owner)
	p.back = xdr.SessionBackChan
	p.connect()
	p.must(reclaimComplete())
	return p
}

// delegated opens a file and returns the delegation that comes with it.
func (p *peer) delegated(dir op, s openSpec) (f file, kind uint32, id xdr.StateID) {
	p.Helper()
	res := p.must(dir, open(s), getFH())
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpOpen)
	f.id = res.StateID()
	res.ChangeInfo()
	res.Uint32()
	res.Bitmap()
	switch kind = res.Uint32(); kind {
	case xdr.DelegateWrite:
		id = res.StateID()
		res.Bool()
		res.Uint32()
		res.Uint64()
		res.Fixed(12)
		res.String(10)
	case xdr.DelegateRead:
		id = res.StateID()
		res.Bool()
		res.Fixed(12)
		res.String(10)
	case xdr.DelegateNoneExt:
		if why := res.Uint32(); why == xdr.WhyNoDelegResource || why == xdr.WhyNoDelegContention {
			res.Bool()
		}
	}
	p.ok(res, xdr.OpGetFH)
	f.fh = res.FH()
	return f, kind, id
}

// callback reads one callback and answers it; answer appends what follows the
// status of the operation.
func (p *peer) callback(op uint32, answer func(w *xdr.Writer)) *xdr.Reader {
	p.Helper()
	rec, err := oncrpc.ReadRecord(p.conn, 1<<20)
	if err != nil {
		p.Fatal(err)
	}
	r := xdr.NewReader(rec)
	xid := r.Uint32()
	kind := r.Uint32()
	r.Uint32() // RPC version
	program := r.Uint32()
	r.Fixed(8) // version and procedure
	for range 2 {
		r.Uint32()
		r.Opaque(400)
	}
	r.Opaque(100)
	r.Fixed(8)
	n := r.Uint32()
	seqOp := r.Uint32()
	session, seq := r.SessionID(), r.Uint32()
	r.Fixed(16)
	if got := r.Uint32(); r.Bad() || kind != 0 || program != max(p.program, 0x40000000) || n != 2 || seqOp != xdr.OpCBSequence || session != p.session || got != op {
		p.Fatalf("callback %d: kind %d, program %#x, %d operations, first %d, bad %v", got, kind, program, n, seqOp, r.Bad())
	}
	w := xdr.NewWriter()
	defer w.Release()
	oncrpc.BeginRecord(w)
	for _, v := range []uint32{xid, 1, 0, 0, 0, 0, 0, 0, 2, xdr.OpCBSequence, 0} {
		w.Uint32(v)
	}
	w.Fixed(session[:])
	for _, v := range []uint32{seq, 0, 0, 0, op, 0} {
		w.Uint32(v)
	}
	if answer != nil {
		answer(w)
	}
	oncrpc.EndRecord(w)
	if _, err := p.conn.Write(w.Bytes()); err != nil {
		p.Fatal(err)
	}
	return &r
}

// recalled waits for CB_RECALL and returns the stateid.
func (p *peer) recalled() xdr.StateID {
	p.Helper()
	r := p.callback(xdr.OpCBRecall, nil)
	return r.StateID()
}

func delegReturn(id xdr.StateID) op {
	return func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpDelegReturn)); w.StateID(id) }
}

func freeStateID(id xdr.StateID) op {
	return func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpFreeStateID)); w.StateID(id) }
}

func TestReadDelegationIsRecalledByWhatConflicts(t *testing.T) {
	conflicts := map[string]func(q *peer, fh []byte) xdr.Status{
		"open for writing": func(q *peer, _ []byte) xdr.Status {
			return q.status(putA(), open(openSpec{name: "f", access: xdr.ShareBoth}))
		},
		"SETATTR": func(q *peer, fh []byte) xdr.Status {
			return q.status(putFH(fh), setAttr(xdr.AnonymousStateID, mode(0o600)))
		},
		"REMOVE": func(q *peer, _ []byte) xdr.Status { return q.status(putA(), named(xdr.OpRemove, "f")) },
		"RENAME": func(q *peer, _ []byte) xdr.Status {
			return q.status(putA(), saveFH(), named(xdr.OpRename, "f", "g"))
		},
		"LINK": func(q *peer, fh []byte) xdr.Status {
			return q.status(putFH(fh), saveFH(), putA(), named(xdr.OpLink, "g"))
		},
		"anonymous WRITE": func(q *peer, fh []byte) xdr.Status {
			return q.status(putFH(fh), write(xdr.AnonymousStateID, 0, xdr.FileSync, []byte("x")))
		},
	}
	for name, conflict := range conflicts {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.mount("two").create("f", "abc")
			s.restart()
			p, q := s.mountBack("one"), s.mount("two")
			f, kind, id := p.delegated(putA(), openSpec{name: "f"})
			if kind != xdr.DelegateRead {
				t.Fatalf("delegation %d", kind)
			}
			p.must(putFH(f.fh), read(id, 0, 3))
			q.must(putA(), open(openSpec{name: "f"}))
			q.want(conflict(q, f.fh), xdr.ErrDelay, "before it is returned")
			if got := p.recalled(); got != id {
				t.Fatalf("recalled %v, want %v", got, id)
			}
			p.must(putFH(f.fh), delegReturn(id))
			q.want(conflict(q, f.fh), xdr.OK, "after it was returned")
			p.want(p.status(putFH(f.fh), delegReturn(id)), xdr.ErrBadStateID, "returned again")
		})
	}
}

func TestNoDelegation(t *testing.T) {
	s := newSite(t)
	p := s.mountBack("one")
	none := func(what string, q *peer, spec openSpec) {
		t.Helper()
		if _, kind, _ := q.delegated(putA(), spec); kind != xdr.DelegateNone && kind != xdr.DelegateNoneExt {
			t.Errorf("%s: delegation %d", what, kind)
		}
	}
	none("open for writing", p, openSpec{name: "w", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	none("while somebody writes", p, openSpec{name: "w"})
	none("without a back channel", s.mount("two"), openSpec{name: "x", how: unchecked(mode(0o666))})
	none("not wanted", p, openSpec{name: "x", access: xdr.ShareRead | xdr.WantNoDeleg})
	s.a.SetReadOnly(true)
	none("on a destination", p, openSpec{name: "x"})
}

func TestHolderIsNotInItsOwnWay(t *testing.T) {
	s := newSite(t)
	p := s.mountBack("one")
	f, kind, id := p.delegated(putA(), openSpec{name: "f", how: unchecked(mode(0o666))})
	if kind != xdr.DelegateRead {
		t.Fatalf("delegation %d", kind)
	}
	p.must(putFH(f.fh), setAttr(xdr.AnonymousStateID, mode(0o640)))
	p.must(putA(), open(openSpec{name: "f", access: xdr.ShareBoth}))
	p.must(putA(), open(openSpec{claim: xdr.ClaimDelegateCur, name: "f", deleg: id, owner: "cur"}))
	p.must(putFH(f.fh), open(openSpec{claim: xdr.ClaimDelegCurFH, deleg: id, owner: "fh"}))
	wrong := id
	wrong.Other[11] ^= 1
	p.want(p.status(putFH(f.fh), open(openSpec{claim: xdr.ClaimDelegCurFH, deleg: wrong})), xdr.ErrBadStateID, "no such delegation")
	p.want(p.status(putFH(f.fh), open(openSpec{claim: xdr.ClaimDelegCurFH, deleg: id, access: xdr.ShareBoth})), xdr.ErrOpenMode, "writing by a read delegation")
	p.want(p.status(freeStateID(id)), xdr.ErrLocksHeld, "FREE_STATEID of what is held")
}

func TestDelegationThatIsNotReturnedIsRevoked(t *testing.T) {
	s := newSite(t)
	p, q := s.mountBack("one"), s.mount("two")
	f, _, id := p.delegated(putA(), openSpec{name: "f", how: unchecked(mode(0o666))})
	conflict := func() xdr.Status { return q.status(putA(), open(openSpec{name: "f", access: xdr.ShareBoth})) }
	q.want(conflict(), xdr.ErrDelay, "at once")
	p.recalled()
	for range 2 {
		s.clock.advance(31 * time.Second)
		p.must(putRoot()) // its lease holds
		q.must(putRoot())
		s.srv.Tick(t.Context())
	}
	q.want(conflict(), xdr.OK, "after a lease")
	p.want(p.status(putFH(f.fh), read(id, 0, 1)), xdr.ErrDelegRevoked, "READ with it")
	if flags := p.flags(); flags != xdr.SeqRecallableRevoked {
		t.Errorf("flags %#x", flags)
	}
	p.must(freeStateID(id))
	if flags := p.flags(); flags != 0 {
		t.Errorf("flags %#x after FREE_STATEID", flags)
	}
	if c, _ := s.a.Clients(); len(c) != 1 || string(c[0]) != "shared:two" {
		t.Errorf("reclaim records %q: who kept a delegation must not reclaim", c)
	}
	if n := s.a.Holds(inoOf(t, f.fh)); n != 2 {
		t.Errorf("%d holds, want those of two opens", n)
	}
}

// flags are the status flags of a SEQUENCE.
func (p *peer) flags() uint32 {
	p.Helper()
	p.seq++
	res := p.raw(p.sequence(0, p.seq))
	p.ok(res, xdr.OpSequence)
	res.Fixed(16 + 16)
	return res.Uint32()
}

func bindConn(id xdr.SessionID, dir uint32) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpBindConnToSession))
		w.Fixed(id[:])
		w.Uint32(dir)
		w.Bool(false)
	}
}

func TestClientIsToldThatItsBackChannelIsDown(t *testing.T) {
	s := newSite(t)
	p, q := s.mountBack("one"), s.mount("two")
	_, kind, id := p.delegated(putA(), openSpec{name: "f", how: unchecked(mode(0o666))})
	if kind != xdr.DelegateRead {
		t.Fatalf("delegation %d", kind)
	}
	again := s.dial(PseudoRoot(), "one")
	p.conn.Close()
	p.conn = again.conn
	for p.flags() != xdr.SeqCBPathDown|xdr.SeqCBPathDownSession {
		// the server has not noticed the end of the connection yet
	}
	res := p.raw(bindConn(p.session, xdr.ChanForeOrBoth))
	p.ok(res, xdr.OpBindConnToSession)
	res.Fixed(16)
	if dir := res.Uint32(); dir != xdr.ChanBoth {
		t.Errorf("bound %d", dir)
	}
	if f := p.flags(); f != 0 {
		t.Errorf("flags %#x after the connection was bound", f)
	}
	q.want(q.status(putA(), named(xdr.OpRemove, "f")), xdr.ErrDelay, "a conflict")
	if got := p.recalled(); got != id {
		t.Errorf("recalled %v", got)
	}
}

func TestWriteDelegationAnswersForItsHolder(t *testing.T) {
	s := newSite(t)
	p, q := s.mountBack("one"), s.mount("two")
	f, kind, id := p.delegated(putA(), openSpec{name: "f", access: xdr.ShareBoth | xdr.WantWriteDeleg, how: unchecked(mode(0o666))})
	if kind != xdr.DelegateWrite {
		t.Fatalf("delegation %d", kind)
	}
	p.must(putFH(f.fh), write(id, 0, xdr.FileSync, []byte("abc")))
	q.seq++
	q.send(encode([]op{q.sequence(0, q.seq), putFH(f.fh), getAttr(xdr.AttrChange, xdr.AttrSize)}))
	p.callback(xdr.OpCBGetAttr, func(w *xdr.Writer) {
		w.Attrs(&xdr.Attrs{Mask: xdr.Bits(xdr.AttrChange, xdr.AttrSize), Change: 1 << 62, Size: 4711})
	})
	res := parse(q.receive())
	q.ok(res, xdr.OpSequence)
	res.Fixed(16 + 20)
	q.ok(res, xdr.OpPutFH)
	if a := q.attrs(res); a.Size != 4711 {
		t.Errorf("size %d, not what the holder says", a.Size)
	}
	q.want(q.status(putA(), open(openSpec{name: "f"})), xdr.ErrDelay, "an open for reading")
	if got := p.recalled(); got != id {
		t.Errorf("recalled %v", got)
	}
	p.must(putFH(f.fh), delegReturn(id))
	q.must(putA(), open(openSpec{name: "f"}))
}

func TestDemotionRecallsDelegations(t *testing.T) {
	s := newSite(t)
	p := s.mountBack("one")
	f, _, id := p.delegated(putA(), openSpec{name: "f", how: unchecked(mode(0o666))})
	s.a.SetReadOnly(true)
	s.srv.Tick(context.Background())
	if got := p.recalled(); got != id {
		t.Errorf("recalled %v", got)
	}
	p.must(putFH(f.fh), delegReturn(id))
	if n := s.a.Holds(inoOf(t, f.fh)); n != 1 {
		t.Errorf("%d holds", n)
	}
}
