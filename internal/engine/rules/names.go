package rules

import "github.com/holdfast-fs/holdfast/internal/fs"

const (
	setuid = 0o4000
	setgid = 0o2000
)

// Create decides a new file. On fs.ErrExist the attributes are those of the
// file that is there.
func Create(v View, r *fs.CreateRequest, env Env) (*fs.Create, fs.Attr, error) {
	none := fs.Attr{}
	if r.Type < fs.TypeRegular || r.Type > fs.TypeFIFO {
		return nil, none, fs.ErrWrongType
	}
	d, err := v.Attr(r.Parent)
	if err != nil {
		return nil, none, err
	}
	if d.Type != fs.TypeDir {
		return nil, none, fs.ErrNotDir
	}
	if err := r.Name.Check(); err != nil {
		return nil, none, err
	}
	if !Permitted(&r.Cred, &d, fs.AccessExec) {
		return nil, none, fs.ErrAccess
	}
	if e, ok, err := v.Entry(r.Parent, r.Name); err != nil {
		return nil, none, err
	} else if ok {
		there, err := v.Attr(e.Ino)
		if err != nil {
			return nil, none, err
		}
		return nil, there, fs.ErrExist
	}
	if d, err = dirFor(v, &r.Cred, r.Parent); err != nil {
		return nil, none, err
	}
	if r.Type == fs.TypeSymlink && (len(r.Target) == 0 || len(r.Target) > fs.MaxSymlink) {
		if r.Target == "" {
			return nil, none, fs.ErrInval
		}
		return nil, none, fs.ErrNameTooLong
	}
	if r.Type == fs.TypeDir && d.Nlink >= fs.MaxLink {
		return nil, none, fs.ErrMLink
	}
	m := &fs.Create{Parent: r.Parent, Name: r.Name, Ino: env.NewIno, Type: r.Type, UID: r.Cred.UID, GID: r.Cred.GID,
		Major: r.Major, Minor: r.Minor, Target: r.Target, Verifier: r.Verifier, Atime: env.Now, Mtime: env.Now, Time: env.Now}
	return m, none, newOwner(m, r, &d)
}

// newOwner fills owner, mode and times as asked.
func newOwner(m *fs.Create, r *fs.CreateRequest, dir *fs.Attr) error {
	if r.Attrs.Mode != nil {
		m.Mode = *r.Attrs.Mode & 0o7777
	}
	if r.Type == fs.TypeSymlink {
		m.Mode = 0o777
	}
	if dir.Mode&setgid != 0 {
		m.GID = dir.GID
		if r.Type == fs.TypeDir {
			m.Mode |= setgid
		}
	}
	if u := r.Attrs.UID; u != nil && *u != m.UID {
		if r.Cred.UID != 0 {
			return fs.ErrPerm
		}
		m.UID = *u
	}
	if g := r.Attrs.GID; g != nil && *g != m.GID {
		if r.Cred.UID != 0 && !r.Cred.InGroup(*g) {
			return fs.ErrPerm
		}
		m.GID = *g
	}
	// Nobody gives a file the setgid bit of a group that is not theirs.
	if r.Type != fs.TypeDir && m.Mode&setgid != 0 && r.Cred.UID != 0 && !r.Cred.InGroup(m.GID) {
		m.Mode &^= setgid
	}
	if r.Attrs.AtimeHow == fs.TimeClient {
		m.Atime = r.Attrs.Atime
	}
	if r.Attrs.MtimeHow == fs.TimeClient {
		m.Mtime = r.Attrs.Mtime
	}
	return nil
}

// Link decides another name for an inode.
func Link(v View, r *fs.LinkRequest, env Env) (*fs.Link, error) {
	n, err := v.Attr(r.Ino)
	if err != nil {
		return nil, err
	}
	d, err := v.Attr(r.Parent)
	if err != nil {
		return nil, err
	}
	switch {
	case n.Type == fs.TypeDir:
		return nil, fs.ErrIsDir
	case d.Type != fs.TypeDir:
		return nil, fs.ErrNotDir
	}
	if err := r.Name.Check(); err != nil {
		return nil, err
	}
	if !Permitted(&r.Cred, &d, fs.AccessExec) {
		return nil, fs.ErrAccess
	}
	if _, ok, err := v.Entry(r.Parent, r.Name); err != nil {
		return nil, err
	} else if ok {
		return nil, fs.ErrExist
	}
	if _, err := dirFor(v, &r.Cred, r.Parent); err != nil {
		return nil, err
	}
	switch {
	case n.Nlink == 0:
		return nil, fs.ErrNoEnt // its last name is gone: nobody links to it any more
	case n.Nlink >= fs.MaxLink:
		return nil, fs.ErrMLink
	}
	return &fs.Link{Parent: r.Parent, Name: r.Name, Ino: r.Ino, Time: env.Now}, nil
}

