package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

func TestCleaningChangesNothing(t *testing.T) {
	eachSeed(t, 6, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed)
		defer func() { ok(t, w.e.Close()) }()
		removed := uint64(0)
		for i := range 1200 {
			w.step()
			if w.rng.IntN(15) == 0 {
				w.note("clean")
				ok(t, w.e.Clean(ctx))
			}
			if i%300 == 299 {
				removed += w.e.CleanStats().Segments
				w.restart()
			}
			if i%60 == 59 {
				w.compare()
			}
		}
		if removed == 0 {
			t.Error("no segment was ever removed")
		}
	})
}

// The cleaner runs all the time beside the operations.
func TestCleaningBesideOperations(t *testing.T) {
	eachSeed(t, 4, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed)
		defer func() { ok(t, w.e.Close()) }()
		for range 8 {
			running, stop := context.WithCancel(ctx)
			var done sync.WaitGroup
			done.Go(func() {
				for running.Err() == nil {
					if err := w.e.Clean(running); err != nil && running.Err() == nil {
						t.Error(err)
						return
					}
				}
			})
			for range 150 {
				w.step()
			}
			stop()
			done.Wait()
			w.compare()
			w.restart()
			w.compare()
		}
	})
}

// A crash at any operation of the disk, with the cleaner at work, leaves what
// was acknowledged, and bytes that are right.
func TestACrashWhileCleaning(t *testing.T) {
	eachSeed(t, 6, func(t *testing.T, seed uint64) {
		w := newCrashWorld(t, seed)
		defer func() { ok(t, w.e.Close()) }()
		for range 25 {
			w.work(w.rng.IntN(60))
			w.disk.arm(1 + w.rng.IntN(80))
			ok(t, w.e.Clean(ctx))
			w.work(w.rng.IntN(10))
			if w.rng.IntN(2) == 0 {
				ok(t, w.e.Clean(ctx))
			}
			w.crash()
			if w.rng.IntN(3) == 0 {
				ok(t, w.e.Clean(ctx))
				w.compare()
			}
		}
	})
}

// Overwriting does not fill the disk: garbage stays within bounds.
func TestGarbageIsBounded(t *testing.T) {
	o := testOptions(disk.NewMem(), newClock(), "fs-1", 1)
	e := newWriter(t, o)
	defer func() { ok(t, e.Close()) }()
	const files, size = 64, 48 << 10
	var inos []fs.Ino
	for i := range files {
		inos = append(inos, create(t, e, fs.RootIno, fmt.Sprint(i), fs.TypeRegular).Ino)
	}
	live := int64(0)
	for round := range 20 {
		for i, ino := range inos {
			write(t, e, ino, 0, bytes.Repeat([]byte{byte(round), byte(i)}, size/2))
		}
		ok(t, e.Clean(ctx))
		live = int64(e.Meta().BytesUsed)
		// What is written to, its spare, and a fifth of the live data.
		if limit := live + live/deadGoal + 2*testPayloadSegment + 4*testRecordSegment; e.JournalBytes() > limit {
			t.Fatalf("round %d: %d bytes are live, the journal takes %d", round, live, e.JournalBytes())
		}
	}
	for i, ino := range inos {
		if got := read(t, e, ino, 0, size); !bytes.Equal(got, bytes.Repeat([]byte{19, byte(i)}, size/2)) {
			t.Fatalf("file %d has other bytes", i)
		}
		_, err := e.Remove(ctx, &fs.RemoveRequest{Cred: root, Parent: fs.RootIno, Name: fs.Name(fmt.Sprint(i))})
		ok(t, err)
	}
	settle(t, e)
	ok(t, e.Clean(ctx))
	if e.JournalBytes() > 2*testPayloadSegment+4*testRecordSegment {
		t.Errorf("everything was removed, the journal takes %d", e.JournalBytes())
	}
}

// fillHistory writes small files over and over.
func fillHistory(t *testing.T, e *Engine, ino fs.Ino, n int) {
	t.Helper()
	for i := range n {
		write(t, e, ino, uint64(i%7)*1000, bytes.Repeat([]byte{byte(i)}, 3000))
	}
	ok(t, e.Sync(ctx))
}

