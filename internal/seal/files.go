package seal

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

const (
	fileMagic   = "HFSEALED"
	fileVersion = 1
	headSize    = 64
	// tableSuffix is of the store's tables: written once, read at random.
	tableSuffix = ".sst"
	// logPrefix is of the store's list of its tables, which grows, and logSuffix of
	// its own log, which we have it not use, but which it makes at times.
	logPrefix = "MANIFEST-"
	logSuffix = ".log"
)

// IsSealed reports whether bytes on disk look like a sealed file's.
func IsSealed(b []byte) bool { return bytes.HasPrefix(b, []byte(fileMagic)) }

// layout is how the bytes of a sealed file stand on disk.
type layout uint16

const (
	// chunked: pieces of one size, so that a place is found by arithmetic.
	chunked layout = 1
	// framed: a piece for each write; for files that are whole when they are read.
	framed layout = 2
	// log: likewise; it is synced after each of many writes, and a crash may end
	// it anywhere. Nothing that was synced is written again.
	log layout = 3
)

func layoutOf(name string) layout {
	switch {
	case strings.HasSuffix(name, tableSuffix):
		return chunked
	case strings.HasPrefix(filepath.Base(name), logPrefix), strings.HasSuffix(name, logSuffix):
		return log
	}
	return framed
}

// Files gives a file system whose files are encrypted with k, on d. Names are
// as they are: of what is written here none tells anything of a user. Sizes are
// those of the plain bytes. What differs from other file systems: files are
// written from their beginning to their end by one writer (Create), so
// OpenReadWrite and ReuseForWrite fail, as does WriteAt. Safe for concurrent
// use as d is. The tree's store is the reader and writer it is made for.
//
// A file that is damaged, of another key, or not encrypted at all is a
// *fs.CorruptionError. Only the store's logs end quietly where their bytes do not
// decrypt, as they do without encryption: a crash may have cut them there.
func Files(d disk.FS, k *Key, rand io.Reader) disk.FS { return &sealedFS{d, k, rand} }

type sealedFS struct {
	disk.FS
	key  *Key
	rand io.Reader
}

// Unwrap implements vfs.FS.
func (s *sealedFS) Unwrap() vfs.FS { return s.FS }

// Create implements vfs.FS.
func (s *sealedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	return newWriter(f, s, name), nil
}

