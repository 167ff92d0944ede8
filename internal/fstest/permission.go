package fstest

import "github.com/holdfast-fs/holdfast/internal/fs"

const (
	setuid  = 0o4000
	setgid  = 0o2000
	sticky  = 0o1000
	groupX  = 0o010
	anyX    = 0o111
	allBits = 0o7777
)

// granted tells which of want the caller has: root all but the execution of a
// file that nobody may execute; else the owner's bits, or the group's, or the
// others'.
func granted(a *fs.Attr, c *fs.Cred, want fs.Access) fs.Access {
	if c.UID == 0 {
		if a.Type != fs.TypeDir && a.Mode&anyX == 0 {
			return want &^ fs.AccessExec
		}
		return want
	}
	switch {
	case c.UID == a.UID:
		return want & fs.Access(a.Mode>>6&7)
	case c.InGroup(a.GID):
		return want & fs.Access(a.Mode>>3&7)
	}
	return want & fs.Access(a.Mode&7)
}

// need is fs.ErrAccess unless the caller has all of want.
func need(n *inode, c *fs.Cred, want fs.Access) error {
	if granted(&n.attr, c, want) != want {
		return fs.ErrAccess
	}
	return nil
}

func ownerOrRoot(n *inode, c *fs.Cred) bool { return c.UID == 0 || c.UID == n.attr.UID }

// mayUnname checks the sticky bit: who may take the name of victim out of dir.
func mayUnname(dir, victim *inode, c *fs.Cred) error {
	if dir.attr.Mode&sticky != 0 && !ownerOrRoot(dir, c) && !ownerOrRoot(victim, c) {
		return fs.ErrPerm
	}
	return nil
}

// dropPrivilege is the mode of a file that somebody changed: without setuid,
// and without setgid where it means privilege (the group may execute).
func dropPrivilege(mode uint32) uint32 {
	mode &^= setuid
	if mode&groupX != 0 {
		mode &^= setgid
	}
	return mode
}

// Access tells which of want the caller has.
func (r *Ref) Access(c *fs.Cred, ino fs.Ino, want fs.Access) (fs.Access, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n, err := r.get(ino)
	if err != nil {
		return 0, err
	}
	return granted(&n.attr, c, want), nil
}
