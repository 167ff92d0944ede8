package journal

import (
	"errors"
	"fmt"
	"io"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Read fills p with the payload's plain bytes from off on. The checksum of
// every unit it touches is verified: a mismatch is *fs.CorruptionError, and p
// then holds nothing of use. Safe for concurrent use.
func (j *Journal) Read(a fs.Addr, off uint32, p []byte) error {
	err := j.readAt(a, off, p)
	if !isGone(err) {
		return err
	}
	to, toOff, ok, merr := j.files.movedTo(a, off, len(p))
	switch {
	case merr != nil:
		return merr
	case !ok:
		return err
	}
	if err := j.readAt(to, toOff, p); !isGone(err) {
		return err
	}
	return j.Read(to, toOff, p) // it was moved once more just now
}

// readAt reads what lies where a says.
func (j *Journal) readAt(a fs.Addr, off uint32, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	s, err := spanOf(a, off, len(p))
	if err != nil {
		return err
	}
	buf := bounce.Get().(*[]byte)
	defer bounce.Put(buf)
	stored := (*buf)[:s.len]
	with, pending := j.readPending(a, s, stored)
	if !pending {
		if with, err = j.files.read(a.Segment, s.at, stored); err != nil {
			return err
		}
	}
	return j.files.unpack(p, stored, s, a.Segment, with)
}

// readPending copies what is still in memory only.
func (j *Journal) readPending(a fs.Addr, s span, stored []byte) (with *sealer, ok bool) {
	if c, _ := j.files.classOf(a.Segment); c != classRecord {
		return nil, false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if b := j.building; b != nil && b.copyTo(a.Segment, s, stored) {
		return b.file.sealing.with, true
	}
	for _, list := range [][]*batch{j.queue, j.inflight} {
		for _, b := range list {
			if b.copyTo(a.Segment, s, stored) {
				return b.file.sealing.with, true
			}
		}
	}
	return nil, false
}

func (b *batch) copyTo(segment uint64, s span, stored []byte) bool {
	at := int64(s.at) - b.offset
	if b.h.segment != segment || at < 0 || at+int64(s.len) > int64(len(b.buf)) {
		return false
	}
	copy(stored, b.buf[at:])
	return true
}

// read fills stored from a segment file, and says what opens it.
func (s *files) read(segment, at uint64, stored []byte) (*sealer, error) {
	sf, err := s.acquire(segment)
	if err != nil {
		return nil, err
	}
	defer s.release(sf)
	n, err := sf.ReadAt(stored, int64(at))
	if n == len(stored) {
		return sf.sealing.with, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return nil, &fs.CorruptionError{File: s.path(sf.name), Offset: int64(at), Detail: fmt.Sprintf("payload cut short: %d of %d bytes", n, len(stored))}
	}
	return nil, fmt.Errorf("read %s at %d: %w", s.path(sf.name), at, err)
}

func (s *files) unpack(p, stored []byte, sp span, segment uint64, with *sealer) error {
	badAt, err := copyUnits(p, stored, sp, segment, with)
	if err == nil {
		return nil
	}
	c, _ := s.classOf(segment)
	return &fs.CorruptionError{File: s.path(segmentName(segment, c)), Offset: int64(badAt), Detail: err.Error()}
}
