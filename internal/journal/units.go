package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

const (
	unitSize    = 16 << 10 // plain bytes: NFS's small read costs one checksum of this
	trailerSize = 16
	unitStride  = unitSize + trailerSize
)

// storedLen is how many bytes n plain bytes take as units.
func storedLen(n int) int { return n + (n+unitSize-1)/unitSize*trailerSize }

const maxStored = fs.MaxWrite + fs.MaxWrite/unitSize*trailerSize

// bounce holds buffers of up to maxStored bytes, rounded to blocks.
var bounce = sync.Pool{New: func() any {
	b := make([]byte, 0, maxStored+blockSize)
	return &b
}}

// unitSum is the checksum of the unit that fills u, trailer included. It uses
// the trailer as scratch, so that place and data are summed in one go.
func unitSum(u []byte, segment uint64, offset uint64) uint32 {
	t := u[len(u)-trailerSize:]
	binary.BigEndian.PutUint64(t, segment)
	binary.BigEndian.PutUint64(t[8:], offset)
	return crc32.Checksum(u, castagnoli)
}

// appendUnits appends plain as units that will stand at offset in segment.
func appendUnits(b, plain []byte, segment, offset uint64, with *sealer) []byte {
	for len(plain) > 0 {
		n := min(len(plain), unitSize)
		at := len(b)
		if with != nil {
			b = with.aead.Seal(b, placeNonce(sealsUnit, offset), plain[:n], nil)
			plain, offset = plain[n:], offset+uint64(len(b)-at)
			continue
		}
		b = append(b, plain[:n]...)
		b = append(b, make([]byte, trailerSize)...)
		u := b[at:]
		sum := unitSum(u, segment, offset)
		clear(u[n:])
		binary.BigEndian.PutUint32(u[n:], sum)
		plain = plain[n:]
		offset += uint64(len(u))
	}
	return b
}

// span is the stored bytes that hold [off, off+n) of a payload.
type span struct {
	at    uint64 // offset in the file
	len   int
	skip  int // plain bytes before off in the first unit
	plain int // plain bytes in the span
}

func spanOf(a fs.Addr, off uint32, n int) (span, error) {
	end := uint64(off) + uint64(n)
	if n <= 0 || end > uint64(a.Length) || a.Length > fs.MaxWrite {
		return span{}, fmt.Errorf("read of %d bytes at %d of a payload of %d", n, off, a.Length)
	}
	first := uint64(off) / unitSize
	last := (end - 1) / unitSize
	plain := min((last+1)*unitSize, uint64(a.Length)) - first*unitSize
	return span{
		at:    a.Offset + first*unitStride,
		len:   storedLen(int(plain)),
		skip:  int(uint64(off) - first*unitSize),
		plain: int(plain),
	}, nil
}

// copyUnits verifies the units of s, which stored holds, and copies the plain
// bytes wanted to p. stored is changed. It returns the offset in the file of
// the first bad unit and what is wrong.
func copyUnits(p, stored []byte, s span, segment uint64, with *sealer) (badAt uint64, err error) {
	at, left, skip := s.at, s.plain, s.skip
	for left > 0 {
		n := min(left, unitSize)
		u := stored[: n+trailerSize : n+trailerSize]
		if err := openUnit(u, segment, at, with); err != nil {
			return at, err
		}
		p = p[copy(p, u[skip:n]):]
		stored, at, left, skip = stored[n+trailerSize:], at+uint64(n)+trailerSize, left-n, 0
	}
	return 0, nil
}

// openUnit verifies the unit that fills u, and decrypts it in its place.
func openUnit(u []byte, segment, at uint64, with *sealer) error {
	n := len(u) - trailerSize
	if with != nil {
		if _, err := with.aead.Open(u[:0], placeNonce(sealsUnit, at), u, nil); err != nil {
			return fmt.Errorf("payload unit: does not decrypt: it was changed, or encrypted with another key")
		}
		return nil
	}
	want := binary.BigEndian.Uint32(u[n:])
	for _, x := range u[n+4:] {
		if x != 0 {
			return fmt.Errorf("reserved bytes of a payload unit are set")
		}
	}
	if unitSum(u, segment, at) != want {
		return fmt.Errorf("payload unit: wrong checksum")
	}
	return nil
}

// Stored is how many bytes of disk n plain bytes of a payload take.
func Stored(n uint32) int64 { return int64(storedLen(int(n))) }
