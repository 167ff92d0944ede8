package rules

import "github.com/holdfast-fs/holdfast/internal/fs"

// Link decides another name for an inode.
func Link(v View, r *fs.LinkRequest, env Env) (*fs.Link, error) {
	d, there, err := search(v, &r.Cred, r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	n, err := v.Attr(r.Ino)
	switch {
	case err != nil:
		return nil, err
	case n.Type == fs.TypeDir:
		return nil, fs.ErrIsDir
	case there != 0:
		return nil, fs.ErrExist
	}
	if err := mayChange(&r.Cred, &d); err != nil {
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
	d, ino, err := search(v, &r.Cred, r.Parent, r.Name)
	switch {
	case err != nil:
		return nil, err
	case ino == 0:
		return nil, fs.ErrNoEnt
	}
	if err := mayChange(&r.Cred, &d); err != nil {
		return nil, err
	}
	n, err := v.Attr(ino)
	if err != nil {
		return nil, err
	}
	if err := mayUnname(&r.Cred, &d, &n); err != nil {
		return nil, err
	}
	if err := mustBeEmpty(v, &n); err != nil {
		return nil, err
	}
	last := isLast(&n)
	return &fs.Unlink{Parent: r.Parent, Name: r.Name, Ino: n.Ino, Last: last, Hold: last && env.Held(n.Ino), Time: env.Now}, nil
}

func isLast(n *fs.Attr) bool { return n.Type == fs.TypeDir || n.Nlink == 1 }

// mustBeEmpty is fs.ErrNotEmpty for a directory with entries.
func mustBeEmpty(v View, n *fs.Attr) error {
	if n.Type != fs.TypeDir {
		return nil
	}
	empty, err := v.Empty(n.Ino)
	if err == nil && !empty {
		return fs.ErrNotEmpty
	}
	return err
}

// Rename decides that a name moves. A nil mutation without error means that
// both names lead to one inode already: nothing is to be done.
func Rename(v View, r *fs.RenameRequest, env Env) (*fs.Rename, error) {
	if err := r.ToName.Check(); err != nil {
		return nil, err
	}
	from, ino, err := search(v, &r.Cred, r.From, r.FromName)
	if err != nil {
		return nil, err
	}
	to, there, err := search(v, &r.Cred, r.To, r.ToName)
	switch {
	case err != nil:
		return nil, err
	case ino == 0:
		return nil, fs.ErrNoEnt
	}
	n, err := v.Attr(ino)
	if err != nil {
		return nil, err
	}
	if err := mustLieOutside(v, &to, &n); err != nil {
		return nil, err
	}
	if there == ino {
		return nil, nil
	}
	if err := mayMove(&r.Cred, &from, &n, &to); err != nil {
		return nil, err
	}
	m := &fs.Rename{From: r.From, FromName: r.FromName, To: r.To, ToName: r.ToName, Ino: n.Ino, Time: env.Now}
	victim := fs.Attr{}
	if there != 0 {
		if victim, err = mayReplace(v, &r.Cred, &n, &to, there); err != nil {
			return nil, err
		}
		m.Victim, m.Last = victim.Ino, isLast(&victim)
		m.Hold = m.Last && env.Held(victim.Ino)
	}
	if n.Type == fs.TypeDir && r.From != r.To {
		if err := mayReparent(&r.Cred, &n, &to); err != nil {
			return nil, err
		}
	}
	return m, mustBeEmpty(v, &victim)
}

// mustLieOutside is fs.ErrInval when the directory n would go below itself.
func mustLieOutside(v View, to, n *fs.Attr) error {
	if n.Type != fs.TypeDir {
		return nil
	}
	for up := *to; ; {
		if up.Ino == n.Ino {
			return fs.ErrInval
		}
		if up.Ino == fs.RootIno {
			return nil
		}
		a, err := v.Attr(up.Parent)
		if err == fs.ErrStale {
			return nil // to was removed while somebody stands in it
		}
		if err != nil {
			return err
		}
		up = a
	}
}

func mayMove(c *fs.Cred, from, n, to *fs.Attr) error {
	if err := mayChange(c, from); err != nil {
		return err
	}
	if err := mayUnname(c, from, n); err != nil {
		return err
	}
	return mayChange(c, to)
}

// mayReparent: a directory that gets another parent is itself changed ("..").
func mayReparent(c *fs.Cred, n, to *fs.Attr) error {
	if !Permitted(c, n, fs.AccessWrite) {
		return fs.ErrAccess
	}
	if to.Nlink >= fs.MaxLink {
		return fs.ErrMLink
	}
	return nil
}

// mayReplace gives the inode that has the new name, if n may take its place.
// Whether a directory is empty is asked last, as Linux does.
func mayReplace(v View, c *fs.Cred, n, to *fs.Attr, ino fs.Ino) (victim fs.Attr, err error) {
	if victim, err = v.Attr(ino); err != nil {
		return victim, err
	}
	if err := mayUnname(c, to, &victim); err != nil {
		return victim, err
	}
	switch {
	case n.Type == fs.TypeDir && victim.Type != fs.TypeDir:
		return victim, fs.ErrNotDir
	case n.Type != fs.TypeDir && victim.Type == fs.TypeDir:
		return victim, fs.ErrIsDir
	}
	return victim, nil
}
