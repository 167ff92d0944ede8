package nfs

import (
	"strconv"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// cred is who asks, as the current file system sees it.
func (c *compound) cred() fs.Cred {
	sys := c.call.Sys
	if sys == nil {
		return fs.Cred{UID: Nobody, GID: Nobody}
	}
	cred := fs.Cred{UID: sys.UID, GID: sys.GID, Groups: sys.Groups}
	if c.squash != nil {
		cred = c.squash.apply(cred)
	}
	return cred
}

// squashed tells that it is root who asks, and does not count as root.
func (c *compound) squashed() bool {
	return c.squash != nil && c.call.Sys != nil && c.call.Sys.UID == 0
}

// principal names who asks, for the comparisons of RFC 8881 §2.10.8.3.
func (c *compound) principal() string {
	if c.call.Sys == nil {
		return "none"
	}
	return "sys:" + strconv.FormatUint(uint64(c.call.Sys.UID), 10)
}
