package tree

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-fs/holdfast/internal/engine/writeset"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// A stage is a tree that receives a checkpoint of another replica: an empty
// one for the whole, a checkpoint of the present tree for what changed. It is
// no live tree: nothing is applied to it and nobody reads it until FinishStage
// gave it its position.

// StageBatch collects changes of a stage that are stored together with the
// progress that they mean. Not safe for concurrent use.
type StageBatch struct {
	t *Tree
	b *pebble.Batch
}

// NewStageBatch begins a batch.
func (t *Tree) NewStageBatch() *StageBatch { return &StageBatch{t, t.db.NewIndexedBatch()} }

// Close drops what was not committed.
func (s *StageBatch) Close() error { return s.b.Close() }

// Raw stores a key as the other replica has it. Extents are refused: their
// values hold local addresses.
func (s *StageBatch) Raw(k, v []byte) error {
	if err := checkStaged(k, v); err != nil {
		return err
	}
	return s.b.Set(k, v, nil)
}

// Extent stores an extent of a file.
func (s *StageBatch) Extent(ino fs.Ino, e Extent) error {
	return s.b.Set(extentKey(ino, e.Offset), e.encode(), nil)
}

// Clear removes a file's bytes in [from, to).
func (s *StageBatch) Clear(ino fs.Ino, from, to uint64) error {
	var l []Extent
	if err := extents(s.b, ino, from, to, func(e Extent) error { l = append(l, e); return nil }); err != nil {
		return err
	}
	for _, e := range l {
		if err := s.b.Delete(extentKey(ino, e.Offset), nil); err != nil {
			return err
		}
		if e.Offset < from {
			if err := s.Extent(ino, e.Clip(0, from)); err != nil {
				return err
			}
		}
		if e.End() > to {
			if err := s.Extent(ino, e.Clip(to, toEnd)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Element stores an inode, entry, setting or client as the other replica has
// it (present, with its value) or has it not.
func (s *StageBatch) Element(e writeset.Element, present bool, v []byte) error {
	switch e.Kind {
	case writeset.Inode:
		return s.inode(e.Ino, present, v)
	case writeset.Entry:
		return s.entry(e.Ino, fs.Name(e.Name), present, v)
	case writeset.Setting:
		return s.point(settingKey(e.Name), present, v)
	case writeset.Client:
		return s.point(clientKey([]byte(e.Name)), present, v)
	case writeset.Xattr:
		if e.Name == "" {
			return s.dropXattrs(e.Ino)
		}
		return s.point(xattrKey(e.Ino, fs.Name(e.Name)), present, v)
	}
	return &fs.DecodeError{What: "staged element", Detail: fmt.Sprintf("kind %d", e.Kind)}
}

// dropXattrs removes all extended attributes of an inode; those that the other
// replica has follow.
func (s *StageBatch) dropXattrs(ino fs.Ino) error {
	lo := key8(prefixXattr, uint64(ino))
	var keys [][]byte
	err := scan(s.b, lo, after(lo), func(k, _ []byte) error { keys = append(keys, append([]byte(nil), k...)); return nil })
	for _, k := range keys {
		if err == nil {
			err = s.b.Delete(k, nil)
		}
	}
	return err
}

func (s *StageBatch) point(k []byte, present bool, v []byte) error {
	if !present {
		return s.b.Delete(k, nil)
	}
	if err := checkStaged(k, v); err != nil {
		return err
	}
	return s.b.Set(k, v, nil)
}

// inode keeps the orphan and pending keys in step: both follow from the inode.
func (s *StageBatch) inode(ino fs.Ino, present bool, v []byte) error {
	orphan, pending := false, false
	if present {
		n, err := decodeInode(ino, v)
		if err != nil {
			return err
		}
		orphan, pending = n.Nlink == 0 && !n.Dropped, n.Pending
	}
	if err := s.point(inodeKey(ino), present, v); err != nil {
		return err
	}
	if err := s.point(orphanKey(ino), orphan, nil); err != nil {
		return err
	}
	return s.point(pendingKey(ino), pending, nil)
}

// entry keeps the form by cookie in step. Both branches of a fork may have
// given one cookie to different names, so a cookie goes only if it is still
// this name's.
func (s *StageBatch) entry(dir fs.Ino, name fs.Name, present bool, v []byte) error {
	old, err := s.get(entryKey(dir, name))
	if err != nil {
		return err
	}
	if old != nil {
		e, err := decodeEntry(name, old)
		if err != nil {
			return err
		}
		if err := s.dropCookie(dir, e.Cookie, name); err != nil {
			return err
		}
	}
	if !present {
		return s.b.Delete(entryKey(dir, name), nil)
	}
	e, err := decodeEntry(name, v)
	if err != nil {
		return err
	}
	if err := s.point(entryKey(dir, name), true, v); err != nil {
		return err
	}
	return s.b.Set(cookieKey(dir, e.Cookie), encodeByCookie(e), nil)
}

func (s *StageBatch) dropCookie(dir fs.Ino, cookie uint64, name fs.Name) error {
	b, err := s.get(cookieKey(dir, cookie))
	if err != nil || b == nil {
		return err
	}
	e, err := decodeByCookie(cookie, b)
	if err != nil || e.Name != name {
		return err
	}
	return s.b.Delete(cookieKey(dir, cookie), nil)
}

func (s *StageBatch) get(k []byte) ([]byte, error) {
	v, c, err := s.b.Get(k)
	if err == pebble.ErrNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, len(v)), v...)
	return b, c.Close()
}

// Commit stores the batch and how far part has come.
func (s *StageBatch) Commit(part int, cursor []byte, done bool) error {
	v := append([]byte{0}, cursor...)
	if done {
		v[0] = 1
	}
	if err := s.b.Set(key8(prefixStage, uint64(part)), v, nil); err != nil {
		return err
	}
	if err := s.t.WaitRoom(); err != nil {
		return err
	}
	s.t.backlog.added(s.b.Len())
	return s.b.Commit(pebble.NoSync)
}

// StageCursor tells how far a part has come; nil and false: nothing is stored.
func (t *Tree) StageCursor(part int) (cursor []byte, done bool, err error) {
	b, err := t.get(key8(prefixStage, uint64(part)))
	if err != nil || len(b) == 0 {
		return nil, false, err
	}
	return b[1:], b[0] == 1, nil
}

// BeginStage forgets the progress of an earlier stage that a checkpoint of
// the present tree may hold.
func (t *Tree) BeginStage() error {
	if err := t.db.DeleteRange([]byte{prefixStage}, []byte{prefixStage + 1}, pebble.NoSync); err != nil {
		return fmt.Errorf("begin the stage: %w", err)
	}
	return t.Flush()
}

// FinishStage gives the stage its position, epochs and counters and flushes
// it. From then on it may become a live tree. The progress stays, so that it
// can be done again after a crash.
func (t *Tree) FinishStage(m Meta, epochs []fs.EpochStart) error {
	b := t.db.NewBatch()
	defer b.Close()
	if err := b.DeleteRange([]byte{prefixEpoch}, []byte{prefixEpoch + 1}, nil); err != nil {
		return err
	}
	for _, e := range epochs {
		if err := b.Set(epochKey(e.First), encodeEpoch(e.ID), nil); err != nil {
			return err
		}
	}
	if err := b.Set(metaKey, m.encode(), nil); err != nil {
		return err
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("finish the stage: %w", err)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	t.meta, t.epochs = m, append([]fs.EpochStart(nil), epochs...)
	t.cache = newInodeCache()
	return nil
}

// RawRange calls fn for the keys in (after, hi) that a whole transfer carries
// as they are: all but extents, epochs (they travel with the checkpoint's
// description) and the position. k and v are valid during the call.
func (t *Tree) RawRange(after []byte, fn func(k, v []byte) error) error {
	lo := append(append([]byte(nil), after...), 0)
	visit := func(k, v []byte) error {
		switch k[0] {
		case prefixEpoch, prefixMeta:
			return nil
		}
		return fn(k, v)
	}
	if lo[0] < prefixExtent {
		if err := t.scan(lo, []byte{prefixExtent}, visit); err != nil {
			return err
		}
		lo = []byte{prefixExtent + 1}
	}
	return t.scan(lo, []byte{prefixStage}, visit)
}

// AllExtents calls fn for every extent behind the key after, in order.
func (t *Tree) AllExtents(after []byte, fn func(key []byte, ino fs.Ino, e Extent) error) error {
	return allExtents(t.db, after, fn)
}

// Value gives the stored value of an element other than data, nil when the
// tree does not have it.
func (t *Tree) Value(e writeset.Element) ([]byte, error) {
	switch e.Kind {
	case writeset.Inode:
		return t.get(inodeKey(e.Ino))
	case writeset.Entry:
		return t.get(entryKey(e.Ino, fs.Name(e.Name)))
	case writeset.Setting:
		return t.get(settingKey(e.Name))
	case writeset.Client:
		return t.get(clientKey([]byte(e.Name)))
	case writeset.Xattr:
		return t.get(xattrKey(e.Ino, fs.Name(e.Name)))
	}
	return nil, fmt.Errorf("element of kind %d has no value of its own", e.Kind)
}
