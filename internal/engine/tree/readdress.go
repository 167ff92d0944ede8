package tree

import (
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Resolve tells where the bytes of an extent are now, if the cleaner of the
// journal has moved them: bytes [from, from+length) of the payload at a.
// With an error nobody knows.
type Resolve func(a fs.Addr, from, length uint32) (to fs.Addr, toFrom uint32, moved bool, err error)

// SetResolve makes every extent that is written from now on bear its present
// address, also one that is copied or split off from an older one. With it,
// one pass of Readdress leaves no old address. To be set by who applies.
func (t *Tree) SetResolve(f Resolve) { t.resolve = f }

// now gives e with its present address, or as it is when that cannot be told
// now: then Unresolved says so.
func (t *Tree) now(e Extent) Extent {
	n, err := t.present(e)
	if err != nil {
		t.unresolved.Store(true)
		return e
	}
	return n
}

func (t *Tree) present(e Extent) (Extent, error) {
	if t.resolve == nil {
		return e, nil
	}
	to, from, moved, err := t.resolve(e.Addr, e.AddrFrom, e.Length)
	if err == nil && moved {
		e.Addr, e.AddrFrom = to, from
	}
	return e, err
}

// Unresolved reports whether extents with an old address may have been written
// since it was last asked: then a pass of Readdress that went on meanwhile may
// have left some.
func (t *Tree) Unresolved() bool { return t.unresolved.Swap(false) }

// Extents calls fn for every extent behind the key after, in order of inode
// and offset. key is valid during the call.
func (s *Snapshot) Extents(after []byte, fn func(key []byte, e Extent) error) error {
	return allExtents(s.s, after, func(k []byte, _ fs.Ino, e Extent) error { return fn(k, e) })
}

// readdressBatch extents are looked at in one step, which keeps others from
// applying: some 100 microseconds.
const readdressBatch = 256

// Readdress gives the extents behind the key after their present addresses, as
// many as one step looks at. next is where to go on, nil at the end. It changes
// nothing that a client, a hash or a replica can see. Like Apply, it is for one
// at a time, and not beside readers.
func (t *Tree) Readdress(after []byte) (next []byte, changed int, err error) {
	b := t.db.NewBatch()
	defer b.Close()
	looked := 0
	err = allExtents(t.db, after, func(k []byte, ino fs.Ino, e Extent) error {
		if looked == readdressBatch {
			return errStop
		}
		looked++
		next = append(next[:0], k...)
		n, err := t.present(e)
		if err != nil || n.Addr == e.Addr {
			return err
		}
		changed++
		return b.Set(extentKey(ino, n.Offset), n.encode(), nil)
	})
	switch {
	case err == nil:
		next = nil
	case !errors.Is(err, errStop):
		return nil, 0, err
	}
	if changed == 0 {
		return next, 0, nil
	}
	t.backlog.added(b.Len())
	return next, changed, b.Commit(pebble.NoSync)
}

func allExtents(r pebble.Reader, after []byte, fn func(key []byte, ino fs.Ino, e Extent) error) error {
	lo := append(append([]byte(nil), after...), 0)
	if len(after) == 0 {
		lo = []byte{prefixExtent}
	}
	return scan(r, lo, []byte{prefixExtent + 1}, func(k, v []byte) error {
		e, err := decodeExtent(binary.BigEndian.Uint64(k[9:]), v)
		if err != nil {
			return err
		}
		return fn(k, fs.Ino(binary.BigEndian.Uint64(k[1:])), e)
	})
}

// Replace gives an extent another address, where the same bytes are stored: old
// is damaged. false: the extent is no longer what it was. Like Apply.
func (t *Tree) Replace(ino fs.Ino, old Extent, a fs.Addr) (bool, error) {
	k := extentKey(ino, old.Offset)
	v, err := t.get(k)
	if err != nil || v == nil {
		return false, err
	}
	now, err := decodeExtent(old.Offset, v)
	if err != nil || now != old {
		return false, err
	}
	now.Addr, now.AddrFrom = a, 0
	b := now.encode()
	t.backlog.added(len(k) + len(b))
	return true, t.db.Set(k, b, pebble.NoSync)
}
