package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

func goldenMap() *segmentMap {
	return &segmentMap{segment: 5, pieces: []moved{
		{4096, 0, fs.Addr{Segment: 9, Offset: 4096, Length: 100}},
		{4096, 16384, fs.Addr{Segment: 9, Offset: 4212, Length: 7}},
		{1 << 33, 1, fs.Addr{Segment: 12, Offset: 1 << 40, Length: 1 << 20}},
	}}
}

func goldenTrim() *trimmed {
	return &trimmed{generation: 2, segment: 17, start: basePos(300), nextID: 18}
}

func TestGoldenMapAndTrim(t *testing.T) {
	for name, b := range map[string][]byte{"map": goldenMap().encode(7), "trim": goldenTrim().encode(7)} {
		path := filepath.Join("testdata", "golden-clean-1", name+".hex")
		if *update {
			if err := os.WriteFile(path, []byte(dumpHex(b)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if dumpHex(b) != string(want) {
			t.Errorf("%s is written differently now", name)
		}
	}
	m, err := decodeMap(goldenMap().encode(7), 5, 7)
	if err != nil || !bytes.Equal(m.encode(7), goldenMap().encode(7)) {
		t.Errorf("map: %+v, %v", m, err)
	}
	if tr, err := decodeTrim(goldenTrim().encode(7), 7); err != nil || tr != *goldenTrim() {
		t.Errorf("trim: %+v, %v", tr, err)
	}
}

// Each flipped bit of both is noticed, and each is refused by another journal.
func TestDamagedMapAndTrimAreRefused(t *testing.T) {
	for _, b := range [][]byte{goldenMap().encode(7), goldenTrim().encode(7)} {
		refused := func(b []byte, segment, salt uint64) bool {
			_, err1 := decodeMap(b, segment, salt)
			_, err2 := decodeTrim(b, salt)
			return err1 != nil && err2 != nil
		}
		for i := range b {
			b[i] ^= 1 << (i % 8)
			if !refused(b, 5, 7) {
				t.Errorf("a flipped bit in byte %d is not noticed", i)
			}
			b[i] ^= 1 << (i % 8)
		}
		if !refused(b, 5, 8) {
			t.Error("that of another journal is taken")
		}
		for n := range b {
			if !refused(b[:n], 5, 7) {
				t.Errorf("one of %d bytes is taken", n)
			}
		}
	}
	if _, err := decodeMap(goldenMap().encode(7), 6, 7); err == nil {
		t.Error("the map of another segment is taken")
	}
}

func FuzzMap(f *testing.F) {
	f.Add(goldenMap().encode(7))
	f.Add((&segmentMap{segment: 5}).encode(7))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		if n := len(b); n >= 4 {
			binary.BigEndian.PutUint32(b[n-4:], crc32.Checksum(b[:n-4], castagnoli))
		}
		m, err := decodeMap(b, 5, 7)
		if err != nil {
			return
		}
		for i := range m.pieces {
			p := &m.pieces[i]
			if got, ok := m.find(p.offset, p.from, 1); p.to.Length > 0 && (!ok || got.from < p.from) {
				t.Fatalf("piece %d is not found", i)
			}
		}
	})
}

func FuzzTrim(f *testing.F) {
	f.Add(goldenTrim().encode(7))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		if len(b) == trimSize {
			binary.BigEndian.PutUint32(b[trimSize-4:], crc32.Checksum(b[:trimSize-4], castagnoli))
		}
		tr, err := decodeTrim(b, 7)
		if err == nil {
			if again, err := decodeTrim(tr.encode(7), 7); err != nil || again != tr {
				t.Fatalf("%+v became %+v, %v", tr, again, err)
			}
		}
	})
}
