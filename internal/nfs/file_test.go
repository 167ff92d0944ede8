package nfs

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

func TestPseudoRootShowsEveryFileSystem(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	names, _ := p.list(putRoot(), 64<<10)
	if len(names) != 2 {
		t.Fatalf("%v", names)
	}
	res := p.must(putRoot(), lookup(fsB), getAttr(xdr.AttrFSID, xdr.AttrFileID, xdr.AttrMountedOnFileID))
	p.ok(res, xdr.OpPutRootFH)
	p.ok(res, xdr.OpLookup)
	a := p.attrs(res)
	if major, minor := fsid(fs.Lineage{'b'}); a.FSIDMajor != major || a.FSIDMinor != minor || a.FileID != 1 || a.MountedOnFileID == 1 {
		t.Errorf("%+v", a)
	}
	p.want(p.status(putRoot(), lookup("fs-none")), xdr.ErrNoEnt, "no such file system")
	p.want(p.status(putRoot(), mkdir("x", 0)), xdr.ErrROFS, "making a directory in the pseudo root")
	p.want(p.status(putRoot(), named(xdr.OpRemove, fsA)), xdr.ErrROFS, "removing a file system")
	p.want(p.status(putRoot(), open(openSpec{name: fsA})), xdr.ErrIsDir, "opening a file system")
	p.must(putRoot(), lookup(fsA), simple(xdr.OpLookupP), lookup(fsB))
	p.want(p.status(putRoot(), simple(xdr.OpLookupP)), xdr.ErrNoEnt, "above the root")
}

func TestMountTargetShowsOneFileSystem(t *testing.T) {
	s := newSite(t)
	p := s.mountAt(FileSystemRoot(fsB), "one")
	res := p.must(putRoot(), getFH())
	p.ok(res, xdr.OpPutRootFH)
	p.ok(res, xdr.OpGetFH)
	if !bytes.Equal(res.FH(), fileHandle(fs.Lineage{'b'}, fs.RootIno)) {
		t.Error("the root is not that of the file system")
	}
	p.want(p.status(putRoot(), simple(xdr.OpLookupP)), xdr.ErrNoEnt, "above the root")
	p.want(p.status(putA()), xdr.ErrStale, "handle of another file system")
	p.want(p.status(putFH(pseudoHandle())), xdr.ErrStale, "handle of the pseudo root")
}

func TestHandles(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	res := p.must(putA(), mkdir("d", 0o755), getFH())
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpCreate)
	res.ChangeInfo()
	res.Bitmap()
	p.ok(res, xdr.OpGetFH)
	h := bytes.Clone(res.FH())
	s.restart()
	p = s.mount("one")
	p.must(putFH(h), getAttr(xdr.AttrType))
	p.want(p.status(put(fs.Lineage{'x'}, 1)), xdr.ErrStale, "unknown lineage")
	p.want(p.status(put(fs.Lineage{'a'}, 999), getAttr(xdr.AttrType)), xdr.ErrStale, "unknown inode")
	h[20] ^= 1
	p.want(p.status(putFH(h)), xdr.ErrBadHandle, "damaged handle")
	p.want(p.status(putFH(nil)), xdr.ErrBadHandle, "empty handle")
	p.want(p.status(getFH()), xdr.ErrNoFileHandle, "no handle")
	p.want(p.status(simple(xdr.OpRestoreFH)), xdr.ErrNoFileHandle, "nothing saved")
}

func TestOpenModes(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	p.want(p.status(putA(), open(openSpec{name: "f"})), xdr.ErrNoEnt, "open of nothing")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: guarded(mode(0o640))})
	p.must(putFH(f.fh), write(f.id, 0, xdr.FileSync, []byte("content")))
	p.want(p.status(putA(), open(openSpec{name: "f", how: guarded(mode(0))})), xdr.ErrExist, "guarded create of what exists")
	p.must(putA(), open(openSpec{name: "f", owner: "2", how: unchecked(mode(0))}))
	if got := p.content(f); got != "content" {
		t.Errorf("unchecked create changed the content: %q", got)
	}
	p.must(putA(), open(openSpec{name: "f", owner: "3", access: xdr.ShareWrite, how: unchecked(xdr.Attrs{Mask: xdr.Bits(xdr.AttrSize)})}))
	if got := p.content(f); got != "" {
		t.Errorf("unchecked create with size 0 left %q", got)
	}
	v := xdr.Verifier{1}
	p.open(putA(), openSpec{name: "x", how: exclusive(v, mode(0o600))})
	p.open(putA(), openSpec{name: "x", how: exclusive(v, mode(0o600))}) // the reply was lost
	p.want(p.status(putA(), open(openSpec{name: "x", how: exclusive(xdr.Verifier{2}, mode(0))})), xdr.ErrExist, "exclusive create of what exists")
	p.must(putA(), mkdir("d", 0o755))
	p.want(p.status(putA(), open(openSpec{name: "d"})), xdr.ErrIsDir, "open of a directory")
	p.want(p.status(putA(), open(openSpec{name: "d", how: unchecked(mode(0))})), xdr.ErrIsDir, "create over a directory")
	p.must(putFH(f.fh), open(openSpec{claim: xdr.ClaimFH, owner: "4"}))
	p.want(p.status(putFH(f.fh), open(openSpec{claim: xdr.ClaimPrevious})), xdr.ErrNoGrace, "reclaim without grace")
	p.want(p.status(putA(), open(openSpec{name: "f", access: 4})), xdr.ErrInval, "access out of range")
}

