package journal

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// A map says where the pieces of payloads lie that the cleaner moved out of a
// segment. It stands in <segment id>.map and is drawn in the format page.

const (
	mapMagic      = "HFJSMAP1"
	mapSuffix     = ".map"
	mapHeaderSize = 48
	mapEntrySize  = 36
	// maxMapEntries bounds what is read into memory: a full payload segment of
	// pieces of one byte has fewer.
	maxMapEntries = 16 << 20
)

// moved is one piece: bytes [from, from+length) of the payload that began at
// offset are the payload at to.
type moved struct {
	offset uint64
	from   uint32
	to     fs.Addr
}

func (m *moved) compare(o *moved) int {
	return cmp.Or(cmp.Compare(m.offset, o.offset), cmp.Compare(m.from, o.from))
}

// segmentMap is where the pieces of one segment went, in order of offset and
// from. It is never changed.
type segmentMap struct {
	segment uint64
	pieces  []moved
}

// find gives the piece that holds n bytes from off on of the payload at offset.
func (m *segmentMap) find(offset uint64, off uint32, n int) (moved, bool) {
	want := moved{offset: offset, from: off}
	i, exact := slices.BinarySearchFunc(m.pieces, want, func(a, b moved) int { return a.compare(&b) })
	if !exact {
		i--
	}
	if i < 0 || m.pieces[i].offset != offset {
		return moved{}, false
	}
	p := m.pieces[i]
	return p, uint64(off)+uint64(n) <= uint64(p.from)+uint64(p.to.Length)
}

func mapName(segment uint64) string { return fmt.Sprintf("%016x%s", segment, mapSuffix) }

func (m *segmentMap) encode(salt uint64) []byte {
	b := make([]byte, 0, mapHeaderSize+len(m.pieces)*mapEntrySize+4)
	b = append(b, mapMagic...)
	b = binary.BigEndian.AppendUint16(b, formatVersion)
	b = append(b, make([]byte, 6)...)
	b = binary.BigEndian.AppendUint64(b, salt)
	b = binary.BigEndian.AppendUint64(b, m.segment)
	b = binary.BigEndian.AppendUint64(b, uint64(len(m.pieces)))
	b = append(b, make([]byte, 8)...)
	for i := range m.pieces {
		p := &m.pieces[i]
		b = binary.BigEndian.AppendUint64(b, p.offset)
		b = binary.BigEndian.AppendUint32(b, p.from)
		b = binary.BigEndian.AppendUint32(b, p.to.Length)
		b = binary.BigEndian.AppendUint64(b, p.to.Segment)
		b = binary.BigEndian.AppendUint64(b, p.to.Offset)
		b = append(b, 0, 0, 0, 0)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeMap reads the map of a segment. It takes no more memory than b has.
func decodeMap(b []byte, segment, salt uint64) (*segmentMap, error) {
	if len(b) < mapHeaderSize+4 || string(b[:8]) != mapMagic {
		return nil, fmt.Errorf("no map of a segment")
	}
	if v := binary.BigEndian.Uint16(b[8:]); v != formatVersion {
		return nil, fmt.Errorf("map of format version %d, this release knows %d", v, formatVersion)
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return nil, fmt.Errorf("map: wrong checksum")
	}
	n := binary.BigEndian.Uint64(b[32:])
	switch {
	case binary.BigEndian.Uint64(b[16:]) != salt:
		return nil, fmt.Errorf("map of another journal")
	case binary.BigEndian.Uint64(b[24:]) != segment:
		return nil, fmt.Errorf("map of segment %x", binary.BigEndian.Uint64(b[24:]))
	case n > maxMapEntries || uint64(len(body)-mapHeaderSize) != n*mapEntrySize:
		return nil, fmt.Errorf("map: %d pieces in %d bytes", n, len(b))
	}
	m := &segmentMap{segment: segment, pieces: make([]moved, n)}
	for i := range m.pieces {
		e := body[mapHeaderSize+i*mapEntrySize:]
		m.pieces[i] = moved{binary.BigEndian.Uint64(e), binary.BigEndian.Uint32(e[8:]),
			fs.Addr{Length: binary.BigEndian.Uint32(e[12:]), Segment: binary.BigEndian.Uint64(e[16:]), Offset: binary.BigEndian.Uint64(e[24:])}}
		if i > 0 && m.pieces[i-1].compare(&m.pieces[i]) >= 0 {
			return nil, fmt.Errorf("map: piece %d is out of order", i)
		}
	}
	return m, nil
}

func parseMapName(name string) (segment uint64, ok bool) {
	digits, isMap := strings.CutSuffix(name, mapSuffix)
	if !isMap {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 16, 64)
	return id, err == nil && id != 0 && mapName(id) == name
}
