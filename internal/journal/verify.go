package journal

import (
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// Report is what Verify found.
type Report struct {
	Lineage         fs.Lineage
	Generation      uint64
	Base, Last      fs.Pos // history, without a tail that recovery would drop
	Claimed         uint64 // sequence that the journal itself says was durable
	RecordSegments  int
	PayloadSegments int
	Records         int64 // in this generation
	Payloads        int64 // of these records
	PayloadBytes    int64 // plain
	// Cleaned payloads are of segments that are not there, in a journal that was
	// cleaned. That none of them is still needed, the tree knows.
	Cleaned  int64
	Tail     string
	Problems []error // what recovery or a reader would call corruption

	cleanedBelow uint64 // segments with lower ids may have been removed
}

// Verify reads a whole journal that nobody has open: every header, batch,
// chain and payload of its history. It changes nothing. The error says that it
// could not be read at all; damage is in Report.Problems. key is for an encrypted
// journal, else nil.
func Verify(dfs disk.FS, dir string, key *seal.Key) (Report, error) {
	j, err := open(Options{FS: dfs, Dir: dir, Key: key}.withDefaults())
	if err != nil {
		return Report{}, fmt.Errorf("verify journal: %w", err)
	}
	j.files.readOnly = true
	defer j.files.closeAll()
	trim, err := readTrim(dfs, dir, j.salt)
	if err != nil {
		return Report{}, fmt.Errorf("verify journal: %w", err)
	}
	rep := Report{cleanedBelow: trim.nextID, Lineage: j.lineage, Generation: j.generation, Base: j.base}
	for _, c := range j.files.class {
		if c == classRecord {
			rep.RecordSegments++
		} else {
			rep.PayloadSegments++
		}
	}
	r := &recovery{j: j, c: &cursor{files: j.files, salt: j.salt, generation: j.generation, segs: j.segs}}
	defer r.c.close()
	if err := rep.walk(r); err != nil {
		return rep, fmt.Errorf("verify journal: %w", err)
	}
	rep.Last, rep.Claimed = r.c.pos, r.claim
	return rep, nil
}

func (rep *Report) walk(r *recovery) error {
	if err := r.c.enter(0); err != nil {
		return rep.note(err)
	}
	for {
		l, err := r.c.next()
		if isBad(err) {
			rep.Tail = err.Error()
			return rep.note(r.corruptUnlessTail(err))
		}
		if err != nil {
			return rep.note(err)
		}
		if l.h.kind != kindBase {
			r.claim = max(r.claim, l.h.claim)
		}
		for i := range l.entries {
			if err := rep.count(r, &l.entries[i]); err != nil {
				return err
			}
		}
	}
}

func (rep *Report) count(r *recovery, e *entry) error {
	if e.kind != kindRecord {
		return nil
	}
	rep.Records++
	if e.rec.PayloadLen == 0 {
		return nil
	}
	rep.Payloads++
	rep.PayloadBytes += int64(e.rec.PayloadLen)
	plain := make([]byte, e.rec.PayloadLen)
	err := r.j.Read(e.addr, 0, plain)
	if isGone(err) && e.addr.Segment < rep.cleanedBelow {
		rep.Cleaned++
		return nil
	}
	if err == nil && fs.Digest(plain) != e.rec.PayloadDigest {
		c, _ := r.j.files.classOf(e.addr.Segment)
		err = &fs.CorruptionError{File: r.j.files.path(segmentName(e.addr.Segment, c)), Offset: int64(e.addr.Offset),
			Detail: fmt.Sprintf("the payload of record %d has another digest than the record says", e.rec.Seq)}
	}
	return rep.note(err)
}

// note keeps damage as a finding and passes other errors on.
func (rep *Report) note(err error) error {
	var corrupt *fs.CorruptionError
	if errors.As(err, &corrupt) {
		rep.Problems = append(rep.Problems, err)
		return nil
	}
	return err
}
