package fstest

import (
	"context"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// change is what happened to a directory: call before the change, then after.
func (n *inode) changed(before uint64) fs.ChangeInfo {
	return fs.ChangeInfo{Before: before, After: n.attr.Change}
}

// enter adds a name to a directory.
func (n *inode) enter(name fs.Name, ino fs.Ino, now fs.Time) {
	n.entries[name] = &entry{cookie: n.next, ino: ino}
	n.next++
	n.attr.Mtime = now
}

// writable checks that names can be added to or taken from a directory.
func writable(d *inode, c *fs.Cred) error {
	if d.attr.Nlink == 0 {
		return fs.ErrNoEnt // removed, but held; Linux says the same
	}
	return need(d, c, fs.AccessWrite)
}

// Create makes a file of any type.
func (r *Ref) Create(_ context.Context, q *fs.CreateRequest) (fs.CreateResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var res fs.CreateResult
	now, err := r.begin()
	if err != nil {
		return res, err
	}
	d, there, err := r.search(&q.Cred, q.Parent, q.Name)
	if err != nil {
		return res, err
	}
	if there != nil {
		res.Attr = there.attr
		return res, fs.ErrExist
	}
	if err := writable(d, &q.Cred); err != nil {
		return res, err
	}
	n, err := r.newInode(q, d, now)
	if err != nil {
		return res, err
	}
	before := d.attr.Change
	r.nextIno++
	n.attr.Ino = fs.MakeIno(r.epoch, r.nextIno)
	r.inodes[n.attr.Ino] = n
	d.enter(q.Name, n.attr.Ino, now)
	if q.Type == fs.TypeDir {
		d.attr.Nlink++
	}
	seq := r.commit(now, n, d)
	return fs.CreateResult{Attr: n.attr, Parent: d.changed(before), Seq: seq}, nil
}

// newInode resolves the attributes of what is created in d.
func (r *Ref) newInode(q *fs.CreateRequest, d *inode, now fs.Time) (*inode, error) {
	n := &inode{attr: fs.Attr{
		Type: q.Type, Nlink: 1, UID: q.Cred.UID, GID: q.Cred.GID, Atime: now, Mtime: now, Btime: now, Verifier: q.Verifier,
	}}
	a := &n.attr
	if d.attr.Mode&setgid != 0 {
		a.GID = d.attr.GID
	}
	if err := chooseOwner(a, &q.Attrs, &q.Cred); err != nil {
		return nil, err
	}
	if q.Attrs.Mode != nil {
		a.Mode = *q.Attrs.Mode & allBits
	}
	if q.Type != fs.TypeDir && a.Mode&setgid != 0 && a.Mode&groupX != 0 && q.Cred.UID != 0 && !q.Cred.InGroup(a.GID) {
		a.Mode &^= setgid // as Linux: nobody gives himself another group's rights
	}
	setTimes(a, &q.Attrs, now)
	switch q.Type {
	case fs.TypeDir:
		a.Nlink, a.Size, a.Parent = 2, DirSize, d.attr.Ino
		a.Mode |= d.attr.Mode & setgid
		n.entries, n.next = map[fs.Name]*entry{}, firstCookie
	case fs.TypeSymlink:
		if len(q.Target) == 0 {
			return nil, fs.ErrInval
		}
		if len(q.Target) > fs.MaxSymlink {
			return nil, fs.ErrNameTooLong
		}
		n.target, a.Size, a.Mode = q.Target, uint64(len(q.Target)), 0o777
	case fs.TypeBlock, fs.TypeChar:
		if q.Cred.UID != 0 {
			return nil, fs.ErrPerm
		}
		a.Major, a.Minor = q.Major, q.Minor
	case fs.TypeRegular, fs.TypeSocket, fs.TypeFIFO:
	default:
		return nil, fs.ErrInval
	}
	return n, nil
}

// chooseOwner applies an owner or group that the request names.
func chooseOwner(a *fs.Attr, s *fs.AttrChange, c *fs.Cred) error {
	if s.UID != nil {
		if c.UID != 0 && *s.UID != c.UID {
			return fs.ErrPerm
		}
		a.UID = *s.UID
	}
	if s.GID != nil {
		if c.UID != 0 && !c.InGroup(*s.GID) && *s.GID != a.GID {
			return fs.ErrPerm
		}
		a.GID = *s.GID
	}
	return nil
}

// Link gives a file another name.
func (r *Ref) Link(_ context.Context, q *fs.LinkRequest) (fs.DirResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, err := r.begin()
	if err != nil {
		return fs.DirResult{}, err
	}
	d, there, err := r.search(&q.Cred, q.Parent, q.Name)
	if err != nil {
		return fs.DirResult{}, err
	}
	n, err := r.get(q.Ino)
	switch {
	case err != nil:
		return fs.DirResult{}, err
	case n.attr.Type == fs.TypeDir:
		return fs.DirResult{}, fs.ErrIsDir
	case there != nil:
		return fs.DirResult{}, fs.ErrExist
	}
	if err := writable(d, &q.Cred); err != nil {
		return fs.DirResult{}, err
	}
	switch {
	case n.attr.Nlink == 0:
		return fs.DirResult{}, fs.ErrNoEnt
	case n.attr.Nlink >= fs.MaxLink:
		return fs.DirResult{}, fs.ErrMLink
	}
	before := d.attr.Change
	n.attr.Nlink++
	d.enter(q.Name, q.Ino, now)
	seq := r.commit(now, n, d)
	return fs.DirResult{Parent: d.changed(before), Seq: seq}, nil
}
