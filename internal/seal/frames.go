package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"io"
	"sort"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	frameHead = 4
	// maxFrame bounds what one frame holds, and so what a reader takes memory for.
	maxFrame = 1 << 20
)

// frames is the body of a framed file: frames without gaps, each the length of
// its plain bytes, then these sealed. A frame's nonce is where it stands; the
// length is authenticated along.
type frames struct {
	list  []frame
	plain int64
	end   int64 // where the next one will stand
	buf   []byte
}

// frame is one of them: where it stands, and which plain bytes it holds.
type frame struct {
	at    int64
	off   int64
	bytes int
}

func (f *frames) size() int64 { return f.plain }

func (f *frames) write(to vfs.File, aead cipher.AEAD, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), maxFrame)
		f.buf = binary.BigEndian.AppendUint32(f.buf[:0], uint32(n))
		f.buf = aead.Seal(f.buf, nonce(uint64(f.end), 0), p[:n], f.buf[:frameHead:frameHead])
		if _, err := to.WriteAt(f.buf, f.end); err != nil {
			return err
		}
		f.end += int64(len(f.buf))
		f.plain += int64(n)
		p = p[n:]
	}
	return nil
}

func (f *frames) flush(vfs.File, cipher.AEAD) error { return nil }

// errTorn: there is no good frame at a place.
var errTorn = errors.New("no whole frame")

// readFrames finds the frames of a file. A log ends where a frame is not whole:
// what a crash left of writes that were not synced, in any order, stands there.
// Other files are whole when they are opened.
func readFrames(r *reader, l layout, stored int64) (*frames, error) {
	f := &frames{end: headSize}
	for f.end < stored {
		n, err := frameAt(r, f.end, stored)
		if err == nil && l == log {
			_, err = openFrame(r, frame{f.end, f.plain, n})
		}
		if errors.Is(err, errTorn) && l == log {
			return f, nil
		}
		if err != nil {
			return nil, err
		}
		f.list = append(f.list, frame{f.end, f.plain, n})
		f.plain += int64(n)
		f.end += frameHead + int64(n) + Overhead
	}
	if len(f.list) == 0 && l != log {
		return nil, errTorn // the head is written with the first frame
	}
	return f, nil
}

// frameAt reads the length of the frame at a place.
func frameAt(r *reader, at, stored int64) (int, error) {
	var b [frameHead]byte
	if at+frameHead > stored {
		return 0, errTorn
	}
	if n, err := r.File.ReadAt(b[:], at); n < frameHead {
		return 0, orTorn(err)
	}
	n := binary.BigEndian.Uint32(b[:])
	if n == 0 || n > maxFrame || at+frameHead+int64(n)+Overhead > stored {
		return 0, errTorn
	}
	return int(n), nil
}

func openFrame(r *reader, x frame) ([]byte, error) {
	b := make([]byte, frameHead+x.bytes+Overhead)
	if n, err := r.File.ReadAt(b, x.at); n < len(b) {
		return nil, orTorn(err)
	}
	plain, err := r.aead.Open(b[frameHead:frameHead], nonce(uint64(x.at), 0), b[frameHead:], b[:frameHead])
	if err != nil {
		return nil, errTorn
	}
	return plain, nil
}

// orTorn: an end of file that comes too early is a torn frame.
func orTorn(err error) error {
	if err == nil || err == io.EOF {
		return errTorn
	}
	return err
}

func (f *frames) readAt(r *reader, p []byte, off int64) (int, error) {
	done := 0
	i := sort.Search(len(f.list), func(i int) bool { return f.list[i].off+int64(f.list[i].bytes) > off })
	for ; done < len(p) && i < len(f.list); i++ {
		x := f.list[i]
		plain, err := openFrame(r, x)
		if errors.Is(err, errTorn) {
			err = r.corrupt(x.at, "a part of the file does not decrypt: it was changed")
		}
		if err != nil {
			return done, err
		}
		done += copy(p[done:], plain[off+int64(done)-x.off:])
	}
	return done, nil
}
