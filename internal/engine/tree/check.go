package tree

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// checker gathers what the parts of a tree say of each other.
type checker struct {
	t        *Tree
	report   func(string)
	payload  func(Extent) error // nil: payloads are not read
	inodes   map[fs.Ino]*checkedInode
	files    uint64
	used     uint64
	extents  uint64
	payloads uint64
}

type checkedInode struct {
	n       *Inode
	names   uint32 // directory entries that lead here
	subdirs uint32 // of a directory: entries that are directories
	entries uint64
	cookies uint64
	used    uint64
	xattrs  uint64
	parent  fs.Ino // a directory: where its entry is
	last    uint64 // end of the newest extent seen
	orphan  bool
	pending bool
}

// CheckStats counts what Check looked at.
type CheckStats struct {
	Files, Extents, PayloadsRead, BytesUsed uint64
}

// Check compares everything in the tree that says the same thing twice: names
// and link counts, both forms of a directory entry, sizes, extents, counters.
// payload, if not nil, is called for each extent and says whether its bytes
// can be read. report is told each problem. Memory grows with the inodes, some
// 200 bytes each. Nobody may apply meanwhile.
func (t *Tree) Check(payload func(Extent) error, report func(string)) (CheckStats, error) {
	c := &checker{t: t, report: report, payload: payload, inodes: make(map[fs.Ino]*checkedInode)}
	if err := c.scan(); err != nil {
		return c.stats(), err
	}
	c.conclude()
	return c.stats(), nil
}

