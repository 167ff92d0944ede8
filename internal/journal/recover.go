package journal

import (
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// recovery is the state of one Recover.
type recovery struct {
	j     *Journal
	c     *cursor
	after fs.Pos
	fn    func(*fs.Record, fs.Addr) error
	claim uint64
	// unclaimed are good batches that nothing claims durable so far.
	unclaimed []*located
}

// Recover reads the history after the position that the tree has flushed
// (at or after Base), calls fn for each record in order, and makes the journal
// writeable. fn may keep the record; an error of fn ends it. It must succeed
// once before anything is appended.
//
// The tail, as the format page defines it, is dropped or made durable; when
// nil is returned, everything fn saw is durable. Errors: *fs.CorruptionError,
// ErrTreeAhead, ErrTreeForeign. After an error the journal is good for nothing
// but Close.
func (j *Journal) Recover(after fs.Pos, fn func(r *fs.Record, a fs.Addr) error) error {
	j.appendMu.Lock()
	defer j.appendMu.Unlock()
	if j.recovered {
		return fmt.Errorf("recover: the journal is recovered already")
	}
	if begin := j.beginLocked(); after.Seq < begin.Seq || (after.Seq == begin.Seq && after != begin) {
		return fmt.Errorf("recover: tree at %s, journal begins at %s: %w", after, begin, ErrTreeForeign)
	}
	r := &recovery{j: j, after: after, fn: fn,
		c: &cursor{files: j.files, salt: j.salt, generation: j.generation, segs: j.segs}}
	defer r.c.close()
	if err := r.run(); err != nil {
		return fmt.Errorf("recover journal: %w", err)
	}
	if err := r.adopt(); err != nil {
		return fmt.Errorf("recover journal: %w", err)
	}
	j.wg.Add(1)
	go j.run()
	return nil
}

func (r *recovery) run() error {
	if err := r.c.seek(r.after.Seq); err != nil {
		return err
	}
	if err := r.checkAfter(r.c.pos); err != nil {
		return err
	}
	for {
		l, err := r.c.next()
		if isBad(err) {
			if err := r.corruptUnlessTail(err); err != nil {
				return err
			}
			break
		}
		if err != nil {
			return err
		}
		if err := r.good(l); err != nil {
			return err
		}
	}
	if err := r.cutBadPayloads(); err != nil {
		return err
	}
	if r.c.pos.Seq < r.after.Seq {
		return fmt.Errorf("tree at %s, journal ends at %s: %w", r.after, r.c.pos, ErrTreeAhead)
	}
	if err := r.rewriteTail(); err != nil {
		return err
	}
	return r.deliver(r.c.pos.Seq)
}

// good takes a good batch: its claim settles earlier ones.
func (r *recovery) good(l *located) error {
	if l.h.kind != kindBase {
		r.claim = max(r.claim, l.h.claim)
	}
	for i := range l.entries {
		if e := &l.entries[i]; e.kind == kindRecord {
			if err := r.checkAfter(e.rec.Pos()); err != nil {
				return err
			}
		}
	}
	r.unclaimed = append(r.unclaimed, l)
	return r.deliver(r.claim)
}

func (r *recovery) checkAfter(pos fs.Pos) error {
	if pos.Seq == r.after.Seq && pos != r.after {
		return fmt.Errorf("tree at %s, journal has %s: %w", r.after, pos, ErrTreeForeign)
	}
	return nil
}

// deliver calls fn for the batches that end at or before seq.
func (r *recovery) deliver(seq uint64) error {
	for len(r.unclaimed) > 0 && r.unclaimed[0].after.Seq <= seq {
		l := r.unclaimed[0]
		// Nothing claims a mark; only what was written later shows that it was
		// synced. Until then it counts as undurable, or a hole may come to be
		// where it stood.
		if l.h.kind == kindMark && len(r.unclaimed) == 1 {
			return nil
		}
		r.unclaimed[0] = nil
		r.unclaimed = r.unclaimed[1:]
		for i := range l.entries {
			e := &l.entries[i]
			if e.kind != kindRecord || e.rec.Seq <= r.after.Seq {
				continue
			}
			if err := r.fn(e.rec, e.addr); err != nil {
				return err
			}
		}
	}
	return nil
}

// corruptUnlessTail decides what a batch that is not good means.
func (r *recovery) corruptUnlessTail(bad error) error {
	var at *badBatch
	if !errors.As(bad, &at) {
		return bad
	}
	missing := r.c.pos.Seq + 1
	corrupt := &fs.CorruptionError{File: at.file, Offset: at.offset}
	if r.claim >= missing {
		corrupt.Detail = fmt.Sprintf("record %d is missing, but was durable up to %d: %s", missing, r.claim, at.detail)
		return corrupt
	}
	from := r.c.offset
	for _, id := range r.j.files.recordsFrom(r.c.segs[r.c.i].id) {
		proof, found, err := r.claimIn(id, from, missing)
		if err != nil {
			return err
		}
		if found {
			corrupt.Detail = fmt.Sprintf("record %d is missing, but %s says that it was durable: %s", missing, proof, at.detail)
			return corrupt
		}
		from = headerSize
	}
	return nil
}

// claimIn looks in a segment for a batch that claims seq durable. It reads the
// file directly: the segment may have no good header.
func (r *recovery) claimIn(id uint64, from int64, seq uint64) (proof string, found bool, err error) {
	path := r.j.files.path(segmentName(id, classRecord))
	f, err := r.j.o.FS.Open(path)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", false, err
	}
	s := &scan{r: f, size: st.Size(), file: path, place: place{r.j.salt, id, r.j.generation}}
	at, found, err := s.find(from, func(h *batchHeader) bool {
		return h.generation == r.j.generation && h.kind != kindBase && h.claim >= seq
	})
	return fmt.Sprintf("the batch at %d of %s", at, path), found, err
}
