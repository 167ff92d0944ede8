package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

const (
	batchMagic      = "HFJBATCH"
	batchHeaderSize = 72
	entryHeaderSize = 16
	entryAuthSize   = 12 // of it, authenticated along with what is sealed
	addrSize        = 20
	// maxBatchBody bounds what recovery reads in one piece.
	maxBatchBody = 2 << 20
	// fullBatch is where the writer cuts: large enough for streaming, small
	// enough that a batch in memory is nothing.
	fullBatch = 1 << 20
	// MaxBaseMeta bounds, in bytes, what Rebase keeps beside the position.
	MaxBaseMeta = 64 << 10
)

// kind of a batch and of the entries in it.
type kind uint8

const (
	kindRecord kind = 1
	kindMark   kind = 2
	kindBase   kind = 3
)

const (
	payloadNone   = 0
	payloadInline = 1
	payloadApart  = 2
)

// place is what every batch of a segment repeats: it says that the batch was
// written here, in this generation, by this journal.
type place struct {
	salt       uint64
	segment    uint64
	generation uint64
}

type batchHeader struct {
	place
	claim    uint64
	firstSeq uint64
	kind     kind
	count    uint32
	bodyLen  uint32
	bodyCRC  uint32
}

// size on disk, padding included.
func (h *batchHeader) size() int64 { return align(batchHeaderSize + int64(h.bodyLen)) }

// put writes h into the first bytes of b.
func (h *batchHeader) put(b []byte) {
	copy(b, batchMagic)
	binary.BigEndian.PutUint64(b[8:], h.salt)
	binary.BigEndian.PutUint64(b[16:], h.segment)
	binary.BigEndian.PutUint64(b[24:], h.generation)
	binary.BigEndian.PutUint64(b[32:], h.claim)
	binary.BigEndian.PutUint64(b[40:], h.firstSeq)
	binary.BigEndian.PutUint32(b[48:], uint32(h.kind))
	binary.BigEndian.PutUint32(b[52:], h.count)
	binary.BigEndian.PutUint32(b[56:], h.bodyLen)
	binary.BigEndian.PutUint32(b[60:], 0)
	binary.BigEndian.PutUint32(b[64:], h.bodyCRC)
	binary.BigEndian.PutUint32(b[68:], crc32.Checksum(b[:68], castagnoli))
}

// decodeBatchHeader checks everything that needs neither place nor body.
func decodeBatchHeader(b []byte) (batchHeader, error) {
	var h batchHeader
	if len(b) < batchHeaderSize || string(b[:8]) != batchMagic {
		return h, fmt.Errorf("no batch")
	}
	if crc32.Checksum(b[:68], castagnoli) != binary.BigEndian.Uint32(b[68:]) {
		return h, fmt.Errorf("batch header: wrong checksum")
	}
	h.salt = binary.BigEndian.Uint64(b[8:])
	h.segment = binary.BigEndian.Uint64(b[16:])
	h.generation = binary.BigEndian.Uint64(b[24:])
	h.claim = binary.BigEndian.Uint64(b[32:])
	h.firstSeq = binary.BigEndian.Uint64(b[40:])
	k := binary.BigEndian.Uint32(b[48:])
	h.count = binary.BigEndian.Uint32(b[52:])
	h.bodyLen = binary.BigEndian.Uint32(b[56:])
	h.bodyCRC = binary.BigEndian.Uint32(b[64:])
	switch {
	case k < uint32(kindRecord) || k > uint32(kindBase):
		return h, fmt.Errorf("batch header: kind %d", k)
	case h.bodyLen > maxBatchBody || h.count == 0 || uint64(h.count)*entryHeaderSize > uint64(h.bodyLen):
		return h, fmt.Errorf("batch header: %d entries in %d bytes", h.count, h.bodyLen)
	case binary.BigEndian.Uint32(b[60:]) != 0:
		return h, fmt.Errorf("batch header: reserved bytes are set")
	}
	h.kind = kind(k)
	return h, nil
}

// entry is one entry of a batch. Its slices alias the body.
type entry struct {
	kind   kind
	data   []byte // the record; of a BASE position and meta
	rec    *fs.Record
	addr   fs.Addr // of the payload, zero without
	inline []byte  // its units when they are here
}

