package engine

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// manyExtents is more than one mutation may cut, several times.
const manyExtents = 2*fs.MaxExtentsCut + 100

// patched makes a file of many extents, each a byte, with a hole after each.
func patched(t *testing.T, e *Engine, name string) fs.Attr {
	t.Helper()
	f := create(t, e, fs.RootIno, name, fs.TypeRegular)
	for i := range manyExtents {
		write(t, e, f.Ino, uint64(2*i), []byte{byte(1 + i%200)})
	}
	return must[fs.Attr](t)(e.GetAttr(f.Ino))
}

func extentsOf(t *testing.T, e *Engine, ino fs.Ino) (n int) {
	ok(t, e.view(func(tr *tree.Tree) (err error) { n, err = tr.CountExtents(ino, 0, 1<<62, 1<<30); return err }))
	return n
}

// crashNow gives an engine on the disk as a crash may leave it, without its
// background work having come to an end.
func crashNow(t *testing.T, m *disk.Mem, o Options) (*Engine, Options) {
	t.Helper()
	c := newCrasher(m, 1)
	o.FS = c.crashed()
	return must[*Engine](t)(Open(ctx, o)), o
}

func TestAFileOfManyExtentsGoesInSteps(t *testing.T) {
	ways := map[string]func(e *Engine, f fs.Attr) error{
		"removed": func(e *Engine, f fs.Attr) error {
			_, err := e.Remove(ctx, &fs.RemoveRequest{Parent: fs.RootIno, Name: "f"})
			return err
		},
		"replaced": func(e *Engine, f fs.Attr) error {
			_, err := e.Rename(ctx, &fs.RenameRequest{From: fs.RootIno, FromName: "g", To: fs.RootIno, ToName: "f"})
			return err
		},
		"released": func(e *Engine, f fs.Attr) error {
			e.Hold(f.Ino)
			_, err := e.Remove(ctx, &fs.RemoveRequest{Parent: fs.RootIno, Name: "f"})
			if n := extentsOf(t, e, f.Ino); n != manyExtents {
				t.Errorf("a removed file that is held has %d extents", n)
			}
			e.Release(f.Ino)
			return err
		},
	}
	for way, fn := range ways {
		t.Run(way, func(t *testing.T) {
			m := disk.NewMem()
			o := testOptions(m, newClock(), "fs-1", 1)
			e := newWriter(t, o)
			f := patched(t, e, "f")
			create(t, e, fs.RootIno, "g", fs.TypeRegular)
			ok(t, fn(e, f))
			ok(t, e.Sync(ctx))
			e2, o2 := crashNow(t, m, o)
			ok(t, e.Close())
			e = e2
			ok(t, e.BeginWriting(ctx))
			settle(t, e)
			if _, err := e.GetAttr(f.Ino); err != fs.ErrStale {
				t.Fatalf("the file is still there: %v", err)
			}
			s := must[fs.StatFS](t)(e.StatFS())
			if s.BytesUsed != 0 || extentsOf(t, e, f.Ino) != 0 {
				t.Fatalf("%+v, %d extents", s, extentsOf(t, e, f.Ino))
			}
			ok(t, e.Close())
			e = reopen(t, o2)
			ok(t, e.Close())
		})
	}
}

