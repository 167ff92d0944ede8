package fstest

import (
	"context"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// unname takes one name from an inode that has lost its entry in d.
func (n *inode) unname(d *inode) {
	if n.attr.Type == fs.TypeDir {
		n.attr.Nlink = 0
		d.attr.Nlink--
		return
	}
	n.attr.Nlink--
}

// Remove takes a name away.
func (r *Ref) Remove(_ context.Context, q *fs.RemoveRequest) (fs.DirResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, err := r.begin()
	if err != nil {
		return fs.DirResult{}, err
	}
	d, n, err := r.search(&q.Cred, q.Parent, q.Name)
	switch {
	case err != nil:
		return fs.DirResult{}, err
	case n == nil:
		return fs.DirResult{}, fs.ErrNoEnt
	}
	if err := writable(d, &q.Cred); err != nil {
		return fs.DirResult{}, err
	}
	if err := mayUnname(d, n, &q.Cred); err != nil {
		return fs.DirResult{}, err
	}
	if len(n.entries) > 0 {
		return fs.DirResult{}, fs.ErrNotEmpty
	}
	before := d.attr.Change
	delete(d.entries, q.Name)
	d.attr.Mtime = now
	n.unname(d)
	seq := r.commit(now, n, d)
	res := fs.DirResult{Parent: d.changed(before), Removed: n.attr.Ino, Gone: n.attr.Nlink == 0, Seq: seq}
	r.dropIfGone(n.attr.Ino)
	return res, nil
}

// Rename moves a name, replacing what has the new one.
func (r *Ref) Rename(_ context.Context, q *fs.RenameRequest) (fs.RenameResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var res fs.RenameResult
	now, err := r.begin()
	if err != nil {
		return res, err
	}
	if err := q.ToName.Check(); err != nil {
		return res, err
	}
	from, n, err := r.search(&q.Cred, q.From, q.FromName)
	if err != nil {
		return res, err
	}
	to, victim, err := r.search(&q.Cred, q.To, q.ToName)
	switch {
	case err != nil:
		return res, err
	case n == nil:
		return res, fs.ErrNoEnt
	case n.attr.Type == fs.TypeDir && r.within(to, n):
		return res, fs.ErrInval
	case victim == n: // two names of one file, or the same name
		return fs.RenameResult{From: from.changed(from.attr.Change), To: to.changed(to.attr.Change)}, nil
	}
	if err := mayRename(&q.Cred, from, n, to, victim); err != nil {
		return res, err
	}
	fromBefore, toBefore := from.attr.Change, to.attr.Change
	delete(from.entries, q.FromName)
	delete(to.entries, q.ToName)
	touched := []*inode{n, from, to}
	if victim != nil {
		victim.unname(to)
		touched = append(touched, victim)
		res.Victim = victim.attr.Ino
	}
	to.enter(q.ToName, n.attr.Ino, now)
	from.attr.Mtime = now
	if n.attr.Type == fs.TypeDir {
		from.attr.Nlink--
		to.attr.Nlink++
		n.attr.Parent = to.attr.Ino
	}
	res.Seq = r.commit(now, touched...)
	res.From, res.To = from.changed(fromBefore), to.changed(toBefore)
	if victim != nil {
		r.dropIfGone(victim.attr.Ino)
	}
	return res, nil
}

// within reports whether d is dir or below it.
func (r *Ref) within(d, dir *inode) bool {
	for d != dir {
		if d.attr.Ino == fs.RootIno {
			return false
		}
		up := r.inodes[d.attr.Parent]
		if up == nil {
			return false // d was removed
		}
		d = up
	}
	return true
}

// mayRename checks permissions, then types, then that a replaced directory is
// empty.
func mayRename(c *fs.Cred, from, n, to, victim *inode) error {
	if err := writable(from, c); err != nil {
		return err
	}
	if err := mayUnname(from, n, c); err != nil {
		return err
	}
	if err := writable(to, c); err != nil {
		return err
	}
	isDir := n.attr.Type == fs.TypeDir
	if victim != nil {
		if err := mayUnname(to, victim, c); err != nil {
			return err
		}
		switch victimDir := victim.attr.Type == fs.TypeDir; {
		case isDir && !victimDir:
			return fs.ErrNotDir
		case !isDir && victimDir:
			return fs.ErrIsDir
		}
	}
	if isDir && from != to {
		if err := need(n, c, fs.AccessWrite); err != nil {
			return err // its ".." changes
		}
	}
	if victim != nil && len(victim.entries) > 0 {
		return fs.ErrNotEmpty
	}
	return nil
}
