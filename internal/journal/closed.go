package journal

import (
	"fmt"
	"math"
	"slices"
)

// Segment is one that is not written to any more.
type Segment struct {
	ID    uint64
	Bytes int64 // on disk, once Measure was called
	// Payloads: a payload segment; else a record segment, with small payloads in it.
	Payloads bool
	// History: a record segment whose records are part of the history; those
	// are the ones in (Start, End]. Such segments go oldest first.
	History    bool
	Start, End uint64
	// Stays: it leaves the history, but its file stays, because the journal's
	// BASE is in it. Payloads need not be moved out of it.
	Stays bool
	// Last: no record after this one has its payload here. 0: none of the
	// present history has.
	Last uint64
}

// Closed lists the segments that are not written to any more, by id. What is
// appended after the call has no payload in them. Not to be called along with
// Append or PutPayload.
func (j *Journal) Closed() []Segment {
	j.payMu.Lock()
	filling := uint64(math.MaxUint64)
	if j.pay != nil {
		filling = j.pay.file.id
	}
	j.mu.Lock()
	segs, base, last := slices.Clone(j.segs), j.baseSegment, j.last.Seq
	j.mu.Unlock()
	ids, classes := j.files.list()
	j.payMu.Unlock()

	tail := segs[len(segs)-1].id
	at := make(map[uint64]int, len(segs))
	for i, s := range segs {
		at[s.id] = i
	}
	var l []Segment
	for i, id := range ids {
		s := Segment{ID: id}
		switch k, inHistory := at[id]; {
		case classes[i] == classPayload && id == filling, classes[i] == classRecord && id >= tail:
			continue
		case classes[i] == classPayload:
			s.Payloads = true
			s.Last = lastPayloadIn(ids, classes, i, segs, last)
		case inHistory:
			s.History, s.Stays = true, id == base
			s.Start, s.End = segs[k].start.Seq, segs[k+1].start.Seq
			s.Last = s.End
		case id == base:
			continue
		}
		l = append(l, s)
	}
	return l
}

// lastPayloadIn bounds the records whose payload is in the i-th segment. Ids
// rise in the order in which segments are begun, so a record segment with a
// higher id than the next payload segment was begun when this one was full.
// One record may have been on its way from the one to the other.
func lastPayloadIn(ids []uint64, classes []class, i int, segs []segmentStart, last uint64) uint64 {
	next := slices.Index(classes[i+1:], classPayload)
	if next < 0 {
		return last
	}
	for _, s := range segs {
		if s.id > ids[i+1+next] {
			return min(s.start.Seq+1, last)
		}
	}
	return last
}

// Measure asks the disk how large the segments are.
func (j *Journal) Measure(l []Segment) error {
	for i := range l {
		c := classRecord
		if l[i].Payloads {
			c = classPayload
		}
		st, err := j.o.FS.Stat(j.files.path(segmentName(l[i].ID, c)))
		if err != nil {
			return fmt.Errorf("size of a segment: %w", err)
		}
		l[i].Bytes = st.Size()
	}
	return nil
}

// list gives all segments, by id.
func (s *files) list() (ids []uint64, classes []class) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.class {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		classes = append(classes, s.class[id])
	}
	return ids, classes
}
