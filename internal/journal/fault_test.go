package journal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Whatever write or sync of data fails: who waits is told, nothing more is
// accepted, and what had been acknowledged is there after a restart.
func TestFailedWriteOrSyncStopsTheJournal(t *testing.T) {
	for _, op := range []disk.Op{disk.OpWrite, disk.OpSync} {
		for n := int64(1); n < 40; n++ {
			mem := disk.NewMem()
			faulty := disk.NewFaulty(mem)
			j, h := mustCreate(t, tiny(faulty)), newHistory()
			faulty.SetRule(func(o disk.Op, name string, i, _ int64) error {
				if o == op && i == n {
					return syscall.EIO
				}
				return nil
			})
			rng := rand.New(rand.NewPCG(uint64(n), 7))
			acked := uint64(0)
			var failed error
			for range 60 {
				if _, failed = h.append(j, randomPayload(rng)); failed != nil {
					break
				}
				if failed = j.WaitDurable(noDeadline, h.last().Seq); failed != nil {
					break
				}
				acked = h.last().Seq
			}
			if failed != nil && !errors.Is(failed, syscall.EIO) {
				t.Fatalf("op %d, the %d. fails: %v", op, n, failed)
			}
			if err := j.Err(); err != nil {
				if _, err := j.Append(h.make(nil), nil); err == nil {
					t.Error("a stopped journal took a record")
				}
				if err := j.Close(); !errors.Is(err, syscall.EIO) {
					t.Errorf("close of a stopped journal: %v", err)
				}
			} else {
				j.kill() // a spare failed: nothing that matters
			}
			faulty.SetRule(nil)
			kept := &cached{mem.Crash(rng, 100), mem.Crash(rng, 0)}
			mustOpen(t, tiny(kept), h, fs.Pos{}, acked)
		}
	}
}

// On a full disk payloads are refused before anything is assigned, records
// without go on for a while, and all goes on once there is room.
func TestFullDiskRefusesAndRecovers(t *testing.T) {
	mem := disk.NewMem()
	faulty := disk.NewFaulty(mem)
	o := tiny(faulty)
	j, h := mustCreate(t, o), newHistory()
	if err := untilSpare(j); err != nil { // an encrypted journal begins with it
		t.Fatal(err)
	}
	var full atomic.Bool
	faulty.SetRule(func(op disk.Op, name string, _, _ int64) error {
		grows := op == disk.OpCreate || op == disk.OpPreallocate
		if full.Load() && grows && !strings.HasSuffix(name, "LOCK") {
			return syscall.ENOSPC
		}
		return nil
	})
	for range 3 {
		full.Store(true)
		for _, payload := range [][]byte{bytes.Repeat([]byte{1}, 1500), bytes.Repeat([]byte{2}, 20000)} {
			var err error
			for range 200 {
				if _, err = h.append(j, payload); err != nil {
					break
				}
			}
			if !errors.Is(err, fs.ErrNoSpace) {
				t.Fatalf("payloads of %d on a full disk: %v", len(payload), err)
			}
		}
		if _, err := j.PutPayload(make([]byte, fs.MaxWrite)); !errors.Is(err, fs.ErrNoSpace) {
			t.Errorf("put: %v", err)
		}
		for i := range 20 {
			if _, err := h.append(j, nil); err != nil {
				t.Fatalf("record %d without payload: %v", i, err)
			}
		}
		if err := j.Rebase(basePos(1), nil); !errors.Is(err, fs.ErrNoSpace) {
			t.Errorf("rebase: %v", err)
		}
		wait(t, j, h.last().Seq)
		if err := j.Err(); err != nil {
			t.Fatalf("a full disk stopped the journal: %v", err)
		}
		full.Store(false)
		for range 20 {
			if _, err := h.append(j, bytes.Repeat([]byte{3}, 20000)); err != nil {
				t.Fatalf("there is room again: %v", err)
			}
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, o, h, fs.Pos{}, h.last().Seq)
}

func TestPayloadSegmentsShrinkOnANearlyFullDisk(t *testing.T) {
	mem := disk.NewMem()
	faulty := disk.NewFaulty(&fallocates{mem, 5 << 20})
	o := tiny(faulty)
	o.PayloadSegmentBytes = 64 << 20
	j, h := mustCreate(t, o), newHistory()
	for range 3 {
		if _, err := h.append(j, make([]byte, fs.MaxWrite)); err != nil {
			t.Fatal(err)
		}
	}
	if j.pay.size != 4<<20 {
		t.Errorf("payload segment of %d bytes", j.pay.size)
	}
}

// fallocates has room for so many bytes in one file.
type fallocates struct {
	*disk.Mem
	room int64
}

type fallocatedFile struct {
	disk.File
	room int64
}

func (f *fallocates) OpenReadWrite(name string, c category, o ...openOption) (disk.File, error) {
	file, err := f.Mem.OpenReadWrite(name, c, o...)
	return &fallocatedFile{file, f.room}, err
}

func (f *fallocatedFile) Preallocate(_, n int64) error {
	if n > f.room {
		return syscall.ENOSPC
	}
	return nil
}

func TestAppendChecksWhatItIsGiven(t *testing.T) {
	j, h := mustCreate(t, tiny(disk.NewMem())), newHistory()
	r := h.make([]byte("abc"))
	if _, err := j.Append(r, []byte("ab")); !errors.Is(err, fs.ErrInval) {
		t.Errorf("payload of another length: %v", err)
	}
	r = h.make(nil)
	r.Seq = 2
	if _, err := j.Append(r, nil); !errors.Is(err, ErrSequence) {
		t.Errorf("sequence 2 first: %v", err)
	}
	if err := j.WaitDurable(noDeadline, 1); !errors.Is(err, ErrNotWritten) {
		t.Errorf("wait for what was not written: %v", err)
	}
	if _, err := Open(tiny(j.o.FS)); err == nil {
		t.Error("opened twice")
	}
}

// A record whose payload is not what its digest says, and which nothing claims
// durable, ends the tail.
func TestTailEndsAtAPayloadWithAnotherDigest(t *testing.T) {
	for _, size := range []int{100, 5000} {
		mem := disk.NewMem()
		j, h := mustCreate(t, tiny(mem)), newHistory()
		if _, err := h.append(j, nil); err != nil {
			t.Fatal(err)
		}
		wait(t, j, 1)
		r := h.make(make([]byte, size))
		r.PayloadDigest[0]++
		r.Encode(nil, h.last().Chain)
		if _, err := j.Append(r, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		wait(t, j, 2)
		j.kill()
		j = mustOpen(t, tiny(mem), h, fs.Pos{}, 1)
		if j.Last() != h.posAt(1) {
			t.Errorf("history ends at %s", j.Last())
		}
	}
}

// The writer may run between the two halves of an append with a large payload,
// when its batch has no entry yet.
func TestSyncDuringALargeAppendWritesNoEmptyBatch(t *testing.T) {
	mem := disk.NewMem()
	faulty := disk.NewFaulty(mem)
	j, h := mustCreate(t, tiny(faulty)), newHistory()
	faulty.SetRule(func(op disk.Op, name string, _, _ int64) error {
		if op == disk.OpWrite && strings.HasSuffix(name, payloadSuffix) {
			j.sync()
		}
		return nil
	})
	for range 10 {
		if _, err := h.append(j, make([]byte, 5000)); err != nil {
			t.Fatal(err)
		}
		wait(t, j, h.last().Seq)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, tiny(mem), h, fs.Pos{}, 10)
}