// Remove decides that a name goes: a file's, or an empty directory's.
func Remove(v View, r *fs.RemoveRequest, env Env) (*fs.Unlink, error) {
	d, n, err := victimOf(v, &r.Cred, r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	if !stickyAllows(&r.Cred, &d, &n) {
		return nil, fs.ErrAccess
	}
	if n.Type == fs.TypeDir {
		if empty, err := v.Empty(n.Ino); err != nil {
			return nil, err
		} else if !empty {
			return nil, fs.ErrNotEmpty
		}
	}
	last := isLast(&n)
	return &fs.Unlink{Parent: r.Parent, Name: r.Name, Ino: n.Ino, Last: last, Hold: last && env.Held(n.Ino), Time: env.Now}, nil
}

// victimOf finds the directory and the file of a name that is to go.
func victimOf(v View, c *fs.Cred, dir fs.Ino, name fs.Name) (d, n fs.Attr, err error) {
	if d, err = v.Attr(dir); err != nil {
		return d, n, err
	}
	if d.Type != fs.TypeDir {
		return d, n, fs.ErrNotDir
	}
	if err := name.Check(); err != nil {
		return d, n, err
	}
	if !Permitted(c, &d, fs.AccessExec) {
		return d, n, fs.ErrAccess
	}
	e, ok, err := v.Entry(dir, name)
	if err != nil {
		return d, n, err
	}
	if !ok {
		return d, n, fs.ErrNoEnt
	}
	if !Permitted(c, &d, fs.AccessWrite) {
		return d, n, fs.ErrAccess
	}
	n, err = v.Attr(e.Ino)
	return d, n, err
}

func isLast(n *fs.Attr) bool { return n.Type == fs.TypeDir || n.Nlink == 1 }

// Rename decides that a name moves. A nil mutation without error means that
// both names lead to one inode already: nothing is to be done.
func Rename(v View, r *fs.RenameRequest, env Env) (*fs.Rename, error) {
	from, n, err := victimOf(v, &r.Cred, r.From, r.FromName)
	if err != nil {
		return nil, err
	}
	to, err := v.Attr(r.To)
	if err != nil {
		return nil, err
	}
	if to.Type != fs.TypeDir {
		return nil, fs.ErrNotDir
	}
	if err := r.ToName.Check(); err != nil {
		return nil, err
	}
	if to, err = dirFor(v, &r.Cred, r.To); err != nil {
		return nil, err
	}
	m := &fs.Rename{From: r.From, FromName: r.FromName, To: r.To, ToName: r.ToName, Ino: n.Ino, Time: env.Now}
	e, replaces, err := v.Entry(r.To, r.ToName)
	if err != nil {
		return nil, err
	}
	if replaces && e.Ino == n.Ino {
		return nil, nil
	}
	if !stickyAllows(&r.Cred, &from, &n) {
		return nil, fs.ErrAccess
	}
	if err := mayMove(v, r, &n, &to); err != nil {
		return nil, err
	}
	if !replaces {
		return m, nil
	}
	victim, err := v.Attr(e.Ino)
	if err != nil {
		return nil, err
	}
	if err := mayReplace(v, &r.Cred, &n, &to, &victim); err != nil {
		return nil, err
	}
	m.Victim, m.Last = victim.Ino, isLast(&victim)
	m.Hold = m.Last && env.Held(victim.Ino)
	return m, nil
}

// mayMove: a directory does not go below itself, and one that gets another
// parent is itself changed ("..").
func mayMove(v View, r *fs.RenameRequest, n, to *fs.Attr) error {
	if n.Type != fs.TypeDir || r.From == r.To {
		return nil
	}
	for up := to; ; {
		if up.Ino == n.Ino {
			return fs.ErrInval
		}
		if up.Ino == fs.RootIno || up.Parent == up.Ino {
			break
		}
		a, err := v.Attr(up.Parent)
		if err != nil {
			return err
		}
		up = &a
	}
	if !Permitted(&r.Cred, n, fs.AccessWrite) {
		return fs.ErrAccess
	}
	if to.Nlink >= fs.MaxLink {
		return fs.ErrMLink
	}
	return nil
}

func mayReplace(v View, c *fs.Cred, n, to, victim *fs.Attr) error {
	if !stickyAllows(c, to, victim) {
		return fs.ErrAccess
	}
	switch {
	case n.Type == fs.TypeDir && victim.Type != fs.TypeDir:
		return fs.ErrNotDir
	case n.Type != fs.TypeDir && victim.Type == fs.TypeDir:
		return fs.ErrIsDir
	case victim.Type != fs.TypeDir:
		return nil
	}
	empty, err := v.Empty(victim.Ino)
	if err != nil {
		return err
	}
	if !empty {
		return fs.ErrNotEmpty
	}
	return nil
}
