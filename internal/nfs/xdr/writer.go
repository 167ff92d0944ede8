package xdr

import (
	"encoding/binary"
	"sync"
)

// Writer appends to a buffer that comes from a pool. Its owner calls Release
// when nobody needs the bytes any more.
type Writer struct {
	buf   []byte
	limit Limit
	taken bool // of limit
}

// Limit bounds how many large buffers there are at a time. Take waits for room.
type Limit interface {
	Take()
	Give()
}

// Limit has the Writer wait for room before it takes a large buffer.
func (w *Writer) Limit(l Limit) { w.limit = l }

const (
	// smallBuffer holds nearly every reply and request but READ and WRITE.
	smallBuffer = 8 << 10
	// largeBuffer holds a record with one READ or WRITE of the largest size.
	largeBuffer = 1<<20 + 16<<10
)

var (
	smallPool = sync.Pool{New: func() any { return newBuffer(smallBuffer) }}
	largePool = sync.Pool{New: func() any { return newBuffer(largeBuffer) }}
)

func newBuffer(n int) *[]byte {
	b := make([]byte, 0, n)
	return &b
}

// GetBuffer returns an empty buffer with room for n bytes, pooled if n is at
// most that of a record with the largest READ or WRITE.
func GetBuffer(n int) []byte {
	switch {
	case n <= smallBuffer:
		return (*smallPool.Get().(*[]byte))[:0]
	case n <= largeBuffer:
		return (*largePool.Get().(*[]byte))[:0]
	}
	return make([]byte, 0, n)
}

// PutBuffer gives a buffer of GetBuffer back; nobody may use it afterwards.
func PutBuffer(b []byte) {
	switch cap(b) {
	case smallBuffer:
		smallPool.Put(&b)
	case largeBuffer:
		largePool.Put(&b)
	}
}

// NewWriter returns an empty Writer with a pooled buffer.
func NewWriter() *Writer { return &Writer{buf: GetBuffer(smallBuffer)} }

// Release gives the buffer back to the pool.
func (w *Writer) Release() {
	PutBuffer(w.buf)
	w.buf = nil
	if w.taken {
		w.limit.Give()
		w.taken = false
	}
}

// Bytes is what was written. It is valid until the next write or Release.
func (w *Writer) Bytes() []byte { return w.buf }

// Len is the number of bytes written.
func (w *Writer) Len() int { return len(w.buf) }

// Truncate forgets what was written after the first n bytes.
func (w *Writer) Truncate(n int) { w.buf = w.buf[:n] }

// Reserve appends n bytes of undefined content and returns them, to be filled
// in place before the next write. It writes no padding: see Pad.
func (w *Writer) Reserve(n int) []byte {
	start := len(w.buf)
	w.grow(n)
	w.buf = w.buf[:start+n]
	return w.buf[start:]
}

func (w *Writer) grow(n int) {
	if cap(w.buf)-len(w.buf) >= n {
		return
	}
	need := len(w.buf) + n
	if need > smallBuffer && w.limit != nil && !w.taken {
		w.limit.Take()
		w.taken = true
	}
	if need > largeBuffer {
		need = max(need, 2*cap(w.buf))
	}
	b := append(GetBuffer(need), w.buf...)
	PutBuffer(w.buf)
	w.buf = b
}

// Pad appends the zero bytes that follow n opaque ones.
func (w *Writer) Pad(n int) {
	w.grow(3)
	for range pad(n) {
		w.buf = append(w.buf, 0)
	}
}

// Uint32 appends an unsigned integer.
func (w *Writer) Uint32(v uint32) {
	w.grow(4)
	w.buf = binary.BigEndian.AppendUint32(w.buf, v)
}

// Uint64 appends an unsigned hyper.
func (w *Writer) Uint64(v uint64) {
	w.grow(8)
	w.buf = binary.BigEndian.AppendUint64(w.buf, v)
}

// Bool appends a boolean.
func (w *Writer) Bool(v bool) {
	if v {
		w.Uint32(1)
	} else {
		w.Uint32(0)
	}
}

// Fixed appends opaque bytes of a length that both sides know, with padding.
func (w *Writer) Fixed(b []byte) {
	w.grow(len(b) + 3)
	w.buf = append(w.buf, b...)
	w.Pad(len(b))
}

// Opaque appends a length and the bytes, with padding.
func (w *Writer) Opaque(b []byte) {
	w.Uint32(uint32(len(b)))
	w.Fixed(b)
}

// String appends a string as Opaque does.
func (w *Writer) String(s string) {
	w.Uint32(uint32(len(s)))
	w.grow(len(s) + 3)
	w.buf = append(w.buf, s...)
	w.Pad(len(s))
}

// Raw appends bytes that are already encoded.
func (w *Writer) Raw(b []byte) {
	w.grow(len(b))
	w.buf = append(w.buf, b...)
}

// SetUint32 overwrites the integer at an offset, such as a count that was not
// known when it was written.
func (w *Writer) SetUint32(offset int, v uint32) {
	binary.BigEndian.PutUint32(w.buf[offset:], v)
}
