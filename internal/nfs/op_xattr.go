package nfs

import (
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// opGetXattr is RFC 8276 §8.4.1. The pseudo root has no extended attributes.
func opGetXattr(c *compound) xdr.Status {
	name := c.name()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	switch c.cur.kind {
	case noObject:
		return xdr.ErrNoFileHandle
	case pseudoRoot:
		return xdr.ErrNoXattr
	}
	if st := xattrName(name); st != xdr.OK {
		return st
	}
	cred := c.cred()
	v, err := c.cur.export.FS.GetXattr(&cred, c.cur.ino, name)
	if err != nil {
		return c.status(err)
	}
	c.w.Opaque(v)
	return xdr.OK
}

func xattrName(name fs.Name) xdr.Status {
	switch {
	case len(name) == 0:
		return xdr.ErrInval
	case len(name) > fs.MaxName:
		return xdr.ErrNameTooLong
	}
	return xdr.OK
}

// opSetXattr is RFC 8276 §8.4.2.
func opSetXattr(c *compound) xdr.Status {
	how := c.args.Uint32()
	q := fs.XattrRequest{Name: c.name(), Value: c.args.Opaque(maxRequest)}
	switch how {
	case xdr.XattrEither:
		q.How = fs.XattrEither
	case xdr.XattrCreate:
		q.How = fs.XattrCreate
	case xdr.XattrReplace:
		q.How = fs.XattrReplace
	default:
		c.args.Fail()
	}
	if q.Value == nil {
		q.Value = []byte{}
	}
	return c.changeXattr(&q)
}

// opRemoveXattr is RFC 8276 §8.4.4.
func opRemoveXattr(c *compound) xdr.Status {
	return c.changeXattr(&fs.XattrRequest{Name: c.name(), Remove: true})
}

func (c *compound) changeXattr(q *fs.XattrRequest) xdr.Status {
	if st := c.ready(); st != xdr.OK {
		return st
	}
	if st := xattrName(q.Name); st != xdr.OK {
		return st
	}
	q.Cred, q.Ino = c.cred(), c.cur.ino
	if st := c.alone(nil, c.cur.ino); st != xdr.OK {
		return st
	}
	res, err := c.cur.export.FS.ChangeXattr(c.ctx, q)
	if err != nil {
		return c.status(err)
	}
	c.changed(res.Seq)
	c.putChange(res.Change)
	return xdr.OK
}

// listXattrsFixed is a LISTXATTRS4resok without names, bytes.
const listXattrsFixed = 8 + 4 + 4

// opListXattrs is RFC 8276 §8.4.3. A cookie counts the names that were
// delivered; the list is in byte order, so it changes only with its content.
func opListXattrs(c *compound) xdr.Status {
	cookie, room := c.args.Uint64(), int(min(c.args.Uint32(), maxReadDir))
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	names, st := c.xattrNames()
	if st != xdr.OK {
		return st
	}
	room = min(room, c.limit-c.w.Len()) - listXattrsFixed
	switch {
	case cookie > uint64(len(names)):
		return xdr.ErrBadCookie
	case room < 0:
		return xdr.ErrTooSmall
	}
	names = names[cookie:]
	n := 0
	for ; n < len(names); n++ {
		if room -= 4 + (len(names[n])+3)&^3; room < 0 {
			break
		}
	}
	if n == 0 && len(names) > 0 {
		return xdr.ErrTooSmall
	}
	c.w.Uint64(cookie + uint64(n))
	c.w.Uint32(uint32(n))
	for _, name := range names[:n] {
		c.w.String(string(name))
	}
	c.w.Bool(n == len(names))
	return xdr.OK
}

func (c *compound) xattrNames() ([]fs.Name, xdr.Status) {
	switch c.cur.kind {
	case noObject:
		return nil, xdr.ErrNoFileHandle
	case pseudoRoot:
		return nil, xdr.OK
	}
	cred := c.cred()
	names, err := c.cur.export.FS.ListXattrs(&cred, c.cur.ino)
	return names, c.status(err)
}
