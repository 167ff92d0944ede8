package nfs

import (
	"cmp"
	"slices"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// dirent is one entry of a listing.
type dirent struct {
	cookie uint64
	name   string
	obj    object
	typ    fs.Type
}

// listing is a READDIR while its reply is written.
type listing struct {
	c       *compound
	want    xdr.Bitmap
	dirLeft int // bytes of names and cookies: the client's hint
	limit   int // length of the whole reply that must not be exceeded
	entries int
}

// opReadDir is RFC 8881 §18.23. Cookies are stable, so the verifier never
// changes and is only compared.
func opReadDir(c *compound) xdr.Status {
	cookie, verifier := c.args.Uint64(), c.args.Verifier()
	dirCount, maxCount := c.args.Uint32(), c.args.Uint32()
	want := c.args.Bitmap()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	if st := c.needObject(); st != xdr.OK {
		return st
	}
	switch {
	case cookie == 1 || cookie == 2:
		return xdr.ErrBadCookie
	case cookie != 0 && verifier != cookieVerifier:
		return xdr.ErrNotSame
	case !want.And(setOnly).And(c.dialect.attrs).IsZero():
		return xdr.ErrInval
	}
	if st := c.mayList(); st != xdr.OK {
		return st
	}
	l := &listing{c: c, want: want, dirLeft: int(dirCount)}
	l.limit = min(c.limit, c.w.Len()+int(min(maxCount, maxReadDir)))
	if l.limit-c.w.Len() < listingFixed {
		return xdr.ErrTooSmall
	}
	c.w.Fixed(cookieVerifier[:])
	eof, st := l.fill(cookie)
	switch {
	case st != xdr.OK:
		return st
	case l.entries == 0 && !eof:
		return xdr.ErrTooSmall
	}
	c.w.Bool(false) // no next entry
	c.w.Bool(eof)
	return xdr.OK
}

var cookieVerifier = xdr.Verifier{'h', 'o', 'l', 'd', 'f', 'a', 's', 't'}

const (
	listingFixed = 16 // bytes of verifier, end of list and eof
	entryFixed   = 8  // bytes that dircount counts for an entry besides its name
)

// mayList checks that the current object is a directory that may be read.
func (c *compound) mayList() xdr.Status {
	if c.cur.kind == pseudoRoot {
		return xdr.OK
	}
	a, err := c.cur.export.FS.GetAttr(c.cur.ino)
	if err != nil {
		return c.status(err)
	}
	if a.Type != fs.TypeDir {
		return xdr.ErrNotDir
	}
	cred := c.cred()
	have, err := c.cur.export.FS.Access(&cred, c.cur.ino, fs.AccessRead)
	if err == nil && have&fs.AccessRead == 0 {
		return xdr.ErrAccess
	}
	return c.status(err)
}

// fill appends entries after a cookie until there are no more or no room.
func (l *listing) fill(cookie uint64) (eof bool, st xdr.Status) {
	for {
		batch, last, st := l.batch(cookie)
		if st != xdr.OK {
			return false, st
		}
		for i := range batch {
			full, st := l.put(&batch[i])
			if st != xdr.OK || full {
				return false, st
			}
			cookie = batch[i].cookie
		}
		if last {
			return true, xdr.OK
		}
	}
}

// batch takes some entries from the directory. Their attributes are asked for
// afterwards, because ReadDir's function must not call the file system.
func (l *listing) batch(after uint64) (list []dirent, last bool, st xdr.Status) {
	c := l.c
	if c.cur.kind == pseudoRoot {
		return c.pseudoEntries(after), true, xdr.OK
	}
	// No entry takes less than this, so no more of them can fit.
	most := min(readDirBatch, 1+(l.limit-c.w.Len())/entryLeast)
	last, err := c.cur.export.FS.ReadDir(c.cur.ino, after, func(e fs.DirEntry) bool {
		if len(list) == most {
			return false
		}
		list = append(list, dirent{e.Cookie, string(e.Name), c.at(e.Ino), e.Type})
		return true
	})
	return list, last, c.status(err)
}

// entryLeast is an entry with a short name and no attributes, bytes.
const entryLeast = 4 + 8 + 4 + 4 + 4 + 4

// put appends one entry; full tells that it does not fit.
func (l *listing) put(e *dirent) (full bool, st xdr.Status) {
	w := l.c.w
	start := w.Len()
	if l.c.confined() && l.want.Has(xdr.AttrFileHandle) {
		l.c.foundAt(e.obj.ino, e.typ, l.c.cur.ino, fs.Name(e.name))
	}
	a, st := l.c.attrs(&e.obj, l.want)
	switch {
	case st == xdr.ErrStale:
		return false, xdr.OK // removed since it was listed
	case st != xdr.OK && l.want.Has(xdr.AttrRdAttrError):
		a = &xdr.Attrs{Mask: xdr.Bits(xdr.AttrRdAttrError), RdAttrError: st}
	case st != xdr.OK:
		return false, st
	}
	w.Bool(true)
	w.Uint64(e.cookie)
	w.String(e.name)
	w.Attrs(a)
	size := entryFixed + len(e.name)
	if w.Len()+8 > l.limit || l.dirLeft > 0 && l.entries > 0 && size > l.dirLeft {
		w.Truncate(start)
		return true, xdr.OK
	}
	if l.dirLeft > 0 {
		l.dirLeft = max(1, l.dirLeft-size)
	}
	l.entries++
	return false, xdr.OK
}

// pseudoEntries lists the pseudo root. A cookie is made of the name, so that
// it does not change when other file systems come and go.
func (c *compound) pseudoEntries(after uint64) []dirent {
	var list []dirent
	for _, e := range c.s.cfg.Exports.List() {
		if c.mayMount(&e) != xdr.OK {
			continue // what cannot be entered is not shown
		}
		list = append(list, dirent{mountPointID(e.Name), e.Name, object{fileObject, e, fs.RootIno}, fs.TypeDir})
	}
	slices.SortFunc(list, func(a, b dirent) int { return cmp.Compare(a.cookie, b.cookie) })
	for i := range list {
		if list[i].cookie > after {
			return list[i:]
		}
	}
	return nil
}
