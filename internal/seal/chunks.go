package seal

import (
	"crypto/cipher"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// chunkSize is what a random read of the store's blocks, 2 to 4 KiB, costs.
	chunkSize   = 4 << 10
	chunkStride = chunkSize + Overhead
	// lastChunk marks the nonce of the chunk that ends the file, so that a file
	// cut at the end of a chunk does not read as a shorter one.
	lastChunk = 1 << 31
)

// buffers hold what is read of a file, mostly two chunks.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// chunks is the body of a chunked file: chunk i stands at headSize + i *
// chunkStride, all but the last whole. A chunk's nonce is its number, its
// length, and whether it is the last: a file only grows, so equal nonces mean
// equal bytes even where a sync wrote the last chunk before it was whole.
type chunks struct {
	full    uint64 // whole chunks written for good
	pending []byte // 1 to chunkSize bytes that come next; nil: nothing written yet
	plain   int64
	buf     []byte
}

// chunksOf is the body of a file of this size on disk. It has a chunk at least:
// the head is written with the first.
func chunksOf(stored int64) (*chunks, error) {
	whole, rest := (stored-headSize)/chunkStride, (stored-headSize)%chunkStride
	if whole == 0 && rest == 0 || rest > 0 && rest <= Overhead {
		return nil, errTorn
	}
	return &chunks{plain: whole*chunkSize + max(rest-Overhead, 0)}, nil
}

func (c *chunks) size() int64 { return c.plain }

func (c *chunks) write(f vfs.File, aead cipher.AEAD, p []byte) error {
	c.plain += int64(len(p))
	at := headSize + int64(c.full)*chunkStride
	c.buf = c.buf[:0]
	for len(p) > 0 {
		// The last chunk is held back: only what follows makes it another one.
		if len(c.pending) == chunkSize {
			c.buf = aead.Seal(c.buf, nonce(c.full, chunkSize), c.pending, nil)
			c.full++
			c.pending = c.pending[:0]
		}
		n := min(chunkSize-len(c.pending), len(p))
		c.pending = append(c.pending, p[:n]...)
		p = p[n:]
	}
	if len(c.buf) == 0 {
		return nil
	}
	_, err := f.WriteAt(c.buf, at)
	return err
}

func (c *chunks) flush(f vfs.File, aead cipher.AEAD) error {
	if len(c.pending) == 0 {
		return nil
	}
	c.buf = aead.Seal(c.buf[:0], nonce(c.full, uint32(len(c.pending))|lastChunk), c.pending, nil)
	_, err := f.WriteAt(c.buf, headSize+int64(c.full)*chunkStride)
	return err
}

func (c *chunks) readAt(r *reader, p []byte, off int64) (int, error) {
	first, end := off/chunkSize, (off+int64(len(p))+chunkSize-1)/chunkSize
	at := headSize + first*chunkStride
	last := (c.plain - 1) / chunkSize
	want := (end - first) * chunkStride
	if end > last {
		want -= chunkSize - (c.plain - last*chunkSize)
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf = slices.Grow((*buf)[:0], int(want))[:want]
	stored := *buf
	if n, err := r.File.ReadAt(stored, at); int64(n) < want {
		if err == io.EOF || err == nil {
			err = r.corrupt(at+int64(n), "the file is cut short")
		}
		return 0, err
	}
	skip, done := off-first*chunkSize, 0
	for i := first; i < end; i++ {
		n := int64(chunkSize)
		flag := uint32(0)
		if i == last {
			n, flag = c.plain-last*chunkSize, lastChunk
		}
		plain, err := r.aead.Open(stored[:0:n], nonce(uint64(i), uint32(n)|flag), stored[:n+Overhead], nil)
		if err != nil {
			return done, r.corrupt(headSize+i*chunkStride, fmt.Sprintf("chunk %d does not decrypt: it was changed, or the file was cut", i))
		}
		done += copy(p[done:], plain[skip:])
		stored, skip = stored[n+Overhead:], 0
	}
	return done, nil
}
