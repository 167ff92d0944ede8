package journal

import (
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// generation is the newest one of a journal: its history.
type generation struct {
	h    segmentHeader // of its first segment
	meta []byte
	segs []segmentStart // its record segments with a good header, in order
	top  uint64         // highest generation number in any header
}

// findGeneration finds the newest generation that exists. One whose BASE is
// not whole never did, unless something was written after it.
func findGeneration(dfs disk.FS, infos []segmentInfo) (*generation, error) {
	var top, salt uint64
	for i := range infos {
		if s := &infos[i]; s.state == headerValid && s.class == classRecord {
			top, salt = max(top, s.h.generation), s.h.salt
		}
	}
	if top == 0 {
		where := "a directory without segments"
		if len(infos) > 0 {
			where = infos[0].path
		}
		return nil, &fs.CorruptionError{File: where, Detail: "no record segment has a good header; is this the directory of a journal?"}
	}
	for n := top; n > 0; n-- {
		g, err := readGeneration(dfs, infos, n)
		if err != nil {
			return nil, err
		}
		if g != nil {
			g.top = top
			return g, checkUnreadable(dfs, infos, n, salt)
		}
	}
	return nil, &fs.CorruptionError{File: infos[0].path, Offset: headerSize, Detail: "no BASE is readable"}
}

// readGeneration returns nil when the generation does not exist.
func readGeneration(dfs disk.FS, infos []segmentInfo, n uint64) (*generation, error) {
	g := &generation{}
	for i := range infos {
		if s := &infos[i]; s.class == classRecord && s.state == headerValid && s.h.generation == n {
			g.segs = append(g.segs, segmentStart{s.id, s.h.start})
			g.h = s.h
		}
	}
	if len(g.segs) == 0 {
		return nil, nil
	}
	first := infoOf(infos, g.h.baseSegment)
	if first == nil {
		return nil, &fs.CorruptionError{Detail: fmt.Sprintf("segment %016x with the BASE of generation %d is missing", g.h.baseSegment, n)}
	}
	f, err := dfs.Open(first.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &scan{f, first.size, first.path, place{g.h.salt, first.id, n}, first.with}
	meta, baseErr := readBase(s, &first.h)
	if baseErr == nil && first.state == headerValid {
		g.h, g.meta = first.h, meta
		return g, nil
	}
	if baseErr != nil && !isBad(baseErr) {
		return nil, baseErr
	}
	_, proved, err := s.find(headerSize, func(h *batchHeader) bool { return h.generation == n && h.kind != kindBase })
	if err != nil {
		return nil, err
	}
	if proved || len(g.segs) > 1 || g.segs[0].id != first.id || n == 1 {
		return nil, &fs.CorruptionError{File: first.path, Offset: headerSize, Detail: fmt.Sprintf("the BASE of generation %d is damaged (%v; header: %s)", n, baseErr, first.bad)}
	}
	return nil, nil
}

func readBase(s *scan, h *segmentHeader) ([]byte, error) {
	bh, entries, _, err := s.batch(headerSize)
	if err != nil {
		return nil, err
	}
	if bh.kind != kindBase {
		return nil, s.bad(headerSize, fmt.Errorf("batch of kind %d where BASE is due", bh.kind))
	}
	pos, meta, err := decodeBase(entries[0].data)
	if err == nil && (pos != h.base || h.start != h.base) {
		err = fmt.Errorf("BASE at %s, header says %s", pos, h.base)
	}
	if err != nil {
		return nil, s.bad(headerSize, err)
	}
	return meta, nil
}

func infoOf(infos []segmentInfo, id uint64) *segmentInfo {
	for i := range infos {
		if infos[i].id == id && infos[i].class == classRecord {
			return &infos[i]
		}
	}
	return nil
}

// checkUnreadable looks into segments without a good header for proof that
// they hold a newer generation than n.
func checkUnreadable(dfs disk.FS, infos []segmentInfo, n, salt uint64) error {
	for i := range infos {
		info := &infos[i]
		if info.class != classRecord || info.state == headerValid {
			continue
		}
		f, err := dfs.Open(info.path)
		if err != nil {
			return err
		}
		s := &scan{r: f, size: info.size, file: info.path, place: place{salt: salt, segment: info.id}}
		_, found, err := s.find(headerSize, func(h *batchHeader) bool { return h.generation > n && h.kind != kindBase })
		f.Close()
		if err != nil {
			return err
		}
		if found {
			return &fs.CorruptionError{File: info.path, Detail: fmt.Sprintf("the first segment of a newer generation than %d has no good header: %s", n, info.bad)}
		}
	}
	return nil
}
