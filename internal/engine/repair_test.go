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

// flipIn flips a bit in each file below dir where content stands, and gives how
// many there were.
func flipIn(t *testing.T, d disk.FS, dir string, content []byte) (hit int) {
	t.Helper()
	for _, name := range must[[]string](t)(d.List(dir)) {
		if !strings.HasSuffix(name, ".pay") && !strings.HasSuffix(name, ".rec") {
			continue
		}
		path := filepath.Join(dir, name)
		b := must[[]byte](t)(disk.ReadFile(d, path))
		if at := bytes.Index(b, content); at >= 0 {
			b[at+len(content)/2] ^= 4
			ok(t, disk.WriteFileAtomic(d, path, b))
			hit++
		}
	}
	return hit
}

// TestAReplicaRepairsDamageFromItsPeer, either side of a replication: what is
// damaged gets its bytes from the other one, for good, and nobody's history or
// hash changes.
func TestAReplicaRepairsDamageFromItsPeer(t *testing.T) {
	for _, damagedSide := range []string{"source", "destination"} {
		t.Run(damagedSide, func(t *testing.T) {
			d, clock := disk.NewMem(), newClock()
			oa, ob := testOptions(d, clock, "fs-a", 1), testOptions(d, clock, "fs-b", 2)
			a := newWriter(t, oa)
			defer func() { ok(t, a.Close()) }()
			ok(t, CreateEmpty(ob))
			b := must[*Engine](t)(Open(ctx, ob))
			defer func() { ok(t, b.Close()) }()
			ok(t, a.AddMember(ctx, ob.ID))
			var inos []fs.Ino
			want := map[fs.Ino][]byte{}
			for i := range 5 {
				f := create(t, a, fs.RootIno, fmt.Sprint(i), fs.TypeRegular)
				for k := 0; len(want[f.Ino]) < 90_000; k++ { // no piece of it twice
					want[f.Ino] = fmt.Appendf(want[f.Ino], "content-%d-%d ", i, k)
				}
				write(t, a, f.Ino, 0, want[f.Ino])
				inos = append(inos, f.Ino)
			}
			bootstrap(t, a, b)
			// A part of it is overwritten at the source, so that its extents differ.
			write(t, a, inos[2], 30_000, []byte("overwritten"))
			ok(t, a.Sync(ctx))
			catchUp(t, a, b)
			copy(want[inos[2]][30_000:], "overwritten")

			hurt, sound, o := &a, &b, oa
			if damagedSide == "destination" {
				hurt, sound, o = &b, &a, ob
			}
			ok(t, (*hurt).Close())
			for _, i := range []int{1, 2} {
				if flipIn(t, d, filepath.Join(o.Dir, must[*current](t)(readCurrent(&o)).Journal), want[inos[i]][50_000:50_200]) != 1 {
					t.Fatal("nothing was damaged")
				}
			}
			*hurt = must[*Engine](t)(Open(ctx, o))
			if damagedSide == "source" {
				ok(t, (*hurt).BeginWriting(ctx))
			}
			var damage *fs.CorruptionError
			if _, _, err := (*hurt).Read(ctx, inos[1], 50_000, make([]byte, 100)); !errors.As(err, &damage) {
				t.Fatalf("damage was read: %v", err)
			}
			before := (*hurt).LastApplied()
			none := func(context.Context, int) error { return nil }
			s := must[ScrubStats](t)((*hurt).Scrub(ctx, none, func(context.Context, Run) ([]byte, error) { return nil, errors.New("nobody answers") }))
			if s.Damaged != 2 || s.Repaired != 0 || (*hurt).Damage() == nil {
				t.Fatalf("without a peer: %+v", s)
			}
			s = must[ScrubStats](t)((*hurt).Scrub(ctx, none, (*sound).FetchRun))
			if s.Damaged != 2 || s.Repaired != 2 || (*hurt).Damage() != nil {
				t.Fatalf("%+v, %v", s, (*hurt).Damage())
			}
			if (*hurt).LastApplied() != before {
				t.Error("a repair changed the history")
			}
			for again := range 2 {
				for ino, w := range want {
					if got := read(t, *hurt, ino, 0, len(w)); !bytes.Equal(got, w) {
						t.Fatalf("inode %d has other bytes, restarts: %d", ino, again)
					}
				}
				ok(t, (*hurt).t.Flush())
				ok(t, (*hurt).Close())
				*hurt = must[*Engine](t)(Open(ctx, o))
			}
			if damagedSide == "destination" {
				same(t, a, b)
			}
			if s = must[ScrubStats](t)((*hurt).Scrub(ctx, none, nil)); s.Damaged != 0 {
				t.Fatalf("after the repair: %+v", s)
			}
		})
	}
}

func TestOnlyTheVeryBytesAreGivenOut(t *testing.T) {
	e := newWriter(t, testOptions(disk.NewMem(), newClock(), "fs-1", 1))
	defer func() { ok(t, e.Close()) }()
	f := create(t, e, fs.RootIno, "f", fs.TypeRegular)
	write(t, e, f.Ino, 0, []byte("0123456789"))
	ok(t, e.Sync(ctx))
	seq, epoch := e.LastApplied(), e.Epoch().Short()
	run := Run{Ino: f.Ino, Offset: 2, Length: 5, Epoch: epoch, Seq: seq, From: 2}
	if b := must[[]byte](t)(e.FetchRun(ctx, run)); string(b) != "23456" {
		t.Fatalf("%q", b)
	}
	for _, bad := range []Run{{}, {Ino: f.Ino, Length: 5, Epoch: epoch, Seq: seq + 1}, {Ino: f.Ino, Length: 11, Epoch: epoch, Seq: seq},
		{Ino: f.Ino, Length: 5, Epoch: epoch + 1, Seq: seq}, {Ino: 99, Length: 1, Epoch: epoch, Seq: 1}, {Ino: f.Ino, Length: 1 << 31, Seq: seq}} {
		if b, err := e.FetchRun(ctx, bad); err == nil {
			t.Errorf("%+v gave %q", bad, b)
		}
	}
	// Overwritten since: the history still has it.
	write(t, e, f.Ino, 0, []byte("abcdefghij"))
	ok(t, e.Sync(ctx))
	if b := must[[]byte](t)(e.FetchRun(ctx, run)); string(b) != "23456" {
		t.Fatalf("from the history: %q", b)
	}
}