// appendEntry appends an entry's header, address and data, that will stand at
// offset in the segment. The caller appends the units of an inline payload,
// inlineLen bytes.
func appendEntry(b []byte, k kind, where byte, apart fs.Addr, data []byte, inlineLen int, offset uint64, with *sealer) []byte {
	start := len(b)
	total := entryHeaderSize + len(data) + with.overhead() + inlineLen
	if where == payloadApart {
		total += addrSize
	}
	b = binary.BigEndian.AppendUint32(b, uint32(total))
	b = append(b, byte(k), where, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	b = append(b, 0, 0, 0, 0)
	if where == payloadApart {
		b = binary.BigEndian.AppendUint64(b, apart.Segment)
		b = binary.BigEndian.AppendUint64(b, apart.Offset)
		b = binary.BigEndian.AppendUint32(b, apart.Length)
	}
	b = append(b, data...)
	if with != nil {
		plain := b[start+entryHeaderSize:]
		sealed := with.aead.Seal(plain[:0], placeNonce(sealsEntry, offset), plain, b[start:start+entryAuthSize])
		b = append(b[:start+entryHeaderSize], sealed...)
	}
	binary.BigEndian.PutUint32(b[start+12:], entryCRC(b[start:]))
	return b
}

// entryCRC sums header, address and data of the entry that fills b.
func entryCRC(b []byte) uint32 {
	c := crc32.Update(0, castagnoli, b[:12])
	return crc32.Update(c, castagnoli, b[entryHeaderSize:])
}

// decodeEntries reads the body of a batch that begins at offset in its
// segment. Everything but the payload units is checked.
func decodeEntries(h *batchHeader, offset int64, body []byte, with *sealer) ([]entry, error) {
	if uint32(len(body)) != h.bodyLen || crc32.Checksum(body, castagnoli) != h.bodyCRC {
		return nil, fmt.Errorf("batch body: wrong checksum")
	}
	if h.kind != kindRecord && h.count != 1 {
		return nil, fmt.Errorf("batch of kind %d with %d entries", h.kind, h.count)
	}
	entries := make([]entry, 0, h.count)
	at := 0
	for range h.count {
		e, n, err := decodeEntry(h, offset+batchHeaderSize+int64(at), body[at:], with)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
		at += n
	}
	if at != len(body) {
		return nil, fmt.Errorf("batch body: %d bytes left over", len(body)-at)
	}
	return entries, nil
}

func decodeEntry(h *batchHeader, offset int64, b []byte, with *sealer) (entry, int, error) {
	var e entry
	if len(b) < entryHeaderSize {
		return e, 0, fmt.Errorf("entry cut short")
	}
	total := uint64(binary.BigEndian.Uint32(b))
	dataLen := uint64(binary.BigEndian.Uint32(b[8:]))
	where := b[5]
	dataAt := uint64(entryHeaderSize)
	if where == payloadApart {
		dataAt += addrSize
	}
	e.kind = kind(b[4])
	unitsAt := dataAt + dataLen + uint64(with.overhead())
	switch {
	case total > uint64(len(b)) || unitsAt > total:
		return e, 0, fmt.Errorf("entry of %d bytes with %d of data in %d", total, dataLen, len(b))
	case e.kind != h.kind || where > payloadApart || b[6] != 0 || b[7] != 0:
		return e, 0, fmt.Errorf("entry of kind %d, payload %d", e.kind, where)
	case entryCRC(b[:unitsAt]) != binary.BigEndian.Uint32(b[12:]):
		return e, 0, fmt.Errorf("entry: wrong checksum")
	}
	e.inline = b[unitsAt:total:total]
	if with != nil {
		// Not in place: who writes the batch again needs it as it is.
		plain, err := with.aead.Open(append(make([]byte, 0, unitsAt), b[:entryHeaderSize]...), placeNonce(sealsEntry, uint64(offset)),
			b[entryHeaderSize:unitsAt], b[:entryAuthSize])
		if err != nil {
			return e, 0, fmt.Errorf("entry: does not decrypt: it was changed, or encrypted with another key than was unwrapped")
		}
		b = plain
	}
	e.data = b[dataAt : dataAt+dataLen : dataAt+dataLen]
	if e.kind != kindRecord {
		if where != payloadNone || len(e.inline) != 0 {
			return e, 0, fmt.Errorf("entry of kind %d with a payload", e.kind)
		}
		return e, int(total), nil
	}
	rec, err := fs.ParseRecord(e.data)
	if err != nil {
		return e, 0, err
	}
	e.rec = rec
	switch where {
	case payloadInline:
		e.addr = fs.Addr{Segment: h.segment, Offset: uint64(offset) + unitsAt, Length: rec.PayloadLen}
	case payloadApart:
		e.addr = fs.Addr{
			Segment: binary.BigEndian.Uint64(b[16:]),
			Offset:  binary.BigEndian.Uint64(b[24:]),
			Length:  binary.BigEndian.Uint32(b[32:]),
		}
	}
	if e.addr.Length != rec.PayloadLen || (where == payloadNone) != (rec.PayloadLen == 0) || (e.addr.Segment == 0) != (where == payloadNone) {
		return e, 0, fmt.Errorf("entry: record says %d payload bytes, address %d", rec.PayloadLen, e.addr.Length)
	}
	want := 0
	if where == payloadInline {
		want = storedLen(int(rec.PayloadLen))
	}
	if len(e.inline) != want {
		return e, 0, fmt.Errorf("entry: %d bytes of units, want %d", len(e.inline), want)
	}
	return e, int(total), nil
}

func encodeBase(pos fs.Pos, meta []byte) []byte {
	return append(fs.AppendPos(make([]byte, 0, fs.PosSize+len(meta)), pos), meta...)
}

// decodeBase reads the data of a BASE entry; meta is a copy, nil when empty.
func decodeBase(data []byte) (pos fs.Pos, meta []byte, err error) {
	if pos, err = fs.ParsePos(data); err != nil {
		return pos, nil, err
	}
	if len(data) > fs.PosSize+MaxBaseMeta {
		return pos, nil, fmt.Errorf("base: %d bytes", len(data))
	}
	if len(data) > fs.PosSize {
		meta = append(meta, data[fs.PosSize:]...)
	}
	return pos, meta, nil
}