// scan looks at every key.
func (c *checker) scan() error {
	for _, step := range []struct {
		prefix byte
		fn     func(k, v []byte) error
	}{
		{prefixInode, c.inode}, {prefixEntry, c.entry}, {prefixCookie, c.cookie}, {prefixExtent, c.extent},
		{prefixXattr, c.xattr}, {prefixOrphan, c.orphan}, {prefixPending, c.pendingKey},
	} {
		if err := c.t.scan([]byte{step.prefix}, []byte{step.prefix + 1}, step.fn); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) stats() CheckStats { return CheckStats{c.files, c.extents, c.payloads, c.used} }

func (c *checker) bad(format string, a ...any) { c.report(fmt.Sprintf(format, a...)) }

func (c *checker) inode(k, v []byte) error {
	ino := fs.Ino(binary.BigEndian.Uint64(k[1:]))
	n, err := decodeInode(ino, v)
	if err != nil {
		c.bad("inode %d cannot be decoded: %v", ino, err)
		return nil
	}
	c.files++
	c.inodes[ino] = &checkedInode{n: n}
	return nil
}

func (c *checker) entry(k, v []byte) error {
	dir, name := fs.Ino(binary.BigEndian.Uint64(k[1:])), fs.Name(k[9:])
	e, err := decodeEntry(name, v)
	if err != nil {
		c.bad("entry %q of directory %d cannot be decoded: %v", name, dir, err)
		return nil
	}
	d, n := c.inodes[dir], c.inodes[e.Ino]
	switch {
	case d == nil || d.n.Type != fs.TypeDir:
		c.bad("entry %q is in %d, which is no directory", name, dir)
		return nil
	case n == nil:
		d.entries++
		c.bad("entry %q of directory %d leads to inode %d, which does not exist", name, dir, e.Ino)
		return nil
	case n.n.Type != e.Type:
		c.bad("entry %q of directory %d says %s, its inode %d is a %s", name, dir, e.Type, e.Ino, n.n.Type)
	}
	d.entries++
	n.names++
	if n.n.Type == fs.TypeDir {
		d.subdirs++
		n.parent = dir
	}
	by, err := c.t.get(cookieKey(dir, e.Cookie))
	if err != nil {
		return err
	}
	if !bytes.Equal(by, encodeByCookie(e)) {
		c.bad("entry %q of directory %d is not what its cookie %d leads to", name, dir, e.Cookie)
	}
	if e.Cookie >= d.n.NextCookie {
		c.bad("entry %q of directory %d has cookie %d; the next to be given is %d", name, dir, e.Cookie, d.n.NextCookie)
	}
	return nil
}

func (c *checker) cookie(k, _ []byte) error {
	dir := fs.Ino(binary.BigEndian.Uint64(k[1:]))
	if d := c.inodes[dir]; d != nil {
		d.cookies++
		return nil
	}
	c.bad("a cookie belongs to directory %d, which does not exist", dir)
	return nil
}

func (c *checker) extent(k, v []byte) error {
	ino, off := fs.Ino(binary.BigEndian.Uint64(k[1:])), binary.BigEndian.Uint64(k[9:])
	e, err := decodeExtent(off, v)
	if err != nil {
		c.bad("the extent of inode %d at %d cannot be decoded: %v", ino, off, err)
		return nil
	}
	c.extents++
	c.used += uint64(e.Length)
	n := c.inodes[ino]
	switch {
	case n == nil:
		c.bad("an extent at %d belongs to inode %d, which does not exist", off, ino)
		return nil
	case e.Offset < n.last:
		c.bad("extents of inode %d overlap at %d", ino, off)
	case e.End() > n.n.Size && !n.n.Pending:
		c.bad("the extent of inode %d at %d reaches beyond its size %d", ino, off, n.n.Size)
	case uint64(e.AddrFrom)+uint64(e.Length) > uint64(e.Addr.Length):
		c.bad("the extent of inode %d at %d reaches beyond its payload", ino, off)
	}
	n.last = e.End()
	n.used += uint64(e.Length)
	if c.payload == nil {
		return nil
	}
	c.payloads++
	if err := c.payload(e); err != nil {
		c.bad("the bytes of inode %d at %d cannot be read: %v", ino, off, err)
	}
	return nil
}

func (c *checker) xattr(k, _ []byte) error {
	ino := fs.Ino(binary.BigEndian.Uint64(k[1:]))
	if n := c.inodes[ino]; n != nil {
		n.xattrs++
		return nil
	}
	c.bad("an extended attribute belongs to inode %d, which does not exist", ino)
	return nil
}

func (c *checker) orphan(k, _ []byte) error {
	return c.flag(k, "orphan", func(n *checkedInode) { n.orphan = true })
}

func (c *checker) pendingKey(k, _ []byte) error {
	return c.flag(k, "pending", func(n *checkedInode) { n.pending = true })
}

func (c *checker) flag(k []byte, what string, set func(*checkedInode)) error {
	ino := fs.Ino(binary.BigEndian.Uint64(k[1:]))
	if n := c.inodes[ino]; n != nil {
		set(n)
		return nil
	}
	c.bad("inode %d is marked as %s but does not exist", ino, what)
	return nil
}

func (c *checker) conclude() {
	if c.inodes[fs.RootIno] == nil {
		c.bad("there is no root directory")
	}
	for ino, n := range c.inodes {
		c.concludeInode(ino, n)
	}
	m := c.t.meta
	if m.Files != c.files {
		c.bad("the tree counts %d files, there are %d", m.Files, c.files)
	}
	if m.BytesUsed != c.used {
		c.bad("the tree counts %d bytes, the extents hold %d", m.BytesUsed, c.used)
	}
}

func (c *checker) concludeInode(ino fs.Ino, n *checkedInode) {
	links := n.names
	if n.n.Type == fs.TypeDir {
		c.concludeDir(ino, n)
		if links > 0 || ino == fs.RootIno {
			links = 2 + n.subdirs
		}
	}
	switch {
	case n.n.Nlink != links:
		c.bad("inode %d has link count %d, its names make it %d", ino, n.n.Nlink, links)
	case n.n.Nlink == 0 && !n.orphan && !n.n.Dropped:
		c.bad("inode %d has no name and is neither open nor being removed", ino)
	case n.orphan && n.n.Nlink != 0:
		c.bad("inode %d is marked as an orphan but has names", ino)
	}
	if n.pending != n.n.Pending {
		c.bad("inode %d and the list of pending work disagree", ino)
	}
	if n.used != n.n.Used {
		c.bad("inode %d says that it uses %d bytes, its extents hold %d", ino, n.n.Used, n.used)
	}
	if n.xattrs != n.n.Xattrs {
		c.bad("inode %d says that it has %d extended attributes, there are %d", ino, n.n.Xattrs, n.xattrs)
	}
}

func (c *checker) concludeDir(ino fs.Ino, n *checkedInode) {
	switch {
	case n.names > 1:
		c.bad("directory %d has %d names", ino, n.names)
	case ino != fs.RootIno && n.names == 1 && n.parent != n.n.Parent:
		c.bad("directory %d says that it is in %d, its entry is in %d", ino, n.n.Parent, n.parent)
	case n.entries != n.n.Entries || n.cookies != n.n.Entries:
		c.bad("directory %d counts %d entries; there are %d by name and %d by cookie", ino, n.n.Entries, n.entries, n.cookies)
	}
	// Up from every directory the root is reached.
	at := n
	for depth := 0; at != nil && at.n.Ino != fs.RootIno && at.n.Nlink > 0; depth++ {
		if depth > len(c.inodes) {
			c.bad("directory %d is in a circle", ino)
			return
		}
		at = c.inodes[at.n.Parent]
	}
}
