package tree

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Inode gives an inode, or fs.ErrStale. Do not change it.
func (t *Tree) Inode(ino fs.Ino) (*Inode, error) {
	if n := t.cache.get(ino); n != nil {
		return n, nil
	}
	b, err := t.get(inodeKey(ino))
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fs.ErrStale
	}
	n, err := decodeInode(ino, b)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", ino, err)
	}
	t.cache.put(n)
	return n, nil
}

// Attr gives an inode's attributes, or fs.ErrStale. One that is gone but for
// extents that wait for Reclaim is gone for everybody else.
func (t *Tree) Attr(ino fs.Ino) (fs.Attr, error) {
	n, err := t.Inode(ino)
	if err != nil {
		return fs.Attr{}, err
	}
	if n.Dropped {
		return fs.Attr{}, fs.ErrStale
	}
	return n.Attr, nil
}

// Empty reports whether a directory has no entries.
func (t *Tree) Empty(dir fs.Ino) (bool, error) {
	n, err := t.Inode(dir)
	if err != nil {
		return false, err
	}
	return n.Entries == 0, nil
}

// Entry finds a name; ok is false when there is none.
func (t *Tree) Entry(dir fs.Ino, name fs.Name) (e fs.DirEntry, ok bool, err error) {
	full, err := t.entry(dir, name)
	if err != nil || full == nil {
		return fs.DirEntry{}, false, err
	}
	return full.DirEntry, true, nil
}

func (t *Tree) entry(dir fs.Ino, name fs.Name) (*Entry, error) {
	b, err := t.get(entryKey(dir, name))
	if err != nil || b == nil {
		return nil, err
	}
	return decodeEntry(name, b)
}

var errStop = errors.New("stop")

// ReadDir calls fn for the entries after a cookie, in cookie order, until it
// returns false; eof tells that there are no more.
func (t *Tree) ReadDir(dir fs.Ino, afterCookie uint64, fn func(fs.DirEntry) bool) (eof bool, err error) {
	if afterCookie == ^uint64(0) {
		return true, nil
	}
	err = t.scan(cookieKey(dir, afterCookie+1), after(key8(prefixCookie, uint64(dir))), func(k, v []byte) error {
		e, err := decodeByCookie(binary.BigEndian.Uint64(k[9:]), v)
		if err != nil {
			return err
		}
		if !fn(e) {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return false, nil
	}
	return err == nil, err
}

// Extents calls fn for the extents that overlap [from, to), in order, unclipped.
func (t *Tree) Extents(ino fs.Ino, from, to uint64, fn func(Extent) error) error {
	return extents(t.db, ino, from, to, fn)
}

func extents(r pebble.Reader, ino fs.Ino, from, to uint64, fn func(Extent) error) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: extentKey(ino, 0), UpperBound: after(key8(prefixExtent, uint64(ino)))})
	if err != nil {
		return storeError(err)
	}
	defer it.Close()
	// Extents do not overlap, so only the last one before `from` can reach into it.
	ok := it.SeekLT(extentKey(ino, from))
	if !ok {
		ok = it.First()
	}
	for ; ok; ok = it.Next() {
		off := binary.BigEndian.Uint64(it.Key()[9:])
		if off >= to {
			break
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return storeError(err)
		}
		e, err := decodeExtent(off, v)
		if err != nil {
			return err
		}
		if e.End() <= from {
			continue
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return storeError(err)
	}
	return nil
}

// CountExtents counts the extents in [from, to), up to limit.
func (t *Tree) CountExtents(ino fs.Ino, from, to uint64, limit int) (n int, err error) {
	err = t.Extents(ino, from, to, func(Extent) error {
		if n++; n >= limit {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return n, err
}

// Setting gives a setting's value, nil when it is not set.
func (t *Tree) Setting(key string) ([]byte, error) { return t.get(settingKey(key)) }

// Clients gives the owners of all reclaim records, in byte order.
func (t *Tree) Clients() ([][]byte, error) {
	var owners [][]byte
	err := t.scan([]byte{prefixClient}, []byte{prefixClient + 1}, func(k, _ []byte) error {
		owners = append(owners, append([]byte(nil), k[1:]...))
		return nil
	})
	return owners, err
}

// Orphans gives the inodes without a name that were open, oldest first.
func (t *Tree) Orphans() ([]fs.Ino, error) { return t.inos(prefixOrphan) }

// Pending gives the inodes that Reclaim has work on, oldest first.
func (t *Tree) Pending() ([]fs.Ino, error) { return t.inos(prefixPending) }

func (t *Tree) inos(prefix byte) ([]fs.Ino, error) {
	var l []fs.Ino
	err := t.scan([]byte{prefix}, []byte{prefix + 1}, func(k, _ []byte) error {
		l = append(l, fs.Ino(binary.BigEndian.Uint64(k[1:])))
		return nil
	})
	return l, err
}

// AllEntries calls fn for every directory entry of the tree, by directory and name.
func (t *Tree) AllEntries(fn func(dir fs.Ino, name fs.Name, ino fs.Ino) error) error {
	return t.scan([]byte{prefixEntry}, []byte{prefixEntry + 1}, func(k, v []byte) error {
		e, err := decodeEntry(fs.Name(k[9:]), v)
		if err != nil {
			return err
		}
		return fn(fs.Ino(binary.BigEndian.Uint64(k[1:])), e.Name, e.Ino)
	})
}

// AllFullEntries is AllEntries with all that is stored of an entry. One that
// cannot be decoded is passed over.
func (t *Tree) AllFullEntries(fn func(dir fs.Ino, e *Entry) error) error {
	return t.scan([]byte{prefixEntry}, []byte{prefixEntry + 1}, func(k, v []byte) error {
		e, err := decodeEntry(fs.Name(k[9:]), v)
		if err != nil {
			return nil
		}
		return fn(fs.Ino(binary.BigEndian.Uint64(k[1:])), e)
	})
}

// CountSettings counts the settings whose keys begin with prefix.
func (t *Tree) CountSettings(prefix string) (n int, err error) {
	lo := settingKey(prefix)
	err = t.scan(lo, after(lo), func(_, _ []byte) error { n++; return nil })
	return n, err
}
