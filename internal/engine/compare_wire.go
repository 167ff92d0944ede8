package engine

import (
	"encoding/binary"

	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// What the two sides of a comparison say to each other: one query, one answer.
// Integers are unsigned varints, strings have their length before them, hashes
// are 16 bytes.
//
//	query   1 chunks    lo, hi, keys in a chunk
//	        2 keys      lo, hi
//	        3 runs      inode, offset
//	answer  chunks, keys: (key, hash) ... ; runs: (offset, length, epoch, sequence, from) ...
//	        in front of them one byte: 1 when there are more

const (
	askChunks = 1
	askKeys   = 2
	askRuns   = 3

	// chunkScan keys are read at most for one answer, some 100 ms.
	chunkScan = 1 << 18
	// pageKeys and pageRuns go into one answer.
	pageKeys = 4096
	pageRuns = 16384
	// maxCompareKey bounds a key of a query: of an entry with the longest name.
	maxCompareKey = 1 + 8 + fs.MaxSetting
)

var errCompare = &fs.DecodeError{What: "comparison", Detail: "cut short or malformed"}

type compareQuery struct {
	kind   byte
	lo, hi []byte
	per    uint64
	ino    fs.Ino
	offset uint64
}

func (q *compareQuery) encode() []byte {
	b := []byte{q.kind}
	if q.kind == askRuns {
		return binary.AppendUvarint(binary.AppendUvarint(b, uint64(q.ino)), q.offset)
	}
	b = appendString(appendString(b, q.lo), q.hi)
	if q.kind == askChunks {
		b = binary.AppendUvarint(b, q.per)
	}
	return b
}

func appendString(b, s []byte) []byte { return append(binary.AppendUvarint(b, uint64(len(s))), s...) }

func parseQuery(b []byte) (q compareQuery, err error) {
	r := compareReader{b: b}
	q.kind = r.byte()
	switch q.kind {
	case askRuns:
		q.ino, q.offset = fs.Ino(r.uint()), r.uint()
	case askChunks, askKeys:
		q.lo, q.hi = r.string(), r.string()
		if q.kind == askChunks {
			q.per = r.uint()
		}
	default:
		return q, errCompare
	}
	if r.bad || len(r.b) > 0 || q.kind == askChunks && (q.per == 0 || q.per > chunkScan) {
		return q, errCompare
	}
	return q, nil
}

// compareReader decodes; the first failure sticks.
type compareReader struct {
	b   []byte
	bad bool
}

func (r *compareReader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	x := r.b[0]
	r.b = r.b[1:]
	return x
}

func (r *compareReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *compareReader) string() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) || n > maxCompareKey {
		r.bad, r.b = true, nil
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

func (r *compareReader) hash() (h [16]byte) {
	if len(r.b) < len(h) {
		r.bad, r.b = true, nil
		return h
	}
	copy(h[:], r.b)
	r.b = r.b[len(h):]
	return h
}

func appendRun(b []byte, e *tree.Extent) []byte {
	for _, v := range [...]uint64{e.Offset, uint64(e.Length), uint64(e.Epoch), e.Seq, uint64(e.From)} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func (r *compareReader) run() tree.Extent {
	return tree.Extent{Offset: r.uint(), Length: uint32(r.uint()), Epoch: uint32(r.uint()), Seq: r.uint(), From: uint32(r.uint())}
}
