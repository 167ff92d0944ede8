package nfs

import (
	"strconv"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// nobody is who asks without a name, and what root is squashed to.
const nobody = 65534

// cred is who asks, as the current file system sees it.
func (c *compound) cred() fs.Cred {
	sys := c.call.Sys
	if sys == nil {
		return fs.Cred{UID: nobody, GID: nobody}
	}
	cred := fs.Cred{UID: sys.UID, GID: sys.GID, Groups: sys.Groups}
	if c.cur.export.SquashRoot {
		cred.UID, cred.GID = squash(cred.UID), squash(cred.GID)
		cred.Groups = make([]uint32, len(sys.Groups))
		for i, g := range sys.Groups {
			cred.Groups[i] = squash(g)
		}
	}
	return cred
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
