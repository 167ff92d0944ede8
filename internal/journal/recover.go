package journal

import (
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-fs/holdfast/internal/disk"
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
	if after.Seq < j.base.Seq || (after.Seq == j.base.Seq && after != j.base) {
		return fmt.Errorf("recover: tree at %s, journal begins at %s: %w", after, j.base, ErrTreeForeign)
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
	s := &scan{f, st.Size(), path, place{r.j.salt, id, r.j.generation}}
	at, found, err := s.find(from, func(h *batchHeader) bool {
		return h.generation == r.j.generation && h.kind != kindBase && h.claim >= seq
	})
	return fmt.Sprintf("the batch at %d of %s", at, path), found, err
}

// cutBadPayloads ends the tail before the first batch with a payload that is
// not what its record says.
func (r *recovery) cutBadPayloads() error {
	for i, l := range r.unclaimed {
		if l.after.Seq <= r.claim {
			continue
		}
		for k := range l.entries {
			ok, err := r.payloadGood(&l.entries[k])
			if err != nil {
				return err
			}
			if !ok {
				r.unclaimed = r.unclaimed[:i]
				r.c.i, r.c.offset, r.c.pos = l.i, l.offset, l.before
				return nil
			}
		}
	}
	return nil
}

func (r *recovery) payloadGood(e *entry) (bool, error) {
	if e.kind != kindRecord || e.rec.PayloadLen == 0 {
		return true, nil
	}
	plain := make([]byte, e.rec.PayloadLen)
	err := r.j.Read(e.addr, 0, plain)
	var corrupt *fs.CorruptionError
	if errors.As(err, &corrupt) {
		return false, nil
	}
	return err == nil && fs.Digest(plain) == e.rec.PayloadDigest, err
}

// rewriteTail writes what nothing claims durable again at its place and syncs:
// it may have been in the page cache only.
func (r *recovery) rewriteTail() error {
	touched := map[uint64]*segmentFile{}
	defer func() {
		for _, f := range touched {
			r.j.files.release(f)
		}
	}()
	for _, l := range r.unclaimed {
		if err := r.rewriteBatch(l, touched); err != nil {
			return fmt.Errorf("write the tail anew: %w", err)
		}
	}
	if err := syncFiles(touched); err != nil {
		return err
	}
	return disk.SyncDir(r.j.o.FS, r.j.o.Dir)
}

func (r *recovery) rewriteBatch(l *located, touched map[uint64]*segmentFile) error {
	id := r.c.segs[l.i].id
	known := touched[id] != nil
	f, err := r.touch(id, touched)
	if err != nil {
		return err
	}
	if !known {
		if err := rewrite(f, 0, headerSize); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(l.raw, l.offset); err != nil {
		return err
	}
	for i := range l.entries {
		e := &l.entries[i]
		if e.addr.IsZero() || e.addr.Segment == id {
			continue
		}
		f, err := r.touch(e.addr.Segment, touched)
		if err != nil {
			return err
		}
		if err := rewrite(f, int64(e.addr.Offset), storedLen(int(e.addr.Length))); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) touch(id uint64, touched map[uint64]*segmentFile) (*segmentFile, error) {
	if f := touched[id]; f != nil {
		return f, nil
	}
	f, err := r.j.files.acquire(id)
	if err == nil {
		touched[id] = f
	}
	return f, err
}

// rewrite makes n bytes dirty again without changing them.
func rewrite(f *segmentFile, at int64, n int) error {
	b := make([]byte, n)
	if got, err := f.ReadAt(b, at); got < n {
		return fmt.Errorf("read %s at %d: %w", f.name, at, err)
	}
	_, err := f.WriteAt(b, at)
	return err
}

// adopt makes the journal writeable after what was recovered.
func (r *recovery) adopt() error {
	j := r.j
	tail := r.c.segs[r.c.i]
	f, err := j.files.acquire(tail.id)
	if err != nil {
		return err
	}
	// The header goes along with the next batch: it, too, may be unsynced.
	j.tail = &recordSegment{file: f, next: r.c.offset,
		header: j.recordHeader(tail.id, j.generation, j.baseSegment, j.base, tail.start)}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	j.mu.Lock()
	j.tail.size = st.Size() &^ (blockSize - 1)
	j.segs = slices.Clone(r.c.segs[:r.c.i+1])
	j.last, j.durable, j.claimed = r.c.pos, r.c.pos, min(max(r.claim, j.base.Seq), r.c.pos.Seq)
	j.mu.Unlock()
	if err := r.clearAhead(tail.id); err != nil {
		return err
	}
	j.releaseReserved()
	j.mu.Lock()
	j.recovered = true
	j.makeSpare()
	if j.claimed < j.durable.Seq {
		j.arm()
	}
	j.mu.Unlock()
	return nil
}

// clearAhead removes the record segments after the tail, all but a spare, and
// makes that durable.
func (r *recovery) clearAhead(tail uint64) error {
	j := r.j
	j.removeTemps()
	ahead := j.files.recordsFrom(tail + 1)
	if len(ahead) == 0 {
		return nil
	}
	last := ahead[len(ahead)-1]
	if s := j.reuseSpare(last); s != nil {
		j.mu.Lock()
		j.spare = s
		j.mu.Unlock()
		ahead = ahead[:len(ahead)-1]
	} else {
		// A spare with a higher id first, so that no id is given twice. On a
		// full disk it may be: nothing durable names these.
		j.mu.Lock()
		if err := j.needSpare(); err != nil {
			j.log.Warn("no spare record segment", "dir", j.o.Dir, "err", err)
		}
		j.mu.Unlock()
	}
	for _, id := range ahead {
		if err := j.files.remove(id); err != nil {
			return err
		}
	}
	return disk.SyncDir(j.o.FS, j.o.Dir)
}

// reuseSpare takes over the spare of an earlier run, if it is one.
func (j *Journal) reuseSpare(id uint64) *recordSegment {
	f, err := j.files.acquire(id)
	if err != nil {
		return nil
	}
	st, err := f.Stat()
	if err == nil && st.Size() == j.o.RecordSegmentBytes {
		if b, err := readHeaderBlock(f); err == nil {
			if _, state, _ := decodeHeader(b); state == headerBlank {
				return &recordSegment{file: f, size: st.Size(), next: headerSize}
			}
		}
	}
	j.files.release(f)
	return nil
}

// releaseReserved gives back what the newest payload segment had reserved and
// will not use any more. Older ones did so when they were full.
func (j *Journal) releaseReserved() {
	id, ok := j.files.lastPayload()
	if !ok {
		return
	}
	f, err := j.files.acquire(id)
	if err != nil {
		return // a damaged one is reported to who reads it
	}
	defer j.files.release(f)
	st, err := f.Stat()
	if err == nil {
		err = disk.ReleaseBeyond(f, st.Size())
	}
	if err != nil {
		j.log.Warn("reserved space is not given back", "segment", f.name, "err", err)
	}
}

func (s *files) lastPayload() (id uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for x, c := range s.class {
		if c == classPayload && x >= id {
			id, ok = x, true
		}
	}
	return id, ok
}

// recordsFrom lists the record segments with this id or a higher one.
func (s *files) recordsFrom(id uint64) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []uint64
	for x, c := range s.class {
		if c == classRecord && x >= id {
			ids = append(ids, x)
		}
	}
	slices.Sort(ids)
	return ids
}
