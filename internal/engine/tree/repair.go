package tree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// repairer writes anew what follows from something else in the tree: link
// counts from names, counters from what they count, directory entries by cookie
// from those by name, the lists of orphans and of pending work from inodes.
// What follows from nothing, a lost name, extent or inode, it leaves alone, and
// also the counters that tell of the loss.
type repairer struct {
	*checker
	b   *pebble.Batch
	did func(string)
	// lost: a directory counts more names than it has. So a link count that is
	// too high may be right, and a cookie without a name the last trace of it.
	lost bool
}

// Repair mends what Check finds and what can be told from the rest of the tree
// without a guess. did is told each change. What it could not mend a later Check
// finds again. It is flushed when it returns. Nobody may use the tree meanwhile.
func (t *Tree) Repair(did func(string)) error {
	c := &checker{t: t, report: func(string) {}, inodes: make(map[fs.Ino]*checkedInode)}
	if err := c.scan(); err != nil {
		return err
	}
	r := &repairer{checker: c, b: t.db.NewBatch(), did: did}
	defer r.b.Close()
	for _, n := range c.inodes {
		r.lost = r.lost || n.lostNames()
	}
	err := errors.Join(r.cookies(), r.staleCookies())
	for _, ino := range slices.Sorted(maps.Keys(c.inodes)) {
		n := c.inodes[ino]
		err = errors.Join(err, r.inode(ino, n), r.mark(orphanKey(ino), n.orphan, n.n.Nlink == 0 && !n.n.Dropped, ino, "orphan"),
			r.mark(pendingKey(ino), n.pending, n.n.Pending, ino, "pending"))
	}
	err = errors.Join(err, r.counters())
	if err != nil {
		return fmt.Errorf("repair the tree: %w", err)
	}
	if r.b.Count() > 0 {
		if err := r.b.Commit(pebble.NoSync); err != nil {
			return fmt.Errorf("repair the tree: %w", err)
		}
	}
	t.cache = newInodeCache()
	return errors.Join(t.load(), t.Flush())
}

func (n *checkedInode) lostNames() bool { return n.n.Type == fs.TypeDir && n.n.Entries > n.entries }

func (r *repairer) say(format string, a ...any) { r.did(fmt.Sprintf(format, a...)) }

// cookies gives every name the form by cookie that it should have.
func (r *repairer) cookies() error {
	return r.t.AllFullEntries(func(dir fs.Ino, e *Entry) error {
		if d := r.inodes[dir]; d == nil || d.n.Type != fs.TypeDir {
			return nil
		}
		k := cookieKey(dir, e.Cookie)
		by, err := r.t.get(k)
		if err != nil || bytes.Equal(by, encodeByCookie(e)) {
			return err
		}
		r.say("entry %q of directory %d: its form by cookie %d was written anew", e.Name, dir, e.Cookie)
		if by == nil {
			r.inodes[dir].cookies++
		}
		return r.b.Set(k, encodeByCookie(e), nil)
	})
}

// staleCookies removes those that no name has.
func (r *repairer) staleCookies() error {
	return r.t.scan([]byte{prefixCookie}, []byte{prefixCookie + 1}, func(k, v []byte) error {
		dir, cookie := fs.Ino(binary.BigEndian.Uint64(k[1:])), binary.BigEndian.Uint64(k[9:])
		d := r.inodes[dir]
		if d == nil || d.lostNames() {
			return nil
		}
		e, err := decodeByCookie(cookie, v)
		if err == nil {
			named, err := r.t.entry(dir, e.Name)
			if err != nil {
				return err
			}
			if named != nil && named.Cookie == cookie {
				return nil
			}
		}
		// Another name may have this cookie, and has been given its form above.
		if d.cookies > d.entries {
			d.cookies--
			r.say("cookie %d of directory %d, which belongs to no name, was removed", cookie, dir)
			return r.b.Delete(append([]byte(nil), k...), nil)
		}
		return nil
	})
}

func (r *repairer) inode(ino fs.Ino, n *checkedInode) error {
	fixed := *n.n
	links := n.names
	if fixed.Type == fs.TypeDir && (links > 0 || ino == fs.RootIno) {
		links = 2 + n.subdirs
	}
	// Without any name, all may be lost: then the file is not made to go.
	if links > 0 && fixed.Nlink != links && !(r.lost && links < fixed.Nlink) {
		r.say("inode %d: link count %d became %d, as many as it has names", ino, fixed.Nlink, links)
		fixed.Nlink = links
		n.n.Nlink = links
	}
	if fixed.Type == fs.TypeDir && n.entries > fixed.Entries {
		r.say("directory %d: %d entries became %d, as many as there are", ino, fixed.Entries, n.entries)
		fixed.Entries = n.entries
	}
	if n.used > fixed.Used {
		r.say("inode %d: %d bytes in use became %d, as its extents have it", ino, fixed.Used, n.used)
		fixed.Used = n.used
	}
	if n.xattrs > fixed.Xattrs {
		r.say("inode %d: %d extended attributes became %d, as many as there are", ino, fixed.Xattrs, n.xattrs)
		fixed.Xattrs = n.xattrs
	}
	now := fixed.encode()
	stored, err := r.t.get(inodeKey(ino))
	if err != nil || bytes.Equal(stored, now) {
		return err
	}
	return r.b.Set(inodeKey(ino), now, nil)
}

// mark keeps one of the lists in step with an inode.
func (r *repairer) mark(k []byte, is, should bool, ino fs.Ino, list string) error {
	switch {
	case is == should:
		return nil
	case should:
		r.say("inode %d was put on the list %s", ino, list)
		return r.b.Set(k, nil, nil)
	}
	r.say("inode %d was taken from the list %s", ino, list)
	return r.b.Delete(k, nil)
}

// counters: fewer than were counted are a loss, which stays told.
func (r *repairer) counters() error {
	m := r.t.meta
	if r.files > m.Files {
		r.say("the tree's count of files, %d, became %d", m.Files, r.files)
		m.Files = r.files
	}
	if r.used > m.BytesUsed {
		r.say("the tree's count of bytes, %d, became %d", m.BytesUsed, r.used)
		m.BytesUsed = r.used
	}
	if m == r.t.meta {
		return nil
	}
	return r.b.Set(metaKey, m.encode(), nil)
}
