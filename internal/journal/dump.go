package journal

import (
	"fmt"
	"io"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// Dump writes what is in the segments of a journal, one line for each header,
// batch and record, in order of segments. It follows no history and trusts
// nothing: it is for looking at a journal that does not open. It changes
// nothing. key is for an encrypted journal, else nil.
func Dump(w io.Writer, dfs disk.FS, dir string, key *seal.Key) error {
	infos, err := readHeaders(dfs, dir, fs.Lineage{}, key)
	if err != nil {
		return fmt.Errorf("dump journal: %w", err)
	}
	var salt uint64
	for i := range infos {
		if infos[i].state == headerValid {
			salt = infos[i].h.salt
		}
	}
	out := &dumper{w: w}
	for i := range infos {
		if err := out.segment(dfs, &infos[i], salt); err != nil {
			return fmt.Errorf("dump journal: %w", err)
		}
	}
	return out.err
}

type dumper struct {
	w   io.Writer
	err error
}

func (d *dumper) printf(format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.w, format, args...)
	}
}

func (d *dumper) segment(dfs disk.FS, s *segmentInfo, salt uint64) error {
	d.printf("segment %s %d bytes", s.path, s.size)
	switch s.state {
	case headerBlank:
		d.printf(" spare\n")
	case headerBad:
		d.printf(" bad: %s\n", s.bad)
	default:
		d.printf(" lineage %s generation %d base %s start %s\n", s.h.lineage, s.h.generation, s.h.base, s.h.start)
	}
	if s.class == classPayload {
		return nil
	}
	f, err := dfs.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.batches(&scan{f, s.size, s.path, place{salt: salt, segment: s.id}, s.with})
}

func (d *dumper) batches(s *scan) error {
	for offset := int64(headerSize); ; {
		at, found, err := s.find(offset, func(h *batchHeader) bool { s.place.generation = h.generation; return true })
		if err != nil || !found {
			return err
		}
		if at != offset {
			d.printf("  %8d no batch up to %d\n", offset, at)
		}
		h, entries, _, err := s.batch(at)
		if err != nil {
			if !isBad(err) {
				return err
			}
			d.printf("  %8d %s\n", at, err)
			offset = at + blockSize
			continue
		}
		d.printf("  %8d %s of %d, %d bytes, generation %d, claims %d\n", at, h.kind, h.count, h.bodyLen, h.generation, h.claim)
		for i := range entries {
			d.entry(&entries[i])
		}
		offset = at + h.size()
	}
}

func (d *dumper) entry(e *entry) {
	switch e.kind {
	case kindBase:
		pos, meta, err := decodeBase(e.data)
		d.printf("           base %s, %d bytes of meta %v\n", pos, len(meta), errorOrEmpty(err))
	case kindRecord:
		d.printf("           %s %s", e.rec.Pos(), mutationName(e.rec))
		if !e.addr.IsZero() {
			d.printf(", payload of %d at %x:%d", e.addr.Length, e.addr.Segment, e.addr.Offset)
		}
		d.printf("\n")
	}
}

func errorOrEmpty(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// mutationName names the kind of mutation; the catalog's records hold others.
func mutationName(r *fs.Record) string {
	m, err := fs.ParseMutation(r.Mutation)
	if err != nil {
		return fmt.Sprintf("%d bytes", len(r.Mutation))
	}
	return fmt.Sprintf("%T", m)[len("*fs."):]
}

func (k kind) String() string {
	switch k {
	case kindRecord:
		return "records"
	case kindMark:
		return "mark"
	case kindBase:
		return "base"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}
