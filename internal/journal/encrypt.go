package journal

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/holdfast-fs/holdfast/internal/seal"
)

// Encryption of a segment: each segment has a key of its own, from the random
// salt in its header, and a nonce is a place in it. So no place of an encrypted
// segment may ever be written with two contents:
//
//   - payload segments are never filled further after a restart, and a place
//     whose write failed is not given again;
//   - a record segment that recovery found is not continued: the next batch
//     begins a new one. (Zeros behind its end would not prove that nothing stood
//     there: a disk that copies on write loses the name of what was not synced,
//     not its bytes.)
//   - what recovery writes again, it writes byte for byte.

// sealer seals and opens what stands in one segment. nil: not encrypted.
type sealer struct{ aead cipher.AEAD }

// What a nonce is of, beside the place.
const (
	sealsEntry = 1
	sealsUnit  = 2
)

func placeNonce(what uint32, offset uint64) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(make([]byte, 0, 12), offset), what)
}

// overhead is how much longer than plain an entry's data is.
func (s *sealer) overhead() int {
	if s == nil {
		return 0
	}
	return seal.Overhead
}

// sealerOf gives what a segment with this header is sealed with. A segment of
// another key, or of none where there should be one, is refused.
func sealerOf(h *segmentHeader, k *seal.Key) (*sealer, error) {
	switch {
	case !h.encrypted() && k == nil:
		return nil, nil
	case !h.encrypted():
		return nil, &unsupportedError{"the segment is not encrypted, but its file system is: it was put here from elsewhere"}
	case k == nil:
		return nil, &unsupportedError{fmt.Sprintf("the segment is encrypted with data key %x, and no key was given: is the file system's key.json missing?", h.key)}
	case h.key != k.ID():
		return nil, &unsupportedError{fmt.Sprintf("the segment is encrypted with data key %x, the file system's is %x", h.key, k.ID())}
	}
	aead, err := k.Segment(h.keySalt)
	if err != nil {
		return nil, err
	}
	return &sealer{aead}, nil
}

// sealing is how one segment is sealed, and what its header says of that.
type sealing struct {
	key  [16]byte
	salt [seal.SaltSize]byte
	with *sealer
}

// newSealing makes that of a new segment.
func (o *Options) newSealing() (s sealing, err error) {
	if o.Key == nil {
		return s, nil
	}
	if _, err := io.ReadFull(o.Random, s.salt[:]); err != nil {
		return s, fmt.Errorf("encrypt a segment: %w", err)
	}
	s.key = o.Key.ID()
	s.with, err = sealerOf(&segmentHeader{key: s.key, keySalt: s.salt}, o.Key)
	return s, err
}

// sealingOf is that of a segment with this header.
func sealingOf(h *segmentHeader, k *seal.Key) (sealing, error) {
	with, err := sealerOf(h, k)
	return sealing{h.key, h.keySalt, with}, err
}

func (s *sealing) putInto(h *segmentHeader) { h.key, h.keySalt = s.key, s.salt }
