package nfs

import (
	"context"
	"slices"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// newIn42 are the attributes that minor version 1 does not have.
var newIn42 = dialects[2].attrs.Without(dialects[1].attrs)

// mount42 is mount over NFSv4.2.
func (s *site) mount42(owner string) *peer {
	s.Helper()
	p := s.dial(PseudoRoot(), owner)
	p.minor = 2
	p.connect()
	p.must(reclaimComplete())
	return p
}

func (p *peer) create(name string, content string) file {
	p.Helper()
	f := p.open(putA(), openSpec{name: name, access: xdr.ShareBoth, how: unchecked(mode(0o644))})
	if content != "" {
		p.must(putFH(f.fh), write(f.id, 0, xdr.FileSync, []byte(content)))
	}
	return f
}

func seek(id xdr.StateID, offset uint64, what uint32) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpSeek))
		w.StateID(id)
		w.Uint64(offset)
		w.Uint32(what)
	}
}

func ranged(o xdr.Op, id xdr.StateID, offset, length uint64) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(o))
		w.StateID(id)
		w.Uint64(offset)
		w.Uint64(length)
	}
}

func clone(from, to xdr.StateID, fromAt, toAt, count uint64) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpClone))
		w.StateID(from)
		w.StateID(to)
		w.Uint64(fromAt)
		w.Uint64(toAt)
		w.Uint64(count)
	}
}

func copyRange(from, to xdr.StateID, fromAt, toAt, count uint64) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpCopy))
		w.StateID(from)
		w.StateID(to)
		w.Uint64(fromAt)
		w.Uint64(toAt)
		w.Uint64(count)
		w.Bool(true)
		w.Bool(true)
		w.Uint32(0)
	}
}

func TestOperationsOf42AreIllegalIn41(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.create("f", "abc")
	for _, o := range []op{seek(f.id, 0, xdr.ContentData), named(xdr.OpGetXattr, "a"), ranged(xdr.OpAllocate, f.id, 0, 1)} {
		p.want(p.status(putFH(f.fh), o), xdr.ErrOpIllegal, "an operation of 4.2")
	}
	p.minor = 2
	p.want(p.status(putFH(f.fh), simple(xdr.OpWriteSame)), xdr.ErrNotSupp, "WRITE_SAME")
	p.want(p.status(putFH(f.fh), simple(xdr.OpRemoveXattr+1)), xdr.ErrOpIllegal, "no operation")
}

func TestSeekFindsDataAndHoles(t *testing.T) {
	s := newSite(t)
	p := s.mount42("one")
	f := p.create("f", "")
	p.must(putFH(f.fh), write(f.id, 1<<20, xdr.FileSync, []byte("data")), ranged(xdr.OpAllocate, f.id, 0, 2<<20))
	for _, c := range []struct {
		offset uint64
		what   uint32
		eof    bool
		at     uint64
	}{
		{0, xdr.ContentData, false, 1 << 20},
		{1<<20 + 1, xdr.ContentData, false, 1<<20 + 1},
		{1<<20 + 4, xdr.ContentData, true, 2 << 20},
		{0, xdr.ContentHole, false, 0},
		{1 << 20, xdr.ContentHole, false, 1<<20 + 4},
	} {
		res := p.must(putFH(f.fh), seek(f.id, c.offset, c.what))
		p.ok(res, xdr.OpPutFH)
		p.ok(res, xdr.OpSeek)
		if eof, at := res.Bool(), res.Uint64(); eof != c.eof || at != c.at {
			t.Errorf("SEEK %d from %d: eof %v at %d, want %+v", c.what, c.offset, eof, at, c)
		}
	}
	p.want(p.status(putFH(f.fh), seek(f.id, 2<<20, xdr.ContentHole)), xdr.ErrNXIO, "SEEK at the end")
	p.want(p.status(putFH(f.fh), seek(f.id, 0, 7)), xdr.ErrUnionNotSupp, "SEEK for something else")
	p.want(p.status(putA(), seek(xdr.AnonymousStateID, 0, 0)), xdr.ErrWrongType, "SEEK in a directory")
}

