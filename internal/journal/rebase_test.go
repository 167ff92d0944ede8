package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

func basePos(seq uint64) fs.Pos {
	return fs.Pos{Epoch: fs.EpochID{Counter: 9, Member: 3, Nonce: seq}, Seq: seq, Chain: fs.Chain{byte(seq), 1}}
}

func TestRebaseBeginsANewHistory(t *testing.T) {
	for _, seq := range []uint64{0, 3, 1000} {
		t.Run(fmt.Sprint(seq), func(t *testing.T) {
			o := tiny(disk.NewMem())
			j, h := mustCreate(t, o), newHistory()
			var kept fs.Addr
			for range 20 {
				a, err := h.append(j, bytes.Repeat([]byte{7}, 3000))
				if err != nil {
					t.Fatal(err)
				}
				kept = a
			}
			meta := bytes.Repeat([]byte("m"), MaxBaseMeta)
			pos := basePos(seq)
			if err := j.Rebase(pos, meta); err != nil {
				t.Fatal(err)
			}
			h = &history{base: pos, epoch: fs.EpochID{Counter: 10}}
			for range 20 {
				if _, err := h.append(j, []byte("after")); err != nil {
					t.Fatal(err)
				}
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(j.kill)
			if got, m := j.Base(); got != pos || !bytes.Equal(m, meta) {
				t.Errorf("base %s with %d bytes", got, len(m))
			}
			if _, err := h.check(j, pos, pos.Seq+20); err != nil {
				t.Fatal(err)
			}
			if err := j.Read(kept, 0, make([]byte, 3000)); err != nil {
				t.Errorf("payload from before: %v", err)
			}
			if _, err := j.PosAt(seq + 3); err != nil {
				t.Error(err)
			}
			if seq > 0 {
				if _, err := j.Reader(seq - 1); !errors.Is(err, ErrTrimmed) {
					t.Errorf("reader before the base: %v", err)
				}
			}
		})
	}
}

// A crash at each operation of a Rebase leaves the old history whole or the
// new one, the new one when Rebase had returned.
func TestCrashInRebaseLeavesOldOrNew(t *testing.T) {
	for at := int64(1); ; at++ {
		reached := false
		for _, percent := range []int{0, 50, 100} {
			for seed := range uint64(12) {
				r, err := rebaseCrash(at, percent, seed)
				if err != nil {
					t.Fatalf("operation %d, %d %%, seed %d: %v", at, percent, seed, err)
				}
				reached = reached || r
			}
		}
		if !reached {
			if at < 8 {
				t.Errorf("only %d operations", at)
			}
			return
		}
	}
}

func rebaseCrash(at int64, percent int, seed uint64) (reached bool, err error) {
	mem := disk.NewMem()
	faulty := disk.NewFaulty(mem)
	if err := Create(tiny(mem)); err != nil {
		return false, err
	}
	j, err := Open(tiny(faulty))
	if err != nil {
		return false, err
	}
	old := newHistory()
	if _, err := old.check(j, fs.Pos{}, 0); err != nil {
		return false, err
	}
	for range 9 {
		if _, err := old.append(j, make([]byte, 2500)); err != nil {
			return false, err
		}
	}
	if err := j.WaitDurable(noDeadline, 9); err != nil {
		return false, err
	}
	var left *disk.Mem
	rng := rand.New(rand.NewPCG(seed, uint64(at)))
	faulty.SetRule(func(op disk.Op, _ string, _, total int64) error {
		if total == at && op != disk.OpRead && op != disk.OpOpen {
			left = mem.Crash(rng, percent)
		}
		return nil
	})
	pos := basePos(4)
	if err := j.Rebase(pos, []byte("meta")); err != nil {
		return false, err
	}
	j.kill()
	reached = left != nil
	if !reached {
		left = mem.Crash(rng, percent)
	}
	// Whoever saw the new base acts upon it: it must survive a power cut then.
	kept := &cached{left, mem.Crash(rng, 0)}
	if reached {
		kept.platter = left.Crash(rng, 100)
	}
	isNew, err := oldOrNew(kept, old, pos)
	if err != nil {
		return reached, err
	}
	if !reached && !isNew {
		return reached, errors.New("the old history is back")
	}
	again, err := oldOrNew(kept.platter.Crash(rng, 0), old, pos)
	if err == nil && isNew && !again {
		err = errors.New("the new history was seen and is gone")
	}
	return reached, err
}

// A BASE that was written and not synced when the process died counts only
// once it is synced.
func TestKilledRebaseIsSettledBeforeItCounts(t *testing.T) {
	mem := disk.NewMem()
	j, old := mustCreate(t, tiny(mem)), newHistory()
	for range 9 {
		if _, err := old.append(j, nil); err != nil {
			t.Fatal(err)
		}
	}
	s, err := j.drain()
	if err != nil {
		t.Fatal(err)
	}
	j.ioMu.Unlock()
	h := j.recordHeader(s.file, 2, s.file.id, basePos(4), basePos(4))
	if err := writeBase(s.file, h, nil, s.file.sealing.with); err != nil {
		t.Fatal(err)
	}
	j.kill()
	rng := rand.New(rand.NewPCG(1, 1))
	kept := &cached{mem.Crash(rng, 100), mem.Crash(rng, 0)}
	if j, err = Open(tiny(kept)); err != nil {
		t.Fatal(err)
	}
	if base, _ := j.Base(); base != basePos(4) {
		t.Fatalf("base %s", base)
	}
	j.kill()
	if isNew, err := oldOrNew(kept.platter.Crash(rng, 0), old, basePos(4)); err != nil || !isNew {
		t.Fatalf("new base %v, %v", isNew, err)
	}
}

// oldOrNew opens and recovers, and tells which history is there.
func oldOrNew(d disk.FS, old *history, pos fs.Pos) (isNew bool, err error) {
	j, err := Open(tiny(d))
	if err != nil {
		return false, err
	}
	defer j.kill()
	if base, _ := j.Base(); base == (fs.Pos{}) {
		_, err := old.check(j, fs.Pos{}, 9)
		return false, err
	}
	h := &history{base: pos, epoch: fs.EpochID{Counter: 10}}
	_, err = h.check(j, pos, pos.Seq)
	return true, err
}
