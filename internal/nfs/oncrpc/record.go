package oncrpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// ErrRecordTooBig is the end of a connection whose peer announced a record
// over the limit.
var ErrRecordTooBig = errors.New("rpc record larger than the limit")

const (
	lastFragment = 1 << 31
	markSize     = 4
	// believed is how much memory a claimed length gets before its bytes have
	// arrived. Beyond it the buffer of the largest record is taken, at once,
	// so that a WRITE is copied at most this far.
	believed = 8 << 10
	// maxFragments bounds a record's fragments: a peer that sends empty ones
	// must not keep the reader busy for ever. RFC 5531 §11 sets no bound.
	maxFragments = 1024
)

// ReadRecord reads one record of at most limit bytes. The buffer is from
// xdr.GetBuffer and belongs to the caller, also after an error (it may be nil).
// io.EOF means that the peer closed between records.
func ReadRecord(r io.Reader, limit int) ([]byte, error) {
	return readRecord(r, limit, func() {})
}

// readRecord calls large before it takes more than what is believed.
func readRecord(r io.Reader, limit int, large func()) ([]byte, error) {
	var mark [markSize]byte
	var buf []byte // taken when a mark has arrived: most connections are idle
	for n := range maxFragments {
		if _, err := io.ReadFull(r, mark[:]); err != nil {
			if n > 0 && err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return buf, err
		}
		if buf == nil {
			buf = xdr.GetBuffer(believed)
		}
		m := binary.BigEndian.Uint32(mark[:])
		size := int(m &^ lastFragment)
		if size > limit-len(buf) {
			return buf, fmt.Errorf("%w: %d bytes after %d, limit %d", ErrRecordTooBig, size, len(buf), limit)
		}
		var err error
		if buf, err = readFragment(r, buf, size, large); err != nil {
			return buf, err
		}
		if m&lastFragment != 0 {
			return buf, nil
		}
	}
	return buf, fmt.Errorf("rpc record of more than %d fragments", maxFragments)
}

// readFragment appends size bytes to buf, taking memory only when what it has
// is full.
func readFragment(r io.Reader, buf []byte, size int, large func()) ([]byte, error) {
	for size > 0 {
		if len(buf) == cap(buf) {
			if cap(buf) <= believed {
				large()
			}
			bigger := xdr.GetBuffer(min(len(buf)+size, max(2*len(buf), 1<<20)))
			bigger = append(bigger, buf...)
			xdr.PutBuffer(buf)
			buf = bigger
		}
		n := min(size, cap(buf)-len(buf))
		got, err := io.ReadFull(r, buf[len(buf):len(buf)+n])
		buf = buf[:len(buf)+got]
		size -= got
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return buf, err
		}
	}
	return buf, nil
}

// BeginRecord reserves the record mark; w must be empty.
func BeginRecord(w *xdr.Writer) { w.Uint32(0) }

// EndRecord fills in the mark of a record that is one fragment. w.Bytes() can
// then be sent as it is.
func EndRecord(w *xdr.Writer) {
	w.SetUint32(0, uint32(w.Len()-markSize)|lastFragment)
}