func TestDeallocateMakesAHole(t *testing.T) {
	s := newSite(t)
	p := s.mount42("one")
	f := p.create("f", "abcdefgh")
	p.must(putFH(f.fh), ranged(xdr.OpDeallocate, f.id, 2, 3))
	if got := p.content(f); got != "ab\x00\x00\x00fgh" {
		t.Errorf("%q", got)
	}
	for _, o := range []xdr.Op{xdr.OpAllocate, xdr.OpDeallocate} {
		p.want(p.status(putFH(f.fh), ranged(o, f.id, 0, 0)), xdr.ErrInval, "no bytes")
		p.want(p.status(putFH(f.fh), ranged(o, f.id, 2, 1<<64-1)), xdr.ErrInval, "a range beyond all offsets")
		p.want(p.status(putA(), ranged(o, f.id, 0, 1)), xdr.ErrWrongType, "a directory")
	}
	r := p.open(putA(), openSpec{name: "f", owner: "reader"})
	p.want(p.status(putFH(r.fh), ranged(xdr.OpDeallocate, r.id, 0, 1)), xdr.ErrOpenMode, "open for reading only")
}

func TestCloneAndCopy(t *testing.T) {
	s := newSite(t)
	p := s.mount42("one")
	from, to := p.create("from", "0123456789"), p.create("to", "abc")
	p.must(putFH(from.fh), saveFH(), putFH(to.fh), clone(from.id, to.id, 2, 1, 4))
	if got := p.content(to); got != "a2345" {
		t.Errorf("cloned: %q", got)
	}
	res := p.must(putFH(from.fh), saveFH(), putFH(to.fh), copyRange(from.id, to.id, 5, 0, 0))
	for _, o := range []xdr.Op{xdr.OpPutFH, xdr.OpSaveFH, xdr.OpPutFH, xdr.OpCopy} {
		p.ok(res, o)
	}
	if callbacks, n, how := res.Uint32(), res.Uint64(), res.Uint32(); callbacks != 0 || n != 5 || how != xdr.FileSync {
		t.Errorf("COPY: %d callbacks, %d bytes, committed %d", callbacks, n, how)
	}
	if got := p.content(to); got != "56789" {
		t.Errorf("copied: %q", got)
	}
	both := func(o op) xdr.Status { return p.status(putFH(from.fh), saveFH(), putFH(to.fh), o) }
	p.want(both(clone(from.id, to.id, 8, 0, 4)), xdr.ErrInval, "CLONE beyond the end")
	p.want(both(copyRange(from.id, to.id, 11, 0, 0)), xdr.ErrInval, "COPY from beyond the end")
	p.want(both(copyRange(to.id, to.id, 0, 0, 1)), xdr.ErrBadStateID, "the stateid of another file")
	p.want(p.status(putFH(from.fh), saveFH(), copyRange(from.id, from.id, 0, 5, 1)), xdr.ErrInval, "COPY into itself")
	p.want(p.status(putFH(from.fh), saveFH(), clone(from.id, from.id, 0, 1, 5)), xdr.ErrInval, "CLONE onto itself")
	p.want(p.status(putA(), saveFH(), putFH(to.fh), copyRange(from.id, to.id, 0, 0, 1)), xdr.ErrWrongType, "COPY of a directory")
	p.want(p.status(putFH(to.fh), copyRange(from.id, to.id, 0, 0, 1)), xdr.ErrNoFileHandle, "nothing saved")
}

func TestCopyBetweenFileSystems(t *testing.T) {
	s := newSite(t)
	p := s.mount42("one")
	from := p.create("from", "0123456789")
	open := uint32(0o777)
	if _, err := s.b.SetAttr(context.Background(), &fs.SetAttrRequest{Ino: fs.RootIno, Set: fs.AttrChange{Mode: &open}}); err != nil {
		t.Fatal(err)
	}
	to := p.open(put(fs.Lineage{'b'}, fs.RootIno), openSpec{name: "to", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	p.must(putFH(from.fh), saveFH(), putFH(to.fh), copyRange(from.id, to.id, 3, 0, 4))
	if got := p.content(to); got != "3456" {
		t.Errorf("%q", got)
	}
	p.want(p.status(putFH(from.fh), saveFH(), putFH(to.fh), clone(from.id, to.id, 0, 0, 1)), xdr.ErrXDev, "CLONE between file systems")
}

func setXattr(how uint32, name, value string) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpSetXattr))
		w.Uint32(how)
		w.String(name)
		w.String(value)
	}
}

