package nfs

import (
	"bytes"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// peer40 is a small client of minor version 0. It counts each owner's requests.
type peer40 struct {
	*peer
	seqs map[string]uint32
}

func encode40(ops []op) []byte {
	w := xdr.NewWriter()
	defer w.Release()
	w.String("tag")
	w.Uint32(0)
	w.Uint32(uint32(len(ops)))
	for _, o := range ops {
		o(w)
	}
	return bytes.Clone(w.Bytes())
}

// mount40 makes a client that is confirmed.
func (s *site) mount40(owner string) *peer40 { return s.mount40At(PseudoRoot(), owner) }

func (s *site) mount40At(root Root, owner string) *peer40 {
	s.Helper()
	p := &peer40{peer: s.dial(root, owner), seqs: map[string]uint32{}}
	p.connect40()
	return p
}

func (p *peer40) connect40() {
	p.Helper()
	var confirm xdr.Verifier
	p.client, confirm = p.setClientID()
	p.must40(setClientIDConfirm(p.client, confirm))
}

func (p *peer40) setClientID() (id uint64, confirm xdr.Verifier) {
	p.Helper()
	res := p.must40(p.asClient())
	p.ok(res, xdr.OpSetClientID)
	return res.Uint64(), res.Verifier()
}

func (p *peer40) asClient() op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpSetClientID))
		w.Fixed([]byte{p.boot, 1, 2, 3, 4, 5, 6, 7})
		w.String(p.owner)
		w.Uint32(0x40000000)
		w.String("tcp")
		w.String("127.0.0.1.8.1")
		w.Uint32(1)
	}
}

func setClientIDConfirm(id uint64, confirm xdr.Verifier) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpSetClientIDConfirm))
		w.Uint64(id)
		w.Fixed(confirm[:])
	}
}

func renew(id uint64) op {
	return func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpRenew)); w.Uint64(id) }
}

func (p *peer40) raw40(ops ...op) *result {
	p.Helper()
	p.send(encode40(ops))
	return parse(p.receive())
}

func (p *peer40) must40(ops ...op) *result {
	p.Helper()
	res := p.raw40(ops...)
	if res.status != xdr.OK {
		p.Fatalf("COMPOUND: %v after %d operations", res.status, res.count)
	}
	return res
}

func (p *peer40) want40(want xdr.Status, what string, ops ...op) *result {
	p.Helper()
	res := p.raw40(ops...)
	p.want(res.status, want, what)
	return res
}

// next40 is the next number of an owner.
func (p *peer40) next40(owner string) uint32 {
	p.seqs[owner]++
	return p.seqs[owner]
}

// open40 is OPEN with a given number.
func (p *peer40) open40(seq uint32, s openSpec) op {
	return func(w *xdr.Writer) {
		at := w.Len()
		open(s)(w)
		w.SetUint32(at+4, seq)
		w.SetUint32(at+16, uint32(p.client>>32))
		w.SetUint32(at+20, uint32(p.client))
	}
}

// withState is an operation of which the arguments are a stateid and a seqid,
// in the order of the protocol, and more.
func withState(o xdr.Op, id xdr.StateID, seq uint32, more ...uint32) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(o))
		if o == xdr.OpClose {
			w.Uint32(seq)
			w.StateID(id)
		} else {
			w.StateID(id)
			w.Uint32(seq)
		}
		for _, v := range more {
			w.Uint32(v)
		}
	}
}

// file40 opens, and confirms the owner if asked to.
func (p *peer40) file40(dir op, s openSpec) file {
	p.Helper()
	res := p.must40(dir, p.open40(p.next40(s.owner), s), getFH())
	p.ok(res, xdr.OpPutFH)
	f, confirm := p.opened40(res)
	if !confirm {
		return f
	}
	res = p.must40(putFH(f.fh), withState(xdr.OpOpenConfirm, f.id, p.next40(s.owner)))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpOpenConfirm)
	f.id = res.StateID()
	return f
}

// opened40 reads the results of OPEN and GETFH.
func (p *peer40) opened40(res *result) (f file, confirm bool) {
	p.Helper()
	p.ok(res, xdr.OpOpen)
	f.id = res.StateID()
	res.ChangeInfo()
	confirm = res.Uint32()&xdr.OpenResultConfirm != 0
	res.Bitmap()
	res.Uint32()
	p.ok(res, xdr.OpGetFH)
	f.fh = res.FH()
	return f, confirm
}

