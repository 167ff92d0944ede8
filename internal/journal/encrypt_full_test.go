package journal

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// small is the real disk with room for limit bytes; 0: there is enough.
type small struct {
	disk.FS
	t     *testing.T
	dir   string
	limit int64
}

// used is what the files take on disk.
func (s *small) used() (n int64) {
	s.t.Helper()
	err := filepath.Walk(s.dir, func(_ string, st os.FileInfo, err error) error {
		if err == nil && st.Mode().IsRegular() {
			n += st.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *small) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.FS.OpenReadWrite(name, c, o...)
	return &smallFile{f, s}, err
}

type smallFile struct {
	vfs.File
	s *small
}

func (f *smallFile) Preallocate(off, n int64) error {
	if f.s.limit > 0 && f.s.used()+n > f.s.limit {
		return syscall.ENOSPC
	}
	return f.File.Preallocate(off, n)
}

// TestRestartsOnAFullDisk: however often it is opened anew where there is no room
// but its own, an encrypted journal takes records without payload, such as the
// removal of a file, as one that is not encrypted does.
func TestRestartsOnAFullDisk(t *testing.T) {
	for _, key := range []*seal.Key{nil, fixedKey()} {
		dir := filepath.Join(t.TempDir(), "journal")
		d := &small{FS: disk.Real(), t: t, dir: filepath.Dir(dir)}
		o := tiny(d)
		o.Dir, o.Key, o.RecordSegmentBytes = dir, key, 1<<20
		j, h := mustCreate(t, o), newHistory()
		put := func() {
			t.Helper()
			for range 5 {
				if _, err := h.append(j, nil); err != nil {
					t.Fatalf("encrypted %v: %v", key != nil, err)
				}
				wait(t, j, h.last().Seq)
			}
		}
		put()
		for i := range 12 {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			d.limit = d.used()
			if i%3 == 1 { // nothing is written between two starts
				if err := mustOpen(t, o, h, h.base, h.last().Seq).Close(); err != nil {
					t.Fatal(err)
				}
			}
			j = mustOpen(t, o, h, h.base, h.last().Seq)
			put()
		}
		d.limit = 0
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		mustOpen(t, o, h, h.base, h.last().Seq)
	}
}

// TestShortSegmentsAreCounted: what restarts of an encrypted journal leave behind
// is counted, also after the next restart, until it is cleaned away.
func TestShortSegmentsAreCounted(t *testing.T) {
	for _, key := range []*seal.Key{nil, fixedKey()} {
		o := tiny(disk.Real())
		o.Dir, o.Key, o.RecordSegmentBytes = filepath.Join(t.TempDir(), "journal"), key, 1<<20
		j, h := mustCreate(t, o), newHistory()
		for range 5 {
			if _, err := h.append(j, nil); err != nil {
				t.Fatal(err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = mustOpen(t, o, h, h.base, h.last().Seq)
		}
		want := int64(6) // with the one of the BASE
		if key == nil {
			want = 0
		}
		if got := j.Short(); got != want {
			t.Errorf("encrypted %v: %d short segments, want %d", key != nil, got, want)
		}
		if _, err := h.append(j, nil); err != nil {
			t.Fatal(err)
		}
		wait(t, j, h.last().Seq)
		if err := j.Clean(noDeadline, j.Closed(), nil, func(context.Context, int) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if got := j.Short(); got != min(want, 1) {
			t.Errorf("encrypted %v: %d short segments after cleaning", key != nil, got)
		}
	}
}

// uncut is a disk whose files cannot be cut: some need room for that, too.
type uncut struct{ disk.FS }

func (d uncut) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, o...)
	return uncutFile{f}, err
}

type uncutFile struct{ vfs.File }

// Fd is of no file: whatever is asked of it fails.
func (uncutFile) Fd() uintptr { return 1 << 30 }

// TestWhatCannotBeCutOpens: that space is not given back is no reason to keep a
// file system closed.
func TestWhatCannotBeCutOpens(t *testing.T) {
	o := tiny(uncut{disk.NewMem()})
	o.Key = fixedKey()
	j, h := mustCreate(t, o), newHistory()
	for range 3 {
		if _, err := h.append(j, nil); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = mustOpen(t, o, h, h.base, h.last().Seq)
	}
}
