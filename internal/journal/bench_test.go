package journal

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

func benchJournal(b *testing.B) (*Journal, *history) {
	o := Options{FS: disk.Real(), Dir: b.TempDir(), Lineage: testLineage, SyncInterval: time.Second}
	return mustCreate(b, o), newHistory()
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

func BenchmarkAppend(b *testing.B) {
	j, h := benchJournal(b)
	r := h.make(nil)
	for b.Loop() {
		r.Seq = j.Last().Seq + 1
		if _, err := j.Append(r, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDurable1(b *testing.B) {
	j, h := benchJournal(b)
	for b.Loop() {
		wait(b, j, h.appendNoCopy(b, j, nil))
	}
}

func BenchmarkDurable64(b *testing.B) {
	j, h := benchJournal(b)
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

func BenchmarkPayload1MiB(b *testing.B) {
	j, h := benchJournal(b)
	p := make([]byte, fs.MaxWrite)
	b.SetBytes(int64(len(p)))
	seq := uint64(0)
	for b.Loop() {
		seq = h.appendNoCopy(b, j, p)
	}
	wait(b, j, seq)
}

func BenchmarkRead1MiB(b *testing.B) {
	j, _ := benchJournal(b)
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

func BenchmarkRead4KiB(b *testing.B) {
	j, h := benchJournal(b)
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
