package fstest

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

var ctx = context.Background()

type world struct {
	*testing.T
	*Ref
	now time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, now: time.Unix(1000, 0)}
	w.Ref = NewRef(func() time.Time { w.now = w.now.Add(time.Second); return w.now })
	return w
}

var (
	root  = fs.Cred{}
	alice = fs.Cred{UID: 1000, GID: 100, Groups: []uint32{200}}
	bob   = fs.Cred{UID: 1001, GID: 101}
)

func ptr[T any](v T) *T { return &v }

func (w *world) make(c fs.Cred, dir fs.Ino, name fs.Name, typ fs.Type, mode uint32) fs.Attr {
	w.Helper()
	res, err := w.Create(ctx, &fs.CreateRequest{Cred: c, Parent: dir, Name: name, Type: typ, Attrs: fs.AttrChange{Mode: &mode}, Target: "t"})
	if err != nil {
		w.Fatalf("create %s: %v", name, err)
	}
	return res.Attr
}

func (w *world) attr(ino fs.Ino) fs.Attr {
	w.Helper()
	a, err := w.GetAttr(ino)
	if err != nil {
		w.Fatalf("inode %d: %v", ino, err)
	}
	return a
}

func (w *world) want(err, want error, what string) {
	w.Helper()
	if err != want {
		w.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestCreateResolvesOwnerGroupAndMode(t *testing.T) {
	w := newWorld(t)
	d := w.make(root, fs.RootIno, "d", fs.TypeDir, 0o2777)
	if _, err := w.SetAttr(ctx, &fs.SetAttrRequest{Ino: d.Ino, Set: fs.AttrChange{GID: ptr(uint32(500))}}); err != nil {
		t.Fatal(err)
	}
	f := w.make(alice, d.Ino, "f", fs.TypeRegular, 0o2755)
	if f.UID != 1000 || f.GID != 500 || f.Mode != 0o755 {
		t.Errorf("file in setgid directory: %+v", f)
	}
	sub := w.make(alice, d.Ino, "sub", fs.TypeDir, 0o700)
	if sub.GID != 500 || sub.Mode != 0o2700 || sub.Nlink != 2 || sub.Parent != d.Ino {
		t.Errorf("directory in setgid directory: %+v", sub)
	}
	if a := w.attr(d.Ino); a.Nlink != 3 || a.Size != DirSize {
		t.Errorf("parent: %+v", a)
	}
	l := w.make(alice, d.Ino, "l", fs.TypeSymlink, 0o600)
	if l.Mode != 0o777 || l.Size != 1 {
		t.Errorf("link: %+v", l)
	}
	_, err := w.Create(ctx, &fs.CreateRequest{Cred: alice, Parent: d.Ino, Name: "dev", Type: fs.TypeBlock})
	w.want(err, fs.ErrPerm, "device by a user")
	_, err = w.Create(ctx, &fs.CreateRequest{Cred: alice, Parent: d.Ino, Name: "x", Type: fs.TypeRegular, Attrs: fs.AttrChange{GID: ptr(uint32(7))}})
	w.want(err, fs.ErrPerm, "group of others")
	_, err = w.Create(ctx, &fs.CreateRequest{Cred: alice, Parent: fs.RootIno, Name: "x", Type: fs.TypeRegular})
	w.want(err, fs.ErrAccess, "create without write permission")
	res, err := w.Create(ctx, &fs.CreateRequest{Cred: alice, Parent: fs.RootIno, Name: "d", Type: fs.TypeRegular})
	w.want(err, fs.ErrExist, "name in use")
	if res.Attr.Ino != d.Ino {
		t.Error("the file that is there is not told")
	}
}

func TestNamesAreChecked(t *testing.T) {
	w := newWorld(t)
	for name, want := range map[fs.Name]error{"": fs.ErrInval, ".": fs.ErrBadName, "a/b": fs.ErrBadName, "a\x00": fs.ErrBadName, fs.Name(bytes.Repeat([]byte("x"), 256)): fs.ErrNameTooLong} {
		_, err := w.Create(ctx, &fs.CreateRequest{Parent: fs.RootIno, Name: name, Type: fs.TypeRegular})
		w.want(err, want, "create "+string(name))
		_, err = w.Lookup(&root, fs.RootIno, name)
		w.want(err, want, "lookup "+string(name))
	}
}

func TestStickyDirectoryProtectsNames(t *testing.T) {
	w := newWorld(t)
	tmp := w.make(root, fs.RootIno, "tmp", fs.TypeDir, 0o1777)
	w.make(alice, tmp.Ino, "a", fs.TypeRegular, 0o600)
	w.make(bob, tmp.Ino, "b", fs.TypeRegular, 0o600)
	_, err := w.Remove(ctx, &fs.RemoveRequest{Cred: bob, Parent: tmp.Ino, Name: "a"})
	w.want(err, fs.ErrPerm, "remove another's file")
	_, err = w.Rename(ctx, &fs.RenameRequest{Cred: bob, From: tmp.Ino, FromName: "b", To: tmp.Ino, ToName: "a"})
	w.want(err, fs.ErrPerm, "replace another's file")
	_, err = w.Remove(ctx, &fs.RemoveRequest{Cred: alice, Parent: tmp.Ino, Name: "a"})
	w.want(err, nil, "remove one's own file")
}

func TestRenameRules(t *testing.T) {
	w := newWorld(t)
	a := w.make(root, fs.RootIno, "a", fs.TypeDir, 0o755)
	b := w.make(root, a.Ino, "b", fs.TypeDir, 0o755)
	e := w.make(root, fs.RootIno, "e", fs.TypeDir, 0o755)
	f := w.make(root, fs.RootIno, "f", fs.TypeRegular, 0o644)
	g := w.make(root, fs.RootIno, "g", fs.TypeRegular, 0o644)
	mv := func(from fs.Ino, x fs.Name, to fs.Ino, y fs.Name) error {
		_, err := w.Rename(ctx, &fs.RenameRequest{From: from, FromName: x, To: to, ToName: y})
		return err
	}
	w.want(mv(fs.RootIno, "a", b.Ino, "x"), fs.ErrInval, "into its own subtree")
	w.want(mv(fs.RootIno, "a", a.Ino, "x"), fs.ErrInval, "into itself")
	w.want(mv(fs.RootIno, "e", fs.RootIno, "a"), fs.ErrNotEmpty, "over a full directory")
	w.want(mv(a.Ino, "b", fs.RootIno, "a"), fs.ErrNotEmpty, "over its parent")
	w.want(mv(fs.RootIno, "f", fs.RootIno, "e"), fs.ErrIsDir, "file over directory")
	w.want(mv(fs.RootIno, "e", fs.RootIno, "f"), fs.ErrNotDir, "directory over file")
	w.want(mv(fs.RootIno, "none", fs.RootIno, "f"), fs.ErrNoEnt, "nothing")
	w.want(mv(fs.RootIno, "f", fs.RootIno, "g"), nil, "file over file")
	if _, err := w.GetAttr(g.Ino); err != fs.ErrStale {
		t.Errorf("the replaced file: %v", err)
	}
	w.want(mv(a.Ino, "b", fs.RootIno, "e"), nil, "directory over empty directory")
	if r, x := w.attr(fs.RootIno), w.attr(a.Ino); r.Nlink != 4 || x.Nlink != 2 || w.attr(b.Ino).Parent != fs.RootIno {
		t.Errorf("link counts: root %d, a %d", r.Nlink, x.Nlink)
	}
	if _, err := w.GetAttr(e.Ino); err != fs.ErrStale {
		t.Errorf("the replaced directory: %v", err)
	}
	if _, err := w.Link(ctx, &fs.LinkRequest{Ino: f.Ino, Parent: fs.RootIno, Name: "h"}); err != nil {
		t.Fatal(err)
	}
	seq := w.LastApplied()
	w.want(mv(fs.RootIno, "h", fs.RootIno, "g"), nil, "two names of one file")
	if w.LastApplied() != seq || w.attr(f.Ino).Nlink != 2 {
		t.Error("renaming one name of a file to another of its names changes something")
	}
}

func TestRemovedFileLivesWhileHeld(t *testing.T) {
	w := newWorld(t)
	f := w.make(root, fs.RootIno, "f", fs.TypeRegular, 0o644)
	w.Hold(f.Ino)
	res, err := w.Remove(ctx, &fs.RemoveRequest{Parent: fs.RootIno, Name: "f"})
	if err != nil || !res.Gone || res.Removed != f.Ino {
		t.Fatalf("%+v, %v", res, err)
	}
	_, err = w.Write(ctx, &fs.WriteRequest{Ino: f.Ino, Data: []byte("still here")})
	w.want(err, nil, "write to a removed file")
	if a := w.attr(f.Ino); a.Nlink != 0 || a.Size != 10 {
		t.Errorf("%+v", a)
	}
	_, err = w.Link(ctx, &fs.LinkRequest{Ino: f.Ino, Parent: fs.RootIno, Name: "back"})
	w.want(err, fs.ErrNoEnt, "link a removed file")
	w.Release(f.Ino)
	if _, err := w.GetAttr(f.Ino); err != fs.ErrStale {
		t.Errorf("after release: %v", err)
	}
}

func TestRestartKeepsRemovedFilesUntilGraceEnds(t *testing.T) {
	w := newWorld(t)
	f := w.make(root, fs.RootIno, "f", fs.TypeRegular, 0o644)
	g := w.make(root, fs.RootIno, "g", fs.TypeRegular, 0o644)
	w.Hold(f.Ino)
	w.Hold(g.Ino)
	for _, n := range []fs.Name{"f", "g"} {
		if _, err := w.Remove(ctx, &fs.RemoveRequest{Parent: fs.RootIno, Name: n}); err != nil {
			t.Fatal(err)
		}
	}
	w.Restart()
	w.Hold(f.Ino) // reclaimed
	w.GraceEnded()
	w.attr(f.Ino)
	if _, err := w.GetAttr(g.Ino); err != fs.ErrStale {
		t.Errorf("not reclaimed: %v", err)
	}
}

func TestSetAttrPermissions(t *testing.T) {
	w := newWorld(t)
	d := w.make(root, fs.RootIno, "d", fs.TypeDir, 0o777)
	f := w.make(alice, d.Ino, "f", fs.TypeRegular, 0o664)
	for _, k := range []struct {
		what string
		cred fs.Cred
		set  fs.AttrChange
		open bool
		want error
	}{
		{"chmod by another", bob, fs.AttrChange{Mode: ptr(uint32(0o777))}, false, fs.ErrPerm},
		{"chown by the owner", alice, fs.AttrChange{UID: ptr(uint32(1001))}, false, fs.ErrPerm},
		{"chown to himself", alice, fs.AttrChange{UID: ptr(uint32(1000))}, false, nil},
		{"chgrp to an own group", alice, fs.AttrChange{GID: ptr(uint32(200))}, false, nil},
		{"chgrp to a strange group", alice, fs.AttrChange{GID: ptr(uint32(300))}, false, fs.ErrPerm},
		{"truncate by another", bob, fs.AttrChange{Size: ptr(uint64(0))}, false, fs.ErrAccess},
		{"ftruncate by another", bob, fs.AttrChange{Size: ptr(uint64(0))}, true, nil},
		{"truncate beyond the end of the world", alice, fs.AttrChange{Size: ptr(uint64(fs.MaxFileSize + 1))}, false, fs.ErrFBig},
		{"times by another", bob, fs.AttrChange{MtimeHow: fs.TimeClient}, false, fs.ErrPerm},
		{"touch by another", bob, fs.AttrChange{MtimeHow: fs.TimeServer}, false, fs.ErrAccess},
		{"touch by root", root, fs.AttrChange{MtimeHow: fs.TimeServer}, false, nil},
	} {
		_, err := w.SetAttr(ctx, &fs.SetAttrRequest{Cred: k.cred, Ino: f.Ino, Set: k.set, Opened: k.open})
		w.want(err, k.want, k.what)
	}
	_, err := w.SetAttr(ctx, &fs.SetAttrRequest{Ino: d.Ino, Set: fs.AttrChange{Size: ptr(uint64(0))}})
	w.want(err, fs.ErrIsDir, "truncate a directory")
}

func TestPrivilegeBitsGo(t *testing.T) {
	w := newWorld(t)
	d := w.make(root, fs.RootIno, "d", fs.TypeDir, 0o777)
	f := w.make(alice, d.Ino, "f", fs.TypeRegular, 0o6755)
	write := func(c fs.Cred) uint32 {
		res, err := w.Write(ctx, &fs.WriteRequest{Cred: c, Ino: f.Ino, Data: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		return res.Attr.Mode
	}
	if m := write(root); m != 0o6755 {
		t.Errorf("written by root: %o", m)
	}
	if m := write(alice); m != 0o755 {
		t.Errorf("written by a user: %o", m)
	}
	res, err := w.SetAttr(ctx, &fs.SetAttrRequest{Cred: alice, Ino: f.Ino, Set: fs.AttrChange{Mode: ptr(uint32(0o6745))}})
	if err != nil || res.Attr.Mode != 0o6745 {
		t.Fatalf("%o, %v", res.Attr.Mode, err)
	}
	if m := write(alice); m != 0o2745 {
		t.Errorf("setgid without group execution: %o", m)
	}
}

func TestSparseFiles(t *testing.T) {
	w := newWorld(t)
	f := w.make(root, fs.RootIno, "f", fs.TypeRegular, 0o644)
	const far = 1 << 40
	if _, err := w.Write(ctx, &fs.WriteRequest{Ino: f.Ino, Offset: far, Data: []byte("end")}); err != nil {
		t.Fatal(err)
	}
	if a := w.attr(f.Ino); a.Size != far+3 || a.Used != 3 {
		t.Errorf("%+v", a)
	}
	p := bytes.Repeat([]byte{9}, 8)
	n, eof, err := w.Read(ctx, f.Ino, far-4, p)
	if n != 7 || !eof || err != nil || string(p[:7]) != "\x00\x00\x00\x00end" {
		t.Errorf("%d %v %v %q", n, eof, err, p)
	}
	if _, err := w.SetAttr(ctx, &fs.SetAttrRequest{Ino: f.Ino, Set: fs.AttrChange{Size: ptr(uint64(far + 1))}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.SetAttr(ctx, &fs.SetAttrRequest{Ino: f.Ino, Set: fs.AttrChange{Size: ptr(uint64(far + 3))}}); err != nil {
		t.Fatal(err)
	}
	n, _, err = w.Read(ctx, f.Ino, far, p[:3])
	if n != 3 || err != nil || string(p[:3]) != "e\x00\x00" || w.attr(f.Ino).Used != 1 {
		t.Errorf("what was cut off came back: %q, used %d", p[:3], w.attr(f.Ino).Used)
	}
	_, err = w.Write(ctx, &fs.WriteRequest{Ino: f.Ino, Offset: fs.MaxFileSize, Data: []byte("x")})
	w.want(err, fs.ErrFBig, "write beyond the largest size")
}

func TestListingSurvivesChanges(t *testing.T) {
	w := newWorld(t)
	for _, n := range []fs.Name{"a", "b", "c", "d"} {
		w.make(root, fs.RootIno, n, fs.TypeRegular, 0o644)
	}
	var last uint64
	var seen []fs.Name
	read := func(limit int) bool {
		eof, err := w.ReadDir(fs.RootIno, last, func(e fs.DirEntry) bool {
			if limit == 0 {
				return false
			}
			limit--
			last, seen = e.Cookie, append(seen, e.Name)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		return eof
	}
	if read(2) {
		t.Error("eof too early")
	}
	for _, n := range []fs.Name{"b", "c"} {
		if _, err := w.Remove(ctx, &fs.RemoveRequest{Parent: fs.RootIno, Name: n}); err != nil {
			t.Fatal(err)
		}
	}
	if !read(10) || len(seen) != 3 || seen[2] != "d" {
		t.Errorf("seen %v", seen)
	}
}

func TestReadOnlyRefusesChanges(t *testing.T) {
	w := newWorld(t)
	w.SetReadOnly(true)
	_, err := w.Create(ctx, &fs.CreateRequest{Parent: fs.RootIno, Name: "x", Type: fs.TypeRegular})
	w.want(err, fs.ErrROFS, "create")
	_, err = w.SetAttr(ctx, &fs.SetAttrRequest{Ino: fs.RootIno, Set: fs.AttrChange{Mode: ptr(uint32(0))}})
	w.want(err, fs.ErrROFS, "setattr")
}
