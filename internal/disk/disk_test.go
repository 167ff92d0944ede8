package disk

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"
)

func read(t *testing.T, fs FS, path string) string {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		return "absent"
	}
	defer f.Close()
	b := make([]byte, 100)
	n, _ := f.Read(b)
	return string(b[:n])
}

func TestWriteFileAtomicIsOldOrNewAtEveryCrash(t *testing.T) {
	for at := int64(1); ; at++ {
		mem := NewMem()
		if err := WriteFileAtomic(mem, "f", []byte("old")); err != nil {
			t.Fatal(err)
		}
		f := NewFaulty(mem)
		var left []*Mem
		f.SetRule(func(_ Op, _ string, _, total int64) error {
			if total == at {
				for seed := range uint64(20) {
					left = append(left, mem.Crash(rand.New(rand.NewPCG(seed, 0)), 50))
				}
			}
			return nil
		})
		if err := WriteFileAtomic(f, "f", []byte("new")); err != nil {
			t.Fatal(err)
		}
		for _, m := range left {
			if got := read(t, m, "f"); got != "old" && got != "new" {
				t.Errorf("crash at operation %d leaves %q", at, got)
			}
		}
		if got := read(t, mem.Crash(nil, 0), "f"); got != "new" {
			t.Errorf("after it returned a crash leaves %q", got)
		}
		if left == nil {
			if at < 5 {
				t.Errorf("only %d operations were counted", at-1)
			}
			return
		}
	}
}

func TestWriteFileAtomicReportsEveryFailure(t *testing.T) {
	for _, op := range []Op{OpCreate, OpWrite, OpSync, OpRename} {
		mem := NewMem()
		f := NewFaulty(mem)
		f.FailNth(op, 1, syscall.EIO)
		if err := WriteFileAtomic(f, "f", []byte("new")); !errors.Is(err, syscall.EIO) {
			t.Errorf("operation %d fails: %v", op, err)
		}
		if n := f.Count(op); n != 1 {
			t.Errorf("operation %d was tried %d times", op, n)
		}
		if got := read(t, mem, "f"); got != "absent" {
			t.Errorf("operation %d fails: file holds %q", op, got)
		}
		if err := WriteFileAtomic(f, "f", []byte("new")); err != nil {
			t.Errorf("only the first was to fail: %v", err)
		}
	}
}

func TestFailEveryCountsPerKind(t *testing.T) {
	f := NewFaulty(NewMem())
	f.FailEvery(OpCreate, 3, syscall.ENOSPC)
	for i := 1; i <= 9; i++ {
		_, err := f.Create("x", Category)
		if (i%3 == 0) != IsNoSpace(err) {
			t.Errorf("create %d: %v", i, err)
		}
	}
	if f.Count(OpCreate) != 9 || f.Count(OpSync) != 0 || f.Total() != 9 {
		t.Errorf("counted %d, %d, %d", f.Count(OpCreate), f.Count(OpSync), f.Total())
	}
}

func TestOnlyOneHoldsTheLock(t *testing.T) {
	dir := t.TempDir()
	for _, fs := range []FS{Real(), NewFaulty(Real())} {
		l, err := Lock(fs, dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Lock(fs, dir); err == nil {
			t.Error("locked twice")
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What the journal needs of the real disk: writes in place that do not move,
// reserved space that does not change the size and can be given back.
func TestRealFiles(t *testing.T) {
	path := t.TempDir() + "/f"
	f, err := Real().OpenReadWrite(path, Category)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	reserved, err := Preallocate(f, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("world"), 5); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("hello"), 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.SyncData(), SyncDir(Real(), Real().PathDir(path))); err != nil {
		t.Fatal(err)
	}
	if got := read(t, Real(), path); got != "helloworld" {
		t.Errorf("file holds %q", got)
	}
	blocks := func() int64 {
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks * 512
	}
	if reserved && blocks() < 1<<20 {
		t.Errorf("%d bytes are reserved", blocks())
	}
	if err := ReleaseBeyond(f, 10); err != nil {
		t.Fatal(err)
	}
	if blocks() > 64<<10 {
		t.Errorf("%d bytes are still reserved", blocks())
	}
	if _, err := Preallocate(f, 1<<60); err == nil {
		t.Error("the disk has room for an exabyte")
	}
}

func TestMemDoesNotReserve(t *testing.T) {
	f, err := NewMem().Create("f", Category)
	if err != nil {
		t.Fatal(err)
	}
	if reserved, err := Preallocate(f, 1<<60); reserved || err != nil {
		t.Errorf("%v, %v", reserved, err)
	}
	if err := ReleaseBeyond(f, 0); err != nil {
		t.Error(err)
	}
}