// content reads a whole small file.
func (p *peer) content(f file) string {
	p.Helper()
	res := p.must(putFH(f.fh), read(f.id, 0, 1000))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpRead)
	if !res.Bool() {
		p.Error("no eof")
	}
	return string(res.Opaque(1000))
}

func (p *peer) attrs(res *result) *xdr.Attrs {
	p.Helper()
	p.ok(res, xdr.OpGetAttr)
	var a xdr.Attrs
	if err := res.Attrs(&a); err != nil {
		p.Fatal(err)
	}
	return &a
}

func TestPermissionIsCheckedWhenOpening(t *testing.T) {
	s := newSite(t)
	root := s.mount("root")
	f := root.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o644))})
	user := s.dial(PseudoRoot(), "user")
	user.uid = 1000
	user.connect()
	user.must(reclaimComplete())
	user.want(user.status(putA(), open(openSpec{name: "f", access: xdr.ShareWrite})), xdr.ErrAccess, "open for writing")
	user.want(user.status(putA(), open(openSpec{name: "g", how: unchecked(mode(0o644))})), xdr.ErrAccess, "create")
	user.want(user.status(putFH(f.fh), write(xdr.AnonymousStateID, 0, xdr.FileSync, []byte("x"))), xdr.ErrAccess, "anonymous write")
	g := user.open(putA(), openSpec{name: "f"})
	root.must(putFH(f.fh), setAttr(xdr.AnonymousStateID, mode(0)))
	user.must(putFH(g.fh), read(g.id, 0, 1))
	user.want(user.status(putFH(g.fh), read(xdr.BypassStateID, 0, 1)), xdr.ErrAccess, "read without the open")
	user.want(user.status(putFH(g.fh), write(g.id, 0, xdr.FileSync, []byte("x"))), xdr.ErrOpenMode, "write with an open for reading")
	// Who makes a file may write it, whatever its mode.
	res := root.must(putA(), mkdir("open", 0o777), getFH())
	root.ok(res, xdr.OpPutFH)
	root.ok(res, xdr.OpCreate)
	res.ChangeInfo()
	res.Bitmap()
	root.ok(res, xdr.OpGetFH)
	h := user.open(putFH(bytes.Clone(res.FH())), openSpec{name: "ro", access: xdr.ShareBoth, how: unchecked(mode(0o444))})
	user.must(putFH(h.fh), write(h.id, 0, xdr.FileSync, []byte("mine")))
}

func TestWriteVerifierChangesWithTheEpoch(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o644))})
	res := p.must(putFH(f.fh), write(f.id, 0, xdr.Unstable, []byte("x")), commit())
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpWrite)
	if n, how := res.Uint32(), res.Uint32(); n != 1 || how != xdr.Unstable {
		t.Errorf("%d bytes, committed %d", n, how)
	}
	written := res.Verifier()
	p.ok(res, xdr.OpCommit)
	if v := res.Verifier(); v != written {
		t.Errorf("verifier %x, then %x", written, v)
	}
	s.a.Restart()
	res = p.must(putFH(f.fh), commit())
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpCommit)
	if v := res.Verifier(); v == written {
		t.Error("the verifier is the same after a restart")
	}
}

