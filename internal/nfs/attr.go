package nfs

import (
	"hash/fnv"
	"strconv"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// The attributes that the server knows: those that can be got, those that can
// be set, and those that only can be set.
var (
	gettable = xdr.Bits(
		xdr.AttrSupportedAttrs, xdr.AttrType, xdr.AttrFHExpireType, xdr.AttrChange, xdr.AttrSize, xdr.AttrLinkSupport,
		xdr.AttrSymlinkSupport, xdr.AttrNamedAttr, xdr.AttrFSID, xdr.AttrUniqueHandles, xdr.AttrLeaseTime, xdr.AttrRdAttrError,
		xdr.AttrACLSupport, xdr.AttrCanSetTime, xdr.AttrCaseInsensitive, xdr.AttrCasePreserving, xdr.AttrChownRestricted,
		xdr.AttrFileHandle, xdr.AttrFileID, xdr.AttrFilesAvail, xdr.AttrFilesFree, xdr.AttrFilesTotal, xdr.AttrHomogeneous,
		xdr.AttrMaxFileSize, xdr.AttrMaxLink, xdr.AttrMaxName, xdr.AttrMaxRead, xdr.AttrMaxWrite, xdr.AttrMode, xdr.AttrNoTrunc,
		xdr.AttrNumLinks, xdr.AttrOwner, xdr.AttrOwnerGroup, xdr.AttrRawDev, xdr.AttrSpaceAvail, xdr.AttrSpaceFree,
		xdr.AttrSpaceTotal, xdr.AttrSpaceUsed, xdr.AttrTimeAccess, xdr.AttrTimeCreate, xdr.AttrTimeDelta, xdr.AttrTimeMetadata,
		xdr.AttrTimeModify, xdr.AttrMountedOnFileID, xdr.AttrSuppAttrExclCreat,
		xdr.AttrCloneBlkSize, xdr.AttrSpaceFreed, xdr.AttrChangeAttrType, xdr.AttrXattrSupport,
		xdr.AttrOpenArguments,
	)
	settableAttrs = xdr.Bits(
		xdr.AttrSize, xdr.AttrMode, xdr.AttrOwner, xdr.AttrOwnerGroup, xdr.AttrTimeAccessSet, xdr.AttrTimeModifySet,
		xdr.AttrModeUmask,
	)
	setOnly   = settableAttrs.Without(gettable)
	supported = gettable.Or(settableAttrs)

	// fsWide need StatFS.
	fsWide = xdr.Bits(
		xdr.AttrFilesAvail, xdr.AttrFilesFree, xdr.AttrFilesTotal, xdr.AttrSpaceAvail, xdr.AttrSpaceFree, xdr.AttrSpaceTotal,
	)
)

// openArguments tells what OPEN can do (RFC 9754 §4). Bit 0 of a bitmap is the
// value 0.
var openArguments = xdr.OpenArguments{
	Access: 1<<xdr.ShareRead | 1<<xdr.ShareWrite | 1<<xdr.ShareBoth,
	Deny:   1<<(xdr.DenyBoth+1) - 1,
	Want:   1 << (xdr.WantAnyDeleg >> 8),
	Claim: 1<<xdr.ClaimNull | 1<<xdr.ClaimPrevious | 1<<xdr.ClaimFH |
		1<<xdr.ClaimDelegateCur | 1<<xdr.ClaimDelegCurFH,
	CreateMode: 1<<(xdr.CreateExclusive41+1) - 1,
}

// attrs fills in the attributes of an object that are in want; others are
// left out without a word (RFC 8881 §18.7.3).
func (c *compound) attrs(o *object, want xdr.Bitmap) (*xdr.Attrs, xdr.Status) {
	x, st := c.allAttrs(o, want.And(c.dialect.attrs))
	if st == xdr.OK {
		x.Supported, x.ExclCreat = supported.And(c.dialect.attrs), settableAttrs.And(c.dialect.attrs)
	}
	return x, st
}

func (c *compound) allAttrs(o *object, want xdr.Bitmap) (*xdr.Attrs, xdr.Status) {
	if o.kind == pseudoRoot {
		return c.s.pseudoAttrs(want), xdr.OK
	}
	a, err := o.export.FS.GetAttr(o.ino)
	if err != nil {
		return nil, c.status(err)
	}
	return c.fileAttrs(o, &a, want)
}

func (c *compound) fileAttrs(o *object, a *fs.Attr, want xdr.Bitmap) (*xdr.Attrs, xdr.Status) {
	x := c.s.commonAttrs(want)
	l := o.export.FS.Lineage()
	x.FSIDMajor, x.FSIDMinor = fsid(l)
	x.Type, x.Change, x.Size = uint32(a.Type), a.Change, a.Size
	x.FileID, x.Mode, x.NumLinks = uint64(a.Ino), a.Mode, a.Nlink
	x.Owner, x.OwnerGroup = strconv.FormatUint(uint64(a.UID), 10), strconv.FormatUint(uint64(a.GID), 10)
	x.RawMajor, x.RawMinor, x.SpaceUsed = a.Major, a.Minor, a.Used
	x.TimeAccess, x.TimeModify, x.TimeMetadata, x.TimeCreate = xdr.Time(a.Atime), xdr.Time(a.Mtime), xdr.Time(a.Ctime), xdr.Time(a.Btime)
	x.MountedOnFileID, x.XattrSupport = x.FileID, true
	if a.Nlink <= 1 {
		x.SpaceFreed = a.Used
	}
	if a.Ino == fs.RootIno && c.view.root.Export == "" {
		x.MountedOnFileID = mountPointID(o.export.Name)
	}
	if want.Has(xdr.AttrFileHandle) {
		x.FileHandle = c.handleOf(o)
	}
	if !want.And(fsWide).IsZero() {
		s, err := o.export.FS.StatFS()
		if err != nil {
			return nil, c.status(err)
		}
		x.FilesAvail, x.FilesFree, x.FilesTotal = s.FilesFree, s.FilesFree, s.Files+s.FilesFree
		x.SpaceAvail, x.SpaceFree, x.SpaceTotal = s.BytesFree, s.BytesFree, s.BytesTotal
	}
	return x, xdr.OK
}

// commonAttrs are those that are the same for every object.
func (s *Server) commonAttrs(want xdr.Bitmap) *xdr.Attrs {
	return &xdr.Attrs{
		Mask:         want.And(gettable),
		FHExpireType: 0, // FH4_PERSISTENT
		LinkSupport:  true, SymlinkSupport: true, UniqueHandles: true, CanSetTime: true,
		CasePreserving: true, ChownRestricted: true, Homogeneous: true, NoTrunc: true,
		LeaseTime:   uint32(s.cfg.LeaseTime.Seconds()),
		MaxFileSize: fs.MaxFileSize, MaxLink: fs.MaxLink, MaxName: fs.MaxName, MaxRead: maxIO, MaxWrite: maxIO,
		TimeDelta:    xdr.Time{Nsec: 1},
		CloneBlkSize: 1, OpenArguments: openArguments,
		// A failover may lose the newest changes, and the change attribute goes
		// back then: a client that trusts in its rising would keep what is gone.
		ChangeAttrType: xdr.ChangeUndefined,
	}
}

// pseudoAttrs are those of the pseudo root: a read-only directory, which
// changes when file systems come and go.
func (s *Server) pseudoAttrs(want xdr.Bitmap) *xdr.Attrs {
	list := s.cfg.Exports.List()
	h := fnv.New64a()
	for _, e := range list {
		h.Write([]byte(e.Name))
		h.Write([]byte{0})
	}
	boot := xdr.Time(fs.TimeOf(s.booted))
	x := s.commonAttrs(want)
	x.Type, x.Change, x.Size, x.Mode = xdr.TypeDir, h.Sum64(), dirSize, 0o555
	x.FSIDMajor, x.FSIDMinor = 0, 0
	x.FileID, x.MountedOnFileID, x.NumLinks = uint64(fs.RootIno), uint64(fs.RootIno), uint32(2+len(list))
	x.Owner, x.OwnerGroup = "0", "0"
	x.TimeAccess, x.TimeModify, x.TimeMetadata, x.TimeCreate = boot, boot, boot, boot
	x.FileHandle = pseudoHandle()
	return x
}

// fsid is the same wherever the data is served.
func fsid(l fs.Lineage) (major, minor uint64) {
	for i := range 8 {
		major = major<<8 | uint64(l[i])
		minor = minor<<8 | uint64(l[8+i])
	}
	return major, minor
}

// mountPointID is the file id of a file system's entry in the pseudo root. Its
// top bit is set, which no inode number has.
func mountPointID(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64() | 1<<63
}
