package nfsclient

import (
	"context"
	iofs "io/fs"
	"strconv"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// Info is what a file is.
type Info struct {
	Name  string
	Type  fs.Type
	Mode  uint32 // permission bits with setuid, setgid, sticky: 0..07777
	Nlink uint32
	UID   uint32 // 65534 when the server sends a name
	GID   uint32
	Size  uint64 // bytes
	Used  uint64 // bytes
	ID    uint64 // file id, the inode number
	Major uint32
	Minor uint32
	Atime fs.Time
	Mtime fs.Time
	Ctime fs.Time
	// Handle stays good for the life of the file, also across a failover.
	Handle []byte
}

// FileMode is type and mode in the form of package io/fs.
func (i *Info) FileMode() iofs.FileMode {
	m := iofs.FileMode(i.Mode & 0o777)
	for bit, flag := range map[uint32]iofs.FileMode{0o4000: iofs.ModeSetuid, 0o2000: iofs.ModeSetgid, 0o1000: iofs.ModeSticky} {
		if i.Mode&bit != 0 {
			m |= flag
		}
	}
	return m | typeBits[i.Type]
}

var typeBits = map[fs.Type]iofs.FileMode{
	fs.TypeDir: iofs.ModeDir, fs.TypeSymlink: iofs.ModeSymlink, fs.TypeFIFO: iofs.ModeNamedPipe,
	fs.TypeSocket: iofs.ModeSocket, fs.TypeBlock: iofs.ModeDevice, fs.TypeChar: iofs.ModeDevice | iofs.ModeCharDevice,
}

var infoAttrs = xdr.Bits(xdr.AttrType, xdr.AttrSize, xdr.AttrFileHandle, xdr.AttrFileID, xdr.AttrMode,
	xdr.AttrNumLinks, xdr.AttrOwner, xdr.AttrOwnerGroup, xdr.AttrRawDev, xdr.AttrSpaceUsed,
	xdr.AttrTimeAccess, xdr.AttrTimeMetadata, xdr.AttrTimeModify)

func makeInfo(name string, a *xdr.Attrs) Info {
	return Info{Name: name, Type: fs.Type(a.Type), Mode: a.Mode, Nlink: a.NumLinks, UID: parseID(a.Owner), GID: parseID(a.OwnerGroup),
		Size: a.Size, Used: a.SpaceUsed, ID: a.FileID, Major: a.RawMajor, Minor: a.RawMinor,
		Atime: fs.Time(a.TimeAccess), Mtime: fs.Time(a.TimeModify), Ctime: fs.Time(a.TimeMetadata),
		Handle: append([]byte(nil), a.FileHandle...)}
}

// nobody is who owns what a name that is no number owns.
const nobody = 65534

func parseID(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return nobody
	}
	return uint32(n)
}

// Stat tells what the file at path is.
func (c *Client) Stat(ctx context.Context, path string) (Info, error) {
	t, err := c.target(ctx, path)
	if err != nil {
		return Info{}, err
	}
	return c.stat(ctx, t)
}

func (c *Client) stat(ctx context.Context, t target) (info Info, err error) {
	p := c.compound("stat", t.path, false)
	p.putFH(t.fh)
	p.lookup(t.names)
	p.getAttr(infoAttrs)
	err = c.call(ctx, p, func(a *reply) error {
		if err := a.at(t); err != nil {
			return err
		}
		at, err := a.attrs()
		info = makeInfo(t.base(), &at)
		return err
	})
	return info, err
}

// base is the last name of a target, "/" for the root.
func (t target) base() string {
	if len(t.names) == 0 {
		return "/"
	}
	return t.names[len(t.names)-1]
}

// Change says which attributes SetAttr sets; nil means keep.
type Change struct {
	Mode  *uint32
	UID   *uint32
	GID   *uint32
	Size  *uint64
	Atime *fs.Time
	Mtime *fs.Time
}

func (ch *Change) attrs() *xdr.Attrs {
	a := &xdr.Attrs{}
	if ch.Mode != nil {
		a.Mode = *ch.Mode
		a.Mask.Set(xdr.AttrMode)
	}
	if ch.UID != nil {
		a.Owner = strconv.FormatUint(uint64(*ch.UID), 10)
		a.Mask.Set(xdr.AttrOwner)
	}
	if ch.GID != nil {
		a.OwnerGroup = strconv.FormatUint(uint64(*ch.GID), 10)
		a.Mask.Set(xdr.AttrOwnerGroup)
	}
	if ch.Size != nil {
		a.Size = *ch.Size
		a.Mask.Set(xdr.AttrSize)
	}
	if ch.Atime != nil {
		a.TimeAccessSet = xdr.SetTime{Client: true, Time: xdr.Time(*ch.Atime)}
		a.Mask.Set(xdr.AttrTimeAccessSet)
	}
	if ch.Mtime != nil {
		a.TimeModifySet = xdr.SetTime{Client: true, Time: xdr.Time(*ch.Mtime)}
		a.Mask.Set(xdr.AttrTimeModifySet)
	}
	return a
}

// SetAttr changes attributes of the file at path.
func (c *Client) SetAttr(ctx context.Context, path string, ch Change) error {
	t, err := c.target(ctx, path)
	if err != nil {
		return err
	}
	return c.setAttr(ctx, t, &ch)
}

func (c *Client) setAttr(ctx context.Context, t target, ch *Change) error {
	p := c.compound("set attributes of", t.path, true)
	p.putFH(t.fh)
	p.lookup(t.names)
	p.setAttr(ch)
	return c.call(ctx, p, func(a *reply) error {
		if err := a.at(t); err != nil {
			return err
		}
		return a.setAttr()
	})
}

func (p *compound) setAttr(ch *Change) {
	w := p.op(xdr.OpSetAttr)
	w.StateID(xdr.AnonymousStateID)
	w.Attrs(ch.attrs())
}

func (a *reply) setAttr() error {
	if err := a.next(xdr.OpSetAttr); err != nil {
		return err
	}
	a.r.Bitmap()
	return a.whole()
}
