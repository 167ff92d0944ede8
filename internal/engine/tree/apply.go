package tree

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Apply carries out one record: r with its parsed mutation m, whose payload is
// stored at a. It is Prepare and Commit in one.
func (t *Tree) Apply(r *fs.Record, m fs.Mutation, a fs.Addr) error {
	c, err := t.Prepare(r, m)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Commit(a)
}

// Change is a record that is worked out and not yet applied.
type Change struct{ x *tx }

// Prepare works out what the next record, r with its parsed mutation m,
// changes. Nothing is changed yet, so that a record that cannot be applied is
// known before it enters the journal. It may run beside readers. Records come
// in order; one that was applied already is an error.
func (t *Tree) Prepare(r *fs.Record, m fs.Mutation) (*Change, error) {
	if r.Seq != t.meta.Applied.Seq+1 {
		return nil, fmt.Errorf("apply record %d: the tree stands at %d", r.Seq, t.meta.Applied.Seq)
	}
	x := &tx{t: t, b: t.db.NewBatch(), r: r, meta: t.meta}
	if err := x.mutation(m); err != nil {
		x.b.Close()
		return nil, fmt.Errorf("apply record %d (kind %d): %w", r.Seq, m.Kind(), err)
	}
	x.meta.Applied = r.Pos()
	x.meta.HistoryBytes += uint64(len(r.Mutation)) + uint64(r.PayloadLen)
	x.meta.LastStamp = max(x.meta.LastStamp, r.Stamp.Time)
	return &Change{x}, nil
}

// Commit applies the change; its payload, if it has one, is stored at a.
// Nothing may have been applied since Prepare. After an error nothing of the
// record is applied and the tree must not be used for more: its journal and it
// disagree.
func (c *Change) Commit(a fs.Addr) error {
	x := c.x
	// The gate must know of the record before the store does.
	x.t.gate.newest.Store(x.r.Seq)
	if err := x.commit(a); err != nil {
		return fmt.Errorf("apply record %d: %w", x.r.Seq, err)
	}
	return nil
}

// Close lets go of the change, committed or not.
func (c *Change) Close() { c.x.b.Close() }

// tx collects what one record changes. Inodes are changed in memory and
// written once, in the order of their first use.
type tx struct {
	t      *Tree
	b      *pebble.Batch
	r      *fs.Record
	meta   Meta
	inodes []*Inode
	gone   []fs.Ino
	epoch  *fs.EpochStart
	// written is the extent that a Write brings; its address comes last.
	written   Extent
	writtenTo fs.Ino // 0: none
	setting   string // that changes, "" for none
}

func (x *tx) mutation(m fs.Mutation) error {
	switch m := m.(type) {
	case *fs.Genesis:
		return x.genesis(m)
	case *fs.Epoch:
		return x.beginEpoch(m)
	case *fs.Create:
		return x.create(m)
	case *fs.Link:
		return x.link(m)
	case *fs.Unlink:
		return x.unlink(m)
	case *fs.Rename:
		return x.rename(m)
	case *fs.SetAttr:
		return x.setAttr(m)
	case *fs.Write:
		return x.write(m)
	case *fs.Reclaim:
		return x.reclaim(m)
	case *fs.Setting:
		x.setting = m.Key
		return x.setOrDelete(settingKey(m.Key), m.Value, m.Delete)
	case *fs.Client:
		return x.setOrDelete(clientKey(m.Owner), nil, m.Delete)
	case *fs.Xattr:
		return x.xattr(m)
	case *fs.Punch:
		return x.punch(m)
	case *fs.Clone:
		return x.clone(m)
	case *fs.Noop:
		return nil
	}
	return fmt.Errorf("mutation %T is not known to this release", m)
}

func (x *tx) set(k, v []byte) error { return x.b.Set(k, v, nil) }
func (x *tx) del(k []byte) error    { return x.b.Delete(k, nil) }

func (x *tx) setOrDelete(k, v []byte, del bool) error {
	if del {
		return x.del(k)
	}
	return x.set(k, v)
}

// inode gives a copy of an inode to change; it is written at commit.
func (x *tx) inode(ino fs.Ino) (*Inode, error) {
	for _, n := range x.inodes {
		if n.Ino == ino {
			return n, nil
		}
	}
	old, err := x.t.Inode(ino)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", ino, err)
	}
	n := *old
	x.inodes = append(x.inodes, &n)
	x.touch(&n)
	return &n, nil
}

func (x *tx) touch(n *Inode) {
	n.Change = fs.ChangeOf(x.r.Epoch, x.r.Seq)
	n.Stamp = x.r.Stamp
}

func (x *tx) commit(a fs.Addr) error {
	if x.writtenTo != 0 {
		if a.IsZero() || a.Length != x.written.Length {
			return fmt.Errorf("write of %d bytes has %d bytes stored", x.written.Length, a.Length)
		}
		x.written.Addr = a
		if err := x.set(extentKey(x.writtenTo, x.written.Offset), x.written.encode()); err != nil {
			return err
		}
	}
	for _, n := range x.inodes {
		if x.isGone(n.Ino) {
			continue
		}
		if err := x.set(inodeKey(n.Ino), n.encode()); err != nil {
			return err
		}
	}
	for _, ino := range x.gone {
		if err := x.del(inodeKey(ino)); err != nil {
			return err
		}
	}
	if err := x.set(metaKey, x.meta.encode()); err != nil {
		return err
	}
	x.t.backlog.added(x.b.Len())
	if err := x.b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("write to the tree: %w", err)
	}
	for _, n := range x.inodes {
		x.t.cache.put(n)
	}
	for _, ino := range x.gone {
		x.t.cache.drop(ino)
	}
	x.t.meta = x.meta
	if x.setting != "" {
		x.t.settings.changed(x.setting)
	}
	if x.epoch != nil {
		x.t.epochs = append(x.t.epochs[:len(x.t.epochs):len(x.t.epochs)], *x.epoch)
	}
	return nil
}

func (x *tx) isGone(ino fs.Ino) bool {
	for _, g := range x.gone {
		if g == ino {
			return true
		}
	}
	return false
}

func (x *tx) genesis(m *fs.Genesis) error {
	if x.r.Seq != 1 {
		return fmt.Errorf("genesis at sequence %d", x.r.Seq)
	}
	n := &Inode{NextCookie: firstCookie}
	n.Attr = fs.Attr{Ino: fs.RootIno, Type: fs.TypeDir, Mode: m.Mode, Nlink: 2, UID: m.UID, GID: m.GID, Size: dirSize,
		Atime: m.Time, Mtime: m.Time, Ctime: m.Time, Btime: m.Time, Parent: fs.RootIno}
	x.touch(n)
	x.inodes = append(x.inodes, n)
	x.meta.Files++
	if err := x.putEpoch(x.r.Epoch); err != nil {
		return err
	}
	return x.set(settingKey(SettingLineage), m.Lineage[:])
}

// SettingLineage is the setting that holds the lineage's 16 bytes.
const SettingLineage = "lineage"

func (x *tx) beginEpoch(m *fs.Epoch) error {
	if m.ID != x.r.Epoch {
		return fmt.Errorf("epoch %s begins in a record of epoch %s", m.ID, x.r.Epoch)
	}
	return x.putEpoch(m.ID)
}

func (x *tx) putEpoch(id fs.EpochID) error {
	x.epoch = &fs.EpochStart{ID: id, First: x.r.Seq}
	return x.set(epochKey(x.r.Seq), encodeEpoch(id))
}
