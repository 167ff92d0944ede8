package engine

import (
	"bytes"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

func TestWhatWasWrittenIsThereAfterARestart(t *testing.T) {
	o := testOptions(disk.NewMem(), newClock(), "fs-1", 1)
	e := newWriter(t, o)
	dir := create(t, e, fs.RootIno, "dir", fs.TypeDir)
	small := create(t, e, dir.Ino, "small", fs.TypeRegular)
	large := create(t, e, dir.Ino, "large", fs.TypeRegular)
	write(t, e, small.Ino, 3, []byte("hello"))
	bulk := bytes.Repeat([]byte("0123456789abcdef"), 32<<10)
	write(t, e, large.Ino, 100, bulk)
	lineage, seq := e.Lineage(), e.LastApplied()
	ok(t, e.Close())

	e = reopen(t, o)
	defer func() { ok(t, e.Close()) }()
	if e.Lineage() != lineage || lineage == (fs.Lineage{}) {
		t.Fatalf("lineage %s, was %s", e.Lineage(), lineage)
	}
	if e.LastApplied() != seq+1 { // the new epoch
		t.Fatalf("position %d, was %d", e.LastApplied(), seq)
	}
	a := must[fs.Attr](t)(e.Lookup(&root, dir.Ino, "small"))
	if a.Ino != small.Ino || a.Size != 8 || a.Used != 5 {
		t.Fatalf("small: %+v", a)
	}
	if got := read(t, e, a.Ino, 0, 100); string(got) != "\x00\x00\x00hello" {
		t.Fatalf("small holds %q", got)
	}
	if got := read(t, e, large.Ino, 0, 1<<20); !bytes.Equal(got[100:], bulk) {
		t.Fatal("large holds something else")
	}
	var names []string
	eof, err := e.ReadDir(dir.Ino, 0, func(d fs.DirEntry) bool { names = append(names, string(d.Name)); return true })
	if err != nil || !eof || len(names) != 2 || names[0] != "small" || names[1] != "large" {
		t.Fatalf("listing %q, %v, %v", names, eof, err)
	}
}

func TestOperationsWithoutACrash(t *testing.T) {
	e := newWriter(t, testOptions(disk.NewMem(), newClock(), "fs-1", 1))
	defer func() { ok(t, e.Close()) }()
	f := create(t, e, fs.RootIno, "f", fs.TypeRegular)
	d := create(t, e, fs.RootIno, "d", fs.TypeDir)
	write(t, e, f.Ino, 0, []byte("content"))
	_, err := e.Link(ctx, &fs.LinkRequest{Ino: f.Ino, Parent: d.Ino, Name: "g"})
	ok(t, err)
	_, err = e.Rename(ctx, &fs.RenameRequest{From: fs.RootIno, FromName: "f", To: d.Ino, ToName: "h"})
	ok(t, err)
	size := uint64(3)
	_, err = e.SetAttr(ctx, &fs.SetAttrRequest{Ino: f.Ino, Set: fs.AttrChange{Size: &size}})
	ok(t, err)
	if got := read(t, e, f.Ino, 0, 10); string(got) != "con" {
		t.Fatalf("holds %q", got)
	}
	e.Hold(f.Ino)
	for _, n := range []fs.Name{"g", "h"} {
		_, err = e.Remove(ctx, &fs.RemoveRequest{Parent: d.Ino, Name: n})
		ok(t, err)
	}
	if a := must[fs.Attr](t)(e.GetAttr(f.Ino)); a.Nlink != 0 {
		t.Fatalf("%d names left", a.Nlink)
	}
	e.Release(f.Ino)
	if err := e.WaitCommitted(ctx, e.LastApplied()); err != nil {
		t.Fatal(err)
	}
}
