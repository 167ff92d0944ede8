package tree

import (
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

func (x *tx) punch(m *fs.Punch) error {
	n, err := x.inode(m.Ino)
	if err != nil {
		return err
	}
	if _, err := x.cut(n, m.From, m.To, 0); err != nil {
		return err
	}
	n.Mode &^= m.ClearMode
	n.Mtime, n.Ctime = m.Time, m.Time
	return nil
}

// clone gives Dst extents that name the payloads of Src: nothing is copied.
func (x *tx) clone(m *fs.Clone) error {
	src, err := x.t.Inode(m.Src)
	if err != nil {
		return fmt.Errorf("inode %d: %w", m.Src, err)
	}
	dst, err := x.inode(m.Dst)
	if err != nil {
		return err
	}
	switch {
	case dst.Pending:
		return errors.New("clone into a file that still has extents to reclaim")
	case m.SrcOffset+m.Length > src.Size:
		return errors.New("clone of bytes beyond the end of the source")
	case m.Src == m.Dst && m.SrcOffset < m.DstOffset+m.Length && m.DstOffset < m.SrcOffset+m.Length:
		return errors.New("clone of a range that overlaps itself")
	}
	var l []Extent
	err = x.t.Extents(m.Src, m.SrcOffset, m.SrcOffset+m.Length, func(e Extent) error {
		e = e.Clip(m.SrcOffset, m.SrcOffset+m.Length)
		e.Offset += m.DstOffset - m.SrcOffset
		l = append(l, x.t.now(e))
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := x.cut(dst, m.DstOffset, m.DstOffset+m.Length, 0); err != nil {
		return err
	}
	for i := range l {
		if err := x.set(extentKey(dst.Ino, l[i].Offset), l[i].encode()); err != nil {
			return err
		}
		x.use(dst, int64(l[i].Length))
	}
	dst.Size = max(dst.Size, m.DstOffset+m.Length)
	dst.Mode &^= m.ClearMode
	dst.Mtime, dst.Ctime = m.Time, m.Time
	return nil
}

func (x *tx) xattr(m *fs.Xattr) error {
	n, err := x.inode(m.Ino)
	if err != nil {
		return err
	}
	old, err := x.t.get(xattrKey(m.Ino, m.Name))
	if err != nil {
		return err
	}
	n.Ctime = m.Time
	switch {
	case m.Delete && old == nil:
		return fmt.Errorf("inode %d has no extended attribute %q", m.Ino, m.Name)
	case m.Delete:
		n.Xattrs--
		return x.del(xattrKey(m.Ino, m.Name))
	case old == nil:
		n.Xattrs++
	}
	return x.set(xattrKey(m.Ino, m.Name), append(appendStamp(nil, x.r.Stamp), m.Value...))
}

func (x *tx) dropXattrs(n *Inode) error {
	if n.Xattrs == 0 {
		return nil
	}
	lo := key8(prefixXattr, uint64(n.Ino))
	return x.t.scan(lo, after(lo), func(k, _ []byte) error { return x.del(append([]byte(nil), k...)) })
}
