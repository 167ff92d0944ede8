package nfs

import (
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// openBy is an OPEN by a claim and a createhow4 (nil: no create), written out.
func openBy(claim uint32, how func(*xdr.Writer), what func(*xdr.Writer)) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpOpen))
		w.Uint32(0)
		w.Uint32(xdr.ShareRead)
		w.Uint32(0)
		w.Uint64(0)
		w.String("claimer")
		if how == nil {
			w.Uint32(xdr.OpenNoCreate)
		} else {
			w.Uint32(xdr.OpenCreate)
			how(w)
		}
		w.Uint32(claim)
		what(w)
	}
}

func exclusive40(v xdr.Verifier) func(*xdr.Writer) {
	return func(w *xdr.Writer) { w.Uint32(xdr.CreateExclusive); w.Fixed(v[:]) }
}

// TestEveryClaimWithEveryCreateMode: what RFC 8881 §18.16.3 says of each.
func TestEveryClaimWithEveryCreateMode(t *testing.T) {
	s := newSite(t)
	p := s.mountBack("one")
	_, kind, deleg := p.delegated(putA(), openSpec{name: "f", how: unchecked(mode(0o666))})
	if kind != xdr.DelegateRead {
		t.Fatalf("a delegation of kind %d", kind)
	}
	name := func(n string) func(*xdr.Writer) { return func(w *xdr.Writer) { w.String(n) } }
	none := func(*xdr.Writer) {}
	held := func(w *xdr.Writer) { w.StateID(deleg) }
	heldName := func(n string) func(*xdr.Writer) {
		return func(w *xdr.Writer) { w.StateID(deleg); w.String(n) }
	}
	wrong := func(w *xdr.Writer) { w.StateID(xdr.StateID{Seq: 1, Other: [12]byte{9}}); w.String("f") }
	was := func(w *xdr.Writer) { w.Uint32(xdr.DelegateNone) }
	f := []op{putA(), lookup("f")}
	dir := []op{putA()}
	v := xdr.Verifier{7}
	for _, x := range []struct {
		what  string
		at    []op
		claim uint32
		how   func(*xdr.Writer)
		args  func(*xdr.Writer)
		want  xdr.Status
	}{
		{"CLAIM_NULL", dir, xdr.ClaimNull, nil, name("f"), xdr.OK},
		{"CLAIM_NULL of nothing", dir, xdr.ClaimNull, nil, name("nothing"), xdr.ErrNoEnt},
		{"CLAIM_NULL, UNCHECKED4", dir, xdr.ClaimNull, unchecked(mode(0o600)), name("f"), xdr.OK},
		{"CLAIM_NULL, UNCHECKED4, new", dir, xdr.ClaimNull, unchecked(mode(0o600)), name("u"), xdr.OK},
		{"CLAIM_NULL, GUARDED4", dir, xdr.ClaimNull, guarded(mode(0o600)), name("f"), xdr.ErrExist},
		{"CLAIM_NULL, GUARDED4, new", dir, xdr.ClaimNull, guarded(mode(0o600)), name("g"), xdr.OK},
		{"CLAIM_NULL, EXCLUSIVE4", dir, xdr.ClaimNull, exclusive40(v), name("f"), xdr.ErrExist},
		{"CLAIM_NULL, EXCLUSIVE4, new", dir, xdr.ClaimNull, exclusive40(v), name("e"), xdr.OK},
		{"CLAIM_NULL, EXCLUSIVE4, again", dir, xdr.ClaimNull, exclusive40(v), name("e"), xdr.OK},
		{"CLAIM_NULL, EXCLUSIVE4, another", dir, xdr.ClaimNull, exclusive40(xdr.Verifier{8}), name("e"), xdr.ErrExist},
		{"CLAIM_NULL, EXCLUSIVE4_1, new", dir, xdr.ClaimNull, exclusive(v, mode(0o600)), name("x"), xdr.OK},
		{"CLAIM_NULL, EXCLUSIVE4_1, again", dir, xdr.ClaimNull, exclusive(v, mode(0o600)), name("x"), xdr.OK},
		{"CLAIM_NULL, EXCLUSIVE4_1, another", dir, xdr.ClaimNull, exclusive(xdr.Verifier{8}, mode(0o600)), name("x"), xdr.ErrExist},
		{"CLAIM_NULL, a mode of create that there is not", dir, xdr.ClaimNull, func(w *xdr.Writer) { w.Uint32(4) }, name("f"), xdr.ErrBadXDR},

		{"CLAIM_FH", f, xdr.ClaimFH, nil, none, xdr.OK},
		{"CLAIM_FH of a directory", dir, xdr.ClaimFH, nil, none, xdr.ErrIsDir},
		{"CLAIM_FH, create", f, xdr.ClaimFH, unchecked(mode(0)), none, xdr.ErrInval},

		{"CLAIM_PREVIOUS without grace", f, xdr.ClaimPrevious, nil, was, xdr.ErrNoGrace},
		{"CLAIM_PREVIOUS, create", f, xdr.ClaimPrevious, unchecked(mode(0)), was, xdr.ErrInval},
		{"CLAIM_PREVIOUS of a delegation that there is not", f, xdr.ClaimPrevious, nil, func(w *xdr.Writer) { w.Uint32(3) }, xdr.ErrBadXDR},

		{"CLAIM_DELEGATE_CUR", dir, xdr.ClaimDelegateCur, nil, heldName("f"), xdr.OK},
		{"CLAIM_DELEGATE_CUR of another file", dir, xdr.ClaimDelegateCur, nil, heldName("u"), xdr.ErrBadStateID},
		{"CLAIM_DELEGATE_CUR with a wrong delegation", dir, xdr.ClaimDelegateCur, nil, wrong, xdr.ErrBadStateID},
		{"CLAIM_DELEGATE_CUR, UNCHECKED4", dir, xdr.ClaimDelegateCur, unchecked(mode(0)), heldName("f"), xdr.OK},
		{"CLAIM_DELEGATE_CUR, GUARDED4", dir, xdr.ClaimDelegateCur, guarded(mode(0)), heldName("f"), xdr.ErrExist},
		{"CLAIM_DELEGATE_CUR, UNCHECKED4, new", dir, xdr.ClaimDelegateCur, unchecked(mode(0)), heldName("new"), xdr.ErrNoEnt},
		{"CLAIM_DELEGATE_CUR, UNCHECKED4, wrong delegation", dir, xdr.ClaimDelegateCur, unchecked(mode(0)), wrong, xdr.ErrBadStateID},

		{"CLAIM_DELEG_CUR_FH", f, xdr.ClaimDelegCurFH, nil, held, xdr.OK},
		{"CLAIM_DELEG_CUR_FH, create", f, xdr.ClaimDelegCurFH, unchecked(mode(0)), held, xdr.ErrInval},

		// Not supported, nor is DELEGPURGE: RFC 8881 §10.2.1 leaves it to the server.
		{"CLAIM_DELEGATE_PREV", dir, xdr.ClaimDelegatePrev, nil, name("f"), xdr.ErrNotSupp},
		{"CLAIM_DELEGATE_PREV, create", dir, xdr.ClaimDelegatePrev, unchecked(mode(0)), name("new"), xdr.ErrNotSupp},
		{"CLAIM_DELEG_PREV_FH", f, xdr.ClaimDelegPrevFH, nil, none, xdr.ErrNotSupp},
		{"CLAIM_DELEG_PREV_FH, create", f, xdr.ClaimDelegPrevFH, unchecked(mode(0)), none, xdr.ErrInval},
		{"a claim that there is not", f, 7, nil, none, xdr.ErrBadXDR},
	} {
		p.want(p.status(append(x.at, openBy(x.claim, x.how, x.args))...), x.want, x.what)
	}
	p.want(p.status(putA(), lookup("new")), xdr.ErrNoEnt, "nothing was made by a claim that makes nothing")
	p.want(p.status(func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpDelegPurge)); w.Uint64(0) }), xdr.ErrNotSupp, "DELEGPURGE")
}

