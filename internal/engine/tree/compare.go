package tree

import (
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/blake3"

	"github.com/holdfast-fs/holdfast/internal/engine/writeset"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// What two replicas need to find where they differ without a common history:
// hashes of chunks of keys, then of single keys, then the runs of single files.
// All of it is of logical content, as Hash is.

// ComparedRanges are the parts of the key space that say something of their
// own; the rest follows from them, or travels with a checkpoint.
func ComparedRanges() (l [][2][]byte) {
	for _, p := range []byte{prefixEntry, prefixExtent, prefixInode, prefixClient, prefixSetting, prefixXattr} {
		l = append(l, [2][]byte{{p}, {p + 1}})
	}
	return l
}

// Content is a state of a tree that does not change: of a Snapshot, or of a
// tree that nobody applies to.
type Content struct{ r pebble.Reader }

// Content is what the snapshot holds, as long as it is open.
func (s *Snapshot) Content() Content { return Content{s.s} }

// Content is what the tree holds; nobody may apply to it meanwhile.
func (t *Tree) Content() Content { return Content{t.db} }

// boundary is where a chunk may end before key k: extents of one file stay
// together. nil: not here.
func boundary(before, k []byte) []byte {
	if k[0] != prefixExtent {
		return append([]byte(nil), k...)
	}
	if len(before) >= 9 && string(before[:9]) == string(k[:9]) {
		return nil
	}
	return append([]byte(nil), k[:9]...)
}

// Chunks hashes the keys in [lo, hi) in chunks of per keys or some more. fn gets
// where each ends. After limit keys it stops at the next end, which is then
// next; nil: everything was covered.
func (c Content) Chunks(lo, hi []byte, per, limit int, fn func(end []byte, h RangeHash) error) (next []byte, err error) {
	h := hasher{h: blake3.New()}
	total, count := 0, 0
	var last []byte
	err = scan(c.r, lo, hi, func(k, v []byte) error {
		if count >= per {
			if end := boundary(last, k); end != nil {
				if err := fn(end, h.sum()); err != nil {
					return err
				}
				h = hasher{h: blake3.New()}
				count = 0
				if total >= limit {
					next = end
					return errStop
				}
			}
		}
		total++
		count++
		last = append(last[:0], k...)
		return h.add(k, v)
	})
	if errors.Is(err, errStop) {
		return next, nil
	}
	if err == nil {
		err = fn(append([]byte(nil), hi...), h.sum())
	}
	return nil, err
}

func (h *hasher) sum() RangeHash {
	h.flushExtent()
	var sum [32]byte
	return RangeHash{[16]byte(h.h.Sum(sum[:0])[:16]), h.keys}
}

// Hash hashes the keys in [lo, hi).
func (c Content) Hash(lo, hi []byte) (RangeHash, error) {
	h := hasher{h: blake3.New()}
	err := scan(c.r, lo, hi, h.add)
	return h.sum(), err
}

// Keys gives the keys in [lo, hi), up to limit, with a hash of each value; for
// extents one key for all of a file's. more tells that there are others.
func (c Content) Keys(lo, hi []byte, limit int, fn func(k []byte, h [16]byte) error) (more bool, err error) {
	var open []byte // of the file whose extents are read
	var h hasher
	n := 0
	emit := func(k []byte, sum [16]byte) error {
		n++
		return fn(k, sum)
	}
	flush := func() error {
		if open == nil {
			return nil
		}
		k := open
		open = nil
		return emit(k, h.sum().Sum)
	}
	err = scan(c.r, lo, hi, func(k, v []byte) error {
		if open != nil && string(open) != string(k[:min(9, len(k))]) {
			if err := flush(); err != nil {
				return err
			}
		}
		if n >= limit && open == nil {
			more = true
			return errStop
		}
		if k[0] != prefixExtent {
			sum := blake3.Sum256(v)
			return emit(append([]byte(nil), k...), [16]byte(sum[:16]))
		}
		if open == nil {
			open = append([]byte(nil), k[:9]...)
			h = hasher{h: blake3.New()}
		}
		return h.add(k, v)
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return more, errors.Join(err, flush())
}

// Runs gives the logical extents of a file from offset on, in order, until fn
// returns false. Their addresses are zero.
func (c Content) Runs(ino fs.Ino, from uint64, fn func(Extent) bool) error {
	var run Extent
	open := false
	err := extents(c.r, ino, from, toEnd, func(e Extent) error {
		if e.Offset < from {
			return nil
		}
		e.Addr, e.AddrFrom = fs.Addr{}, 0
		if open && e.continues(&run) {
			run.Length += e.Length
			return nil
		}
		if open && !fn(run) {
			open = false
			return errStop
		}
		run, open = e, true
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	if err == nil && open {
		fn(run)
	}
	return err
}

// ElementOf gives the element that a key is part of. For a file's extents ok is
// false and e holds the file: what differs there, Runs tell.
func ElementOf(k []byte) (e writeset.Element, ok bool, err error) {
	bad := &fs.DecodeError{What: "key of a comparison", Detail: "of no kind that is compared"}
	if len(k) == 0 {
		return e, false, bad
	}
	ino := func() fs.Ino { return fs.Ino(binary.BigEndian.Uint64(k[1:])) }
	switch k[0] {
	case prefixClient:
		return writeset.Element{Kind: writeset.Client, Name: string(k[1:])}, true, nil
	case prefixSetting:
		return writeset.Element{Kind: writeset.Setting, Name: string(k[1:])}, true, nil
	}
	if len(k) < 9 {
		return e, false, bad
	}
	switch k[0] {
	case prefixInode:
		return writeset.Element{Kind: writeset.Inode, Ino: ino()}, true, nil
	case prefixEntry:
		return writeset.Element{Kind: writeset.Entry, Ino: ino(), Name: string(k[9:])}, true, nil
	case prefixXattr:
		return writeset.Element{Kind: writeset.Xattr, Ino: ino(), Name: string(k[9:])}, true, nil
	case prefixExtent:
		return writeset.Element{Kind: writeset.Data, Ino: ino()}, false, nil
	}
	return e, false, bad
}

// FileEnd is the first key behind the extents of a file.
func FileEnd(ino fs.Ino) []byte { return after(key8(prefixExtent, uint64(ino))) }

// EachFile calls fn for each inode that has extents, in order.
func (c Content) EachFile(fn func(ino fs.Ino) error) error {
	it, err := c.r.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixExtent}, UpperBound: []byte{prefixExtent + 1}})
	if err != nil {
		return storeError(err)
	}
	defer it.Close()
	for ok := it.First(); ok; {
		ino := fs.Ino(binary.BigEndian.Uint64(it.Key()[1:]))
		if err := fn(ino); err != nil {
			return err
		}
		ok = it.SeekGE(FileEnd(ino))
	}
	if err := it.Error(); err != nil {
		return storeError(err)
	}
	return nil
}
