package engine

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// closeInTime closes an engine and fails the test when that hangs.
func closeInTime(t *testing.T, e *Engine) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- e.Close() }()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		b := make([]byte, 1<<20)
		t.Fatalf("Close hangs:\n%s", b[:runtime.Stack(b, true)])
		return nil
	}
}

// TestADiskThatFailsLosesNothingThatWasAcknowledged fails one operation of the
// disk, or all from one on. The engine goes on or stops and says so; reads work;
// and after a restart all is there that was acknowledged.
func TestADiskThatFailsLosesNothingThatWasAcknowledged(t *testing.T) {
	kinds := []disk.Op{disk.OpSync, disk.OpWrite, disk.OpCreate, disk.OpPreallocate, disk.OpRename, disk.OpRemove}
	eachSeed(t, 24, func(t *testing.T, seed uint64) {
		d := disk.NewFaulty(disk.NewMem())
		w := newWorldOn(t, seed, d)
		w.work(20)
		acked := w.e.LastApplied()
		ok(t, w.e.Sync(ctx))
		kind, first, forEver := kinds[seed%uint64(len(kinds))], int64(1+w.rng.IntN(12)), w.rng.IntN(2) == 0
		d.SetRule(func(o disk.Op, _ string, n, _ int64) error {
			if o == kind && (n == first || n > first && forEver) {
				return syscall.EIO
			}
			return nil
		})
		for i := 0; i < 150 && w.e.Err() == nil; i++ {
			w.brokenStep()
			if i%10 == 9 {
				_ = w.e.t.Flush()
			}
			if w.rng.IntN(4) == 0 {
				seq := w.e.LastApplied()
				if w.e.WaitCommitted(ctx, seq) == nil {
					acked = seq
				} else if w.e.Err() == nil {
					w.fail("wait", errors.New("nothing is committed, but the engine does not say why"))
				}
			}
		}
		if w.e.Err() != nil {
			w.note("stopped: %v", w.e.Err())
			w.refuses()
		}
		_ = closeInTime(t, w.e)
		d.SetRule(nil)
		e, err := Open(ctx, w.o)
		if err != nil {
			w.fail("open", err)
		}
		if e.LastApplied() < acked {
			w.fail("open", fmt.Errorf("recovered %d, but %d was acknowledged", e.LastApplied(), acked))
		}
		seq := e.LastApplied()
		ok(t, e.BeginWriting(ctx))
		w.rollback(e, seq)
		w.compare()
		w.work(50)
		w.compare()
		ok(t, e.Close())
	})
}

func (w *world) work(n int) {
	w.t.Helper()
	for range n {
		w.step()
	}
}

// brokenStep is a step that may fail when the engine stops.
func (w *world) brokenStep() {
	w.t.Helper()
	o := w.gen.Next()
	w.note("%s", o)
	done, err := w.m.Do(o)
	if err != nil {
		if w.e.Err() == nil {
			w.fail(o.String(), err)
		}
		return
	}
	if done.Made != 0 {
		w.gen.Made(done.Made, done.Type)
	}
	w.events = append(w.events, event{o, done.Seq})
}

// refuses checks that a stopped engine reads but does not change.
func (w *world) refuses() {
	w.t.Helper()
	if _, err := w.e.GetAttr(fs.RootIno); err != nil {
		w.fail("read after a failure", err)
	}
	if _, err := w.e.ReadDir(fs.RootIno, 0, func(fs.DirEntry) bool { return true }); err != nil {
		w.fail("list after a failure", err)
	}
	_, err := w.e.Create(ctx, &fs.CreateRequest{Parent: fs.RootIno, Name: "after", Type: fs.TypeRegular})
	if err != fs.ErrIO {
		w.fail("create after a failure", err)
	}
}

func TestAFailedSyncStopsTheEngineAndReadsGoOn(t *testing.T) {
	d := disk.NewFaulty(disk.NewMem())
	o := testOptions(d, newClock(), "fs-1", 1)
	e := newWriter(t, o)
	f := create(t, e, fs.RootIno, "f", fs.TypeRegular)
	write(t, e, f.Ino, 0, []byte("before"))
	ok(t, e.Sync(ctx))
	d.FailEvery(disk.OpSync, 1, syscall.EIO)
	write(t, e, f.Ino, 0, []byte("after!"))
	if err := e.WaitCommitted(ctx, e.LastApplied()); !errors.Is(err, syscall.EIO) {
		t.Fatalf("waiting gives %v", err)
	}
	if !errors.Is(e.Err(), syscall.EIO) {
		t.Fatalf("the engine says %v", e.Err())
	}
	if _, err := e.Write(ctx, &fs.WriteRequest{Ino: f.Ino, Data: []byte("x")}); err != fs.ErrIO {
		t.Fatalf("a write gives %v", err)
	}
	if err := e.BeginWriting(ctx); err == nil {
		t.Fatal("a stopped engine begins to write")
	}
	if got := read(t, e, f.Ino, 0, 10); string(got) != "after!" {
		t.Fatalf("reads give %q", got)
	}
	_ = closeInTime(t, e)
	d.SetRule(nil)
	e = reopen(t, o)
	defer func() { ok(t, e.Close()) }()
	if got := string(read(t, e, f.Ino, 0, 10)); got != "before" && got != "after!" {
		t.Fatalf("after a restart: %q", got)
	}
	write(t, e, f.Ino, 0, []byte("again!"))
	ok(t, e.Sync(ctx))
}

