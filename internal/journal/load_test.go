package journal

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

func TestManyWaitersShareASync(t *testing.T) {
	faulty := disk.NewFaulty(disk.NewMem())
	o := tiny(faulty)
	o.RecordSegmentBytes = 4 << 20
	j, h := mustCreate(t, o), newHistory()
	inSync, release := make(chan struct{}, 100), make(chan struct{})
	if err := untilSpare(j); err != nil {
		t.Fatal(err)
	}
	faulty.SetRule(func(op disk.Op, name string, _, _ int64) error {
		if op == disk.OpSync && name == j.files.path(segmentName(firstSegment(), classRecord)) {
			inSync <- struct{}{}
			<-release
		}
		return nil
	})
	var wg sync.WaitGroup
	for range 64 {
		if _, err := h.append(j, nil); err != nil {
			t.Fatal(err)
		}
		seq := h.last().Seq
		wg.Go(func() { wait(t, j, seq) })
		if seq == 1 {
			<-inSync // the first is under way; the others come meanwhile
		}
	}
	close(release)
	wg.Wait()
	// The first sync carried one record, the second all others; a third may
	// begin if a waiter asked while it ran.
	if n := 1 + len(inSync); n > 3 {
		t.Errorf("%d syncs for 64 records", n)
	}
}

func TestIdleJournalClaimsOnceAndIsQuiet(t *testing.T) {
	mem := disk.NewMem()
	faulty := disk.NewFaulty(mem)
	o := tiny(faulty)
	o.SyncInterval = time.Millisecond
	j, h := mustCreate(t, o), newHistory()
	if _, err := h.append(j, nil); err != nil {
		t.Fatal(err)
	}
	claimed := func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.claimed == 1 && !j.making
	}
	for !claimed() { // nobody waits: the interval alone does it
		time.Sleep(time.Millisecond)
	}
	faulty.SetRule(nil)
	time.Sleep(50 * o.SyncInterval)
	if n := faulty.Total(); n != 0 {
		t.Errorf("%d operations on the disk of an idle journal", n)
	}
	// Now a flipped bit in the last record is corruption, not the tail.
	j.kill()
	f := newFlipper(t, mem)
	bad := f.with(segmentName(firstSegment(), classRecord), func(b []byte) []byte { b[recordsAt()+100] ^= 1; return b })
	if _, err := outcome(t, bad, h); err == nil {
		t.Error("damage of a claimed record is not noticed")
	}
}

func TestAppendWaitsWhileTooMuchIsUndurable(t *testing.T) {
	faulty := disk.NewFaulty(disk.NewMem())
	o := tiny(faulty)
	o.MaxUndurableBytes = 10000
	j, h := mustCreate(t, o), newHistory()
	most := int64(0)
	for range 100 {
		if _, err := h.append(j, make([]byte, 3000)); err != nil {
			t.Fatal(err)
		}
		j.mu.Lock()
		most = max(most, j.undurable)
		j.mu.Unlock()
	}
	if most > o.MaxUndurableBytes+4000 {
		t.Errorf("%d bytes in flight, limit %d", most, o.MaxUndurableBytes)
	}
}

// Everything at once, then a close in the middle of it. Run with -race.
func TestEverythingAtOnce(t *testing.T) {
	defer goleak.VerifyNone(t)
	mem := disk.NewMem()
	o := tiny(mem)
	o.SyncInterval = time.Millisecond
	o.MaxUndurableBytes = 200 << 10
	j, h := mustCreate(t, o), newHistory()
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() { putAndRead(t, j, byte(g)) })
	}
	r, err := j.Reader(0)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		defer r.Close()
		for {
			if _, err := r.Next(noDeadline); err != nil {
				return
			}
		}
	})
	for i := range 300 {
		if _, err := h.append(j, bytes.Repeat([]byte{byte(i)}, i*37%9000)); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			wg.Go(func() { _ = j.WaitDurable(noDeadline, uint64(i)) })
		}
	}
	last := h.last().Seq
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := j.Read(fs.Addr{Segment: 1, Offset: 8192, Length: 1}, 0, make([]byte, 1)); err == nil {
		t.Error("a closed journal can be read")
	}
	j = mustOpen(t, o, h, fs.Pos{}, last)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func putAndRead(t *testing.T, j *Journal, x byte) {
	p := bytes.Repeat([]byte{x}, 20000)
	got := make([]byte, len(p))
	for i := 0; ; i++ {
		a, err := j.PutPayload(p)
		if err == nil && i%5 == 0 {
			err = j.SyncPayloads()
		}
		if err == nil {
			err = j.Read(a, 0, got)
		}
		if err != nil {
			if !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			return
		}
		if !bytes.Equal(got, p) {
			t.Error(fmt.Errorf("payload at %+v differs", a))
			return
		}
	}
}