func TestHistoryIsKeptForItsTimeAndForPeers(t *testing.T) {
	clock := newClock()
	o := testOptions(disk.NewMem(), clock, "fs-1", 1)
	o.Clean = CleanOptions{Off: true, HistoryAge: time.Hour, HistoryBytes: 1 << 20, SlackBytes: 1}
	e := newWriter(t, o)
	defer func() { ok(t, e.Close()) }()
	f := create(t, e, fs.RootIno, "f", fs.TypeRegular)
	begin := func() uint64 { return must[fs.History](t)(e.History()).Base.Seq }

	fillHistory(t, e, f.Ino, 100)
	ok(t, e.Clean(ctx))
	if begin() != 0 {
		t.Fatal("young history was trimmed")
	}
	e.PeerHolds("p", 50)
	clock.Set(clock.Now().Add(2 * time.Hour))
	ok(t, e.Clean(ctx))
	first := begin()
	if first == 0 || first > 50 {
		t.Fatalf("old history begins after %d; the peer holds 50", first)
	}
	// The peer can go on from what it holds, with payloads.
	r := must[*journal.Reader](t)(e.Records(50))
	en, more, err := r.TryNext()
	ok(t, err)
	if _, err := en.Payload(nil); !more || err != nil {
		t.Fatalf("the record after 50: %v, %v", more, err)
	}
	r.Close()
	// What it says is remembered by the next process.
	ok(t, e.Close())
	e = reopen(t, o)
	ok(t, e.Clean(ctx))
	if begin() != first {
		t.Fatalf("history begins after %d, began after %d", begin(), first)
	}
	e.PeerHolds("p", e.LastApplied())
	clock.Set(clock.Now().Add(2 * time.Hour))
	ok(t, e.Clean(ctx))
	if begin() <= 50 {
		t.Fatalf("history that the peer has begins after %d", begin())
	}
	// One that is away keeps four times the share, no more.
	at := e.LastApplied()
	e.PeerHolds("p", at)
	fillHistory(t, e, f.Ino, 1000)
	ok(t, e.Clean(ctx))
	if begin() > at {
		t.Fatalf("the peer is at %d, history begins after %d", at, begin())
	}
	fillHistory(t, e, f.Ino, 2000)
	ok(t, e.Clean(ctx))
	if begin() <= at {
		t.Fatalf("a peer that is away keeps %d bytes", e.JournalBytes())
	}
	if limit := int64(6<<20) + 4*testRecordSegment + 2*testPayloadSegment; e.JournalBytes() > limit {
		t.Fatalf("the journal takes %d bytes", e.JournalBytes())
	}
	// One that is not heard of for a month keeps nothing.
	e.PeerHolds("p", e.LastApplied())
	at = e.LastApplied()
	fillHistory(t, e, f.Ino, 100)
	clock.Set(clock.Now().Add(peerForgotten + time.Hour))
	ok(t, e.Clean(ctx))
	if begin() <= at {
		t.Error("a peer that was forgotten still keeps history")
	}
}

// A destination that asks for what was overwritten and cleaned is told so.
func TestCleanedPayloadsAreSaidToBeGone(t *testing.T) {
	o := testOptions(disk.NewMem(), newClock(), "fs-1", 1)
	o.Clean.HistoryBytes, o.Clean.HistoryAge = 1<<30, time.Hour // records stay
	e := newWriter(t, o)
	defer func() { ok(t, e.Close()) }()
	f := create(t, e, fs.RootIno, "f", fs.TypeRegular)
	for i := range 60 {
		write(t, e, f.Ino, 0, bytes.Repeat([]byte{byte(i)}, 100<<10))
	}
	ok(t, e.Clean(ctx))
	r := must[*journal.Reader](t)(e.Records(0))
	defer r.Close()
	gone := 0
	for {
		en, more, err := r.TryNext()
		ok(t, err)
		if !more {
			break
		}
		if _, err := en.Payload(nil); errors.Is(err, journal.ErrCleaned) {
			gone++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if gone == 0 {
		t.Error("nothing was cleaned away")
	}
	if got := read(t, e, f.Ino, 0, 100<<10); got[0] != 59 || got[len(got)-1] != 59 {
		t.Errorf("the file holds %d", got[0])
	}
}
