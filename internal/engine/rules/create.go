package rules

import "github.com/holdfast-fs/holdfast/internal/fs"

const (
	setuid = 0o4000
	setgid = 0o2000
	groupX = 0o010
)

// Create decides a new file. On fs.ErrExist the attributes are those of the
// file that is there.
func Create(v View, r *fs.CreateRequest, env Env) (*fs.Create, fs.Attr, error) {
	none := fs.Attr{}
	if r.Type < fs.TypeRegular || r.Type > fs.TypeFIFO {
		return nil, none, fs.ErrWrongType
	}
	d, there, err := search(v, &r.Cred, r.Parent, r.Name)
	if err != nil {
		return nil, none, err
	}
	if there != 0 {
		a, err := v.Attr(there)
		if err == nil {
			err = fs.ErrExist
		}
		return nil, a, err
	}
	if err := mayChange(&r.Cred, &d); err != nil {
		return nil, none, err
	}
	if r.Type == fs.TypeDir && d.Nlink >= fs.MaxLink {
		return nil, none, fs.ErrMLink
	}
	m := &fs.Create{Parent: r.Parent, Name: r.Name, Ino: env.NewIno, Type: r.Type, UID: r.Cred.UID, GID: r.Cred.GID,
		Target: r.Target, Verifier: r.Verifier, Atime: env.Now, Mtime: env.Now, Time: env.Now}
	if err := newOwner(m, r, &d); err != nil {
		return nil, none, err
	}
	newMode(m, r, &d)
	newTimes(m, r)
	return m, none, newKind(m, r)
}

// newOwner: a setgid directory gives its group; root gives a file to whom it
// likes, others to one of their groups.
func newOwner(m *fs.Create, r *fs.CreateRequest, dir *fs.Attr) error {
	if dir.Mode&setgid != 0 {
		m.GID = dir.GID
	}
	if u := r.Attrs.UID; u != nil {
		if r.Cred.UID != 0 && *u != r.Cred.UID {
			return fs.ErrPerm
		}
		m.UID = *u
	}
	if g := r.Attrs.GID; g != nil {
		if r.Cred.UID != 0 && *g != m.GID && !r.Cred.InGroup(*g) {
			return fs.ErrPerm
		}
		m.GID = *g
	}
	return nil
}

func newMode(m *fs.Create, r *fs.CreateRequest, dir *fs.Attr) {
	if r.Attrs.Mode != nil {
		m.Mode = *r.Attrs.Mode & 0o7777
	}
	switch {
	case r.Type == fs.TypeSymlink:
		m.Mode = 0o777
	case r.Type == fs.TypeDir:
		m.Mode |= dir.Mode & setgid
	case m.Mode&setgid != 0 && m.Mode&groupX != 0 && r.Cred.UID != 0 && !r.Cred.InGroup(m.GID):
		m.Mode &^= setgid // as Linux: nobody gives himself another group's rights
	}
}

func newTimes(m *fs.Create, r *fs.CreateRequest) {
	if r.Attrs.AtimeHow == fs.TimeClient {
		m.Atime = r.Attrs.Atime
	}
	if r.Attrs.MtimeHow == fs.TimeClient {
		m.Mtime = r.Attrs.Mtime
	}
}

// newKind checks and fills what only some types have.
func newKind(m *fs.Create, r *fs.CreateRequest) error {
	switch r.Type {
	case fs.TypeSymlink:
		switch {
		case r.Target == "":
			return fs.ErrInval
		case len(r.Target) > fs.MaxSymlink:
			return fs.ErrNameTooLong
		}
		return nil
	case fs.TypeBlock, fs.TypeChar:
		if r.Cred.UID != 0 {
			return fs.ErrPerm // CAP_MKNOD
		}
		m.Major, m.Minor = r.Major, r.Minor
	}
	m.Target = ""
	return nil
}
