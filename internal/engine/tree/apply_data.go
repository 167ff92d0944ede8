package tree

import (
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// toEnd stands for the end of the largest file.
const toEnd = uint64(1) << 62

func (x *tx) setAttr(m *fs.SetAttr) error {
	n, err := x.inode(m.Ino)
	if err != nil {
		return err
	}
	if m.Mask&fs.SetMode != 0 {
		n.Mode = m.Mode
	}
	if m.Mask&fs.SetUID != 0 {
		n.UID = m.UID
	}
	if m.Mask&fs.SetGID != 0 {
		n.GID = m.GID
	}
	if m.Mask&fs.SetAtime != 0 {
		n.Atime = m.Atime
	}
	if m.Mask&fs.SetMtime != 0 {
		n.Mtime = m.Mtime
	}
	n.Ctime = m.Ctime
	if m.Mask&fs.SetSize == 0 {
		return nil
	}
	shrinks := m.Size < n.Size
	n.Size = m.Size
	if !shrinks {
		return nil
	}
	return x.cutTail(n)
}

func (x *tx) write(m *fs.Write) error {
	if x.r.PayloadLen != m.Length {
		return fmt.Errorf("write of %d bytes has a payload of %d", m.Length, x.r.PayloadLen)
	}
	n, err := x.inode(m.Ino)
	if err != nil {
		return err
	}
	if n.Pending {
		return errors.New("write to a file that still has extents to reclaim")
	}
	end := m.Offset + uint64(m.Length)
	if m.Offset < n.Size {
		if _, err := x.cut(n, m.Offset, end, 0); err != nil {
			return err
		}
	}
	x.writtenTo, x.written = n.Ino, Extent{Offset: m.Offset, Length: m.Length, Epoch: x.r.Epoch.Short(), Seq: x.r.Seq}
	x.use(n, int64(m.Length))
	n.Size = max(n.Size, end)
	n.Mode &^= m.ClearMode
	n.Mtime, n.Ctime = m.Time, m.Time
	return nil
}

func (x *tx) use(n *Inode, d int64) {
	n.Used += uint64(d)
	x.meta.BytesUsed += uint64(d)
}

// cut removes the file's bytes in [from, to). limit bounds the extents that go
// (0: none); more tells that some are left.
func (x *tx) cut(n *Inode, from, to uint64, limit int) (more bool, err error) {
	count := 0
	err = x.t.Extents(n.Ino, from, to, func(e Extent) error {
		if limit > 0 && count == limit {
			more = true
			return errStop
		}
		count++
		return x.cutOne(n, e, from, to)
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return more, err
}

func (x *tx) cutOne(n *Inode, e Extent, from, to uint64) error {
	if e.Offset < from {
		left := x.t.now(e.Clip(0, from))
		if err := x.set(extentKey(n.Ino, left.Offset), left.encode()); err != nil {
			return err
		}
	} else if err := x.del(extentKey(n.Ino, e.Offset)); err != nil {
		return err
	}
	if e.End() > to {
		right := x.t.now(e.Clip(to, toEnd))
		if err := x.set(extentKey(n.Ino, right.Offset), right.encode()); err != nil {
			return err
		}
	}
	x.use(n, -int64(min(e.End(), to)-max(e.Offset, from)))
	return nil
}

// cutTail removes what lies beyond the end of n, as much as one mutation may.
func (x *tx) cutTail(n *Inode) error {
	more, err := x.cut(n, n.Size, toEnd, fs.MaxExtentsCut)
	if err != nil {
		return err
	}
	return x.pending(n, more)
}

func (x *tx) pending(n *Inode, more bool) error {
	was := n.Pending
	n.Pending = more
	switch {
	case more:
		return x.set(pendingKey(n.Ino), nil)
	case was:
		return x.del(pendingKey(n.Ino))
	}
	return nil
}

// drop makes n go for good, at once or, when it has many extents, in steps.
func (x *tx) drop(n *Inode) error {
	n.Dropped = true
	more, err := x.cut(n, 0, toEnd, fs.MaxExtentsCut)
	if err != nil {
		return err
	}
	if err := x.pending(n, more); err != nil || more {
		return err
	}
	x.gone = append(x.gone, n.Ino)
	x.meta.Files--
	return x.dropXattrs(n)
}

func (x *tx) reclaim(m *fs.Reclaim) error {
	n, err := x.inode(m.Ino)
	if err != nil {
		return err
	}
	if m.Drop {
		if n.Nlink != 0 {
			return fmt.Errorf("inode %d is to go but has %d names", n.Ino, n.Nlink)
		}
		if err := x.del(orphanKey(n.Ino)); err != nil {
			return err
		}
		return x.drop(n)
	}
	if n.Dropped {
		return x.drop(n)
	}
	return x.cutTail(n)
}
