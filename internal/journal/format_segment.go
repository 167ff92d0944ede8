package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

const (
	segmentMagic  = "HFJSEGM1"
	formatVersion = 1
	blockSize     = 4096 // the largest sector that a write can tear
	headerSize    = blockSize

	// flagEncrypted: the segment is encrypted. A release that knew no encryption
	// refuses it.
	flagEncrypted = 1
	knownFlags    = flagEncrypted
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func align(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }

// class tells the two kinds of segment apart.
type class uint16

const (
	classRecord  class = 1
	classPayload class = 2
)

const (
	recordSuffix  = ".rec"
	payloadSuffix = ".pay"
	tempSuffix    = ".tmp"
)

func segmentName(id uint64, c class) string {
	if c == classPayload {
		return fmt.Sprintf("%016x%s", id, payloadSuffix)
	}
	return fmt.Sprintf("%016x%s", id, recordSuffix)
}

func parseSegmentName(name string) (id uint64, c class, ok bool) {
	switch {
	case strings.HasSuffix(name, recordSuffix):
		c = classRecord
	case strings.HasSuffix(name, payloadSuffix):
		c = classPayload
	default:
		return 0, 0, false
	}
	id, err := strconv.ParseUint(name[:len(name)-len(recordSuffix)], 16, 64)
	return id, c, err == nil && id != 0 && segmentName(id, c) == name
}

// segmentHeader is the first block of a segment, drawn in the format page.
type segmentHeader struct {
	class       class
	id          uint64
	lineage     fs.Lineage
	key         [16]byte // of the data key; zero: not encrypted
	keySalt     [seal.SaltSize]byte
	salt        uint64
	generation  uint64
	baseSegment uint64
	base        fs.Pos
	start       fs.Pos
}

func (h *segmentHeader) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, segmentMagic...)
	b = binary.BigEndian.AppendUint16(b, formatVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(h.class))
	var flags uint32
	if h.encrypted() {
		flags |= flagEncrypted
	}
	b = binary.BigEndian.AppendUint32(b, flags)
	b = binary.BigEndian.AppendUint64(b, h.id)
	b = append(b, h.lineage[:]...)
	b = append(b, h.key[:]...)
	b = binary.BigEndian.AppendUint64(b, h.salt)
	b = binary.BigEndian.AppendUint64(b, h.generation)
	b = binary.BigEndian.AppendUint64(b, h.baseSegment)
	b = fs.AppendPos(b, h.base)
	b = fs.AppendPos(b, h.start)
	b = append(b, h.keySalt[:]...)
	b = b[:headerSize-4]
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func (h *segmentHeader) encrypted() bool { return h.key != [16]byte{} }

// headerState says what the first block of a segment file is.
type headerState uint8

const (
	headerValid headerState = iota
	headerBlank             // all zero: a spare, or a header that was never synced
	headerBad
)

// unsupportedError refuses a segment of a later release. Unlike damage it
// never counts as the tail.
type unsupportedError struct{ detail string }

func (e *unsupportedError) Error() string { return e.detail }

// decodeHeader reads a segment header. The error is *unsupportedError for a
// well-formed one that this release must not touch.
func decodeHeader(b []byte) (segmentHeader, headerState, error) {
	var h segmentHeader
	if len(b) < headerSize {
		return h, headerBlank, nil
	}
	b = b[:headerSize]
	if len(bytes.Trim(b, "\x00")) == 0 {
		return h, headerBlank, nil
	}
	if crc32.Checksum(b[:headerSize-4], castagnoli) != binary.BigEndian.Uint32(b[headerSize-4:]) {
		return h, headerBad, fmt.Errorf("segment header: wrong checksum")
	}
	if string(b[:8]) != segmentMagic {
		return h, headerBad, fmt.Errorf("segment header: magic %q", b[:8])
	}
	if v := binary.BigEndian.Uint16(b[8:]); v != formatVersion {
		return h, headerBad, &unsupportedError{fmt.Sprintf("journal format version %d, this release knows %d", v, formatVersion)}
	}
	flags := binary.BigEndian.Uint32(b[12:])
	if f := flags &^ knownFlags; f != 0 {
		return h, headerBad, &unsupportedError{fmt.Sprintf("journal feature flags %#x are not known to this release", f)}
	}
	h.class = class(binary.BigEndian.Uint16(b[10:]))
	h.id = binary.BigEndian.Uint64(b[16:])
	copy(h.lineage[:], b[24:])
	copy(h.key[:], b[40:])
	h.salt = binary.BigEndian.Uint64(b[56:])
	h.generation = binary.BigEndian.Uint64(b[64:])
	h.baseSegment = binary.BigEndian.Uint64(b[72:])
	h.base, _ = fs.ParsePos(b[80:])   // the length is right
	h.start, _ = fs.ParsePos(b[118:]) // likewise
	copy(h.keySalt[:], b[156:])
	if h.encrypted() != (flags&flagEncrypted != 0) {
		return h, headerBad, &unsupportedError{fmt.Sprintf("segment header: flags %#x with key %x", flags, h.key)}
	}
	if h.class != classRecord && h.class != classPayload {
		return h, headerBad, fmt.Errorf("segment header: class %d", h.class)
	}
	return h, headerValid, nil
}
