package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// trimmed is what the file TRIM holds: how much of the history is gone, and
// which segment ids were ever given. It is replaced before segments are removed.
type trimmed struct {
	generation uint64
	segment    uint64 // the first of the history, 0: none was removed
	start      fs.Pos // where that one begins
	nextID     uint64 // no segment with this id or a higher one was removed
}

const (
	trimName  = "TRIM"
	trimMagic = "HFJTRIM1"
	trimSize  = 8 + 2 + 6 + 4*8 + fs.PosSize + 4
)

func (t *trimmed) encode(salt uint64) []byte {
	b := append(make([]byte, 0, trimSize), trimMagic...)
	b = binary.BigEndian.AppendUint16(b, formatVersion)
	b = append(b, make([]byte, 6)...)
	for _, v := range [...]uint64{salt, t.generation, t.segment, t.nextID} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = fs.AppendPos(b, t.start)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeTrim(b []byte, salt uint64) (trimmed, error) {
	var t trimmed
	if len(b) != trimSize || string(b[:8]) != trimMagic {
		return t, fmt.Errorf("not a description of what was trimmed")
	}
	if v := binary.BigEndian.Uint16(b[8:]); v != formatVersion {
		return t, fmt.Errorf("trim of format version %d, this release knows %d", v, formatVersion)
	}
	if crc32.Checksum(b[:trimSize-4], castagnoli) != binary.BigEndian.Uint32(b[trimSize-4:]) {
		return t, fmt.Errorf("trim: wrong checksum")
	}
	if binary.BigEndian.Uint64(b[16:]) != salt {
		return t, fmt.Errorf("trim of another journal")
	}
	t.generation = binary.BigEndian.Uint64(b[24:])
	t.segment = binary.BigEndian.Uint64(b[32:])
	t.nextID = binary.BigEndian.Uint64(b[40:])
	var err error
	t.start, err = fs.ParsePos(b[48:])
	return t, err
}

// readTrim gives what was trimmed; the zero value when nothing ever was.
func readTrim(dfs disk.FS, dir string, salt uint64) (trimmed, error) {
	path := dfs.PathJoin(dir, trimName)
	b, err := disk.ReadFile(dfs, path)
	if disk.IsNotExist(err) {
		return trimmed{}, nil
	}
	if err != nil {
		return trimmed{}, err
	}
	t, err := decodeTrim(b, salt)
	if err != nil {
		return t, &fs.CorruptionError{File: path, Detail: err.Error()}
	}
	return t, nil
}

// applyTo drops from a generation's segments those that were trimmed.
func (t *trimmed) applyTo(g *generation, path string) error {
	switch {
	case t.generation > g.h.generation:
		return &fs.CorruptionError{File: path, Detail: fmt.Sprintf("generation %d was trimmed, but the newest is %d: its segments are missing", t.generation, g.h.generation)}
	case t.generation < g.h.generation || t.segment == 0:
		return nil // of a history that has been replaced since
	}
	for i, s := range g.segs {
		if s.id != t.segment {
			continue
		}
		if s.start != t.start {
			return &fs.CorruptionError{File: path, Detail: fmt.Sprintf("segment %016x begins at %s, it was trimmed at %s", s.id, s.start, t.start)}
		}
		g.segs = g.segs[i:]
		return nil
	}
	return &fs.CorruptionError{File: path, Detail: fmt.Sprintf("segment %016x, where the history begins, is missing or damaged", t.segment)}
}
