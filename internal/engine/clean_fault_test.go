package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// Maps that cannot be read just now do not make the cleaner take what they lead
// to for garbage.
func TestAMapThatCannotBeReadStopsTheCleaner(t *testing.T) {
	d := disk.NewFaulty(disk.NewMem())
	o := testOptions(d, newClock(), "fs-1", 1)
	o.Clean.PeerBytes = 1
	e := newWriter(t, o)
	ok(t, e.Sync(ctx))
	must[CheckpointInfo](t)(e.OpenCheckpoint("c", nil, nil)) // which keeps the maps
	defer func() { ok(t, e.Close()) }()
	var inos []fs.Ino
	for i := range 40 {
		f := create(t, e, fs.RootIno, fmt.Sprint(i), fs.TypeRegular)
		write(t, e, f.Ino, 0, bytes.Repeat([]byte{byte(i)}, 100<<10))
		inos = append(inos, f.Ino)
	}
	for i, ino := range inos { // nearly all of each becomes garbage
		write(t, e, ino, 0, bytes.Repeat([]byte{byte(i)}, 95<<10))
	}
	ok(t, e.Clean(ctx))
	if e.j.Moved() == 0 {
		t.Fatalf("nothing was moved: %+v", e.CleanStats())
	}
	ok(t, e.Close())
	e = reopen(t, o)
	d.SetRule(func(op disk.Op, name string, _, _ int64) error {
		if (op == disk.OpRead || op == disk.OpOpen) && strings.HasSuffix(name, ".map") {
			return syscall.EIO
		}
		return nil
	})
	for range 3 {
		for _, ino := range inos { // so that the cleaner has something to do
			write(t, e, ino, 0, bytes.Repeat([]byte("x"), 40<<10))
		}
		if err := e.Clean(ctx); !errors.Is(err, syscall.EIO) {
			t.Errorf("cleaning without maps: %v", err)
		}
	}
	ok(t, e.ReleaseCheckpoint("c"))
	if err := e.Clean(ctx); !errors.Is(err, syscall.EIO) {
		t.Errorf("bringing addresses up to date without maps: %v", err)
	}
	d.SetRule(nil)
	for range 2 {
		for i, ino := range inos {
			if got := read(t, e, ino, 96<<10, 4<<10); !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, 4<<10)) {
				t.Fatalf("file %d has other bytes", i)
			}
		}
		ok(t, e.Clean(ctx))
	}
	if e.j.Moved() != 0 {
		t.Error("maps are left")
	}
}

// Maps go only for the tree whose addresses were brought up to date.
func TestMapsStayForATreeThatCameMeanwhile(t *testing.T) {
	p := newPair(t, 4)
	defer p.close()
	p.steps(200)
	p.transfer(nil)
	old := p.other.t
	p.transfer(nil)
	if p.other.t == old {
		t.Fatal("the tree was not replaced")
	}
	if err := p.other.forgetMoved(old, p.other.j, nil); !errors.Is(err, errSwitched) {
		t.Errorf("maps were forgotten after looking at the tree before: %v", err)
	}
}

