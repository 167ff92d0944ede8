package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// flipper damages copies of one journal.
type flipper struct {
	t     *testing.T
	files map[string][]byte
	names []string
}

func newFlipper(t *testing.T, mem *disk.Mem) *flipper {
	f := &flipper{t: t, files: map[string][]byte{}}
	names, err := mem.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if _, _, ok := parseSegmentName(n); !ok {
			continue
		}
		b, err := mem.UnsafeGetFileDataBuffer(mem.PathJoin(testDir, n))
		if err != nil {
			t.Fatal(err)
		}
		f.files[n] = bytes.Clone(b)
		f.names = append(f.names, n)
	}
	return f
}

// newest is the record segment that was written to last.
func (f *flipper) newest() string {
	newest := ""
	for n, b := range f.files {
		if strings.HasSuffix(n, recordSuffix) && bytes.HasPrefix(b, []byte(segmentMagic)) {
			newest = max(newest, n)
		}
	}
	return newest
}

// with gives a disk where change was applied to one file; nil leaves it out.
func (f *flipper) with(name string, change func([]byte) []byte) *disk.Mem {
	mem := disk.NewMem()
	if err := mem.MkdirAll(testDir, 0o700); err != nil {
		f.t.Fatal(err)
	}
	for n, b := range f.files {
		b = bytes.Clone(b)
		if n == name {
			if b = change(b); b == nil {
				continue
			}
		}
		file, err := mem.Create(mem.PathJoin(testDir, n), disk.Category)
		if err != nil {
			f.t.Fatal(err)
		}
		if _, err := file.Write(b); err != nil {
			f.t.Fatal(err)
		}
		file.Close()
	}
	return mem
}

// outcome recovers from damage: an error of the right class, or where the
// history ends.
func outcome(t *testing.T, mem *disk.Mem, h *history) (end uint64, err error) {
	t.Helper()
	j, err := Open(tiny(mem))
	if err == nil {
		if base, _ := j.Base(); base != h.base {
			t.Fatalf("the base is %s now, not %s", base, h.base)
		}
		end, err = h.check(j, h.base, 0)
		j.kill()
	}
	if err != nil {
		var corrupt *fs.CorruptionError
		var unsupported *unsupportedError
		if !errors.As(err, &corrupt) && !errors.As(err, &unsupported) && !strings.Contains(err.Error(), "lineage") {
			t.Fatalf("not an error about corruption: %v", err)
		}
	}
	return end, err
}

// filled makes a journal with all there is: two generations, several
// segments of both classes, inline payloads and others.
func filled(t *testing.T, closed bool) (*flipper, *history, uint64) {
	mem := disk.NewMem()
	j, h := mustCreate(t, tiny(mem)), newHistory()
	rng := rand.New(rand.NewPCG(3, 3))
	for range 30 {
		if _, err := h.append(j, randomPayload(rng)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Rebase(basePos(7), []byte("meta")); err != nil {
		t.Fatal(err)
	}
	h = &history{base: basePos(7), epoch: fs.EpochID{Counter: 10}}
	for i := range 80 {
		if _, err := h.append(j, randomPayload(rng)); err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 {
			wait(t, j, h.last().Seq)
		}
	}
	if closed {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	} else {
		wait(t, j, h.last().Seq)
		j.kill()
	}
	return newFlipper(t, mem), h, j.claimed
}

// offsets are those of all small structures, and some between.
func offsets(rng *rand.Rand, b []byte, more int) []int {
	var at []int
	for block := 0; block < len(b); block += blockSize {
		switch {
		case bytes.HasPrefix(b[block:], []byte(segmentMagic)):
			for i := range 160 {
				at = append(at, block+i)
			}
			at = append(at, block+headerSize-4, block+headerSize-1)
		case bytes.HasPrefix(b[block:], []byte(batchMagic)):
			for i := range batchHeaderSize + 2*entryHeaderSize {
				at = append(at, block+i)
			}
		}
	}
	for range more {
		at = append(at, rng.IntN(len(b)))
	}
	return at
}

func TestFlippedBitsAreReportedOrHarmless(t *testing.T) {
	f, h, _ := filled(t, true)
	rng := rand.New(rand.NewPCG(4, 4))
	step := 3
	if testing.Short() {
		step = 40
	}
	for _, name := range f.names {
		for i, at := range offsets(rng, f.files[name], 300) {
			if i%step != 0 {
				continue
			}
			bit := byte(1) << rng.IntN(8)
			mem := f.with(name, func(b []byte) []byte { b[at] ^= bit; return b })
			end, err := outcome(t, mem, h)
			if err == nil && end != h.last().Seq {
				t.Errorf("%s, byte %d: history ends silently at %d of %d", name, at, end, h.last().Seq)
			}
		}
	}
}

func TestFlippedBitsBeyondTheClaimShortenTheTail(t *testing.T) {
	f, h, claimed := filled(t, false)
	if claimed == h.last().Seq {
		t.Fatal("everything is claimed")
	}
	rng := rand.New(rand.NewPCG(5, 5))
	shorter, each := 0, 60
	if testing.Short() {
		each = 5
	}
	for _, name := range f.names {
		for range each {
			at := rng.IntN(len(f.files[name]))
			mem := f.with(name, func(b []byte) []byte { b[at] ^= 0x10; return b })
			end, err := outcome(t, mem, h)
			if err != nil {
				continue
			}
			if end < claimed {
				t.Errorf("%s, byte %d: history ends at %d, %d was claimed", name, at, end, claimed)
			}
			if end < h.last().Seq {
				shorter++
			}
		}
	}
	t.Logf("%d tails were shorter", shorter)
}

func TestMissingAndCutFilesAreReported(t *testing.T) {
	f, h, _ := filled(t, true)
	newest := f.newest()
	for _, name := range f.names {
		for what, change := range map[string]func([]byte) []byte{
			"missing": func([]byte) []byte { return nil },
			"empty":   func([]byte) []byte { return []byte{} },
			"halved":  func(b []byte) []byte { return b[:len(b)/2] },
			"zeroed":  func(b []byte) []byte { return make([]byte, len(b)) },
		} {
			if name == newest && what != "halved" {
				continue // it is the only witness of its records
			}
			end, err := outcome(t, f.with(name, change), h)
			if err == nil && end != h.last().Seq {
				t.Errorf("%s %s: history ends silently at %d of %d", name, what, end, h.last().Seq)
			}
		}
	}
}

func TestUnknownFeaturesAreRefused(t *testing.T) {
	f, _, _ := filled(t, true)
	o := func(d disk.FS) Options { o := tiny(d); o.Key = nil; return o }
	h := segmentHeader{class: classRecord, id: 1, lineage: testLineage, generation: 1, baseSegment: 1}
	for want, at := range map[string]int{"format version 257": 8, "feature flags 0x1000000": 12, "flags 0x0 with key 01": 40} {
		mem := f.with(segmentName(1, classRecord), func(b []byte) []byte {
			n := copy(b, h.encode())
			b[at] = 1
			return resum(b, n)
		})
		if _, err := Open(o(mem)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// resum gives the segment header in b a right checksum.
func resum(b []byte, n int) []byte {
	binary.BigEndian.PutUint32(b[n-4:], crc32.Checksum(b[:n-4], castagnoli))
	return b
}
