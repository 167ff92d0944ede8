package journal

import (
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// One spare record segment is kept ready, filled with zeros and synced, so
// that an append never waits for a disk to find room, and so that a full disk
// is noticed while there is still room for records without payload.

// leastSpare, in bytes, is what is enough to begin with on a full disk.
const leastSpare = 64 << 10

// makeSpare begins to make a spare unless there is one; mu is held.
func (j *Journal) makeSpare() {
	if j.spare != nil || j.making || j.err != nil {
		return
	}
	j.making = true
	id := j.nextID
	j.nextID++
	least := j.leastSize()
	j.wg.Add(1)
	go func() {
		defer j.wg.Done()
		s, err := j.newSpare(id, least)
		j.mu.Lock()
		defer j.mu.Unlock()
		if err != nil && j.makeErr == nil { // once, not for each attempt
			j.log.Warn("no spare record segment", "dir", j.o.Dir, "err", err)
		}
		j.spare, j.makeErr, j.making = s, err, false
		j.cond.Broadcast()
	}()
}

// needSpare waits until there is a spare, making one if necessary; mu is held
// but released while it waits. fs.ErrNoSpace: the disk is full.
func (j *Journal) needSpare() error {
	for tried := false; j.spare == nil; {
		if j.err != nil {
			return j.err
		}
		if !j.making {
			if tried {
				if disk.IsNoSpace(j.makeErr) {
					return fs.ErrNoSpace
				}
				return fmt.Errorf("new record segment: %w", j.makeErr)
			}
			tried = true
			j.makeSpare()
		}
		j.cond.Wait()
	}
	return nil
}

// leastSize is how small a record segment may be on a full disk; mu is held, or
// nobody else has the journal yet. An encrypted journal that was opened anew
// cannot go on in the segment it has: what that gave back is a little less than
// a whole one, and without another not even files could be removed.
func (j *Journal) leastSize() int64 {
	if j.tail == nil || !j.tail.ended {
		return j.o.RecordSegmentBytes
	}
	return min(leastSpare, j.o.RecordSegmentBytes)
}

// newSpare makes a segment of the usual size or, on a full disk, the largest
// that there is room for, but not below least.
func (j *Journal) newSpare(id uint64, least int64) (*recordSegment, error) {
	for size := j.o.RecordSegmentBytes; ; {
		s, err := j.newRecordSegment(id, size)
		if !disk.IsNoSpace(err) || size <= least {
			return s, err
		}
		size = max((size-size/8)&^(blockSize-1), least)
	}
}

func (j *Journal) newRecordSegment(id uint64, size int64) (*recordSegment, error) {
	sealing, err := j.o.newSealing()
	if err != nil {
		return nil, err
	}
	path := j.files.path(segmentName(id, classRecord))
	f, err := j.o.FS.OpenReadWrite(path, disk.Category)
	if err != nil {
		return nil, err
	}
	if err = zeroFill(f, size); err == nil {
		err = disk.SyncDir(j.o.FS, j.o.Dir)
	}
	if err != nil {
		f.Close()
		j.discard(path)
		return nil, err
	}
	j.files.bytes.Add(size)
	j.files.countShort(classRecord, size, 1)
	return &recordSegment{file: j.files.add(id, classRecord, f, sealing), size: size, next: headerSize}, nil
}

// zeroFill writes zeros and syncs them: later writes then change no metadata,
// which halves the time of their fdatasync.
func zeroFill(f disk.File, size int64) error {
	// Reserving first makes a full disk cheap to notice.
	if _, err := disk.Preallocate(f, size); err != nil {
		return err
	}
	zeros := make([]byte, min(size, 1<<20))
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(size-at, int64(len(zeros)))], at); err != nil {
			return err
		}
	}
	return f.Sync()
}

// activate makes the spare the segment that is written to, its records
// beginning after start; mu is held.
func (j *Journal) activate(start fs.Pos) {
	s := j.spare
	j.spare = nil
	s.header = j.recordHeader(s.file, j.generation, j.baseSegment, j.base, start)
	if old := j.tail; old != nil {
		// Batches not yet written hold references of their own.
		j.files.release(old.file)
	}
	j.tail = s
	j.segs = append(j.segs, segmentStart{s.file.id, start})
	j.makeSpare()
}

func (j *Journal) recordHeader(f *segmentFile, generation, baseSegment uint64, base, start fs.Pos) *segmentHeader {
	h := &segmentHeader{class: classRecord, id: f.id, lineage: j.lineage, salt: j.salt,
		generation: generation, baseSegment: baseSegment, base: base, start: start}
	f.sealing.putInto(h)
	return h
}
