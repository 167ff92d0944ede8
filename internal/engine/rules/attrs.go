package rules

import "github.com/holdfast-fs/holdfast/internal/fs"

// SetAttr decides a change of attributes. A nil mutation without error means
// that nothing was asked for.
func SetAttr(v View, r *fs.SetAttrRequest, env Env) (*fs.SetAttr, error) {
	n, err := v.Attr(r.Ino)
	if err != nil {
		return nil, err
	}
	m := &fs.SetAttr{Ino: r.Ino, Ctime: env.Now}
	for _, step := range []func(*fs.SetAttr, *fs.Attr, *fs.SetAttrRequest, fs.Time) error{setSize, setOwner, setMode, setTimes} {
		if err := step(m, &n, r, env.Now); err != nil {
			return nil, err
		}
	}
	if m.Mask == 0 {
		return nil, nil
	}
	return m, nil
}

func isOwner(c *fs.Cred, n *fs.Attr) bool { return c.UID == 0 || c.UID == n.UID }

func setMode(m *fs.SetAttr, n *fs.Attr, r *fs.SetAttrRequest, _ fs.Time) error {
	if r.Set.Mode == nil {
		return nil
	}
	if !isOwner(&r.Cred, n) {
		return fs.ErrPerm
	}
	mode := *r.Set.Mode & 0o7777
	gid := n.GID
	if m.Mask&fs.SetGID != 0 {
		gid = m.GID
	}
	if n.Type != fs.TypeDir && r.Cred.UID != 0 && !r.Cred.InGroup(gid) {
		mode &^= setgid
	}
	m.Mask |= fs.SetMode
	m.Mode = mode
	return nil
}

func setOwner(m *fs.SetAttr, n *fs.Attr, r *fs.SetAttrRequest, _ fs.Time) error {
	if u := r.Set.UID; u != nil {
		if r.Cred.UID != 0 && (r.Cred.UID != n.UID || *u != n.UID) {
			return fs.ErrPerm
		}
		m.Mask |= fs.SetUID
		m.UID = *u
	}
	if g := r.Set.GID; g != nil {
		if r.Cred.UID != 0 && (r.Cred.UID != n.UID || *g != n.GID && !r.Cred.InGroup(*g)) {
			return fs.ErrPerm
		}
		m.Mask |= fs.SetGID
		m.GID = *g
	}
	if m.Mask&(fs.SetUID|fs.SetGID) != 0 && n.Type != fs.TypeDir && r.Cred.UID != 0 {
		dropPrivilege(m, n)
	}
	return nil
}

// privileged are the bits that a change by somebody unprivileged takes away:
// setuid, and setgid where the group may execute (else it means mandatory
// locking, as Linux has it).
func privileged(mode uint32) uint32 {
	bits := mode & setuid
	if mode&0o010 != 0 {
		bits |= mode & setgid
	}
	return bits
}

func dropPrivilege(m *fs.SetAttr, n *fs.Attr) {
	if bits := privileged(n.Mode); bits != 0 {
		m.Mask |= fs.SetMode
		m.Mode = n.Mode &^ bits
	}
}

func setSize(m *fs.SetAttr, n *fs.Attr, r *fs.SetAttrRequest, now fs.Time) error {
	if r.Set.Size == nil {
		return nil
	}
	switch n.Type {
	case fs.TypeRegular:
	case fs.TypeDir:
		return fs.ErrIsDir
	default:
		return fs.ErrInval
	}
	if !r.Opened && !Permitted(&r.Cred, n, fs.AccessWrite) {
		return fs.ErrAccess
	}
	if *r.Set.Size > fs.MaxFileSize {
		return fs.ErrFBig
	}
	m.Mask |= fs.SetSize | fs.SetMtime
	m.Size = *r.Set.Size
	m.Mtime = now
	if r.Cred.UID != 0 {
		dropPrivilege(m, n)
	}
	return nil
}

func setTimes(m *fs.SetAttr, n *fs.Attr, r *fs.SetAttrRequest, now fs.Time) error {
	explicit := r.Set.AtimeHow == fs.TimeClient || r.Set.MtimeHow == fs.TimeClient
	server := r.Set.AtimeHow == fs.TimeServer || r.Set.MtimeHow == fs.TimeServer
	switch {
	case explicit && !isOwner(&r.Cred, n):
		return fs.ErrPerm
	case server && !isOwner(&r.Cred, n) && !(r.Opened || Permitted(&r.Cred, n, fs.AccessWrite)):
		return fs.ErrAccess
	}
	if t, ok := timeFor(r.Set.AtimeHow, r.Set.Atime, now); ok {
		m.Mask |= fs.SetAtime
		m.Atime = t
	}
	if t, ok := timeFor(r.Set.MtimeHow, r.Set.Mtime, now); ok {
		m.Mask |= fs.SetMtime
		m.Mtime = t
	}
	return nil
}

func timeFor(how fs.SetTime, given, now fs.Time) (fs.Time, bool) {
	switch how {
	case fs.TimeServer:
		return now, true
	case fs.TimeClient:
		return given, true
	}
	return fs.Time{}, false
}

// Write decides a write, which may be shorter than asked: so many bytes that
// it changes at most fs.MaxExtentsCut extents.
func Write(v View, r *fs.WriteRequest, env Env) (m *fs.Write, n int, err error) {
	a, err := v.Attr(r.Ino)
	if err != nil {
		return nil, 0, err
	}
	switch a.Type {
	case fs.TypeRegular:
	case fs.TypeDir:
		return nil, 0, fs.ErrIsDir
	default:
		return nil, 0, fs.ErrInval
	}
	n = min(len(r.Data), fs.MaxWrite)
	if n == 0 {
		return nil, 0, nil
	}
	if r.Offset >= fs.MaxFileSize {
		return nil, 0, fs.ErrFBig
	}
	n = int(min(uint64(n), fs.MaxFileSize-r.Offset))
	if r.Offset < a.Size {
		if n, err = boundedWrite(v, r, n); err != nil {
			return nil, 0, err
		}
	}
	m = &fs.Write{Ino: r.Ino, Offset: r.Offset, Length: uint32(n), Time: env.Now}
	if r.Cred.UID != 0 {
		m.ClearMode = privileged(a.Mode)
	}
	return m, n, nil
}

// boundedWrite halves the length until few enough extents are in the way.
func boundedWrite(v View, r *fs.WriteRequest, n int) (int, error) {
	for {
		c, err := v.CountExtents(r.Ino, r.Offset, r.Offset+uint64(n), fs.MaxExtentsCut+1)
		if err != nil {
			return 0, err
		}
		if c <= fs.MaxExtentsCut {
			return n, nil
		}
		n /= 2
	}
}
