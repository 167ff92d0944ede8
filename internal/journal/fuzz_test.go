package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

func FuzzSegmentHeader(f *testing.F) {
	h := segmentHeader{class: classRecord, id: 5, lineage: testLineage, salt: 9, generation: 2, baseSegment: 4, base: basePos(3), start: basePos(8)}
	f.Add(h.encode())
	f.Add(make([]byte, headerSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, state, err := decodeHeader(resumCopy(b))
		if (state == headerBad) != (err != nil) {
			t.Fatalf("state %d with %v", state, err)
		}
		if state != headerValid {
			return
		}
		again, _, err := decodeHeader(h.encode())
		if err != nil || again != h {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}

// resumCopy makes the checksum right, so that the fuzzer gets behind it.
func resumCopy(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) >= headerSize && b[0] != 0 {
		resum(b, headerSize)
	}
	return b
}

func FuzzBatch(f *testing.F) {
	mem := disk.NewMem()
	for _, name := range seedJournal(f, mem) {
		b, err := mem.UnsafeGetFileDataBuffer(mem.PathJoin(testDir, name))
		if err != nil {
			f.Fatal(err)
		}
		for at := headerSize; at+blockSize <= len(b); at += blockSize {
			if h, err := decodeBatchHeader(b[at:]); err == nil {
				f.Add(bytes.Clone(b[at : at+batchHeaderSize+int(h.bodyLen)]))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < batchHeaderSize {
			return
		}
		b = bytes.Clone(b)
		body := b[batchHeaderSize:]
		// Right checksums, so that the fuzzer gets behind them.
		h := batchHeader{kind: kind(b[51]), count: uint32(b[55]), bodyLen: uint32(len(body)), firstSeq: 1}
		h.bodyCRC = bodySum(body)
		h.put(b)
		h, err := decodeBatchHeader(b)
		if err != nil {
			return
		}
		fixEntrySums(body)
		h.bodyCRC = bodySum(body)
		entries, err := decodeEntries(&h, headerSize, body, nil)
		if err != nil {
			return
		}
		for _, e := range entries {
			checkDecoded(t, &e, len(body))
		}
	})
}

func checkDecoded(t *testing.T, e *entry, bodyLen int) {
	switch e.kind {
	case kindRecord:
		if e.addr.Length != e.rec.PayloadLen || len(e.inline) > bodyLen {
			t.Fatalf("record %+v with address %+v", e.rec, e.addr)
		}
		if got := e.rec.Append(nil); len(got) > fs.MaxRecord {
			t.Fatalf("record of %d bytes", len(got))
		}
	case kindBase:
		pos, meta, err := decodeBase(e.data)
		if err == nil && !bytes.Equal(encodeBase(pos, meta), e.data) {
			t.Fatalf("base %x became %x", e.data, encodeBase(pos, meta))
		}
	}
}

// FuzzOpen feeds a whole record segment: whatever it holds, opening and
// recovering neither panics nor takes memory without measure.
func FuzzOpen(f *testing.F) {
	mem := disk.NewMem()
	for _, name := range seedJournal(f, mem) {
		b, err := mem.UnsafeGetFileDataBuffer(mem.PathJoin(testDir, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		mem := disk.NewMem()
		if err := mem.MkdirAll(testDir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := disk.WriteFileAtomic(mem, mem.PathJoin(testDir, segmentName(1, classRecord)), b); err != nil {
			t.Fatal(err)
		}
		j, err := Open(tiny(mem))
		if err != nil {
			return
		}
		defer j.kill()
		base, _ := j.Base()
		_ = j.Recover(base, func(r *fs.Record, a fs.Addr) error {
			if a.Length != r.PayloadLen {
				t.Fatalf("record %d of %d bytes at %+v", r.Seq, r.PayloadLen, a)
			}
			return nil
		})
	})
}

// seedJournal writes a small journal and names its record segments.
func seedJournal(f *testing.F, mem *disk.Mem) (names []string) {
	j, h := mustCreate(f, tiny(mem)), newHistory()
	for _, n := range []int{0, 1, 100, 5000} {
		if _, err := h.append(j, make([]byte, n)); err != nil {
			f.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		f.Fatal(err)
	}
	all, err := mem.List(testDir)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range all {
		if _, c, ok := parseSegmentName(name); ok && c == classRecord {
			names = append(names, name)
		}
	}
	return names
}

func bodySum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// fixEntrySums walks the entries as far as their lengths make sense.
func fixEntrySums(b []byte) {
	for len(b) >= entryHeaderSize {
		total := binary.BigEndian.Uint32(b)
		dataEnd := uint64(binary.BigEndian.Uint32(b[8:])) + entryHeaderSize
		if b[5] == payloadApart {
			dataEnd += addrSize
		}
		if total < entryHeaderSize || uint64(total) > uint64(len(b)) || dataEnd > uint64(total) {
			return
		}
		binary.BigEndian.PutUint32(b[12:], entryCRC(b[:dataEnd]))
		b = b[total:]
	}
}