// The attributes of an EXCLUSIVE4_1 create are set with it, and the answer says
// which.
func TestExclusiveCreateSetsAttributes(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	a := xdr.Attrs{Mask: xdr.Bits(xdr.AttrMode, xdr.AttrSize), Mode: 0o640, Size: 5}
	res := p.must(putA(), open(openSpec{name: "x", access: xdr.ShareBoth, how: exclusive(xdr.Verifier{1}, a)}), getAttr(xdr.AttrMode, xdr.AttrSize))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpOpen)
	res.StateID()
	res.ChangeInfo()
	res.Uint32()
	if got := res.Bitmap(); got != a.Mask {
		t.Errorf("attributes that were set: %v, want %v", got, a.Mask)
	}
	res.Uint32()
	if got := p.attrs(res); got.Mode != 0o640 || got.Size != 5 {
		t.Errorf("mode %o, size %d", got.Mode, got.Size)
	}
	bad := xdr.Attrs{Mask: xdr.Bits(xdr.AttrType)}
	p.want(p.status(putA(), open(openSpec{name: "y", how: exclusive(xdr.Verifier{1}, bad)})), xdr.ErrInval, "an attribute that cannot be set")
	p.want(p.status(putA(), lookup("y")), xdr.ErrNoEnt, "the file of a refused create")
}

