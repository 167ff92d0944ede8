package replica

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

var errBroken = errors.New("broken on purpose")

// wide fills each file once with a payload that fills a frame by itself, so
// that every item is stored by a Put of its own.
func wide(f *fakeFS, files int) {
	for ino := range files {
		payload := make([]byte, fs.MaxWrite)
		payload[0] = byte(ino)
		f.put(fs.Ino(ino+1), payload)
	}
}

// watchItems fails a part's n-th item of each request while on, and counts all
// that were handed out.
func watchItems(src *fakeFS, failAt int) (on *atomic.Bool, handedOut *atomic.Int64) {
	on, handedOut = new(atomic.Bool), new(atomic.Int64)
	on.Store(true)
	src.itemsHook = func(sent int) error {
		if on.Load() && sent >= failAt {
			return errBroken
		}
		handedOut.Add(1)
		return nil
	}
	return on, handedOut
}

func TestInterruptedBootstrapResumes(t *testing.T) {
	const files = 24
	src, dest := newFake(testLineage, 1), newEmpty()
	wide(src, files)
	watchItems(src, 2)
	p := newPair(t, src, dest, false)
	p.run()
	p.untilEqual()
	if dest.stored != files {
		t.Errorf("%d items were stored, want each of %d once", dest.stored, files)
	}
	if len(src.opened) != 1 {
		t.Errorf("checkpoints %v, want one", src.opened)
	}
}

func TestBootstrapResumesInANewProcess(t *testing.T) {
	const files = 24
	src, dest := newFake(testLineage, 1), newEmpty()
	wide(src, files)
	on, _ := watchItems(src, 3)
	p := newPair(t, src, dest, false)
	p.cfg.Dest = keeperFS{dest}
	p.run()
	p.until("a part of it is here", func() bool { return dest.itemCount() >= 9 })
	p.halt()
	on.Store(false)
	fill(src, 70, 5) // the checkpoint stays where it was
	p.run()
	p.untilEqual()
	if dest.stored != files {
		t.Errorf("%d items were stored, want each of %d once", dest.stored, files)
	}
	if len(src.opened) != 1 {
		t.Errorf("checkpoints %v, want one", src.opened)
	}
}

func TestLostCheckpointStartsAnew(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		src, dest := newFake(testLineage, 1), newEmpty()
		wide(src, 12)
		on, _ := watchItems(src, 2)
		p := newPair(t, src, dest, false)
		if keeps {
			p.cfg.Dest = keeperFS{dest}
		}
		p.run()
		p.until("a part of it is here", func() bool { return dest.itemCount() >= 3 })
		p.halt()
		// The checkpoint expires, and the tree goes on: what was stored must
		// not be mixed with a later tree that has the old one's name.
		for _, name := range src.opened {
			_ = src.ReleaseCheckpoint(name)
		}
		for ino := range 12 {
			src.put(fs.Ino(ino+1), []byte("changed since"))
		}
		on.Store(false)
		p.run()
		p.untilEqual()
		last := src.opened[len(src.opened)-1]
		if last == src.opened[0] {
			t.Errorf("keeps=%v: checkpoints %v, want a new name at the end", keeps, src.opened)
		}
		p.until("the checkpoints are released", func() bool { return src.openCheckpoints() == 0 })
		p.halt()
	}
}

func TestCheckpointThatVanishesWhileItIsFetched(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	wide(src, 12)
	on, _ := watchItems(src, 2)
	p := newPair(t, src, dest, false)
	p.run()
	p.until("a part of it is here", func() bool { return dest.itemCount() >= 3 })
	src.mu.Lock()
	src.checkpoints = map[string]*fakeCheckpoint{}
	src.mu.Unlock()
	on.Store(false)
	p.untilEqual()
}

func TestFullDiskDuringATransferIsRetried(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	wide(src, 6)
	var full atomic.Bool
	full.Store(true)
	dest.stage = &fakeStage{full: &full}
	p := newPair(t, src, dest, false)
	p.run()
	p.until("the log tells of the full disk", func() bool { return strings.Contains(p.logs.String(), errDiskFull.Error()) })
	full.Store(false)
	p.untilEqual()
}

func TestResyncSendsWhatChangedOnly(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	wide(src, 20)
	p := newPair(t, src, dest, false)
	p.run()
	p.untilEqual()
	p.halt()
	dest.beginEpoch(2)
	dest.put(3, []byte("here"))
	src.beginEpoch(1)
	src.put(5, []byte("there"))
	_, handedOut := watchItems(src, 1000)
	p.run()
	p.untilEqual()
	if n := handedOut.Load(); n != 2 {
		t.Errorf("%d items for one change on each side, want 2", n)
	}
	if s := p.f.Status(); s.TransferBytesWire > fs.MaxWrite {
		t.Errorf("%d bytes for a resync of two small files", s.TransferBytesWire)
	}
}

// A fork point whose chain differs is none, whatever the epochs say: the trees
// are compared, and all that this side has is set aside.
func TestForkPointWithAnotherChainIsNotUsed(t *testing.T) {
	src, dest := newFake(testLineage, 1), newFake(testLineage, 1)
	fill(src, 80, 10)
	fill(dest, 81, 10)
	src.beginEpoch(1)
	dest.beginEpoch(2)
	p := newPair(t, src, dest, false)
	p.run()
	p.untilEqual()
	if s := p.f.Status(); s.Transfer != TransferResync || len(dest.salvaged) != 12 {
		t.Errorf("transfer %q, salvaged %v, want a resync that salvages all 12", s.Transfer, dest.salvaged)
	}
}
