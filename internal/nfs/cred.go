package nfs

import (
	"strconv"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// nobody is who asks without a name, and what root is squashed to.
const nobody = 65534

// cred is who asks, as the current file system sees it: the user of the access
// point, or whom the client names. Root is nobody where it may not be root.
func (c *compound) cred() fs.Cred {
	cred := fs.Cred{UID: nobody, GID: nobody}
	if sys := c.call.Sys; sys != nil {
		cred = fs.Cred{UID: sys.UID, GID: sys.GID, Groups: sys.Groups}
	}
	if p := c.view.point; p != nil && p.User != nil {
		cred = *p.User
	}
	if !c.cur.export.SquashRoot && c.cur.export.rights.Root {
		return cred
	}
	cred.UID, cred.GID = squash(cred.UID), squash(cred.GID)
	groups := make([]uint32, len(cred.Groups))
	for i, g := range cred.Groups {
		groups[i] = squash(g)
	}
	cred.Groups = groups
	return cred
}

// identified tells that it is not the client alone that says who asks.
func (c *compound) identified() bool {
	return c.view.point != nil && c.view.point.User != nil || !c.cur.export.rights.Root
}

func squash(id uint32) uint32 {
	if id == 0 {
		return nobody
	}
	return id
}

// principal names who asks, for the comparisons of RFC 8881 §2.10.8.3.
func (c *compound) principal() string {
	if c.call.Sys == nil {
		return "none"
	}
	return "sys:" + strconv.FormatUint(uint64(c.call.Sys.UID), 10)
}
