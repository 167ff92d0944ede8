package replica

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// The frames of a response, frozen (docs/formats/replication.md). All integers
// are big-endian:
//
//	 1  type
//	 1  flags: 1 = zstd
//	 2  zero
//	 4  length of the body in bytes
//	 4  CRC32C of the 8 bytes above and the body
//	 n  body; with flag 1: length of the plain body 4, one zstd frame

const frameHeaderSize = 12

type frameType byte

const (
	frameRecords   frameType = 1
	frameHeartbeat frameType = 2
	frameItems     frameType = 3
	frameEnd       frameType = 4
	frameError     frameType = 5
)

const (
	frameFlagZstd  = 1
	zstdPrefixSize = 4
)

// Limits of a frame. A batch is closed once it holds batchBytes, so that its
// last member can exceed that by one record with its payload, or one item.
const (
	// batchBytes: large enough that headers and flushes cost nothing, small
	// enough that a lost connection repeats little.
	batchBytes = 1 << 20
	// batchMembers bounds what the decoder allocates for small records.
	batchMembers = 8192

	maxCursor   = 1 << 10   // the limit that Item promises
	maxItemBody = 128 << 10 // the limit that Item promises

	maxRecordsBody = batchBytes + fs.MaxRecord + fs.MaxWrite + 64
	maxItemsBody   = batchBytes + maxCursor + maxItemBody + fs.MaxWrite + 64
	maxNoticeBody  = 4 << 10 // code and message for a human
)

// limit is the largest plain body of a type, 0 for types we do not know. A
// compressed body is never larger than its plain one.
func (t frameType) limit() int {
	switch t {
	case frameRecords:
		return maxRecordsBody
	case frameHeartbeat:
		return heartbeatSize
	case frameItems:
		return maxItemsBody
	case frameEnd, frameError:
		return maxNoticeBody
	}
	return 0
}

func (t frameType) mayCompress() bool { return t == frameRecords || t == frameItems }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func badFrame(format string, args ...any) error {
	return &fs.DecodeError{What: "replication frame", Detail: fmt.Sprintf(format, args...)}
}

func putFrameHeader(h *[frameHeaderSize]byte, t frameType, flags byte, body []byte) {
	h[0], h[1], h[2], h[3] = byte(t), flags, 0, 0
	binary.BigEndian.PutUint32(h[4:], uint32(len(body)))
	crc := crc32.Update(crc32.Checksum(h[:8], castagnoli), castagnoli, body)
	binary.BigEndian.PutUint32(h[8:], crc)
}

// frameReader takes frames from a byte stream. Not safe for concurrent use.
type frameReader struct {
	r    io.Reader
	dec  *zstd.Decoder
	wire []byte // compressed body of the present frame
}

// next reads one frame. The plain body is written into buf, which grows when
// needed, and belongs to the caller. io.EOF means that the stream ended
// between two frames.
func (f *frameReader) next(buf []byte) (frameType, []byte, error) {
	var h [frameHeaderSize]byte
	if _, err := io.ReadFull(f.r, h[:]); err != nil {
		return 0, buf, err
	}
	t, flags := frameType(h[0]), h[1]
	n := binary.BigEndian.Uint32(h[4:])
	if err := checkFrameHeader(t, flags, h[2:4], n); err != nil {
		return t, buf, err
	}
	into := &buf
	if flags&frameFlagZstd != 0 {
		into = &f.wire
	}
	*into = resize(*into, int(n))
	if _, err := io.ReadFull(f.r, *into); err != nil {
		return t, buf, noEOF(err)
	}
	crc := crc32.Update(crc32.Checksum(h[:8], castagnoli), castagnoli, *into)
	if want := binary.BigEndian.Uint32(h[8:]); crc != want {
		return t, buf, badFrame("checksum is %08x, want %08x", crc, want)
	}
	if flags&frameFlagZstd == 0 {
		return t, buf, nil
	}
	buf, err := f.decompress(t, buf)
	return t, buf, err
}

func checkFrameHeader(t frameType, flags byte, zero []byte, n uint32) error {
	limit := t.limit()
	switch {
	case limit == 0:
		return badFrame("type %d is not known to this release", t)
	case flags&^frameFlagZstd != 0 || zero[0] != 0 || zero[1] != 0:
		return badFrame("flags %#x %#x are not known to this release", flags, zero)
	case flags != 0 && !t.mayCompress():
		return badFrame("type %d is never compressed", t)
	case n > uint32(limit):
		return badFrame("body of %d bytes, at most %d are allowed", n, limit)
	case flags != 0 && n < zstdPrefixSize:
		return badFrame("compressed body of %d bytes", n)
	}
	return nil
}

// decompress unpacks f.wire. What it may use is fixed by the announced length,
// which is checked before anything is allocated.
func (f *frameReader) decompress(t frameType, buf []byte) ([]byte, error) {
	n := binary.BigEndian.Uint32(f.wire)
	if n > uint32(t.limit()) {
		return buf, badFrame("plain body of %d bytes, at most %d are allowed", n, t.limit())
	}
	buf = resize(buf, int(n))
	plain, err := f.dec.DecodeAll(f.wire[zstdPrefixSize:], buf[:0:n])
	if err != nil {
		return buf, badFrame("zstd: %v", err)
	}
	if len(plain) != int(n) {
		return buf, badFrame("plain body of %d bytes, %d announced", len(plain), n)
	}
	return plain, nil
}

func resize(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
