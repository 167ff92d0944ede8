package fstest

import (
	"context"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// SetAttr changes attributes: all that the request names, or none.
func (r *Ref) SetAttr(_ context.Context, q *fs.SetAttrRequest) (fs.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, err := r.begin()
	if err != nil {
		return fs.Result{}, err
	}
	n, err := r.get(q.Ino)
	if err != nil {
		return fs.Result{}, err
	}
	if err := maySet(n, q); err != nil {
		return fs.Result{}, err
	}
	if (q.Set == fs.AttrChange{}) {
		return fs.Result{Attr: n.attr}, nil
	}
	n.set(q, now)
	seq := r.commit(now, n)
	return fs.Result{Attr: n.attr, Seq: seq}, nil
}

// maySet checks every member of the request.
func maySet(n *inode, q *fs.SetAttrRequest) error {
	if err := maySetOwner(n, q); err != nil {
		return err
	}
	if q.Set.Mode != nil && !ownerOrRoot(n, &q.Cred) {
		return fs.ErrPerm
	}
	if err := maySetTimes(n, q); err != nil {
		return err
	}
	return maySetSize(n, q)
}

func maySetOwner(n *inode, q *fs.SetAttrRequest) error {
	if q.Cred.UID == 0 {
		return nil
	}
	owner := q.Cred.UID == n.attr.UID
	if u := q.Set.UID; u != nil && (!owner || *u != n.attr.UID) {
		return fs.ErrPerm
	}
	if g := q.Set.GID; g != nil && (!owner || *g != n.attr.GID && !q.Cred.InGroup(*g)) {
		return fs.ErrPerm
	}
	return nil
}

func maySetTimes(n *inode, q *fs.SetAttrRequest) error {
	if ownerOrRoot(n, &q.Cred) {
		return nil
	}
	if q.Set.AtimeHow == fs.TimeClient || q.Set.MtimeHow == fs.TimeClient {
		return fs.ErrPerm
	}
	if q.Set.AtimeHow == fs.TimeServer || q.Set.MtimeHow == fs.TimeServer {
		return need(n, &q.Cred, fs.AccessWrite)
	}
	return nil
}

func maySetSize(n *inode, q *fs.SetAttrRequest) error {
	switch {
	case q.Set.Size == nil:
		return nil
	case n.attr.Type == fs.TypeDir:
		return fs.ErrIsDir
	case n.attr.Type != fs.TypeRegular:
		return fs.ErrInval
	case *q.Set.Size > fs.MaxFileSize:
		return fs.ErrFBig
	case q.Opened:
		return nil
	}
	return need(n, &q.Cred, fs.AccessWrite)
}

// set carries out a request that is allowed.
func (n *inode) set(q *fs.SetAttrRequest, now fs.Time) {
	a, s := &n.attr, &q.Set
	if s.UID != nil {
		a.UID = *s.UID
	}
	if s.GID != nil {
		a.GID = *s.GID
	}
	if s.Mode != nil {
		a.Mode = *s.Mode & allBits
		if q.Cred.UID != 0 && !q.Cred.InGroup(a.GID) {
			a.Mode &^= setgid
		}
	}
	if q.Cred.UID != 0 && a.Type != fs.TypeDir && (s.UID != nil || s.GID != nil || s.Size != nil) {
		a.Mode = dropPrivilege(a.Mode)
	}
	if s.Size != nil {
		n.data.truncate(*s.Size)
		a.Size, a.Used, a.Mtime = *s.Size, n.data.used, now
	}
	setTimes(a, s, now)
}

func setTimes(a *fs.Attr, s *fs.AttrChange, now fs.Time) {
	a.Atime = chooseTime(s.AtimeHow, a.Atime, s.Atime, now)
	a.Mtime = chooseTime(s.MtimeHow, a.Mtime, s.Mtime, now)
}

func chooseTime(how fs.SetTime, old, given, now fs.Time) fs.Time {
	switch how {
	case fs.TimeServer:
		return now
	case fs.TimeClient:
		return given
	}
	return old
}
