package rules

import "github.com/holdfast-fs/holdfast/internal/fs"

// SetAttr decides a change of attributes: all that the request names, or none.
// A nil mutation without error means that nothing was asked for.
func SetAttr(v View, r *fs.SetAttrRequest, env Env) (*fs.SetAttr, error) {
	n, err := v.Attr(r.Ino)
	if err != nil {
		return nil, err
	}
	for _, may := range []func(*fs.Attr, *fs.SetAttrRequest) error{maySetOwner, maySetMode, maySetTimes, maySetSize} {
		if err := may(&n, r); err != nil {
			return nil, err
		}
	}
	m := &fs.SetAttr{Ino: r.Ino, Ctime: env.Now}
	setOwner(m, &n, r)
	setSize(m, r, env.Now)
	setMode(m, &n, r)
	setTimes(m, r, env.Now)
	if m.Mask == 0 {
		return nil, nil
	}
	return m, nil
}

func isOwner(c *fs.Cred, n *fs.Attr) bool { return c.UID == 0 || c.UID == n.UID }

func maySetOwner(n *fs.Attr, r *fs.SetAttrRequest) error {
	if r.Cred.UID == 0 {
		return nil
	}
	owner := r.Cred.UID == n.UID
	if u := r.Set.UID; u != nil && (!owner || *u != n.UID) {
		return fs.ErrPerm
	}
	if g := r.Set.GID; g != nil && (!owner || *g != n.GID && !r.Cred.InGroup(*g)) {
		return fs.ErrPerm
	}
	return nil
}

func maySetMode(n *fs.Attr, r *fs.SetAttrRequest) error {
	if r.Set.Mode != nil && !isOwner(&r.Cred, n) {
		return fs.ErrPerm
	}
	return nil
}

func maySetTimes(n *fs.Attr, r *fs.SetAttrRequest) error {
	if isOwner(&r.Cred, n) {
		return nil
	}
	if r.Set.AtimeHow == fs.TimeClient || r.Set.MtimeHow == fs.TimeClient {
		return fs.ErrPerm
	}
	if r.Set.AtimeHow == fs.TimeKeep && r.Set.MtimeHow == fs.TimeKeep || Permitted(&r.Cred, n, fs.AccessWrite) {
		return nil
	}
	return fs.ErrAccess
}

func maySetSize(n *fs.Attr, r *fs.SetAttrRequest) error {
	switch {
	case r.Set.Size == nil:
		return nil
	case n.Type == fs.TypeDir:
		return fs.ErrIsDir
	case n.Type != fs.TypeRegular:
		return fs.ErrInval
	case *r.Set.Size > fs.MaxFileSize:
		return fs.ErrFBig
	case !r.Opened && !Permitted(&r.Cred, n, fs.AccessWrite):
		return fs.ErrAccess
	}
	return nil
}

func setOwner(m *fs.SetAttr, n *fs.Attr, r *fs.SetAttrRequest) {
	m.UID, m.GID = n.UID, n.GID
	if u := r.Set.UID; u != nil {
		m.Mask |= fs.SetUID
		m.UID = *u
	}
	if g := r.Set.GID; g != nil {
		m.Mask |= fs.SetGID
		m.GID = *g
	}
}

func setSize(m *fs.SetAttr, r *fs.SetAttrRequest, now fs.Time) {
	if r.Set.Size == nil {
		return
	}
	m.Mask |= fs.SetSize | fs.SetMtime
	m.Size, m.Mtime = *r.Set.Size, now
}

// setMode comes after setOwner and setSize: both take privilege away, also the
// one that the same request gives.
func setMode(m *fs.SetAttr, n *fs.Attr, r *fs.SetAttrRequest) {
	mode := n.Mode
	if r.Set.Mode != nil {
		m.Mask |= fs.SetMode
		mode = *r.Set.Mode & 0o7777
		if r.Cred.UID != 0 && !r.Cred.InGroup(m.GID) {
			mode &^= setgid
		}
	}
	if r.Cred.UID != 0 && n.Type != fs.TypeDir && m.Mask&(fs.SetUID|fs.SetGID|fs.SetSize) != 0 {
		mode &^= privileged(mode)
	}
	if mode != n.Mode {
		m.Mask |= fs.SetMode
	}
	m.Mode = mode
}

// privileged are the bits that a change by somebody unprivileged takes away:
// setuid, and setgid where the group may execute (else it means mandatory
// locking, as Linux has it).
func privileged(mode uint32) uint32 {
	bits := mode & setuid
	if mode&groupX != 0 {
		bits |= mode & setgid
	}
	return bits
}

func setTimes(m *fs.SetAttr, r *fs.SetAttrRequest, now fs.Time) {
	if t, ok := timeFor(r.Set.AtimeHow, r.Set.Atime, now); ok {
		m.Mask |= fs.SetAtime
		m.Atime = t
	}
	if t, ok := timeFor(r.Set.MtimeHow, r.Set.Mtime, now); ok {
		m.Mask |= fs.SetMtime
		m.Mtime = t
	}
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
