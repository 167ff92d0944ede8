package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// badBatch says that there is no good batch at a place. Whether that is the
// tail or corruption is for the caller to find out.
type badBatch struct {
	file   string
	offset int64
	detail string
}

func (e *badBatch) Error() string {
	return fmt.Sprintf("%s at %d: %s", e.file, e.offset, e.detail)
}

// scan reads the batches of one record segment.
type scan struct {
	r     io.ReaderAt
	size  int64
	file  string // path, for errors
	place place
	with  *sealer
}

// header reads the batch header at offset; *badBatch when there is none of
// this place.
func (s *scan) header(offset int64) (batchHeader, error) {
	var b [batchHeaderSize]byte
	if err := s.read(b[:], offset); err != nil {
		return batchHeader{}, err
	}
	h, err := decodeBatchHeader(b[:])
	if err == nil && h.place != s.place {
		err = fmt.Errorf("batch of segment %d, generation %d", h.segment, h.generation)
	}
	if err != nil {
		return h, s.bad(offset, err)
	}
	return h, nil
}

// batch reads the batch at offset. raw is all of it, padding included.
func (s *scan) batch(offset int64) (h batchHeader, entries []entry, raw []byte, err error) {
	if h, err = s.header(offset); err != nil {
		return h, nil, nil, err
	}
	// Before memory is taken for it:
	if offset+batchHeaderSize+int64(h.bodyLen) > s.size {
		return h, nil, nil, s.bad(offset, fmt.Errorf("batch reaches beyond the end of the file"))
	}
	raw = make([]byte, h.size())
	if err = s.read(raw[:batchHeaderSize+int(h.bodyLen)], offset); err != nil {
		return h, nil, nil, err
	}
	entries, err = decodeEntries(&h, offset, raw[batchHeaderSize:batchHeaderSize+int(h.bodyLen)], s.with)
	if err != nil {
		return h, nil, nil, s.bad(offset, err)
	}
	return h, entries, raw, nil
}

func (s *scan) read(b []byte, offset int64) error {
	if offset+int64(len(b)) > s.size {
		return s.bad(offset, fmt.Errorf("end of file"))
	}
	n, err := s.r.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return s.bad(offset, fmt.Errorf("end of file"))
	}
	return fmt.Errorf("read %s at %d: %w", s.file, offset, err)
}

func (s *scan) bad(offset int64, err error) error {
	return &badBatch{s.file, offset, err.Error()}
}

func isBad(err error) bool {
	var b *badBatch
	return errors.As(err, &b)
}

// find looks for a batch header at or after offset for which f holds.
func (s *scan) find(offset int64, f func(h *batchHeader) bool) (at int64, found bool, err error) {
	var window [64 * blockSize]byte
	for ; offset < s.size; offset += int64(len(window)) {
		n, err := s.r.ReadAt(window[:], offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, false, fmt.Errorf("read %s at %d: %w", s.file, offset, err)
		}
		for i := 0; i+batchHeaderSize <= n; i += blockSize {
			if !bytes.HasPrefix(window[i:], []byte(batchMagic)) {
				continue
			}
			h, err := decodeBatchHeader(window[i:n])
			if err == nil && h.salt == s.place.salt && h.segment == s.place.segment && f(&h) {
				return offset + int64(i), true, nil
			}
		}
	}
	return 0, false, nil
}

// openScan opens a record segment for scanning; close it with files.release.
func (s *files) openScan(id, salt, generation uint64) (*scan, *segmentFile, error) {
	sf, err := s.acquire(id)
	if err != nil {
		return nil, nil, err
	}
	st, err := sf.Stat()
	if err != nil {
		s.release(sf)
		return nil, nil, fmt.Errorf("segment %s: %w", sf.name, err)
	}
	return &scan{sf, st.Size(), s.path(sf.name), place{salt, id, generation}, sf.sealing.with}, sf, nil
}

// cursor follows a history from batch to batch, checking every link.
type cursor struct {
	files      *files
	salt       uint64
	generation uint64
	segs       []segmentStart // a live journal's grows
	i          int            // segs[i] is being read
	offset     int64          // of the next batch in it
	pos        fs.Pos         // after what was read
	scan       *scan
	file       *segmentFile
}

// located is a good batch and where it stands.
type located struct {
	h       batchHeader
	entries []entry
	raw     []byte
	i       int // index in cursor.segs
	offset  int64
	before  fs.Pos
	after   fs.Pos
}

// seek places the cursor at the start of the last segment that begins at or
// before seq.
func (c *cursor) seek(seq uint64) error {
	i := len(c.segs) - 1
	for i > 0 && c.segs[i].start.Seq > seq {
		i--
	}
	return c.enter(i)
}

func (c *cursor) enter(i int) error {
	c.close()
	s, f, err := c.files.openScan(c.segs[i].id, c.salt, c.generation)
	if err != nil {
		return err
	}
	c.scan, c.file, c.i, c.offset, c.pos = s, f, i, headerSize, c.segs[i].start
	return nil
}

// resize looks how long the segment is now: the last one of a live journal
// can grow when a crash had cut it short.
func (c *cursor) resize() error {
	st, err := c.file.Stat()
	if err != nil {
		return fmt.Errorf("segment %s: %w", c.file.name, err)
	}
	c.scan.size = st.Size()
	return nil
}

// followTrim takes the present list of segments, from which the oldest may
// have gone. It is false when the one that is being read is among them.
func (c *cursor) followTrim(segs []segmentStart) bool {
	if segs[0] != c.segs[0] {
		id := c.segs[c.i].id
		i := slices.IndexFunc(segs, func(s segmentStart) bool { return s.id == id })
		if i < 0 {
			return false
		}
		c.i = i
	}
	c.segs = segs
	return true
}

func (c *cursor) close() {
	if c.file != nil {
		c.files.release(c.file)
		c.file = nil
	}
}

// next reads the next batch. *badBatch: none is there that continues the
// history; the cursor stands where it would be.
func (c *cursor) next() (*located, error) {
	// What lies behind the records of a segment that has a successor is of no
	// interest, good as it may look. Several can begin at one position: those of
	// an encrypted journal that was opened and not written to.
	for c.i+1 < len(c.segs) && c.segs[c.i+1].start == c.pos {
		if err := c.enter(c.i + 1); err != nil {
			return nil, err
		}
	}
	h, entries, raw, err := c.scan.batch(c.offset)
	if err != nil {
		return nil, err
	}
	l := &located{h: h, entries: entries, raw: raw, i: c.i, offset: c.offset, before: c.pos}
	if h.firstSeq != c.pos.Seq+1 {
		return nil, c.scan.bad(c.offset, fmt.Errorf("record %d where %d is due", h.firstSeq, c.pos.Seq+1))
	}
	pos := c.pos
	for _, e := range entries {
		if e.kind != kindRecord {
			continue
		}
		if err := e.rec.Follows(pos); err != nil {
			return nil, c.scan.bad(c.offset, err)
		}
		pos = e.rec.Pos()
	}
	l.after = pos
	c.pos = pos
	c.offset += h.size()
	return l, nil
}