// One damaged piece does not keep the cleaner from the rest for ever; when it
// is mended, its segment goes too.
func TestDamageDoesNotStopTheCleaner(t *testing.T) {
	for _, size := range []int{100 << 10, 20 << 10} { // in payload segments, in the records
		d := disk.NewMem()
		o := testOptions(d, newClock(), "fs-1", 1)
		e := newWriter(t, o)
		var want []byte
		for i := 0; len(want) < size; i++ {
			want = fmt.Appendf(want, "precious-%d-%d ", size, i)
		}
		want = want[:size]
		other := create(t, e, fs.RootIno, "other", fs.TypeRegular)
		fillHistory(t, e, other.Ino, 60) // the first segment stays anyway
		f := create(t, e, fs.RootIno, "precious", fs.TypeRegular)
		write(t, e, f.Ino, 0, want)
		for range 40 {
			write(t, e, other.Ino, 0, bytes.Repeat([]byte("g"), size))
			write(t, e, other.Ino, 0, bytes.Repeat([]byte("r"), 3000))
		}
		ok(t, e.Close())
		if flipIn(t, d, filepath.Join(o.Dir, firstJournal), want[size/2:][:100]) != 1 {
			t.Fatal("nothing was damaged")
		}
		e = reopen(t, o)
		before := e.JournalBytes()
		ok(t, e.Clean(ctx))
		if e.JournalBytes() > before/2+testPayloadSegment || must[fs.History](t)(e.History()).Base.Seq == 0 {
			t.Fatalf("%d bytes became %d", before, e.JournalBytes())
		}
		if e.Damage() == nil {
			t.Error("the cleaner did not tell of the damage")
		}
		ok(t, e.Close())
		e = reopen(t, o)
		ok(t, e.Clean(ctx))
		var damage *fs.CorruptionError
		if _, _, err := e.Read(ctx, f.Ino, 0, make([]byte, size)); !errors.As(err, &damage) || errors.Is(err, journal.ErrAbsent) {
			t.Fatalf("damaged bytes: %v", err)
		}
		left := e.JournalBytes()
		s := must[ScrubStats](t)(e.Scrub(ctx, func(context.Context, int) error { return nil },
			func(_ context.Context, r Run) ([]byte, error) { return want[r.Offset:][:r.Length], nil }))
		if s.Damaged != 1 || s.Repaired != 1 {
			t.Fatalf("%+v", s)
		}
		for range 10 { // the segment that is filled goes on
			write(t, e, other.Ino, 0, bytes.Repeat([]byte("g"), size))
		}
		ok(t, e.Clean(ctx))
		if got := read(t, e, f.Ino, 0, size); !bytes.Equal(got, want) {
			t.Fatal("other bytes")
		}
		if e.JournalBytes() > left+testPayloadSegment {
			t.Errorf("mended: %d bytes became %d", left, e.JournalBytes())
		}
		ok(t, e.Close())
	}
}

// On a full disk where no pass succeeds, nobody is asked to come back for ever.
func TestAFullDiskWhereCleaningFailsIsFull(t *testing.T) {
	d := disk.NewFaulty(disk.NewMem())
	s := &sized{d, 50 << 20}
	clock := newClock()
	o := testOptions(s, clock, "fs-1", 1)
	o.ReserveBytes, o.Clean.Off = 10<<20, false
	o.Clean.SlackBytes = 64 << 20 // not yet
	e := newWriter(t, o)
	defer func() { ok(t, e.Close()) }()
	f := create(t, e, fs.RootIno, "f", fs.TypeRegular)
	for i := range 40 {
		write(t, e, f.Ino, uint64(i)<<10, bytes.Repeat([]byte("g"), 100<<10))
	}
	ok(t, e.Sync(ctx))
	e.o.Clean.SlackBytes = 1
	d.SetRule(func(op disk.Op, name string, _, _ int64) error {
		if (op == disk.OpCreate || op == disk.OpPreallocate) && (strings.HasSuffix(name, ".pay") || strings.HasSuffix(name, ".tmp")) {
			return &vfsNoSpace{name}
		}
		return nil
	})
	s.free = 9 << 20
	clock.Add(time.Minute)
	for i := 0; ; i++ {
		_, err := e.Write(ctx, &fs.WriteRequest{Cred: root, Ino: f.Ino, Data: []byte("x")})
		if err == fs.ErrNoSpace {
			break
		}
		if err != fs.ErrDelay || i == 200 {
			t.Fatalf("attempt %d: %v", i, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	ok(t, e.Err())
	d.SetRule(nil)
	s.free = 50 << 20
	clock.Add(time.Minute)
	write(t, e, f.Ino, 0, []byte("x"))
}

// What peers hold is of one history: it is forgotten on disk too when another
// one takes its place.
func TestPeersAreForgottenWithTheirHistory(t *testing.T) {
	p := newPair(t, 8)
	defer p.close()
	p.steps(50)
	p.transfer(nil)
	p.other.PeerHolds("old", 1<<40)
	p.transfer(nil)
	var kept peers
	ok(t, kept.load(&p.otherO)) // as after a crash
	if len(kept.m) != 0 {
		t.Errorf("%+v", kept.m)
	}
}
