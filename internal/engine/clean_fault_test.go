package engine

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
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