// TestATruncatedFileShowsNoOldBytes: what is cut and not reclaimed yet never
// comes back when the file grows again.
func TestATruncatedFileShowsNoOldBytes(t *testing.T) {
	m := disk.NewMem()
	o := testOptions(m, newClock(), "fs-1", 1)
	e := newWriter(t, o)
	f := patched(t, e, "f")
	set := func(n uint64) {
		t.Helper()
		_, err := e.SetAttr(ctx, &fs.SetAttrRequest{Ino: f.Ino, Set: fs.AttrChange{Size: &n}})
		ok(t, err)
	}
	set(11)
	set(5) // again, while extents wait
	if got := read(t, e, f.Ino, 0, 100); !bytes.Equal(got, []byte{1, 0, 2, 0, 3}) {
		t.Fatalf("%v", got)
	}
	ok(t, e.Sync(ctx))
	e2, _ := crashNow(t, m, o)
	ok(t, e.Close())
	e = e2
	ok(t, e.BeginWriting(ctx))
	set(5000)
	want := make([]byte, 5000)
	copy(want, []byte{1, 0, 2, 0, 3})
	if got := read(t, e, f.Ino, 0, 6000); !bytes.Equal(got, want) {
		t.Fatal("old bytes come back after a truncation")
	}
	write(t, e, f.Ino, 4000, []byte("new"))
	copy(want[4000:], "new")
	if got := read(t, e, f.Ino, 0, 6000); !bytes.Equal(got, want) {
		t.Fatal("old bytes come back after a write")
	}
	settle(t, e)
	if a := must[fs.Attr](t)(e.GetAttr(f.Ino)); a.Used != 6 {
		t.Fatalf("used %d", a.Used)
	}
	ok(t, e.Close())
}

func TestAWriteOverManyExtentsIsCut(t *testing.T) {
	e := newWriter(t, testOptions(disk.NewMem(), newClock(), "fs-1", 1))
	defer func() { ok(t, e.Close()) }()
	f := patched(t, e, "f")
	data := bytes.Repeat([]byte{0xaa}, 2*manyExtents)
	for at := 0; at < len(data); {
		res, err := e.Write(ctx, &fs.WriteRequest{Ino: f.Ino, Offset: uint64(at), Data: data[at:]})
		ok(t, err)
		if res.N == 0 {
			t.Fatal("a write takes nothing")
		}
		if at == 0 && res.N == len(data) {
			t.Fatal("one write cut more extents than a mutation may")
		}
		at += res.N
	}
	if got := read(t, e, f.Ino, 0, len(data)); !bytes.Equal(got, data) {
		t.Fatal("the file holds something else")
	}
}

func TestOrphansLiveUntilGraceIsOver(t *testing.T) {
	o := testOptions(disk.NewMem(), newClock(), "fs-1", 1)
	e := newWriter(t, o)
	_, err := e.AddClient(ctx, []byte("client"))
	ok(t, err)
	var files []fs.Attr
	for i := range 20 {
		f := create(t, e, fs.RootIno, fmt.Sprint(i), fs.TypeRegular)
		write(t, e, f.Ino, 0, []byte("held"))
		e.Hold(f.Ino)
		_, err := e.Remove(ctx, &fs.RemoveRequest{Parent: fs.RootIno, Name: fs.Name(fmt.Sprint(i))})
		ok(t, err)
		files = append(files, f)
	}
	ok(t, e.Close())
	e = reopen(t, o)
	for _, f := range files {
		if got := string(read(t, e, f.Ino, 0, 10)); got != "held" {
			t.Fatalf("an orphan holds %q after a restart", got)
		}
	}
	// A file that is removed during grace may yet be reclaimed as open.
	late := create(t, e, fs.RootIno, "late", fs.TypeRegular)
	_, err = e.Remove(ctx, &fs.RemoveRequest{Parent: fs.RootIno, Name: "late"})
	ok(t, err)
	e.Hold(files[3].Ino)
	e.GraceEnded()
	settle(t, e)
	for i, f := range append(files, late) {
		_, err := e.GetAttr(f.Ino)
		if i == 3 && err != nil || i != 3 && err != fs.ErrStale {
			t.Fatalf("orphan %d: %v", i, err)
		}
	}
	e.Release(files[3].Ino)
	settle(t, e)
	if s := must[fs.StatFS](t)(e.StatFS()); s.Files != 1 || s.BytesUsed != 0 {
		t.Fatalf("%+v", s)
	}
	ok(t, e.Close())
}

