package xdr

import "encoding/binary"

// Reader decodes one buffer from front to back. The first failure sticks:
// every later read gives a zero value, so callers check Err once per operation.
type Reader struct {
	buf []byte
	off int
	bad bool
}

// NewReader starts at the front of b. Slices that the Reader returns alias b.
func NewReader(b []byte) Reader { return Reader{buf: b} }

// Err is ErrBadXDR after a failed read, else nil.
func (r *Reader) Err() error {
	if r.bad {
		return ErrBadXDR
	}
	return nil
}

// Bad reports whether a read failed.
func (r *Reader) Bad() bool { return r.bad }

// Fail makes the Reader fail, for a value that is out of its range.
func (r *Reader) Fail() { r.bad, r.off = true, len(r.buf) }

// Remaining is the number of bytes not read yet.
func (r *Reader) Remaining() int { return len(r.buf) - r.off }

// Offset is the number of bytes read.
func (r *Reader) Offset() int { return r.off }

// Rest returns the bytes not read yet, without reading them.
func (r *Reader) Rest() []byte { return r.buf[r.off:] }

// Fixed reads n opaque bytes and their padding. It returns nil on failure.
func (r *Reader) Fixed(n int) []byte {
	padded := n + pad(n)
	if n < 0 || padded > len(r.buf)-r.off {
		r.Fail()
		return nil
	}
	b := r.buf[r.off : r.off+n : r.off+n]
	r.off += padded
	return b
}

// Uint32 reads an unsigned integer.
func (r *Reader) Uint32() uint32 {
	if len(r.buf)-r.off < 4 {
		r.Fail()
		return 0
	}
	v := binary.BigEndian.Uint32(r.buf[r.off:])
	r.off += 4
	return v
}

// Uint64 reads an unsigned hyper.
func (r *Reader) Uint64() uint64 {
	if len(r.buf)-r.off < 8 {
		r.Fail()
		return 0
	}
	v := binary.BigEndian.Uint64(r.buf[r.off:])
	r.off += 8
	return v
}

// Bool reads a boolean; anything but 0 and 1 fails.
func (r *Reader) Bool() bool {
	v := r.Uint32()
	if v > 1 {
		r.Fail()
	}
	return v == 1 && !r.bad
}

// Opaque reads variable-length bytes, at most limit of them.
func (r *Reader) Opaque(limit int) []byte {
	n := r.Uint32()
	if r.bad || uint64(n) > uint64(limit) {
		r.Fail()
		return nil
	}
	return r.Fixed(int(n))
}

// String reads a string of at most limit bytes. It copies.
func (r *Reader) String(limit int) string { return string(r.Opaque(limit)) }

// Count reads the length of an array whose elements take at least size bytes
// each, so that no longer array is believed than the input can hold.
func (r *Reader) Count(size int) int {
	n := r.Uint32()
	if r.bad || uint64(n)*uint64(size) > uint64(r.Remaining()) {
		r.Fail()
		return 0
	}
	return int(n)
}

// pad is the number of zero bytes after n opaque ones (RFC 4506 §4.9).
func pad(n int) int { return -n & 3 }
