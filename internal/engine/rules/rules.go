// Package rules decides what each operation means: a view of the tree, a
// request and the time give a resolved mutation or a refusal. It is pure: it
// reads nothing but the view and its arguments and changes nothing.
//
// The rules are POSIX's with Linux's choices where POSIX leaves one, since
// Linux machines are the clients.
package rules

import "github.com/holdfast-fs/holdfast/internal/fs"

// View is what rules see of a tree. Errors other than fs.Error are faults and
// are passed on.
type View interface {
	Attr(ino fs.Ino) (fs.Attr, error) // fs.ErrStale: no such inode
	Entry(dir fs.Ino, name fs.Name) (e fs.DirEntry, ok bool, err error)
	Empty(dir fs.Ino) (bool, error)
	CountExtents(ino fs.Ino, from, to uint64, limit int) (int, error)
}

// Env is what the rules may know besides.
type Env struct {
	Now fs.Time
	// NewIno is the number that a new inode gets.
	NewIno fs.Ino
	// Held reports whether an inode is open.
	Held func(fs.Ino) bool
}

// Permitted reports whether c has all of want on an inode. Root passes, except
// that executing a file needs one x bit.
func Permitted(c *fs.Cred, a *fs.Attr, want fs.Access) bool {
	return Granted(c, a, want) == want
}

// Granted tells which of want c has.
func Granted(c *fs.Cred, a *fs.Attr, want fs.Access) fs.Access {
	if c.UID == 0 {
		if a.Type != fs.TypeDir && a.Mode&0o111 == 0 {
			want &^= fs.AccessExec
		}
		return want
	}
	bits := a.Mode
	switch {
	case c.UID == a.UID:
		bits >>= 6
	case c.InGroup(a.GID):
		bits >>= 3
	}
	return want & fs.Access(bits&7)
}

// mayChange says why c may not change names in a directory that it may search,
// or nil.
func mayChange(c *fs.Cred, d *fs.Attr) error {
	if d.Nlink == 0 {
		return fs.ErrNoEnt // removed while somebody stands in it
	}
	if !Permitted(c, d, fs.AccessWrite) {
		return fs.ErrAccess
	}
	return nil
}

// Lookup finds a name; it checks that c may search the directory.
func Lookup(v View, c *fs.Cred, dir fs.Ino, name fs.Name) (fs.Attr, error) {
	_, ino, err := search(v, c, dir, name)
	switch {
	case err != nil:
		return fs.Attr{}, err
	case ino == 0:
		return fs.Attr{}, fs.ErrNoEnt
	}
	return v.Attr(ino)
}

// search gives a directory that c may search and the inode that name leads
// to, 0 for none.
func search(v View, c *fs.Cred, dir fs.Ino, name fs.Name) (d fs.Attr, ino fs.Ino, err error) {
	if err := name.Check(); err != nil {
		return d, 0, err
	}
	if d, err = v.Attr(dir); err != nil {
		return d, 0, err
	}
	if d.Type != fs.TypeDir {
		return d, 0, fs.ErrNotDir
	}
	if !Permitted(c, &d, fs.AccessExec) {
		return d, 0, fs.ErrAccess
	}
	e, ok, err := v.Entry(dir, name)
	if err != nil || !ok {
		return d, 0, err
	}
	return d, e.Ino, nil
}

// mayUnname: in a sticky directory only the owner of the file, the owner of
// the directory and root may take a name away. POSIX leaves the errno open;
// Linux says EPERM.
func mayUnname(c *fs.Cred, dir, file *fs.Attr) error {
	const sticky = 0o1000
	if dir.Mode&sticky == 0 || c.UID == 0 || c.UID == dir.UID || c.UID == file.UID {
		return nil
	}
	return fs.ErrPerm
}
