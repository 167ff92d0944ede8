package engine

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// checkedTree makes a file system with every kind of thing in it and closes it.
func checkedTree(t *testing.T, d *disk.Mem) Options {
	o := testOptions(d, newClock(), "fs-checked", 1)
	e := newWriter(t, o)
	dir := must[fs.CreateResult](t)(e.Create(ctx, &fs.CreateRequest{Parent: fs.RootIno, Name: "d", Type: fs.TypeDir, Attrs: mode(0o755)})).Attr.Ino
	f := must[fs.CreateResult](t)(e.Create(ctx, &fs.CreateRequest{Parent: dir, Name: "f", Type: fs.TypeRegular, Attrs: mode(0o644)})).Attr.Ino
	must[fs.DirResult](t)(e.Link(ctx, &fs.LinkRequest{Ino: f, Parent: fs.RootIno, Name: "l"}))
	must[fs.CreateResult](t)(e.Create(ctx, &fs.CreateRequest{Parent: dir, Name: "s", Type: fs.TypeSymlink, Target: "f"}))
	must[fs.WriteResult](t)(e.Write(ctx, &fs.WriteRequest{Ino: f, Offset: 10, Data: bytes.Repeat([]byte("data"), 20_000)}))
	must[fs.XattrResult](t)(e.ChangeXattr(ctx, &fs.XattrRequest{Ino: f, Name: "a", Value: []byte("v")}))
	o2 := must[fs.CreateResult](t)(e.Create(ctx, &fs.CreateRequest{Parent: dir, Name: "open", Type: fs.TypeRegular})).Attr.Ino
	e.Hold(o2)
	must[fs.DirResult](t)(e.Remove(ctx, &fs.RemoveRequest{Parent: dir, Name: "open"}))
	ok(t, e.Close())
	return o
}

func TestCheckFindsNothingInAGoodFileSystem(t *testing.T) {
	o := checkedTree(t, disk.NewMem())
	r := must[CheckReport](t)(Check(o, true))
	if len(r.Problems) != 0 {
		t.Fatalf("problems: %q", r.Problems)
	}
	if r.Tree.Files != 5 || r.Tree.PayloadsRead != 1 || r.Flushed != r.Journal.Last {
		t.Errorf("looked at %+v, tree at %v, journal to %v", r.Tree, r.Flushed, r.Journal.Last)
	}
}

func TestCheckFindsADamagedPayload(t *testing.T) {
	d := disk.NewMem()
	o := checkedTree(t, d)
	dir := filepath.Join(o.Dir, firstJournal)
	for _, name := range must[[]string](t)(d.List(dir)) {
		if !strings.HasSuffix(name, ".pay") {
			continue
		}
		b := must[[]byte](t)(disk.ReadFile(d, filepath.Join(dir, name)))
		b[4096] ^= 1 // the first payload
		ok(t, disk.WriteFileAtomic(d, filepath.Join(dir, name), b))
	}
	r := must[CheckReport](t)(Check(o, true))
	if len(r.Problems) == 0 || !strings.Contains(strings.Join(r.Problems, "\n"), ".pay at offset") {
		t.Errorf("problems: %q, want one that names the payload segment", r.Problems)
	}
}

// TestRepairMendsAndSaysSo: a whole file system, with its journal.
func TestRepairMendsAndSaysSo(t *testing.T) {
	d := disk.NewMem()
	o := checkedTree(t, d)
	ok(t, Repair(ctx, o, func(s string) { t.Errorf("a good file system was changed: %s", s) }))
	db := must[*pebble.DB](t)(pebble.Open(filepath.Join(o.Dir, firstTree), &pebble.Options{FS: sealed(t, o), DisableWAL: true, FormatMajorVersion: pebble.FormatTableFormatV6}))
	ok(t, db.DeleteRange([]byte("c"), []byte("d"), pebble.NoSync)) // the entries by cookie
	ok(t, db.Flush())
	ok(t, db.Close())
	if r := must[CheckReport](t)(Check(o, true)); len(r.Problems) == 0 {
		t.Fatal("the damage is not found")
	}
	did := 0
	ok(t, Repair(ctx, o, func(string) { did++ }))
	if r := must[CheckReport](t)(Check(o, true)); len(r.Problems) != 0 || did != 4 {
		t.Errorf("%d changes, left: %q", did, r.Problems)
	}
	e := reopen(t, o)
	defer func() { ok(t, e.Close()) }()
	names := 0
	must[bool](t)(e.ReadDir(fs.RootIno, 0, func(fs.DirEntry) bool { names++; return true }))
	if names != 2 {
		t.Errorf("%d names in the root", names)
	}
}
