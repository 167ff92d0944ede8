package journal

import (
	"slices"

	"github.com/holdfast-fs/holdfast/internal/disk"
)

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
		header: j.recordHeader(f, j.generation, j.baseSegment, j.base, tail.start)}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if f.sealing.with != nil {
		j.tail.ended = true
		if err := j.cutShort(f, st.Size(), r.c.offset); err != nil {
			j.log.Warn("reserved space is not given back", "segment", f.name, "err", err)
		}
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

// cutShort gives back what an ended segment does not need.
func (j *Journal) cutShort(f *segmentFile, size, used int64) error {
	if size <= used {
		return nil
	}
	if err := disk.ReleaseBeyond(f, used); err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	j.files.bytes.Add(st.Size() - size)
	j.files.countShort(classRecord, size, -1)
	j.files.countShort(classRecord, st.Size(), 1)
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
	// One that was made on a full disk is smaller.
	if err == nil && st.Size() >= j.leastSize() && st.Size() <= j.o.RecordSegmentBytes {
		if s := j.asSpare(f, st.Size()&^(blockSize-1)); s != nil {
			return s
		}
	}
	j.files.release(f)
	return nil
}

// asSpare takes a segment for the spare when nothing was ever written to it.
func (j *Journal) asSpare(f *segmentFile, size int64) *recordSegment {
	b, err := readHeaderBlock(f)
	if err != nil {
		return nil
	}
	if _, state, _ := decodeHeader(b); state != headerBlank {
		return nil
	}
	if f.sealing, err = j.o.newSealing(); err != nil {
		return nil
	}
	return &recordSegment{file: f, size: size, next: headerSize}
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
