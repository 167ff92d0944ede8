package tree

import (
	"errors"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// stampSize is the length of a stored stamp in bytes.
const stampSize = 10

// Xattr gives an extended attribute's value; ok is false when there is none.
func (t *Tree) Xattr(ino fs.Ino, name fs.Name) (v []byte, ok bool, err error) {
	b, err := t.get(xattrKey(ino, name))
	if err != nil || len(b) < stampSize {
		return nil, false, err
	}
	return b[stampSize:], true, nil
}

// Xattrs gives the names of an inode's extended attributes, in byte order.
func (t *Tree) Xattrs(ino fs.Ino) ([]fs.Name, error) {
	var l []fs.Name
	lo := key8(prefixXattr, uint64(ino))
	err := t.scan(lo, after(lo), func(k, _ []byte) error {
		l = append(l, fs.Name(k[len(lo):]))
		return nil
	})
	return l, err
}

// XattrCount is how many there are.
func (t *Tree) XattrCount(ino fs.Ino) (int, error) {
	n, err := t.Inode(ino)
	if err != nil {
		return 0, err
	}
	return int(n.Xattrs), nil
}

// Seek finds the next data, or the next hole, at or after offset within a file
// of the given size; the end of the file is a hole.
func (t *Tree) Seek(ino fs.Ino, offset, size uint64, data bool) (at uint64, ok bool, err error) {
	at = offset
	err = t.Extents(ino, offset, size, func(e Extent) error {
		if data {
			at, ok = max(offset, e.Offset), true
			return errStop
		}
		if e.Offset > at {
			return errStop // a hole lies before it
		}
		at = e.End()
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	if !data {
		return min(at, size), true, err
	}
	return at, ok, err
}

// BoundExtents gives how far from `from` a range may reach, to at most `to`,
// so that it holds no more than limit extents.
func (t *Tree) BoundExtents(ino fs.Ino, from, to uint64, limit int) (uint64, error) {
	n := 0
	err := t.Extents(ino, from, to, func(e Extent) error {
		if n == limit {
			to = e.Offset
			return errStop
		}
		n++
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return to, err
}
