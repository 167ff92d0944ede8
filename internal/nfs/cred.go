package nfs

import (
	"strconv"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// cred is who asks, as the current file system sees it: the user of the access
// point, or whom the client names. Root is somebody else where it may not be root.
func (c *compound) cred() fs.Cred {
	cred := c.named()
	switch {
	case c.squash != nil:
		return c.squash.apply(cred)
	case !c.cur.export.rights.Root:
		return (&Anonymous{UID: Nobody, GID: Nobody}).apply(cred)
	}
	return cred
}

// named is whom the access point or the client names.
func (c *compound) named() fs.Cred {
	if p := c.view.point; p != nil && p.User != nil {
		return *p.User
	}
	if sys := c.call.Sys; sys != nil {
		return fs.Cred{UID: sys.UID, GID: sys.GID, Groups: sys.Groups}
	}
	return fs.Cred{UID: Nobody, GID: Nobody}
}

// identified tells that it is not the client alone that says who asks.
func (c *compound) identified() bool {
	return c.view.point != nil && c.view.point.User != nil || !c.cur.export.rights.Root
}

// squashed tells that it is root who asks, and does not count as root.
func (c *compound) squashed() bool { return c.squash != nil && c.named().UID == 0 }

// principal names who asks, for the comparisons of RFC 8881 §2.10.8.3.
func (c *compound) principal() string {
	if c.call.Sys == nil {
		return "none"
	}
	return "sys:" + strconv.FormatUint(uint64(c.call.Sys.UID), 10)
}
