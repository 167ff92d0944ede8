package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/engine/writeset"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Comparing two replicas that have no journal in common any more: one of them
// was away for longer than history is kept. The destination asks the source
// for hashes of its checkpoint, descends where its own tree has others, and so
// finds what a write set would have told. Both trees are read once; what
// crosses the wire grows with the difference.

// AnswerCompare answers a query about a checkpoint.
func (e *Engine) AnswerCompare(name string, query []byte) ([]byte, error) {
	q, err := parseQuery(query)
	if err != nil {
		return nil, err
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	c, err := e.findCheckpoint(name)
	if err != nil {
		return nil, err
	}
	defer e.releaseUser(c)
	b, err := q.answer(c.t.Content())
	return b, e.noteDamage(err)
}

func (q *compareQuery) answer(c tree.Content) ([]byte, error) {
	b := []byte{0}
	switch q.kind {
	case askChunks:
		next, err := c.Chunks(q.lo, q.hi, int(q.per), chunkScan, func(end []byte, h tree.RangeHash) error {
			b = append(appendString(b, end), h.Sum[:]...)
			return nil
		})
		if next != nil {
			b[0] = 1
		}
		return b, err
	case askKeys:
		more, err := c.Keys(q.lo, q.hi, pageKeys, func(k []byte, h [16]byte) error {
			b = append(appendString(b, k), h[:]...)
			return nil
		})
		if more {
			b[0] = 1
		}
		return b, err
	}
	n := 0
	err := c.Runs(q.ino, q.offset, func(x tree.Extent) bool {
		if n == pageRuns {
			b[0] = 1
			return false
		}
		n++
		b = appendRun(b, &x)
		return true
	})
	return b, err
}

func (e *Engine) maxDifferences() int {
	if e.o.MaxDifferences > 0 {
		return e.o.MaxDifferences
	}
	return maxDifferences
}

// comparison is the destination's side.
type comparison struct {
	ctx  context.Context
	own  tree.Content
	ask  func(ctx context.Context, query []byte) ([]byte, error)
	diff *writeset.Set
	room int // elements that diff may still take
}

// ErrTooDifferent: the two trees differ in so much that the whole one is
// cheaper than a list of the differences.
var ErrTooDifferent = errors.New("the trees differ in too much to list it")

const (
	// maxDifferences bounds the list, some 100 bytes each in memory.
	maxDifferences = 1 << 20
	// maxListed bounds the keys of one chunk, and the runs of one file, that a
	// source may name: more than any has.
	maxListed = 64 << 20 / 40
)

func (c *comparison) add(e writeset.Element) error {
	if c.room == 0 {
		return ErrTooDifferent
	}
	c.room--
	c.diff.AddElement(e)
	return nil
}

// Differences finds what a checkpoint of the source holds that this replica
// does not hold, and the other way round. ask carries a query to the source's
// AnswerCompare. ErrTooDifferent: take the whole tree. Nobody changes this replica meanwhile; readers may read.
func (e *Engine) Differences(ctx context.Context, ask func(ctx context.Context, query []byte) ([]byte, error)) (*writeset.Set, error) {
	e.treeLife.RLock()
	defer e.treeLife.RUnlock()
	var s *tree.Snapshot
	if err := e.view(func(t *tree.Tree) error { s = t.Snapshot(); return nil }); err != nil {
		return nil, err
	}
	c := &comparison{ctx: ctx, own: s.Content(), ask: ask, diff: &writeset.Set{}, room: e.maxDifferences()}
	var err error
	for _, r := range tree.ComparedRanges() {
		if err = c.chunks(r[0], r[1], firstChunk); err != nil {
			break
		}
	}
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("compare with the source: %w", err)
	}
	return c.diff, nil
}

const (
	// firstChunk keys are hashed together at first, then a narrowing-th of it,
	// until lastChunk: those are listed.
	firstChunk = 1 << 16
	narrowing  = 16
	lastChunk  = 1 << 8
)

func (c *comparison) query(q *compareQuery) (*compareReader, bool, error) {
	if err := c.ctx.Err(); err != nil {
		return nil, false, err
	}
	b, err := c.ask(c.ctx, q.encode())
	if err != nil {
		return nil, false, err
	}
	r := &compareReader{b: b}
	more := r.byte()
	if r.bad || more > 1 {
		return nil, false, errCompare
	}
	return r, more == 1, nil
}

