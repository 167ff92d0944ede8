package fstest

import (
	"sort"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// dir returns a directory.
func (r *Ref) dir(ino fs.Ino) (*inode, error) {
	n, err := r.get(ino)
	if err != nil {
		return nil, err
	}
	if n.attr.Type != fs.TypeDir {
		return nil, fs.ErrNotDir
	}
	return n, nil
}

// search returns a directory that the caller may search, and the entry of
// name, nil if there is none. A change cannot be made in a removed directory.
func (r *Ref) search(c *fs.Cred, ino fs.Ino, name fs.Name) (*inode, *inode, error) {
	if err := name.Check(); err != nil {
		return nil, nil, err
	}
	d, err := r.dir(ino)
	if err != nil {
		return nil, nil, err
	}
	if err := need(d, c, fs.AccessExec); err != nil {
		return nil, nil, err
	}
	if e := d.entries[name]; e != nil {
		return d, r.inodes[e.ino], nil
	}
	return d, nil, nil
}

// Lookup finds a name.
func (r *Ref) Lookup(c *fs.Cred, dir fs.Ino, name fs.Name) (fs.Attr, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, n, err := r.search(c, dir, name)
	switch {
	case err != nil:
		return fs.Attr{}, err
	case n == nil:
		return fs.Attr{}, fs.ErrNoEnt
	}
	return n.attr, nil
}

// Readlink returns the target of a symbolic link, fs.ErrInval of anything else.
func (r *Ref) Readlink(ino fs.Ino) (string, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n, err := r.get(ino)
	switch {
	case err != nil:
		return "", err
	case n.attr.Type != fs.TypeSymlink:
		return "", fs.ErrInval
	}
	return n.target, nil
}

// ReadDir lists the entries after a cookie.
func (r *Ref) ReadDir(dir fs.Ino, after uint64, fn func(fs.DirEntry) bool) (bool, error) {
	list, err := r.entriesAfter(dir, after)
	if err != nil {
		return false, err
	}
	for _, e := range list {
		if !fn(e) {
			return false, nil
		}
	}
	return true, nil
}

func (r *Ref) entriesAfter(dir fs.Ino, after uint64) ([]fs.DirEntry, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	d, err := r.dir(dir)
	if err != nil {
		return nil, err
	}
	var list []fs.DirEntry
	for name, e := range d.entries {
		if e.cookie > after {
			list = append(list, fs.DirEntry{Cookie: e.cookie, Ino: e.ino, Type: r.inodes[e.ino].attr.Type, Name: name})
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Cookie < list[j].Cookie })
	return list, nil
}