// Open implements vfs.FS.
func (s *sealedFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.FS.Open(name, o...)
	if err != nil {
		return nil, err
	}
	r, err := openReader(f, s.key, name)
	if err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// Stat implements vfs.FS.
func (s *sealedFS) Stat(name string) (vfs.FileInfo, error) {
	st, err := s.FS.Stat(name)
	if err != nil || st.IsDir() || st.Size() == 0 {
		return st, err
	}
	f, err := s.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// OpenReadWrite implements vfs.FS: it is refused.
func (s *sealedFS) OpenReadWrite(name string, _ vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	return nil, fmt.Errorf("open %s: an encrypted file is not written to again", name)
}

// ReuseForWrite implements vfs.FS: it is refused.
func (s *sealedFS) ReuseForWrite(_, name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, fmt.Errorf("reuse %s: an encrypted file is not written to again", name)
}

// head is what a sealed file begins with.
type head struct {
	layout layout
	key    [16]byte
	salt   [SaltSize]byte
}

func (h *head) encode() []byte {
	b := append(make([]byte, 0, headSize), fileMagic...)
	b = binary.BigEndian.AppendUint16(b, fileVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(h.layout))
	b = append(b, 0, 0, 0, 0)
	b = append(b, h.key[:]...)
	return append(b, h.salt[:]...)
}

func decodeHead(b []byte) (h head, err error) {
	if len(b) != headSize || string(b[:8]) != fileMagic {
		return h, fmt.Errorf("not an encrypted file, but its file system is encrypted")
	}
	if v := binary.BigEndian.Uint16(b[8:]); v != fileVersion {
		return h, fmt.Errorf("encrypted file of version %d, this release knows %d", v, fileVersion)
	}
	h.layout = layout(binary.BigEndian.Uint16(b[10:]))
	if h.layout < chunked || h.layout > log || !bytes.Equal(b[12:16], make([]byte, 4)) {
		return h, fmt.Errorf("encrypted file of layout %d, flags %x", h.layout, b[12:16])
	}
	copy(h.key[:], b[16:])
	copy(h.salt[:], b[32:])
	return h, nil
}

// writer of a sealed file: one goroutine, as vfs.File demands.
type writer struct {
	vfs.File
	fs   *sealedFS
	name string
	aead cipher.AEAD // nil: nothing was written
	body body
	err  error // of an earlier write: what is on disk is not known any more
}

// body writes and reads what follows the head.
type body interface {
	// write takes plain bytes.
	write(f vfs.File, aead cipher.AEAD, p []byte) error
	// flush writes what is held back.
	flush(f vfs.File, aead cipher.AEAD) error
	// size is the number of plain bytes.
	size() int64
}

func newWriter(f vfs.File, s *sealedFS, name string) *writer {
	w := &writer{File: f, fs: s, name: name}
	if layoutOf(name) == chunked {
		w.body = &chunks{}
	} else {
		w.body = &frames{end: headSize}
	}
	return w
}

func (w *writer) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if w.err == nil {
		w.err = w.write(p)
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

func (w *writer) write(p []byte) error {
	if w.aead == nil {
		h := head{layout: layoutOf(w.name), key: w.fs.key.id}
		if _, err := io.ReadFull(w.fs.rand, h.salt[:]); err != nil {
			return fmt.Errorf("encrypt %s: %w", w.name, err)
		}
		aead, err := w.fs.key.derive(purposeFile, h.salt)
		if err != nil {
			return err
		}
		if _, err := w.File.WriteAt(h.encode(), 0); err != nil {
			return err
		}
		w.aead = aead
	}
	return w.body.write(w.File, w.aead, p)
}

func (w *writer) flush() error {
	if w.err == nil && w.aead != nil {
		w.err = w.body.flush(w.File, w.aead)
	}
	return w.err
}

func (w *writer) Sync() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.File.Sync()
}

func (w *writer) SyncData() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.File.SyncData()
}

func (w *writer) Close() error {
	err := w.flush()
	if cerr := w.File.Close(); err == nil {
		err = cerr
	}
	return err
}

// SyncTo only hints: what is held back need not be there.
func (w *writer) SyncTo(n int64) (bool, error) { return w.File.SyncTo(n) }

func (w *writer) Stat() (vfs.FileInfo, error) {
	st, err := w.File.Stat()
	return plainInfo{st, w.body.size()}, err
}

func (w *writer) WriteAt([]byte, int64) (int, error) { return 0, w.refuse("write in place") }
func (w *writer) Read([]byte) (int, error)           { return 0, w.refuse("read while it is written") }
func (w *writer) ReadAt([]byte, int64) (int, error)  { return 0, w.refuse("read while it is written") }

func (w *writer) refuse(what string) error {
	return fmt.Errorf("%s is encrypted: no %s", w.name, what)
}

// plainInfo tells the size of the plain bytes.
type plainInfo struct {
	vfs.FileInfo
	size int64
}

func (i plainInfo) Size() int64 { return i.size }

var _ os.FileInfo = plainInfo{}

// reader of a sealed file. ReadAt is safe for concurrent use.
type reader struct {
	vfs.File
	name string
	aead cipher.AEAD // nil: the file is empty
	body interface {
		readAt(r *reader, p []byte, off int64) (int, error)
		size() int64
	}
	at int64 // of Read
}

func openReader(f vfs.File, k *Key, name string) (*reader, error) {
	r := &reader{File: f, name: name, body: &frames{}}
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return r, err
	}
	b := make([]byte, headSize)
	if n, err := f.ReadAt(b, 0); n < headSize && err != io.EOF {
		return nil, err
	} else if b = b[:n]; layoutOf(name) == log && isTornHead(b) {
		return r, nil
	}
	h, err := decodeHead(b)
	// The layout is not authenticated: as a log, a file could be cut unnoticed.
	if want := layoutOf(name); err == nil && h.layout != want {
		err = fmt.Errorf("encrypted file of layout %d where %d is due: it was changed, or has another name", h.layout, want)
	}
	if err == nil && h.key != k.id {
		err = fmt.Errorf("encrypted with data key %x, the file system has %x", h.key, k.id)
	}
	if err != nil {
		return nil, r.corrupt(0, err.Error())
	}
	if r.aead, err = k.derive(purposeFile, h.salt); err != nil {
		return nil, err
	}
	if h.layout == chunked {
		r.body, err = chunksOf(st.Size())
	} else {
		r.body, err = readFrames(r, h.layout, st.Size())
	}
	if errors.Is(err, errTorn) {
		err = r.corrupt(st.Size(), "the file is cut short, or was changed")
	}
	return r, err
}

// isTornHead: zeros, or less than a head: nothing behind it was synced.
func isTornHead(b []byte) bool {
	return len(bytes.Trim(b, "\x00")) == 0 || len(b) < headSize && bytes.HasPrefix(b, []byte(fileMagic)[:min(len(b), len(fileMagic))])
}

func (r *reader) corrupt(at int64, detail string) error {
	return &fs.CorruptionError{File: r.name, Offset: at, Detail: detail}
}

func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	size := r.body.size()
	if off >= size {
		return 0, io.EOF
	}
	short := int64(len(p)) > size-off
	if short {
		p = p[:size-off]
	}
	n, err := r.body.readAt(r, p, off)
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.ReadAt(p, r.at)
	r.at += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (r *reader) Stat() (vfs.FileInfo, error) {
	st, err := r.File.Stat()
	return plainInfo{st, r.body.size()}, err
}

// Prefetch is about bytes on disk, a little more than the plain ones.
func (r *reader) Prefetch(off, n int64) error { return r.File.Prefetch(off, n) }

// Write implements vfs.File: it is refused.
func (r *reader) Write([]byte) (int, error) {
	return 0, fmt.Errorf("%s is open for reading", r.name)
}

// nonce is a place in a file.
func nonce(place uint64, rest uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(make([]byte, 0, 12), place), rest)
}
