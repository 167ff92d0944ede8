package rules

import "github.com/holdfast-fs/holdfast/internal/fs"

// RangeView is what the rules of ranges and extended attributes see besides.
type RangeView interface {
	View
	// BoundExtents gives how far a range may reach so that it holds at most
	// limit extents.
	BoundExtents(ino fs.Ino, from, to uint64, limit int) (uint64, error)
	Xattr(ino fs.Ino, name fs.Name) (v []byte, ok bool, err error)
	XattrCount(ino fs.Ino) (int, error)
}

// regular gives the attributes of a file that has bytes.
func regular(v View, ino fs.Ino) (fs.Attr, error) {
	a, err := v.Attr(ino)
	if err != nil {
		return a, err
	}
	switch a.Type {
	case fs.TypeRegular:
		return a, nil
	case fs.TypeDir:
		return a, fs.ErrIsDir
	}
	return a, fs.ErrInval
}

func clearFor(c *fs.Cred, a *fs.Attr) uint32 {
	if c.UID == 0 {
		return 0
	}
	return privileged(a.Mode)
}

// Punch decides one step of making a range a hole, from r.Offset on; next is
// where the following one begins, 0 when it was the last. A nil mutation means
// that nothing is there.
func Punch(v RangeView, r *fs.RangeRequest, env Env) (m *fs.Punch, next uint64, err error) {
	a, err := regular(v, r.Ino)
	if err != nil {
		return nil, 0, err
	}
	if r.Length == 0 || r.Offset+r.Length < r.Offset {
		return nil, 0, fs.ErrInval
	}
	to := min(r.Offset+r.Length, a.Size)
	if r.Offset >= to {
		return nil, 0, nil
	}
	end, err := v.BoundExtents(r.Ino, r.Offset, to, fs.MaxExtentsCut)
	if err != nil {
		return nil, 0, err
	}
	if end < to {
		next = end
	}
	return &fs.Punch{Ino: r.Ino, From: r.Offset, To: end, ClearMode: clearFor(&r.Cred, &a), Time: env.Now}, next, nil
}

// Allocate decides how a file grows so that it reaches to the end of a range.
func Allocate(v View, r *fs.RangeRequest, env Env) (*fs.SetAttr, error) {
	a, err := regular(v, r.Ino)
	if err != nil {
		return nil, err
	}
	switch end := r.Offset + r.Length; {
	case r.Length == 0 || end < r.Offset:
		return nil, fs.ErrInval
	case end > fs.MaxFileSize:
		return nil, fs.ErrFBig
	case end <= a.Size:
		return nil, nil
	default:
		return &fs.SetAttr{Ino: r.Ino, Mask: fs.SetSize | fs.SetMtime, Size: end, Mtime: env.Now, Ctime: env.Now}, nil
	}
}

// Clone decides one step of a clone; a nil mutation means that it is done.
func Clone(v RangeView, r *fs.CloneRequest, env Env) (*fs.Clone, error) {
	src, err := regular(v, r.Src)
	if err != nil {
		return nil, err
	}
	dst, err := regular(v, r.Dst)
	if err != nil {
		return nil, err
	}
	if r.SrcOffset > src.Size {
		return nil, fs.ErrInval
	}
	n := src.Size - r.SrcOffset
	if r.Length > 0 {
		n = min(n, r.Length)
	}
	switch {
	case n == 0:
		return nil, nil
	case r.DstOffset > fs.MaxFileSize || n > fs.MaxFileSize-r.DstOffset:
		return nil, fs.ErrFBig
	case r.Src == r.Dst && r.SrcOffset < r.DstOffset+n && r.DstOffset < r.SrcOffset+n:
		return nil, fs.ErrInval
	}
	end, err := v.BoundExtents(r.Src, r.SrcOffset, r.SrcOffset+n, fs.MaxExtentsCut)
	if err != nil {
		return nil, err
	}
	n = end - r.SrcOffset
	if end, err = v.BoundExtents(r.Dst, r.DstOffset, r.DstOffset+n, fs.MaxExtentsCut); err != nil {
		return nil, err
	}
	n = min(n, end-r.DstOffset)
	return &fs.Clone{Src: r.Src, SrcOffset: r.SrcOffset, Dst: r.Dst, DstOffset: r.DstOffset, Length: n,
		ClearMode: clearFor(&r.Cred, &dst), Time: env.Now}, nil
}

// Xattr decides a change of an extended attribute. Like Linux's user
// namespace: regular files and directories only, and the permission of
// writing; in a sticky directory only its owner.
func Xattr(v RangeView, r *fs.XattrRequest, env Env) (*fs.Xattr, error) {
	a, err := v.Attr(r.Ino)
	if err != nil {
		return nil, err
	}
	const sticky = 0o1000
	switch {
	case a.Type != fs.TypeRegular && a.Type != fs.TypeDir:
		return nil, fs.ErrPerm
	case len(r.Name) == 0 || len(r.Name) > fs.MaxName:
		return nil, fs.ErrInval
	case len(r.Value) > fs.MaxXattrValue:
		return nil, fs.ErrXattrTooBig
	case a.Type == fs.TypeDir && a.Mode&sticky != 0 && !isOwner(&r.Cred, &a):
		return nil, fs.ErrPerm
	case !Permitted(&r.Cred, &a, fs.AccessWrite):
		return nil, fs.ErrAccess
	}
	_, there, err := v.Xattr(r.Ino, r.Name)
	if err != nil {
		return nil, err
	}
	switch {
	case (r.Remove || r.How == fs.XattrReplace) && !there:
		return nil, fs.ErrNoXattr
	case !r.Remove && r.How == fs.XattrCreate && there:
		return nil, fs.ErrExist
	case !r.Remove && !there:
		if n, err := v.XattrCount(r.Ino); err != nil {
			return nil, err
		} else if n >= fs.MaxXattrs {
			return nil, fs.ErrNoSpace
		}
	}
	return &fs.Xattr{Ino: r.Ino, Name: r.Name, Value: r.Value, Delete: r.Remove, Time: env.Now}, nil
}

// ReadXattr checks that c may read extended attributes.
func ReadXattr(v View, c *fs.Cred, ino fs.Ino) error {
	a, err := v.Attr(ino)
	if err != nil {
		return err
	}
	if !Permitted(c, &a, fs.AccessRead) {
		return fs.ErrAccess
	}
	return nil
}