// chunks compares [lo, hi) chunk by chunk.
func (c *comparison) chunks(lo, hi []byte, per uint64) error {
	for {
		r, more, err := c.query(&compareQuery{kind: askChunks, lo: lo, hi: hi, per: per})
		if err != nil {
			return err
		}
		if len(r.b) == 0 {
			return errCompare // no progress
		}
		for len(r.b) > 0 {
			end, theirs := r.string(), r.hash()
			if r.bad || bytes.Compare(end, lo) <= 0 || bytes.Compare(end, hi) > 0 {
				return errCompare
			}
			ours, err := c.own.Hash(lo, end)
			if err != nil {
				return err
			}
			if ours.Sum != theirs {
				if err := c.differs(lo, end, per); err != nil {
					return err
				}
			}
			lo = end
		}
		if !more {
			if !bytes.Equal(lo, hi) {
				return errCompare
			}
			return nil
		}
	}
}

func (c *comparison) differs(lo, hi []byte, per uint64) error {
	if per > lastChunk {
		return c.chunks(lo, hi, per/narrowing)
	}
	theirs, err := c.theirKeys(lo, hi)
	if err != nil {
		return err
	}
	for from := lo; from != nil; {
		var last []byte
		more, err := c.own.Keys(from, hi, pageKeys, func(k []byte, h [16]byte) error {
			last = k
			t, both := theirs[string(k)]
			delete(theirs, string(k))
			if both && t == h {
				return nil
			}
			return c.found(k)
		})
		if err != nil {
			return err
		}
		from = nil
		if more {
			from = behind(last)
		}
	}
	for k := range theirs {
		if err := c.found([]byte(k)); err != nil {
			return err
		}
	}
	return nil
}

// behind is where to go on after what the key k stands for.
func behind(k []byte) []byte {
	e, one, err := tree.ElementOf(k)
	if err != nil || one {
		return append(append([]byte(nil), k...), 0)
	}
	return tree.FileEnd(e.Ino)
}

func (c *comparison) theirKeys(lo, hi []byte) (map[string][16]byte, error) {
	m := map[string][16]byte{}
	for {
		r, more, err := c.query(&compareQuery{kind: askKeys, lo: lo, hi: hi})
		if err != nil {
			return nil, err
		}
		var last []byte
		for len(r.b) > 0 {
			k, h := r.string(), r.hash()
			if r.bad || bytes.Compare(k, hi) >= 0 || bytes.Compare(k, lo) < 0 || last != nil && bytes.Compare(k, last) <= 0 {
				return nil, errCompare
			}
			if len(m) == maxListed {
				return nil, ErrTooDifferent
			}
			m[string(k)], last = h, k
		}
		if !more {
			return m, nil
		}
		if last == nil {
			return nil, errCompare
		}
		lo = behind(last)
	}
}

// found notes that the two sides differ in what k stands for.
func (c *comparison) found(k []byte) error {
	e, one, err := tree.ElementOf(k)
	if err != nil {
		return err
	}
	if one {
		return c.add(e)
	}
	return c.file(e.Ino)
}

// file notes the ranges of a file that differ.
func (c *comparison) file(ino fs.Ino) error {
	var theirs []tree.Extent
	for offset := uint64(0); ; {
		r, more, err := c.query(&compareQuery{kind: askRuns, ino: ino, offset: offset})
		if err != nil {
			return err
		}
		if more && len(r.b) == 0 {
			return errCompare
		}
		for len(r.b) > 0 {
			x := r.run()
			if r.bad || x.Length == 0 || x.Offset < offset || x.End() > fs.MaxFileSize {
				return errCompare
			}
			if len(theirs) == maxListed {
				return ErrTooDifferent
			}
			theirs = append(theirs, x)
			offset = x.End()
		}
		if !more {
			break
		}
	}
	var ours []tree.Extent
	if err := c.own.Runs(ino, 0, func(x tree.Extent) bool { ours = append(ours, x); return true }); err != nil {
		return err
	}
	var err error
	differ(ours, theirs, func(x tree.Extent) {
		if err == nil {
			err = c.add(writeset.Element{Kind: writeset.Data, Ino: ino, From: x.Offset, To: x.End()})
		}
	})
	return err
}

// differ calls fn for the runs of either list that the other one does not have.
func differ(a, b []tree.Extent, fn func(tree.Extent)) {
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Offset < b[0].Offset:
			fn(a[0])
			a = a[1:]
		case len(a) == 0 || b[0].Offset < a[0].Offset:
			fn(b[0])
			b = b[1:]
		default:
			if a[0] != b[0] {
				fn(a[0])
				fn(b[0])
			}
			a, b = a[1:], b[1:]
		}
	}
}
