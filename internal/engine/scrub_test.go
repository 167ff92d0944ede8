package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// TestScrubReadsEverythingAndTellsOfDamage: more files than a batch; one byte
// of one is damaged, which no client has read.
func TestScrubReadsEverythingAndTellsOfDamage(t *testing.T) {
	d := disk.NewMem()
	o := testOptions(d, newClock(), "fs-1", 1)
	e := newWriter(t, o)
	const files, size = 3*scrubBatch + 5, 40 << 10
	for i := range files {
		f := create(t, e, fs.RootIno, fmt.Sprint(i), fs.TypeRegular)
		write(t, e, f.Ino, 0, bytes.Repeat([]byte(fmt.Sprintf("file-%03d", i)), size/8))
	}
	var paused int
	count := func(_ context.Context, n int) error { paused += n; return nil }
	s := must[ScrubStats](t)(e.Scrub(ctx, count, nil))
	if s != (ScrubStats{Extents: files, Bytes: files * size}) || paused != files*size || e.Damage() != nil {
		t.Fatalf("%+v, paused for %d bytes, %v", s, paused, e.Damage())
	}
	ok(t, e.Close())

	dir := filepath.Join(o.Dir, firstJournal)
	hit := 0
	for _, name := range must[[]string](t)(d.List(dir)) {
		b := must[[]byte](t)(disk.ReadFile(d, filepath.Join(dir, name)))
		if at := bytes.Index(b, []byte("file-100file-100")); at >= 0 && strings.HasSuffix(name, ".pay") {
			b[at+100] ^= 1
			ok(t, disk.WriteFileAtomic(d, filepath.Join(dir, name), b))
			hit++
		}
	}
	if hit != 1 {
		t.Fatalf("damaged %d files", hit)
	}
	e = reopen(t, o)
	defer func() { ok(t, e.Close()) }()
	s = must[ScrubStats](t)(e.Scrub(ctx, count, nil))
	var damage *fs.CorruptionError
	if s.Damaged != 1 || s.Extents != files || !errors.As(e.Damage(), &damage) || !strings.HasSuffix(damage.File, ".pay") {
		t.Fatalf("%+v, %v", s, e.Damage())
	}
	stop := errors.New("stop")
	if s, err := e.Scrub(ctx, func(context.Context, int) error { return stop }, nil); err != stop || s.Extents != 0 {
		t.Fatalf("stopped at once: %+v, %v", s, err)
	}
}

// Damage that is not of file data is not forgotten when file data was repaired;
// damage of data that was overwritten is.
func TestScrubForgetsTheDamageThatItKnowsOf(t *testing.T) {
	d := disk.NewMem()
	o := testOptions(d, newClock(), "fs-1", 1)
	e := newWriter(t, o)
	want := bytes.Repeat([]byte("file data "), 10_000)
	f := create(t, e, fs.RootIno, "f", fs.TypeRegular)
	write(t, e, f.Ino, 0, want)
	none := func(context.Context, int) error { return nil }
	fetch := func(_ context.Context, r Run) ([]byte, error) { return want[r.Offset:][:r.Length], nil }
	hurt := func() {
		t.Helper()
		ok(t, e.Close())
		if flipIn(t, d, filepath.Join(o.Dir, firstJournal), want[50_000:][:500]) != 1 {
			t.Fatal("nothing was damaged")
		}
		e = reopen(t, o)
		var damage *fs.CorruptionError
		if _, _, err := e.Read(ctx, f.Ino, 0, make([]byte, len(want))); !errors.As(err, &damage) {
			t.Fatalf("damage was read: %v", err)
		}
	}
	defer func() { ok(t, e.Close()) }()

	hurt()
	write(t, e, f.Ino, 0, want)
	if s := must[ScrubStats](t)(e.Scrub(ctx, none, nil)); s.Damaged != 0 || e.Damage() != nil {
		t.Fatalf("overwritten: %+v, %v", s, e.Damage())
	}
	for range 20 { // so that the old copy is cleaned away
		write(t, e, f.Ino, 0, want)
	}
	ok(t, e.Clean(ctx))
	hurt()
	_ = e.noteDamage(&fs.CorruptionError{File: filepath.Join(o.Dir, firstTree, "000007.sst"), Detail: "a block of the tree"})
	if s := must[ScrubStats](t)(e.Scrub(ctx, none, fetch)); s.Damaged != 1 || s.Repaired != 1 {
		t.Fatalf("%+v", s)
	}
	if err := e.Damage(); err == nil || !strings.Contains(err.Error(), ".sst") {
		t.Fatalf("damage of the tree was forgotten: %v", err)
	}
}