// lock40 is LOCK by an open owner's and a lock owner's number, or, with s.by,
// by the latter.
func (p *peer40) lock40(s lockSpec, openSeq, lockSeq uint32) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpLock))
		s.putType(w)
		w.Bool(s.reclaim)
		w.Uint64(s.offset)
		w.Uint64(s.length)
		w.Bool(s.by == nil)
		if s.by != nil {
			w.StateID(*s.by)
			w.Uint32(lockSeq)
			return
		}
		w.Uint32(openSeq)
		w.StateID(s.open)
		w.Uint32(lockSeq)
		w.Uint64(p.client)
		w.String(s.owner)
	}
}

func unlock40(id xdr.StateID, seq uint32, offset, length uint64) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpLockU))
		w.Uint32(xdr.LockWrite)
		w.Uint32(seq)
		w.StateID(id)
		w.Uint64(offset)
		w.Uint64(length)
	}
}

func (p *peer40) testLock40(owner string, write bool, offset, length uint64) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpLockT))
		putLockType(w, write)
		w.Uint64(offset)
		w.Uint64(length)
		w.Uint64(p.client)
		w.String(owner)
	}
}

func (p *peer40) releaseLockOwner(owner string) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpReleaseLockOwner))
		w.Uint64(p.client)
		w.String(owner)
	}
}

// stateOf reads the stateid that the last of operations after PUTFH answers.
func (p *peer40) stateOf(res *result, o xdr.Op) xdr.StateID {
	p.Helper()
	p.ok(res, xdr.OpPutFH)
	p.ok(res, o)
	return res.StateID()
}

// locked takes a first lock of an owner.
func (p *peer40) locked(f file, opener string, s lockSpec) xdr.StateID {
	p.Helper()
	s.open = f.id
	return p.stateOf(p.must40(putFH(f.fh), p.lock40(s, p.next40(opener), p.next40("lock "+s.owner))), xdr.OpLock)
}

// sendTwice sends a request and the same again, and expects the same answer.
func (p *peer40) sendTwice(what string, ops ...op) []byte {
	p.Helper()
	p.send(encode40(ops))
	first := p.receive()
	p.send(encode40(ops))
	if again := p.receive(); !bytes.Equal(first, again) {
		p.Errorf("%s: %x, when sent again %x", what, first, again)
	}
	return first
}

var rw40 = openSpec{name: "f", access: xdr.ShareBoth, owner: "o", how: unchecked(mode(0o666))}

func TestMinorVersionZeroHasNoneOfTheOthersOperations(t *testing.T) {
	s := newSite(t)
	p := s.mount40("one")
	for _, o := range []op{reclaimComplete(), p.exchangeID(0), simple(xdr.OpSeek)} {
		p.want40(xdr.ErrOpIllegal, "an operation of a later minor version", o)
	}
	p.want40(xdr.ErrNotSupp, "OPENATTR", putA(), func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpOpenAttr)); w.Bool(true) })
	p.want40(xdr.ErrRestoreFH, "RESTOREFH without SAVEFH", putRoot(), simple(xdr.OpRestoreFH))
	p.want40(xdr.OK, "SECINFO leaves the current file handle", putRoot(), named(xdr.OpSecInfo, fsA), getFH())
	p.want40(xdr.ErrInval, "READLINK of a directory", putA(), simple(xdr.OpReadlink))
	res := p.must40(putA(), getAttr(xdr.AttrSupportedAttrs, xdr.AttrSuppAttrExclCreat))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpGetAttr)
	var a xdr.Attrs
	if err := res.Attrs(&a); err != nil || a.Mask.Has(xdr.AttrSuppAttrExclCreat) || a.Supported.Has(xdr.AttrSuppAttrExclCreat) {
		t.Errorf("attributes %v, supported %v: %v", a.Mask, a.Supported, err)
	}
	many := make([]op, 100)
	for i := range many {
		many[i] = putRoot()
	}
	p.want40(xdr.ErrResource, "100 operations", many...)
}