func listXattrs(cookie uint64, room uint32) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpListXattrs))
		w.Uint64(cookie)
		w.Uint32(room)
	}
}

func (p *peer) xattrs(f file, cookie uint64, room uint32) (names []string, next uint64, eof bool) {
	p.Helper()
	res := p.must(putFH(f.fh), listXattrs(cookie, room))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpListXattrs)
	next = res.Uint64()
	for range res.Uint32() {
		names = append(names, res.String(255))
	}
	return names, next, res.Bool()
}

func TestExtendedAttributes(t *testing.T) {
	s := newSite(t)
	p := s.mount42("one")
	f := p.create("f", "")
	on := func(o op) xdr.Status { return p.status(putFH(f.fh), o) }
	p.want(on(named(xdr.OpGetXattr, "a")), xdr.ErrNoXattr, "GETXATTR of none")
	p.want(on(setXattr(xdr.XattrReplace, "a", "1")), xdr.ErrNoXattr, "replacing none")
	p.want(on(setXattr(xdr.XattrCreate, "a", "1")), xdr.OK, "creating")
	p.want(on(setXattr(xdr.XattrCreate, "a", "1")), xdr.ErrExist, "creating again")
	p.want(on(setXattr(xdr.XattrEither, "bb", "")), xdr.OK, "an empty value")
	p.want(on(setXattr(9, "a", "1")), xdr.ErrBadXDR, "no way to set")
	p.want(on(setXattr(xdr.XattrEither, "", "1")), xdr.ErrInval, "no name")
	p.want(on(setXattr(xdr.XattrEither, string(make([]byte, 256)), "1")), xdr.ErrNameTooLong, "256 bytes of name")
	p.want(on(setXattr(xdr.XattrEither, "c", string(make([]byte, fs.MaxXattrValue+1)))), xdr.ErrXattr2Big, "a large value")
	res := p.must(putFH(f.fh), named(xdr.OpGetXattr, "a"))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpGetXattr)
	if v := res.String(10); v != "1" {
		t.Errorf("value %q", v)
	}
	if names, next, eof := p.xattrs(f, 0, 24); !slices.Equal(names, []string{"a"}) || next != 1 || eof {
		t.Errorf("first page %q %d %v", names, next, eof)
	}
	if names, _, eof := p.xattrs(f, 1, 4096); !slices.Equal(names, []string{"bb"}) || !eof {
		t.Errorf("second page %q %v", names, eof)
	}
	p.want(on(listXattrs(0, 17)), xdr.ErrTooSmall, "no room for a name")
	p.want(on(listXattrs(9, 4096)), xdr.ErrBadCookie, "a cookie beyond the list")
	p.want(on(named(xdr.OpRemoveXattr, "a")), xdr.OK, "removing")
	p.want(on(named(xdr.OpRemoveXattr, "a")), xdr.ErrNoXattr, "removing again")
	p.want(p.status(putRoot(), named(xdr.OpGetXattr, "a")), xdr.ErrNoXattr, "of the pseudo root")
}

func TestUmaskAppliesToWhatIsCreated(t *testing.T) {
	s := newSite(t)
	p := s.mount42("one")
	masked := xdr.Attrs{Mask: xdr.Bits(xdr.AttrModeUmask), UmaskedMode: 0o666, Umask: 0o027}
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: guarded(masked)})
	res := p.must(putFH(f.fh), getAttr(xdr.AttrMode))
	res.Uint64()
	if a := p.attrs(res); a.Mode != 0o640 {
		t.Errorf("mode %o", a.Mode)
	}
	p.want(p.status(putFH(f.fh), setAttr(f.id, masked)), xdr.ErrInval, "SETATTR of mode_umask")
	both := masked
	both.Mask.Set(xdr.AttrMode)
	p.want(p.status(putA(), open(openSpec{name: "g", how: guarded(both)})), xdr.ErrInval, "mode twice")
	p.minor = 1
	p.want(p.status(putA(), open(openSpec{name: "g", how: guarded(masked)})), xdr.ErrAttrNotSupp, "mode_umask in 4.1")
}