func TestNothingIsClaimedThatIsNotCommitted(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o644))})
	s.a.FailCommits(errors.New("disk on fire"))
	for _, c := range []struct {
		name string
		op   xdr.Op
		ops  []op
	}{
		{"MKDIR", xdr.OpCreate, []op{putA(), mkdir("d", 0o755), getFH()}},
		{"stable WRITE", xdr.OpWrite, []op{putFH(f.fh), write(f.id, 0, xdr.FileSync, []byte("x"))}},
		{"COMMIT", xdr.OpCommit, []op{putFH(f.fh), commit()}},
		{"OPEN", xdr.OpOpen, []op{putA(), open(openSpec{name: "new", how: unchecked(mode(0o644))}), getFH()}},
	} {
		res := p.call(c.ops...)
		if res.status != xdr.ErrIO || res.count != 3 {
			t.Errorf("%s: %v after %d operations", c.name, res.status, res.count)
			continue
		}
		p.ok(res, xdr.OpPutFH)
		p.want(res.next(c.op), xdr.ErrIO, c.name)
		if res.Remaining() != 0 {
			t.Errorf("%s: %d bytes after the failure", c.name, res.Remaining())
		}
	}
	p.must(putFH(f.fh), write(f.id, 0, xdr.Unstable, []byte("x")))
}

func TestReadOnlyFileSystem(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o644))})
	p.must(putFH(f.fh), write(f.id, 0, xdr.FileSync, []byte("x")))
	s.a.SetReadOnly(true)
	for name, ops := range map[string][]op{
		"mkdir":          {putA(), mkdir("d", 0)},
		"remove":         {putA(), named(xdr.OpRemove, "f")},
		"rename":         {putA(), saveFH(), putA(), named(xdr.OpRename, "f", "g")},
		"setattr":        {putA(), setAttr(xdr.AnonymousStateID, mode(0))},
		"write":          {putFH(f.fh), write(f.id, 0, xdr.FileSync, []byte("y"))},
		"open to write":  {putA(), open(openSpec{name: "f", access: xdr.ShareWrite})},
		"create":         {putA(), open(openSpec{name: "new", how: unchecked(mode(0))})},
		"exclusive":      {putA(), open(openSpec{name: "new", how: exclusive(xdr.Verifier{1}, mode(0))})},
		"link":           {putFH(f.fh), saveFH(), putA(), named(xdr.OpLink, "g")},
		"create, exists": {putA(), open(openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0))})},
	} {
		p.want(p.status(ops...), xdr.ErrROFS, name)
	}
	q := s.mount("two")
	g := q.open(putA(), openSpec{name: "f", how: unchecked(mode(0))})
	if got := q.content(g); got != "x" {
		t.Errorf("%q", got)
	}
}

func TestAttributesAreComplete(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	for _, p.minor = range []uint32{1, 2} {
		p.attributesAreComplete()
	}
	p.want(p.status(putA(), getAttr(xdr.AttrTimeModifySet)), xdr.ErrInval, "asking for what can only be set")
	p.must(putA(), getAttr(xdr.AttrACL, xdr.AttrType))
}

func (p *peer) attributesAreComplete() {
	t := p.T
	want, known := gettable, supported
	if p.minor == 1 {
		want, known = want.Without(newIn42), known.Without(newIn42)
	}
	for _, dir := range []op{putRoot(), putA()} {
		res := p.must(dir, func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpGetAttr)); w.Bitmap(gettable) })
		res.Uint64()
		a := p.attrs(res)
		if a.Mask != want || a.Supported != known || a.LeaseTime != 60 || a.Type != xdr.TypeDir || a.MaxRead != maxIO || len(a.FileHandle) == 0 {
			t.Errorf("%+v", a)
		}
	}
}

// settable41 is what minor version 1 can set.
var settable41 = settableAttrs.Without(newIn42)

