package journal

import (
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// payloadSegment is the one being filled. Segments are never filled further
// after a restart: what follows the last known payload may be of a lost future.
type payloadSegment struct {
	file *segmentFile
	size int64 // reserved, or where to stop
	next int64
}

// PutPayload stores a payload of 1..fs.MaxWrite bytes without a record. It is
// readable at once and durable after SyncPayloads. May be called at the same
// time as everything else; data is the caller's again on return.
// fs.ErrNoSpace: the disk is full, nothing is stored.
func (j *Journal) PutPayload(data []byte) (fs.Addr, error) {
	if len(data) == 0 || len(data) > fs.MaxWrite {
		return fs.Addr{}, fmt.Errorf("payload of %d bytes: %w", len(data), fs.ErrInval)
	}
	if err := j.awaitRoom(); err != nil {
		return fs.Addr{}, err
	}
	return j.putPayload(data)
}

func (j *Journal) awaitRoom() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.waitForRoom()
}

// waitForRoom waits while too much is undurable; mu is held.
func (j *Journal) waitForRoom() error {
	for {
		if err := j.usable(); err != nil {
			return err
		}
		if j.undurable < j.o.MaxUndurableBytes {
			return nil
		}
		j.kick()
		j.cond.Wait()
	}
}

func (j *Journal) putPayload(data []byte) (fs.Addr, error) {
	sf, offset, err := j.reservePayload(storedLen(len(data)))
	if err != nil {
		return fs.Addr{}, err
	}
	buf := bounce.Get().(*[]byte)
	defer bounce.Put(buf)
	*buf = appendUnits((*buf)[:0], data, sf.id, uint64(offset), sf.sealing.with)
	if err := j.writePayload(sf, offset, *buf); err != nil {
		return fs.Addr{}, err
	}
	return fs.Addr{Segment: sf.id, Offset: uint64(offset), Length: uint32(len(data))}, nil
}

// writePayload writes stored units to the place that reservePayload gave, and
// lets go of the segment.
func (j *Journal) writePayload(sf *segmentFile, offset int64, stored []byte) error {
	n := int64(len(stored))
	// Whole blocks: the disk need not read what it overwrites.
	stored = append(stored, make([]byte, align(n)-n)...)
	_, err := sf.WriteAt(stored, offset)

	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil {
		err = j.err
	}
	if err != nil {
		j.files.release(sf)
		if j.err != nil {
			return j.err
		}
		if disk.IsNoSpace(err) {
			// Nobody knows of these bytes yet: they are lost space, no more.
			return fs.ErrNoSpace
		}
		err = fmt.Errorf("write payload to %s; nothing more is accepted until a restart: %w", sf.name, err)
		j.fail(err)
		return err
	}
	if j.dirty[sf.id] == nil {
		j.dirty[sf.id] = sf
	} else {
		j.files.release(sf)
	}
	j.dirtySize += n
	j.undurable += n
	j.arm()
	return nil
}

// reservePayload gives n bytes in a payload segment, acquired for the caller.
func (j *Journal) reservePayload(n int) (*segmentFile, int64, error) {
	need := align(int64(n))
	j.payMu.Lock()
	defer j.payMu.Unlock()
	if err := j.Err(); err != nil {
		return nil, 0, err // closed in the meantime, perhaps
	}
	if j.pay == nil || j.pay.next+need > j.pay.size {
		p, err := j.newPayloadSegment(headerSize + need)
		if err != nil {
			return nil, 0, err
		}
		if old := j.pay; old != nil {
			if err := disk.ReleaseBeyond(old.file, old.next); err != nil {
				j.log.Warn("reserved space is not given back", "segment", old.file.name, "err", err)
			} else {
				j.files.bytes.Add(old.next - old.size)
			}
			j.files.release(old.file)
		}
		j.pay = p
	}
	offset := j.pay.next
	j.pay.next += need
	sf, err := j.files.acquire(j.pay.file.id)
	return sf, offset, err
}

// newPayloadSegment makes one of the usual size or, on a disk that is nearly
// full, a smaller one that holds at least need bytes.
func (j *Journal) newPayloadSegment(need int64) (*payloadSegment, error) {
	size := max(j.o.PayloadSegmentBytes, need)
	for {
		p, err := j.tryPayloadSegment(size)
		if err == nil {
			return p, nil
		}
		if !disk.IsNoSpace(err) {
			return nil, fmt.Errorf("new payload segment: %w", err)
		}
		if size /= 2; size < max(need, minPayloadSegment) {
			return nil, fs.ErrNoSpace
		}
	}
}

func (j *Journal) tryPayloadSegment(size int64) (*payloadSegment, error) {
	j.mu.Lock()
	id := j.nextID
	j.nextID++
	h := segmentHeader{class: classPayload, id: id, lineage: j.lineage, salt: j.salt,
		generation: j.generation, baseSegment: j.baseSegment}
	j.mu.Unlock()
	sealing, err := j.o.newSealing()
	if err != nil {
		return nil, err
	}
	sealing.putInto(&h)
	path := j.files.path(segmentName(id, classPayload))
	f, err := j.o.FS.OpenReadWrite(path, disk.Category)
	if err != nil {
		return nil, err
	}
	_, err = disk.Preallocate(f, size)
	if err == nil {
		_, err = f.WriteAt(h.encode(), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = disk.SyncDir(j.o.FS, j.o.Dir)
	}
	if err != nil {
		f.Close()
		j.discard(path)
		return nil, err
	}
	j.files.bytes.Add(size)
	return &payloadSegment{file: j.files.add(id, classPayload, f, sealing), size: size, next: headerSize}, nil
}

// discard removes a segment file that nothing refers to. Failing is harmless.
func (j *Journal) discard(path string) {
	if err := j.o.FS.Remove(path); err != nil {
		j.log.Warn("unused segment is left behind", "file", path, "err", err)
	}
}
