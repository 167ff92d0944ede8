package journal

import (
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// batch is records on their way to disk. Its place there is fixed from the
// start. Guarded by Journal.mu until the writer has taken it.
type batch struct {
	seg    *recordSegment
	file   *segmentFile   // acquired
	header *segmentHeader // of the segment, when this is its first batch
	offset int64
	buf    []byte // room for the batch header, then entries
	h      batchHeader
	last   fs.Pos
	size   int64 // counted in Journal.undurable
}

// Append adds a complete record: its sequence is the last plus one, its chain
// is set. It returns at once, with the payload's address (zero without one);
// the payload can be read from then on. The record is durable later, see
// WaitDurable. payload is the caller's again on return.
//
// On an error nothing was appended and no sequence is used up. fs.ErrNoSpace:
// the disk is full; later appends may succeed, and records without payload
// can still be appended for a while. Append waits while MaxUndurableBytes are
// in flight.
func (j *Journal) Append(r *fs.Record, payload []byte) (fs.Addr, error) {
	if uint64(len(payload)) != uint64(r.PayloadLen) || len(payload) > fs.MaxWrite {
		return fs.Addr{}, fmt.Errorf("record %d says %d payload bytes, got %d: %w", r.Seq, r.PayloadLen, len(payload), fs.ErrInval)
	}
	j.appendMu.Lock()
	defer j.appendMu.Unlock()
	j.encoded = r.Append(j.encoded[:0])
	if len(j.encoded) > fs.MaxRecord {
		return fs.Addr{}, fmt.Errorf("record %d has %d bytes: %w", r.Seq, len(j.encoded), fs.ErrInval)
	}
	inline := len(payload) > 0 && len(payload) <= j.o.InlineMax
	size := entryHeaderSize + len(j.encoded)
	if j.o.Key != nil {
		size += seal.Overhead
	}
	switch {
	case inline:
		size += storedLen(len(payload))
	case len(payload) > 0:
		size += addrSize
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.admit(r, size, len(payload) > 0); err != nil {
		return fs.Addr{}, err
	}
	var apart fs.Addr
	if len(payload) > 0 && !inline {
		j.mu.Unlock()
		var err error
		apart, err = j.putPayload(payload)
		j.mu.Lock()
		if err != nil {
			return fs.Addr{}, err
		}
	}
	// The writer may have cut the batch in the meantime.
	if err := j.fit(size, len(payload) > 0); err != nil {
		return fs.Addr{}, err
	}
	if inline {
		return j.addInline(r, payload, size), nil
	}
	where := byte(payloadNone)
	if len(payload) > 0 {
		where = payloadApart
	}
	j.building.add(kindRecord, where, apart, j.encoded, 0)
	j.added(r, size)
	return apart, nil
}

// admit checks everything that can refuse a record; mu is held, and released
// while it waits.
func (j *Journal) admit(r *fs.Record, size int, hasPayload bool) error {
	if err := j.waitForRoom(); err != nil {
		return err
	}
	if r.Seq != j.last.Seq+1 {
		return fmt.Errorf("%w: sequence %d after %d", ErrSequence, r.Seq, j.last.Seq)
	}
	return j.fit(size, hasPayload)
}

// fit makes sure that a batch is being built that has room for an entry of
// size bytes; mu is held, and released while it waits for a spare.
func (j *Journal) fit(size int, hasPayload bool) error {
	for {
		if j.err != nil {
			return j.err
		}
		if b := j.building; b != nil {
			if end := int64(len(b.buf) + size); end <= fullBatch+batchHeaderSize && b.offset+end <= b.seg.size {
				if !hasPayload || j.spare != nil || !j.reserveTouched(b.offset+end) {
					return nil
				}
				if err := j.needSpare(); err != nil {
					return err
				}
				continue // the batch may be gone
			}
			j.cut()
		}
		end := j.tail.next + batchHeaderSize + int64(size)
		if !j.tail.takes(size) {
			if err := j.needSpare(); err != nil {
				return err
			}
			if j.building == nil && !j.tail.takes(size) {
				j.activate(j.last)
			}
			continue
		}
		if hasPayload && j.spare == nil && j.reserveTouched(end) {
			if err := j.needSpare(); err != nil {
				return err
			}
			continue
		}
		j.begin(kindRecord)
		return nil
	}
}

// takes reports whether a batch with an entry of size bytes may begin in the
// segment. A fresh one takes the largest.
func (s *recordSegment) takes(size int) bool {
	return !s.ended && (s.next == headerSize || s.next+batchHeaderSize+int64(size) <= s.size)
}

// add appends an entry to the batch.
func (b *batch) add(k kind, where byte, apart fs.Addr, data []byte, inlineLen int) {
	b.buf = appendEntry(b.buf, k, where, apart, data, inlineLen, uint64(b.offset)+uint64(len(b.buf)), b.file.sealing.with)
}

// reserveTouched reports whether a record with a payload that ends at end
// would eat into what is kept for records without: the second half of the
// last segment there is room for.
func (j *Journal) reserveTouched(end int64) bool { return end > j.tail.size/2 }

// begin starts a batch in the tail segment; mu is held.
func (j *Journal) begin(k kind) {
	t := j.tail
	b := &batch{seg: t, offset: t.next, header: t.header}
	t.header = nil
	b.file, _ = j.files.acquire(t.file.id) // open: cannot fail
	b.buf = append(make([]byte, 0, blockSize), make([]byte, batchHeaderSize)...)
	b.h = batchHeader{place: place{j.salt, t.file.id, j.generation}, kind: k, firstSeq: j.last.Seq + 1}
	b.last = j.last
	j.building = b
}

// cut ends the batch being built; mu is held. One without entries, begun for a
// record whose payload is still on its way, vanishes.
func (j *Journal) cut() {
	b := j.building
	j.building = nil
	if b.h.count == 0 {
		b.seg.header = b.header
		j.files.release(b.file)
		return
	}
	b.h.bodyLen = uint32(len(b.buf) - batchHeaderSize)
	b.seg.next = b.offset + b.h.size()
	// Whole blocks, so that the disk need not read what it overwrites.
	b.buf = append(b.buf, make([]byte, b.h.size()-int64(len(b.buf)))...)
	j.queue = append(j.queue, b)
	if int64(len(b.buf)) >= fullBatch/2 {
		j.kick() // memory is better used for the next
	}
}

func (j *Journal) addInline(r *fs.Record, payload []byte, size int) fs.Addr {
	b := j.building
	b.add(kindRecord, payloadInline, fs.Addr{}, j.encoded, storedLen(len(payload)))
	a := fs.Addr{Segment: b.h.segment, Offset: uint64(b.offset) + uint64(len(b.buf)), Length: uint32(len(payload))}
	b.buf = appendUnits(b.buf, payload, a.Segment, a.Offset, b.file.sealing.with)
	j.added(r, size)
	return a
}

func (j *Journal) added(r *fs.Record, size int) {
	b := j.building
	b.h.count++
	b.size += int64(size)
	b.last = r.Pos()
	j.last = b.last
	j.undurable += int64(size)
	j.arm()
}
