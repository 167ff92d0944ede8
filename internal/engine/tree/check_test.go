package tree

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// smallTree is a directory with a file of two names, 100 bytes at offset 10.
func smallTree(t *testing.T) (*Tree, fs.Ino) {
	t.Helper()
	tr, err := Open(Options{FS: disk.NewMem(), Dir: "/tree", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	tr.SetDurable(func(uint64) error { return nil })
	e := fs.EpochID{Counter: 1, Nonce: 1}
	dir, file := fs.MakeIno(e, 2), fs.MakeIno(e, 3)
	for _, m := range []fs.Mutation{
		&fs.Genesis{Mode: 0o755},
		&fs.Create{Parent: fs.RootIno, Name: "d", Ino: dir, Type: fs.TypeDir, Mode: 0o755},
		&fs.Create{Parent: dir, Name: "f", Ino: file, Type: fs.TypeRegular, Mode: 0o644},
		&fs.Link{Parent: fs.RootIno, Name: "l", Ino: file},
		&fs.Write{Ino: file, Offset: 10, Length: 100},
	} {
		r := &fs.Record{Epoch: e, Seq: tr.meta.Applied.Seq + 1, Mutation: fs.AppendMutation(nil, m)}
		var a fs.Addr
		if w, ok := m.(*fs.Write); ok {
			r.PayloadLen = w.Length
			a = fs.Addr{Segment: 1, Length: w.Length}
		}
		r.Encode(nil, tr.meta.Applied.Chain)
		if err := tr.Apply(r, m, a); err != nil {
			t.Fatal(err)
		}
	}
	return tr, file
}

func problems(t *testing.T, tr *Tree) string {
	t.Helper()
	var l []string
	if _, err := tr.Check(nil, func(s string) { l = append(l, s) }); err != nil {
		t.Fatal(err)
	}
	return strings.Join(l, "\n")
}

// TestCheckFindsWhatContradicts changes single values behind the tree's back.
func TestCheckFindsWhatContradicts(t *testing.T) {
	edit := func(change func(n *Inode)) func(*Tree, fs.Ino) error {
		return func(tr *Tree, file fs.Ino) error {
			n, err := tr.Inode(file)
			if err != nil {
				return err
			}
			bad := *n
			change(&bad)
			return tr.db.Set(inodeKey(file), bad.encode(), pebble.NoSync)
		}
	}
	for _, c := range []struct {
		name, want string
		damage     func(tr *Tree, file fs.Ino) error
	}{
		{"nothing", "", func(*Tree, fs.Ino) error { return nil }},
		{"link count", "has link count 7, its names make it 2", edit(func(n *Inode) { n.Nlink = 7 })},
		{"size", "reaches beyond its size 5", edit(func(n *Inode) { n.Size = 5 })},
		{"used", "uses 3 bytes, its extents hold 100", edit(func(n *Inode) { n.Used = 3 })},
		{"pending", "the list of pending work disagree", edit(func(n *Inode) { n.Pending = true })},
		{"type", "says file, its inode", edit(func(n *Inode) { n.Type = fs.TypeFIFO })},
		{"missing inode", "which does not exist", func(tr *Tree, file fs.Ino) error { return tr.db.Delete(inodeKey(file), pebble.NoSync) }},
		{"missing cookie", "is not what its cookie", func(tr *Tree, _ fs.Ino) error {
			return tr.db.Delete(cookieKey(fs.RootIno, firstCookie), pebble.NoSync)
		}},
		{"stale cookie", "by name and", func(tr *Tree, file fs.Ino) error {
			return tr.db.Set(cookieKey(fs.RootIno, 77), encodeByCookie(&Entry{DirEntry: fs.DirEntry{Name: "ghost", Ino: file, Type: fs.TypeRegular}}), pebble.NoSync)
		}},
		{"lost orphan", "no name and is neither", func(tr *Tree, _ fs.Ino) error {
			n := &Inode{}
			n.Ino, n.Type = fs.Ino(1<<40), fs.TypeRegular
			return tr.db.Set(inodeKey(n.Ino), n.encode(), pebble.NoSync)
		}},
		{"missing name", "its names make it 1", func(tr *Tree, _ fs.Ino) error { return tr.db.Delete(entryKey(fs.RootIno, "l"), pebble.NoSync) }},
		{"missing extent", "the tree counts 100 bytes, the extents hold 0", func(tr *Tree, file fs.Ino) error {
			return tr.db.Delete(extentKey(file, 10), pebble.NoSync)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, file := smallTree(t)
			if err := c.damage(tr, file); err != nil {
				t.Fatal(err)
			}
			tr.cache.drop(file)
			got := problems(t, tr)
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("problems:\n%s\nwant %q", got, c.want)
			}
			var did []string
			if err := tr.Repair(func(s string) { did = append(did, s) }); err != nil {
				t.Fatal(err)
			}
			left := problems(t, tr)
			if lost := slices.Contains([]string{"size", "type", "missing inode", "missing extent", "missing name"}, c.name); lost != (left != "") {
				t.Errorf("after the repair, which did %q:\n%s", did, left)
			}
			if (got != "" && left == "") != (len(did) > 0) {
				t.Errorf("the repair says that it did %q", did)
			}
			if err := tr.Repair(func(s string) { t.Errorf("a second repair did %s", s) }); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A name that is lost stays told after a repair, and what is left of it stays.
func TestRepairHidesNoLostName(t *testing.T) {
	const name = fs.Name("l")
	tr, _ := smallTree(t)
	var cookie uint64
	err := tr.AllFullEntries(func(_ fs.Ino, e *Entry) error {
		if e.Name == name {
			cookie = e.Cookie
		}
		return nil
	})
	if err != nil || cookie == 0 {
		t.Fatal(cookie, err)
	}
	if err := tr.db.Delete(entryKey(fs.RootIno, name), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	if err := tr.Repair(func(s string) { t.Errorf("%s: %s", name, s) }); err != nil {
		t.Fatal(err)
	}
	left := problems(t, tr)
	if !strings.Contains(left, "counts 2 entries; there are 1 by name and 2 by cookie") || !strings.Contains(left, "has link count 2, its names make it 1") {
		t.Errorf("%s: %s", name, left)
	}
	if v, err := tr.get(cookieKey(fs.RootIno, cookie)); err != nil || v == nil {
		t.Errorf("the last trace of %s is gone: %v", name, err)
	}
}