func TestALargeDirectoryIsListedWhileItChanges(t *testing.T) {
	e := newWriter(t, testOptions(disk.NewMem(), newClock(), "fs-1", 1))
	defer func() { ok(t, e.Close()) }()
	const n = 20_000
	for i := range n {
		create(t, e, fs.RootIno, fmt.Sprintf("%05d", i), fs.TypeRegular)
	}
	seen := map[fs.Name]int{}
	var after uint64
	for page := 0; ; page++ {
		count := 0
		eof, err := e.ReadDir(fs.RootIno, after, func(d fs.DirEntry) bool {
			if count == 300 {
				return false
			}
			count++
			seen[d.Name]++
			after = d.Cookie
			return true
		})
		ok(t, err)
		if eof {
			break
		}
		// Names before and behind the reader go, and one comes.
		for _, i := range []int{page, n - 1 - page} {
			_, err := e.Remove(ctx, &fs.RemoveRequest{Parent: fs.RootIno, Name: fs.Name(fmt.Sprintf("%05d", i))})
			ok(t, err)
		}
		create(t, e, fs.RootIno, fmt.Sprintf("new-%d", page), fs.TypeRegular)
	}
	for i := 200; i < n-200; i++ {
		if c := seen[fs.Name(fmt.Sprintf("%05d", i))]; c != 1 {
			t.Fatalf("entry %d was listed %d times", i, c)
		}
	}
}

func TestTheLargestFile(t *testing.T) {
	e := newWriter(t, testOptions(disk.NewMem(), newClock(), "fs-1", 1))
	defer func() { ok(t, e.Close()) }()
	f := create(t, e, fs.RootIno, "f", fs.TypeRegular)
	write(t, e, f.Ino, fs.MaxFileSize-3, []byte("end"))
	write(t, e, f.Ino, 0, []byte("start"))
	a := must[fs.Attr](t)(e.GetAttr(f.Ino))
	if a.Size != fs.MaxFileSize || a.Used != 8 {
		t.Fatalf("%+v", a)
	}
	if got := string(read(t, e, f.Ino, fs.MaxFileSize-6, 100)); got != "\x00\x00\x00end" {
		t.Fatalf("%q", got)
	}
	if _, err := e.Write(ctx, &fs.WriteRequest{Ino: f.Ino, Offset: fs.MaxFileSize, Data: []byte("x")}); err != fs.ErrFBig {
		t.Fatalf("a write beyond the largest size: %v", err)
	}
	size := uint64(fs.MaxFileSize + 1)
	if _, err := e.SetAttr(ctx, &fs.SetAttrRequest{Ino: f.Ino, Set: fs.AttrChange{Size: &size}}); err != fs.ErrFBig {
		t.Fatalf("a size beyond the largest: %v", err)
	}
}

// TestACheckpointExpires: one that nobody uses goes, also when an earlier
// process left it; one in use stays.
func TestACheckpointExpires(t *testing.T) {
	p := newPair(t, 1)
	defer p.close()
	p.steps(30)
	_, err := p.e.OpenCheckpoint("kept", nil, nil)
	ok(t, err)
	p.restart()
	_, err = p.e.OpenCheckpoint("kept", nil, nil)
	ok(t, err)
	p.restart()
	p.clock.Add(2 * checkpointIdle)
	err = p.e.Items("kept", 0, nil, func(Item) error { return nil })
	if !errors.Is(err, ErrNoCheckpoint) {
		t.Fatalf("an expired checkpoint: %v", err)
	}
	names, err := p.o.FS.List(p.e.checkpointPath(""))
	if err != nil || len(names) != 0 {
		t.Fatalf("left on disk: %q, %v", names, err)
	}
	for i := range 2 * maxCheckpoints { // the oldest makes room
		_, err := p.e.OpenCheckpoint(fmt.Sprintf("c-%d", i), nil, nil)
		ok(t, err)
	}
}
