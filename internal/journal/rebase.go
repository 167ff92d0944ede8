package journal

import (
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Rebase declares that history now begins at pos, which may be before or after
// Last: the state there came from elsewhere. The next record must be
// pos.Seq+1. meta, up to MaxBaseMeta bytes, is kept beside pos and means
// nothing here. It is durable, with everything written before, when nil is
// returned. Old records stay on disk for their payloads but are no longer
// history: Readers of them get ErrTrimmed. Not to be called along with Append.
//
// fs.ErrNoSpace: nothing has changed. Any other error that is not about the
// arguments ends the use of the journal, as Err says; after a restart either
// the old or the new history is there.
func (j *Journal) Rebase(pos fs.Pos, meta []byte) error {
	if len(meta) > MaxBaseMeta {
		return fmt.Errorf("rebase: %d bytes of meta, limit %d: %w", len(meta), MaxBaseMeta, fs.ErrInval)
	}
	j.appendMu.Lock()
	defer j.appendMu.Unlock()
	s, err := j.drain()
	if err != nil {
		return fmt.Errorf("rebase: %w", err)
	}
	defer j.ioMu.Unlock()
	j.mu.Lock()
	gen := j.topGen + 1
	j.topGen = gen
	h := j.recordHeader(s.file, gen, s.file.id, pos, pos)
	j.mu.Unlock()

	next, err := j.writeRebase(s, h, meta)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("rebase of %s: nothing more is accepted until a restart: %w", j.o.Dir, err)
		j.fail(err)
		return err
	}
	j.files.release(j.tail.file)
	s.next = next
	j.tail = s
	j.generation, j.baseSegment, j.base = gen, s.file.id, pos
	j.baseMeta = append([]byte(nil), meta...)
	j.segs = []segmentStart{{s.file.id, pos}}
	j.last, j.durable, j.claimed = pos, pos, pos.Seq
	j.makeSpare()
	j.broadcast()
	return nil
}

// drain makes everything durable, then takes ioMu and the spare segment.
func (j *Journal) drain() (*recordSegment, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return nil, err
	}
	if err := j.roundLocked(); err != nil {
		return nil, err
	}
	for {
		if err := j.needSpare(); err != nil {
			return nil, err
		}
		j.mu.Unlock() // the lock order
		j.ioMu.Lock()
		j.mu.Lock()
		// The writer may have taken it for a mark.
		if s := j.spare; s != nil {
			j.spare = nil
			return s, nil
		}
		j.ioMu.Unlock()
	}
}

// writeRebase writes the BASE, and then the mark that proves it. It returns
// where the next batch goes.
func (j *Journal) writeRebase(s *recordSegment, h *segmentHeader, meta []byte) (int64, error) {
	if err := writeBase(s.file, h, meta, s.file.sealing.with); err != nil {
		return 0, err
	}
	if err := s.file.SyncData(); err != nil {
		return 0, err
	}
	base := baseBatch(h, meta, s.file.sealing.with)
	mark := &batch{file: s.file, offset: headerSize + base.h.size(), buf: make([]byte, batchHeaderSize)}
	mark.h = batchHeader{place: base.h.place, kind: kindMark, firstSeq: h.base.Seq + 1, count: 1}
	mark.add(kindMark, payloadNone, fs.Addr{}, nil, 0)
	mark.h.bodyLen = uint32(len(mark.buf) - batchHeaderSize)
	mark.buf = append(mark.buf, make([]byte, mark.h.size()-int64(len(mark.buf)))...)
	if err := mark.write(h.base.Seq); err != nil {
		return 0, err
	}
	return mark.offset + mark.h.size(), s.file.SyncData()
}