func TestSetAttr(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o644))})
	all := xdr.Attrs{
		Mask: settable41, Size: 5, Mode: 0o751, Owner: "1000@example.org", OwnerGroup: "100",
		TimeAccessSet: xdr.SetTime{Client: true, Time: xdr.Time{Sec: 1, Nsec: 2}}, TimeModifySet: xdr.SetTime{Client: true, Time: xdr.Time{Sec: 3}},
	}
	res := p.must(putFH(f.fh), setAttr(f.id, all))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpSetAttr)
	if set := res.Bitmap(); set != settable41 {
		t.Errorf("set %v", set)
	}
	a, err := s.a.GetAttr(inoOf(t, f.fh))
	if err != nil || a.Size != 5 || a.Mode != 0o751 || a.UID != 1000 || a.GID != 100 || a.Atime != (fs.Time{Sec: 1, Nsec: 2}) || a.Mtime.Sec != 3 {
		t.Errorf("%+v, %v", a, err)
	}
	for _, c := range []struct {
		what string
		set  xdr.Attrs
		want xdr.Status
	}{
		{"owner without a number", xdr.Attrs{Mask: xdr.Bits(xdr.AttrOwner), Owner: "alice"}, xdr.ErrBadOwner},
		{"what cannot be set", xdr.Attrs{Mask: xdr.Bits(xdr.AttrFileID)}, xdr.ErrInval},
		{"what is not supported", xdr.Attrs{Mask: xdr.Bits(xdr.AttrModeSetMasked)}, xdr.ErrAttrNotSupp},
		{"a mode of 17 bits", mode(0o200000), xdr.ErrInval},
		{"a time with too many nanoseconds", xdr.Attrs{Mask: xdr.Bits(xdr.AttrTimeModifySet), TimeModifySet: xdr.SetTime{Client: true, Time: xdr.Time{Nsec: 1e9}}}, xdr.ErrInval},
	} {
		res := p.call(putFH(f.fh), setAttr(xdr.AnonymousStateID, c.set))
		p.want(res.status, c.want, c.what)
		p.ok(res, xdr.OpPutFH)
		res.next(xdr.OpSetAttr)
		if set := res.Bitmap(); !set.IsZero() || res.Bad() || res.Remaining() != 0 {
			t.Errorf("%s: attrsset %v, %d bytes left", c.what, set, res.Remaining())
		}
	}
}

func TestVerify(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	check := func(o xdr.Op, a xdr.Attrs) op {
		return func(w *xdr.Writer) { w.Uint32(uint32(o)); w.Attrs(&a) }
	}
	dir := xdr.Attrs{Mask: xdr.Bits(xdr.AttrType, xdr.AttrMode), Type: xdr.TypeDir, Mode: 0o755}
	other := dir
	other.Mode = 0o700
	p.must(putA(), check(xdr.OpVerify, dir), check(xdr.OpNVerify, other))
	p.want(p.status(putA(), check(xdr.OpVerify, other)), xdr.ErrNotSame, "VERIFY of another mode")
	p.want(p.status(putA(), check(xdr.OpNVerify, dir)), xdr.ErrSame, "NVERIFY of the same mode")
}

func TestNamespaceOperations(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	p.must(putA(), mkdir("d", 0o755))
	f := p.open(putA(), openSpec{name: "f", how: unchecked(mode(0o644))})
	symlink := func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpCreate))
		w.Uint32(xdr.TypeLnk)
		w.String("to/there")
		w.String("l")
		w.Attrs(&xdr.Attrs{})
	}
	res := p.must(putA(), symlink, simple(xdr.OpReadlink))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpCreate)
	res.ChangeInfo()
	res.Bitmap()
	p.ok(res, xdr.OpReadlink)
	if got := res.String(100); got != "to/there" {
		t.Errorf("target %q", got)
	}
	p.must(putFH(f.fh), saveFH(), putA(), lookup("d"), named(xdr.OpLink, "g"))
	p.must(putA(), saveFH(), lookup("d"), named(xdr.OpRename, "f", "h"))
	p.want(p.status(putA(), lookup("f")), xdr.ErrNoEnt, "the old name")
	p.must(putA(), lookup("d"), lookup("h"))
	for _, c := range []struct {
		what string
		want xdr.Status
		ops  []op
	}{
		{"LOOKUP in a link", xdr.ErrSymlink, []op{putA(), lookup("l"), lookup("x")}},
		{"LOOKUP in a file", xdr.ErrNotDir, []op{putFH(f.fh), lookup("x")}},
		{"LOOKUP of dot", xdr.ErrBadName, []op{putA(), lookup(".")}},
		{"LOOKUP of nothing", xdr.ErrInval, []op{putA(), lookup("")}},
		{"LOOKUP of a long name", xdr.ErrNameTooLong, []op{putA(), lookup(string(make([]byte, 300)))}},
		{"REMOVE of a full directory", xdr.ErrNotEmpty, []op{putA(), named(xdr.OpRemove, "d")}},
		{"RENAME of a link over a directory", xdr.ErrExist, []op{putA(), saveFH(), putA(), named(xdr.OpRename, "l", "d")}},
		{"RENAME into another file system", xdr.ErrXDev, []op{putA(), saveFH(), put(fs.Lineage{'b'}, 1), named(xdr.OpRename, "l", "x")}},
		{"LINK of a directory", xdr.ErrIsDir, []op{putA(), lookup("d"), saveFH(), putA(), named(xdr.OpLink, "x")}},
		{"READLINK of a file", xdr.ErrWrongType, []op{putFH(f.fh), simple(xdr.OpReadlink)}},
		{"READ of a directory", xdr.ErrIsDir, []op{putA(), read(xdr.AnonymousStateID, 0, 1)}},
		{"CREATE of a regular file", xdr.ErrBadType, []op{putA(), func(w *xdr.Writer) {
			w.Uint32(uint32(xdr.OpCreate))
			w.Uint32(xdr.TypeReg)
			w.String("r")
			w.Attrs(&xdr.Attrs{})
		}}},
		{"an operation of pNFS", xdr.ErrNotSupp, []op{putA(), simple(xdr.OpLayoutGet)}},
		{"an operation of 4.2", xdr.ErrOpIllegal, []op{putA(), simple(xdr.OpSeek)}},
		{"no operation", xdr.ErrOpIllegal, []op{putA(), simple(9999)}},
	} {
		p.want(p.status(c.ops...), c.want, c.what)
	}
}

