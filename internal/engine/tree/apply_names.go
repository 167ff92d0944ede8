package tree

import (
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// dirSize is the size that every directory shows, in bytes.
const dirSize = 4096

func (x *tx) create(m *fs.Create) error {
	dir, err := x.inode(m.Parent)
	if err != nil {
		return err
	}
	n := &Inode{Target: m.Target}
	n.Attr = fs.Attr{Ino: m.Ino, Type: m.Type, Mode: m.Mode, Nlink: 1, UID: m.UID, GID: m.GID, Major: m.Major, Minor: m.Minor,
		Size: uint64(len(m.Target)), Atime: m.Atime, Mtime: m.Mtime, Ctime: m.Time, Btime: m.Time, Verifier: m.Verifier}
	if m.Type == fs.TypeDir {
		n.Nlink, n.Size, n.Parent, n.NextCookie = 2, dirSize, m.Parent, firstCookie
		dir.Nlink++
	}
	x.touch(n)
	x.inodes = append(x.inodes, n)
	x.meta.Files++
	return x.addEntry(dir, m.Name, n, m.Time)
}

func (x *tx) link(m *fs.Link) error {
	dir, err := x.inode(m.Parent)
	if err != nil {
		return err
	}
	n, err := x.inode(m.Ino)
	if err != nil {
		return err
	}
	n.Nlink++
	n.Ctime = m.Time
	if n.Nlink == 1 { // an open file without a name gets one again
		if err := x.del(orphanKey(n.Ino)); err != nil {
			return err
		}
	}
	return x.addEntry(dir, m.Name, n, m.Time)
}

func (x *tx) unlink(m *fs.Unlink) error {
	dir, err := x.inode(m.Parent)
	if err != nil {
		return err
	}
	n, err := x.inode(m.Ino)
	if err != nil {
		return err
	}
	if err := x.dropEntry(dir, m.Name, m.Ino, m.Time); err != nil {
		return err
	}
	return x.dropName(dir, n, m.Last, m.Hold, m.Time)
}

func (x *tx) rename(m *fs.Rename) error {
	from, err := x.inode(m.From)
	if err != nil {
		return err
	}
	to, err := x.inode(m.To)
	if err != nil {
		return err
	}
	n, err := x.inode(m.Ino)
	if err != nil {
		return err
	}
	if err := x.dropEntry(from, m.FromName, m.Ino, m.Time); err != nil {
		return err
	}
	if m.Victim != 0 {
		victim, err := x.inode(m.Victim)
		if err != nil {
			return err
		}
		if err := x.dropEntry(to, m.ToName, m.Victim, m.Time); err != nil {
			return err
		}
		if err := x.dropName(to, victim, m.Last, m.Hold, m.Time); err != nil {
			return err
		}
	}
	n.Ctime = m.Time
	if n.Type == fs.TypeDir && m.From != m.To {
		from.Nlink--
		to.Nlink++
		n.Parent = m.To
	}
	return x.addEntry(to, m.ToName, n, m.Time)
}

// addEntry writes both forms of a directory entry.
func (x *tx) addEntry(dir *Inode, name fs.Name, n *Inode, now fs.Time) error {
	e := &Entry{Stamp: x.r.Stamp}
	e.Name, e.Ino, e.Type, e.Cookie = name, n.Ino, n.Type, dir.NextCookie
	dir.NextCookie++
	dir.Entries++
	dir.Mtime, dir.Ctime = now, now
	if err := x.set(entryKey(dir.Ino, name), encodeEntry(e)); err != nil {
		return err
	}
	return x.set(cookieKey(dir.Ino, e.Cookie), encodeByCookie(e))
}

// dropEntry takes both forms away; the entry must lead to ino.
func (x *tx) dropEntry(dir *Inode, name fs.Name, ino fs.Ino, now fs.Time) error {
	e, err := x.t.entry(dir.Ino, name)
	if err != nil {
		return err
	}
	if e == nil || e.Ino != ino {
		return fmt.Errorf("directory %d has no entry %q for inode %d", dir.Ino, name, ino)
	}
	dir.Entries--
	dir.Mtime, dir.Ctime = now, now
	if err := x.del(entryKey(dir.Ino, name)); err != nil {
		return err
	}
	return x.del(cookieKey(dir.Ino, e.Cookie))
}

// dropName counts one name of n less. last is what the rules decided; the
// link count must agree.
func (x *tx) dropName(dir, n *Inode, last, hold bool, now fs.Time) error {
	n.Ctime = now
	if n.Type == fs.TypeDir {
		dir.Nlink--
		n.Nlink = 0
	} else {
		n.Nlink--
	}
	if last != (n.Nlink == 0) {
		return fmt.Errorf("inode %d has %d names left, the record says last=%v", n.Ino, n.Nlink, last)
	}
	if !last {
		return nil
	}
	if hold {
		return x.set(orphanKey(n.Ino), nil)
	}
	return x.drop(n)
}
