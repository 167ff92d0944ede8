package journal

import (
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// goneError: a payload is in a segment that there is not. Whether it was
// cleaned away or lost depends on who asks: what the tree names must be there.
type goneError struct{ c fs.CorruptionError }

// ErrAbsent is what the error of Read is, beside a *fs.CorruptionError, when the
// payload's segment is not there and no map leads on. Who took the address
// from a tree a moment ago may find a new one there.
var ErrAbsent = errors.New("the payload's segment does not exist")

func (e *goneError) Error() string   { return e.c.Error() }
func (e *goneError) Unwrap() []error { return []error{&e.c, ErrAbsent} }

func isGone(err error) bool {
	var g *goneError
	return errors.As(err, &g)
}

// maxMoves bounds the steps from an address to where its bytes are now: a map
// may lead into a segment that was cleaned later.
const maxMoves = 1 << 10

// movedTo follows the maps from bytes [off, off+n) of the payload at a to where
// they are. ok is false when no map has them.
func (s *files) movedTo(a fs.Addr, off uint32, n int) (to fs.Addr, toOff uint32, ok bool, err error) {
	to, toOff = a, off
	for range maxMoves {
		m, here, err := s.mapOf(to.Segment)
		if err != nil {
			return to, toOff, false, err
		}
		if here {
			return to, toOff, true, nil
		}
		if m == nil {
			return to, toOff, false, nil
		}
		p, found := m.find(to.Offset, toOff, n)
		if !found {
			return to, toOff, false, nil
		}
		to, toOff = p.to, toOff-p.from
	}
	return to, toOff, false, &fs.CorruptionError{File: s.path(mapName(a.Segment)), Detail: "the maps of moved payloads lead in a circle"}
}

// mapOf gives the map of a segment that is gone; here: it is not. Neither: it
// has no map.
func (s *files) mapOf(segment uint64) (m *segmentMap, here bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.class[segment]; ok {
		return nil, true, nil
	}
	m, known := s.maps[segment]
	if !known || m != nil {
		return m, false, nil
	}
	if m, err = readMap(s.fs, s.path(mapName(segment)), segment, s.salt); err != nil {
		return nil, false, err
	}
	s.keepMap(m)
	return m, false, nil
}

// maxMapPieces bounds the memory of maps, some 40 bytes a piece; what goes is
// read again when it is needed.
const maxMapPieces = 1 << 20

// addMap makes a map known that is durable.
func (s *files) addMap(m *segmentMap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepMap(m)
}

// keepMap needs mu.
func (s *files) keepMap(m *segmentMap) {
	total := len(m.pieces)
	for _, o := range s.maps {
		if o != nil {
			total += len(o.pieces)
		}
	}
	for id, o := range s.maps {
		if total <= maxMapPieces {
			break
		}
		if o != nil {
			total -= len(o.pieces)
			s.maps[id] = nil
		}
	}
	s.maps[m.segment] = m
}

func readMap(dfs disk.FS, path string, segment, salt uint64) (*segmentMap, error) {
	b, err := disk.ReadFile(dfs, path)
	if err != nil {
		return nil, fmt.Errorf("where the payloads of segment %016x went: %w", segment, err)
	}
	m, err := decodeMap(b, segment, salt)
	if err != nil {
		return nil, &fs.CorruptionError{File: path, Detail: err.Error()}
	}
	return m, nil
}

// Locate tells where bytes [from, from+length) of the payload at a are now:
// the cleaner may have moved them. moved is false when they are where a says,
// or nowhere. An error: a map cannot be read, so nobody knows where they are.
func (j *Journal) Locate(a fs.Addr, from, length uint32) (to fs.Addr, toFrom uint32, moved bool, err error) {
	to, toFrom, ok, err := j.files.movedTo(a, from, int(length))
	return to, toFrom, ok && err == nil && to != a, err
}

// Moved tells how many segments there are whose addresses lead through a map.
func (j *Journal) Moved() int {
	j.files.mu.Lock()
	defer j.files.mu.Unlock()
	return len(j.files.maps)
}

// ForgetMoved removes the maps of these segments: nobody holds an address in
// them any more, on disk or in memory. Segments that were emptied later are left.
func (j *Journal) ForgetMoved(segments []uint64) error {
	for _, id := range segments {
		j.files.mu.Lock()
		_, known := j.files.maps[id]
		delete(j.files.maps, id)
		j.files.mu.Unlock()
		if !known {
			continue
		}
		if err := j.o.FS.Remove(j.files.path(mapName(id))); err != nil && !disk.IsNotExist(err) {
			return fmt.Errorf("remove a map of moved payloads: %w", err)
		}
	}
	return nil
}

// MovedSegments lists the segments that have a map.
func (j *Journal) MovedSegments() []uint64 {
	j.files.mu.Lock()
	defer j.files.mu.Unlock()
	ids := make([]uint64, 0, len(j.files.maps))
	for id := range j.files.maps {
		ids = append(ids, id)
	}
	return ids
}

// findMaps learns which maps there are, and keeps their ids from being given
// again. Maps are read when they are needed.
func (s *files) findMaps(salt uint64, nextID *uint64) error {
	s.salt = salt
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if id, ok := parseMapName(name); ok {
			s.maps[id] = nil
			*nextID = max(*nextID, id+1)
		}
	}
	return nil
}