// full is a disk that has no room for anything new. What lies in its files
// already can be overwritten.
func full(op disk.Op, name string, _, _ int64) error {
	if op == disk.OpCreate || op == disk.OpPreallocate || op == disk.OpWrite && !strings.HasSuffix(name, ".rec") {
		return &vfsNoSpace{name}
	}
	return nil
}

type vfsNoSpace struct{ name string }

func (e *vfsNoSpace) Error() string { return "write " + e.name + ": no space left on device" }
func (e *vfsNoSpace) Unwrap() error { return syscall.ENOSPC }

func TestAFullDiskIsSaidToBeFullAndGoesOnWhenThereIsRoom(t *testing.T) {
	d := disk.NewFaulty(disk.NewMem())
	o := testOptions(d, newClock(), "fs-1", 1)
	e := newWriter(t, o)
	f := create(t, e, fs.RootIno, "f", fs.TypeRegular)
	ok(t, e.Sync(ctx))
	for round := range 3 {
		d.SetRule(full)
		data := make([]byte, 200<<10)
		var err error
		n := 0
		for ; err == nil; n++ {
			_, err = e.Write(ctx, &fs.WriteRequest{Ino: f.Ino, Offset: uint64(n) * uint64(len(data)), Data: data})
			if n > 1000 {
				t.Fatal("a full disk takes everything")
			}
		}
		if err != fs.ErrNoSpace {
			t.Fatalf("round %d: a full disk gives %v", round, err)
		}
		if err := e.WaitCommitted(ctx, e.LastApplied()); err != nil {
			t.Fatalf("what was taken cannot be committed: %v", err)
		}
		// There is room for what makes room.
		name := fmt.Sprintf("dir-%d", round)
		if _, err := e.Create(ctx, &fs.CreateRequest{Parent: fs.RootIno, Name: fs.Name(name), Type: fs.TypeDir}); err != nil && err != fs.ErrNoSpace {
			t.Fatal(err)
		} else if err == nil {
			_, err := e.Remove(ctx, &fs.RemoveRequest{Parent: fs.RootIno, Name: fs.Name(name)})
			ok(t, err)
		}
		d.SetRule(nil)
		write(t, e, f.Ino, 0, data)
		ok(t, e.Sync(ctx))
		ok(t, e.Err())
	}
	ok(t, closeInTime(t, e))
	e = reopen(t, o)
	ok(t, e.Close())
}

// TestATreeThatCannotBeFlushedOnAFullDisk: the store below the tree has no
// room; changes are refused before memory fills, and go on afterwards.
func TestATreeThatCannotBeFlushedOnAFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("fills tens of megabytes of memory")
	}
	d := disk.NewFaulty(disk.NewMem())
	o := testOptions(d, newClock(), "fs-1", 1)
	o.RecordSegmentBytes = 4 << 20
	e := newWriter(t, o)
	d.SetRule(func(op disk.Op, name string, _, _ int64) error {
		if strings.HasSuffix(name, ".sst") {
			return &vfsNoSpace{name}
		}
		return nil
	})
	refused := false
	for i := 0; i < 200_000 && !refused; i++ {
		_, err := e.Create(ctx, &fs.CreateRequest{Parent: fs.RootIno, Name: fs.Name(fmt.Sprint(i)), Type: fs.TypeRegular})
		if refused = err == fs.ErrNoSpace; !refused {
			ok(t, err)
		}
	}
	if !refused {
		t.Fatal("the tree grows without end")
	}
	ok(t, e.Err())
	d.SetRule(nil)
	for i := 0; ; i++ {
		_, err := e.Create(ctx, &fs.CreateRequest{Parent: fs.RootIno, Name: "again", Type: fs.TypeRegular})
		if err == nil {
			break
		}
		if err != fs.ErrNoSpace || i > 20_000 {
			t.Fatalf("with room again: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
	ok(t, e.Sync(ctx))
	ok(t, closeInTime(t, e))
}

// sized is a disk that says how much room it has.
type sized struct {
	disk.FS
	free uint64
}

func (s *sized) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: s.free, TotalBytes: 100 << 20, UsedBytes: 100<<20 - s.free}, nil
}

func TestTheReserveIsKeptForRemoving(t *testing.T) {
	c := newClock()
	d := &sized{disk.NewMem(), 50 << 20}
	o := testOptions(d, c, "fs-1", 1)
	o.ReserveBytes = 10 << 20
	e := newWriter(t, o)
	defer func() { ok(t, e.Close()) }()
	f := create(t, e, fs.RootIno, "f", fs.TypeRegular)
	s := must[fs.StatFS](t)(e.StatFS())
	if s.BytesTotal != 100<<20 || s.BytesFree != 40<<20 {
		t.Fatalf("%+v", s)
	}
	d.free = 9 << 20
	c.Add(time.Second)
	if _, err := e.Write(ctx, &fs.WriteRequest{Ino: f.Ino, Data: []byte("x")}); err != fs.ErrNoSpace {
		t.Fatalf("a write into the reserve: %v", err)
	}
	if _, err := e.Create(ctx, &fs.CreateRequest{Parent: fs.RootIno, Name: "g", Type: fs.TypeRegular}); err != fs.ErrNoSpace {
		t.Fatalf("a file in the reserve: %v", err)
	}
	_, err := e.Rename(ctx, &fs.RenameRequest{From: fs.RootIno, FromName: "f", To: fs.RootIno, ToName: "h"})
	ok(t, err)
	_, err = e.Remove(ctx, &fs.RemoveRequest{Parent: fs.RootIno, Name: "h"})
	ok(t, err)
	d.free = 50 << 20
	c.Add(time.Second)
	create(t, e, fs.RootIno, "g", fs.TypeRegular)
}
