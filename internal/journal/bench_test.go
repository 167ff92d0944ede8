package journal

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

func benchJournal(b *testing.B, key *seal.Key) (*Journal, *history) {
	o := Options{FS: disk.Real(), Dir: b.TempDir(), Lineage: testLineage, SyncInterval: time.Second, Key: key}
	return mustCreate(b, o), newHistory()
}

// eachWay runs a benchmark without and with encryption, side by side.
func eachWay(b *testing.B, fn func(b *testing.B, key *seal.Key)) {
	b.Run("plain", func(b *testing.B) { fn(b, nil) })
	b.Run("encrypted", func(b *testing.B) { fn(b, fixedKey()) })
}

// appendNoCopy appends without remembering.
func (h *history) appendNoCopy(b *testing.B, j *Journal, payload []byte) uint64 {
	r := h.make(payload)
	h.base = r.Pos()
	if _, err := j.Append(r, payload); err != nil {
		b.Fatal(err)
	}
	return r.Seq
}

func BenchmarkAppend(b *testing.B) { eachWay(b, benchAppend) }

func benchAppend(b *testing.B, key *seal.Key) {
	j, h := benchJournal(b, key)
	r := h.make(nil)
	for b.Loop() {
		r.Seq = j.Last().Seq + 1
		if _, err := j.Append(r, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDurable1(b *testing.B) { eachWay(b, benchDurable1) }

func benchDurable1(b *testing.B, key *seal.Key) {
	j, h := benchJournal(b, key)
	for b.Loop() {
		wait(b, j, h.appendNoCopy(b, j, nil))
	}
}

func BenchmarkDurable64(b *testing.B) { eachWay(b, benchDurable64) }

func benchDurable64(b *testing.B, key *seal.Key) {
	j, h := benchJournal(b, key)
	var mu sync.Mutex
	var wg sync.WaitGroup
	each := b.N/64 + 1
	b.ResetTimer()
	for range 64 {
		wg.Go(func() {
			for range each {
				mu.Lock()
				seq := h.appendNoCopy(b, j, nil)
				mu.Unlock()
				wait(b, j, seq)
			}
		})
	}
	wg.Wait()
}

func BenchmarkPayload1MiB(b *testing.B) { eachWay(b, benchPayload1MiB) }

func benchPayload1MiB(b *testing.B, key *seal.Key) {
	j, h := benchJournal(b, key)
	p := make([]byte, fs.MaxWrite)
	b.SetBytes(int64(len(p)))
	seq := uint64(0)
	for b.Loop() {
		seq = h.appendNoCopy(b, j, p)
	}
	wait(b, j, seq)
}

func BenchmarkRead1MiB(b *testing.B) { eachWay(b, benchRead1MiB) }

func benchRead1MiB(b *testing.B, key *seal.Key) {
	j, _ := benchJournal(b, key)
	p := make([]byte, fs.MaxWrite)
	a, err := j.PutPayload(p)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if err := j.Read(a, 0, p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead4KiB(b *testing.B) { eachWay(b, benchRead4KiB) }

func benchRead4KiB(b *testing.B, key *seal.Key) {
	j, h := benchJournal(b, key)
	p := make([]byte, 4096)
	r := h.make(p)
	a, err := j.Append(r, p)
	if err != nil {
		b.Fatal(err)
	}
	wait(b, j, r.Seq)
	for b.Loop() {
		if err := j.Read(a, 0, p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRawSync is what the disk itself needs for the write and fdatasync
// of one block: the floor of BenchmarkDurable1.
func BenchmarkRawSync(b *testing.B) {
	f, err := disk.Real().OpenReadWrite(b.TempDir()+"/raw", disk.Category)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := zeroFill(f, defaultRecordSeg); err != nil {
		b.Fatal(err)
	}
	block := bytes.Repeat([]byte{1}, blockSize)
	for at := int64(0); b.Loop(); at = (at + blockSize) % defaultRecordSeg {
		if _, err := f.WriteAt(block, at); err != nil {
			b.Fatal(err)
		}
		if err := f.SyncData(); err != nil {
			b.Fatal(err)
		}
	}
}
