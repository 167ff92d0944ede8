package replica

import (
	"encoding/binary"

	"github.com/klauspost/compress/zstd"
)

const (
	// minCompress: below it zstd's own header eats what it saves.
	minCompress = 256
	// zstdWindow covers a whole usual batch; the decoder refuses more than
	// maxZstdWindow, so a hostile frame cannot ask for memory.
	zstdWindow    = 1 << 20
	maxZstdWindow = 8 << 20
)

// newEncoder makes an encoder whose EncodeAll may be called concurrently. The
// frame has a checksum, so zstd's own is off.
func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // only for options that contradict each other
	}
	return e
}

// newDecoder makes a decoder whose DecodeAll may be called concurrently and
// never writes beyond the capacity of its destination.
func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderConcurrency(2))
	if err != nil {
		panic(err) // only for options that contradict each other
	}
	return d
}

// compress returns the body to send: compressed into scratch when that is
// smaller, else plain itself. scratch is returned for the next call.
func compress(e *zstd.Encoder, plain, scratch []byte) (body []byte, flags byte, kept []byte) {
	if len(plain) < minCompress {
		return plain, 0, scratch
	}
	scratch = binary.BigEndian.AppendUint32(scratch[:0], uint32(len(plain)))
	scratch = e.EncodeAll(plain, scratch)
	if len(scratch) >= len(plain) {
		return plain, 0, scratch
	}
	return scratch, frameFlagZstd, scratch
}