func TestRemovedFileIsReadUntilClosed(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o644))})
	p.must(putFH(f.fh), write(f.id, 0, xdr.FileSync, []byte("alive")))
	p.must(putA(), named(xdr.OpRemove, "f"))
	if got := p.content(f); got != "alive" {
		t.Errorf("%q", got)
	}
	p.must(putFH(f.fh), closeFile(f))
	p.want(p.status(putFH(f.fh), getAttr(xdr.AttrType)), xdr.ErrStale, "after the last close")
}

func TestReadAndWriteOfTheLargestSize(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	f := p.open(putA(), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o644))})
	data := bytes.Repeat([]byte("0123456789abcde\n"), maxIO/16)
	p.must(putFH(f.fh), write(f.id, 0, xdr.Unstable, data))
	res := p.must(putFH(f.fh), read(f.id, 0, 2*maxIO))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpRead)
	if eof, got := res.Bool(), res.Opaque(maxIO); !eof || !bytes.Equal(got, data) {
		t.Errorf("eof %v, %d bytes", eof, len(got))
	}
	res = p.must(putFH(f.fh), read(f.id, 3, 2))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpRead)
	if eof, got := res.Bool(), res.Opaque(10); eof || string(got) != "34" || res.Remaining() != 0 {
		t.Errorf("eof %v, %q, %d left", eof, got, res.Remaining())
	}
}

// list reads a whole directory and returns the names in order and the number
// of requests.
func (p *peer) list(dir op, maxCount uint32, numbers ...int) (names []string, requests int) {
	p.Helper()
	var cookie uint64
	var verifier xdr.Verifier
	for {
		requests++
		res := p.must(dir, readDir(cookie, verifier, maxCount, numbers...))
		res.Uint64()
		p.ok(res, xdr.OpReadDir)
		body := res.Remaining()
		verifier = res.Verifier()
		for res.Bool() {
			cookie = res.Uint64()
			names = append(names, res.String(255))
			var a xdr.Attrs
			if err := res.Attrs(&a); err != nil {
				p.Fatal(err)
			}
		}
		eof := res.Bool()
		if body > int(maxCount) {
			p.Errorf("%d bytes, %d allowed", body, maxCount)
		}
		if eof {
			return names, requests
		}
	}
}

func TestListingOfTenThousandEntries(t *testing.T) {
	s := newSite(t)
	for i := range 10_000 {
		m := uint32(0o644)
		if _, err := s.a.Create(t.Context(), &fs.CreateRequest{Parent: fs.RootIno, Name: fs.Name(fmt.Sprintf("file-%05d", i)), Type: fs.TypeRegular, Attrs: fs.AttrChange{Mode: &m}}); err != nil {
			t.Fatal(err)
		}
	}
	p := s.mount("one")
	for _, size := range []uint32{4096, 32 << 10, 1 << 20} {
		names, requests := p.list(putA(), size, xdr.AttrType, xdr.AttrFileID, xdr.AttrSize, xdr.AttrFileHandle, xdr.AttrOwner)
		seen := map[string]bool{}
		for _, n := range names {
			seen[n] = true
		}
		if len(names) != 10_000 || len(seen) != 10_000 {
			t.Errorf("maxcount %d: %d names, %d different, %d requests", size, len(names), len(seen), requests)
		}
	}
	p.want(p.status(putA(), readDir(0, xdr.Verifier{}, 20)), xdr.ErrTooSmall, "20 bytes")
	p.want(p.status(putA(), readDir(2, xdr.Verifier{}, 4096)), xdr.ErrBadCookie, "cookie 2")
	p.want(p.status(putA(), readDir(77, xdr.Verifier{}, 4096)), xdr.ErrNotSame, "wrong verifier")
}