// A delegation that is reclaimed is granted, to be returned at once (RFC 8881
// §18.16.3); who holds it can open by it in grace.
func TestDelegationIsReclaimed(t *testing.T) {
	s := newSite(t)
	p := s.mountBack("one")
	other := s.mount("two")
	other.open(putA(), openSpec{name: "g", how: unchecked(mode(0o666))})
	f, _, _ := p.delegated(putA(), openSpec{name: "f", how: unchecked(mode(0o666))})
	s.restart()
	p = s.dial(PseudoRoot(), "one")
	p.back = xdr.SessionBackChan
	p.connect()
	reclaim := openBy(xdr.ClaimPrevious, nil, func(w *xdr.Writer) { w.Uint32(xdr.DelegateRead) })
	res := p.must(putFH(f.fh), reclaim)
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpOpen)
	res.StateID()
	res.ChangeInfo()
	res.Uint32()
	res.Bitmap()
	if kind := res.Uint32(); kind != xdr.DelegateRead {
		t.Fatalf("a delegation of kind %d is given back", kind)
	}
	id := res.StateID()
	if !res.Bool() {
		t.Error("it is not to be returned")
	}
	held := func(w *xdr.Writer) { w.StateID(id) }
	p.must(putFH(f.fh), openBy(xdr.ClaimDelegCurFH, nil, held))
	p.want(p.status(putFH(f.fh), open(openSpec{claim: xdr.ClaimFH, owner: "new"})), xdr.ErrGrace, "a new open in grace")
	p.must(putFH(f.fh), delegReturn(id))
	if n := s.a.Holds(inoOf(t, f.fh)); n != 1 {
		t.Errorf("%d holds, want that of the open", n)
	}
	p.want(p.status(put(fs.Lineage{'a'}, fs.RootIno), openBy(xdr.ClaimPrevious, nil, func(w *xdr.Writer) { w.Uint32(xdr.DelegateRead) })), xdr.ErrIsDir, "a directory")
}

// Why there is no delegation is told to who wants one.
func TestReasonsForNoDelegation(t *testing.T) {
	s := newSite(t)
	p, q := s.mountBack("one"), s.mount("two")
	p.delegated(putA(), openSpec{name: "f", how: unchecked(mode(0o666))})
	q.open(putA(), openSpec{name: "w", access: xdr.ShareWrite, how: unchecked(mode(0o666))})
	why := func(p *peer, n string, want uint32) uint32 {
		t.Helper()
		res := p.must(putA(), open(openSpec{name: n, access: xdr.ShareRead | want, owner: "why"}))
		p.ok(res, xdr.OpPutFH)
		p.ok(res, xdr.OpOpen)
		res.StateID()
		res.ChangeInfo()
		res.Uint32()
		res.Bitmap()
		if kind := res.Uint32(); kind != xdr.DelegateNoneExt {
			t.Fatalf("%s: a delegation of kind %d", n, kind)
		}
		return res.Uint32()
	}
	for _, x := range []struct {
		p    *peer
		name string
		wish uint32
		want uint32
	}{
		{p, "f", xdr.WantNoDeleg, xdr.WhyNoDelegNotWanted},
		{p, "f", xdr.WantCancel, xdr.WhyNoDelegCanceled},
		{p, "w", xdr.WantReadDeleg, xdr.WhyNoDelegContention},
		{p, "f", xdr.WantReadDeleg, xdr.WhyNoDelegContention}, // it has one
		{q, "w", xdr.WantReadDeleg, xdr.WhyNoDelegResource},   // it cannot be asked to return it
	} {
		if got := why(x.p, x.name, x.wish); got != x.want {
			t.Errorf("%s, wish %#x: %d, want %d", x.name, x.wish, got, x.want)
		}
	}
}

// A write delegation needs an open for writing, which is what permission was
// checked for: else who may only read could write by it.
func TestReclaimedDelegationGivesNoMoreThanTheOpen(t *testing.T) {
	s := newSite(t)
	p := s.mountBack("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	s.restart()
	p = s.dial(PseudoRoot(), "one")
	p.back = xdr.SessionBackChan
	p.connect()
	res := p.must(putFH(f.fh), openBy(xdr.ClaimPrevious, nil, func(w *xdr.Writer) { w.Uint32(xdr.DelegateWrite) }))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpOpen)
	res.StateID()
	res.ChangeInfo()
	res.Uint32()
	res.Bitmap()
	if kind := res.Uint32(); kind != xdr.DelegateNone {
		t.Errorf("a delegation of kind %d with an open for reading", kind)
	}
}
