package nfs

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// Confinement to the directory of an access point.
//
// Names only lead down, so what has to be guarded is the way in by handle. The
// handles that go out through an access point are sealed with a secret of the
// file system and the access point's id: who has none for a file never reached
// it by this access point, and cannot make one. That alone is not enough, as
// what was inside can be moved out; so a directory must have the root among its
// ancestors each time that it comes in, and of a file the place where it was
// found must: see places.go.
//
// On a connection without an access point sealed handles are refused, and here
// all others, so that none is of use on another kind of mount.

// sealedHandle is the handle of an inode that goes out by an access point.
func sealedHandle(p *AccessPoint, l fs.Lineage, ino fs.Ino) []byte {
	b := make([]byte, 0, handleSealedSize)
	b = append(b, handleVersion, handleSealed)
	b = append(b, l[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(ino))
	return sealHandle(append(b, seal(p, b)...))
}

// seal is a code over what a handle says, for one access point.
func seal(p *AccessPoint, b []byte) []byte {
	m := hmac.New(sha256.New, p.Secret)
	m.Write([]byte(p.ID))
	m.Write([]byte{0})
	m.Write(b)
	return m.Sum(nil)[:sealSize]
}

// sealed tells that a handle went out by the access point.
func sealed(p *AccessPoint, b []byte) bool {
	if len(b) != handleSealedSize {
		return false
	}
	at := handleSealedSize - 4 - sealSize
	return subtle.ConstantTimeCompare(seal(p, b[:at]), b[at:at+sealSize]) == 1
}

// confined tells that the client sees a part of the file system only.
func (c *compound) confined() bool { return c.view.point.confined() }

// handleOf is the handle of an object for this client.
func (c *compound) handleOf(o *object) []byte {
	switch {
	case o.kind == pseudoRoot:
		return pseudoHandle()
	case c.confined():
		return sealedHandle(c.view.point, o.export.FS.Lineage(), o.ino)
	}
	return fileHandle(o.export.FS.Lineage(), o.ino)
}

// mayEnter checks that a handle is one that this client may use.
func (c *compound) mayEnter(b []byte, o *object) xdr.Status {
	if isSealed := b[1] == handleSealed; isSealed != c.confined() {
		return xdr.ErrStale
	}
	if !c.confined() {
		return xdr.OK
	}
	if !sealed(c.view.point, b) {
		return xdr.ErrStale
	}
	root, st := c.pointRoot(&o.export)
	if st != xdr.OK {
		return st
	}
	a, err := o.export.FS.GetAttr(o.ino)
	switch {
	case err != nil:
		return c.status(err)
	case a.Type != fs.TypeDir:
		return c.stillThere(o, &a, root)
	}
	return c.below(o.export.FS, o.ino, root)
}

// maxAncestors bounds how far up is looked. Linux takes paths of 4,096 bytes,
// so that nothing deeper can be reached by one name.
const maxAncestors = 4096

// below checks that a directory is the root or has it among its ancestors. They
// come from the cache of inodes, so that this takes well under a microsecond a
// step.
func (c *compound) below(x FileSystem, dir, root fs.Ino) xdr.Status {
	for range maxAncestors {
		if dir == root {
			return xdr.OK
		}
		if dir == fs.RootIno {
			return xdr.ErrStale
		}
		a, err := x.GetAttr(dir)
		if err != nil {
			return c.status(err)
		}
		dir = a.Parent
	}
	return xdr.ErrStale
}

// parentInside is the parent of a directory, if that is not the root.
func (c *compound) parentInside(a fs.Attr) (object, xdr.Status) {
	root, st := c.pointRoot(&c.cur.export)
	switch {
	case st != xdr.OK:
		return object{}, st
	case a.Ino == root:
		return object{}, xdr.ErrNoEnt
	}
	return c.at(a.Parent), c.below(c.cur.export.FS, a.Parent, root)
}

// pointRoot is the directory of the connection's access point. It is found by
// the first request and stays the same, also when it is moved; if it is removed,
// it is looked for, or made, anew.
func (c *compound) pointRoot(e *Export) (fs.Ino, xdr.Status) {
	v := c.view
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.rootIno != 0 {
		if _, err := e.FS.GetAttr(v.rootIno); !errors.Is(err, fs.ErrStale) {
			return v.rootIno, c.status(err)
		}
		v.rootIno = 0
	}
	ino, err := c.findRoot(e)
	if err != nil {
		var refusal fs.Error
		if errors.As(err, &refusal) && refusal != fs.ErrDelay && refusal != fs.ErrNoSpace {
			c.s.log.Warn("nfs access point cannot be mounted: its directory is not there", "export", e.Name, "access_point", v.point.ID, "path", v.point.Path, "err", err)
			return 0, xdr.ErrAccess // as in EFS, whatever it is
		}
		return 0, c.status(err)
	}
	v.rootIno = ino
	return ino, xdr.OK
}

// superuser looks for the directory: whether the client may go there is for the
// directory itself to say.
var superuser = fs.Cred{}

func (c *compound) findRoot(e *Export) (fs.Ino, error) {
	dir := fs.Ino(fs.RootIno)
	for name := range strings.SplitSeq(strings.Trim(c.view.point.Path, "/"), "/") {
		a, err := e.FS.Lookup(&superuser, dir, fs.Name(name))
		if errors.Is(err, fs.ErrNoEnt) {
			a, err = c.makeRoot(e, dir, fs.Name(name))
		}
		if err != nil {
			return 0, err
		}
		if a.Type != fs.TypeDir { // a symbolic link leads elsewhere
			return 0, fs.ErrNotDir
		}
		dir = a.Ino
	}
	return dir, nil
}

// makeRoot makes a part of the path as the access point says.
func (c *compound) makeRoot(e *Export, dir fs.Ino, name fs.Name) (fs.Attr, error) {
	how := c.view.point.Create
	if how == nil {
		return fs.Attr{}, fs.ErrNoEnt
	}
	res, err := e.FS.Create(c.ctx, &fs.CreateRequest{Cred: superuser, Parent: dir, Name: name, Type: fs.TypeDir, Attrs: *how})
	if errors.Is(err, fs.ErrExist) { // by somebody else just now
		return res.Attr, nil
	}
	if err != nil {
		return fs.Attr{}, err
	}
	return res.Attr, e.FS.WaitCommitted(c.ctx, res.Seq)
}
