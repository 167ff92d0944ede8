package nfs

import (
	"strconv"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// settable reads a fattr4 of attributes to be set, and tells which they are.
func (c *compound) settable() (fs.AttrChange, xdr.Bitmap, xdr.Status) {
	var set fs.AttrChange
	var x xdr.Attrs
	if err := c.args.Attrs(&x); err != nil {
		return set, x.Mask, err.(xdr.Status)
	}
	switch {
	case c.args.Bad():
		return set, x.Mask, xdr.ErrBadXDR
	case !x.Mask.Without(supported.And(c.dialect.attrs)).IsZero():
		return set, x.Mask, xdr.ErrAttrNotSupp
	case !x.Mask.Without(settableAttrs).IsZero():
		return set, x.Mask, xdr.ErrInval
	}
	st := change(&x, &set)
	return set, x.Mask, st
}

// change resolves attributes as fs wants them.
func change(x *xdr.Attrs, set *fs.AttrChange) xdr.Status {
	if x.Mask.Has(xdr.AttrSize) {
		set.Size = &x.Size
	}
	if st := changeMode(x, set); st != xdr.OK {
		return st
	}
	if x.Mask.Has(xdr.AttrOwner) && x.Owner == "" || x.Mask.Has(xdr.AttrOwnerGroup) && x.OwnerGroup == "" {
		return xdr.ErrInval
	}
	if x.Mask.Has(xdr.AttrOwner) {
		id, ok := parseOwner(x.Owner)
		if !ok {
			return xdr.ErrBadOwner
		}
		set.UID = &id
	}
	if x.Mask.Has(xdr.AttrOwnerGroup) {
		id, ok := parseOwner(x.OwnerGroup)
		if !ok {
			return xdr.ErrBadOwner
		}
		set.GID = &id
	}
	var ok [2]bool
	set.AtimeHow, set.Atime, ok[0] = setTime(&x.Mask, xdr.AttrTimeAccessSet, x.TimeAccessSet)
	set.MtimeHow, set.Mtime, ok[1] = setTime(&x.Mask, xdr.AttrTimeModifySet, x.TimeModifySet)
	if !ok[0] || !ok[1] {
		return xdr.ErrInval
	}
	return xdr.OK
}

// changeMode resolves the mode, or the mode with the umask of who creates
// (RFC 8275): there are no inheritable ACLs, so the umask always counts.
func changeMode(x *xdr.Attrs, set *fs.AttrChange) xdr.Status {
	mode := x.Mode
	switch {
	case x.Mask.Has(xdr.AttrModeUmask) && x.Mask.Has(xdr.AttrMode):
		return xdr.ErrInval
	case x.Mask.Has(xdr.AttrModeUmask):
		mode = x.UmaskedMode &^ (x.Umask & 0o777)
	case !x.Mask.Has(xdr.AttrMode):
		return xdr.OK
	}
	if mode&^0o7777 != 0 {
		return xdr.ErrInval
	}
	set.Mode = &mode
	return xdr.OK
}

func setTime(mask *xdr.Bitmap, n int, t xdr.SetTime) (fs.SetTime, fs.Time, bool) {
	switch {
	case !mask.Has(n):
		return fs.TimeKeep, fs.Time{}, true
	case !t.Client:
		return fs.TimeServer, fs.Time{}, true
	}
	return fs.TimeClient, fs.Time(t.Time), t.Time.Nsec < 1e9
}

// parseOwner reads "1000" or "1000@domain" (RFC 8881 §5.9). The domain means
// nothing: ids are those of AUTH_SYS.
func parseOwner(s string) (uint32, bool) {
	s, _, _ = strings.Cut(s, "@")
	id, err := strconv.ParseUint(s, 10, 32)
	return uint32(id), err == nil
}
