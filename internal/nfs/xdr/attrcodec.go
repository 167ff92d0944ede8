package xdr

// attrCodec writes and reads one attribute.
type attrCodec struct {
	put func(*Writer, *Attrs)
	get func(*Reader, *Attrs)
}

// attrCodecs are the attributes by number. The types are those of RFC 8881
// §5.8 and §5.11.
var attrCodecs = makeAttrCodecs()

func makeAttrCodecs() (t [96]attrCodec) {
	codec := func(n int, put func(*Writer, *Attrs), get func(*Reader, *Attrs)) { t[n] = attrCodec{put, get} }
	codec(AttrSupportedAttrs,
		func(w *Writer, a *Attrs) { w.Bitmap(a.Supported) },
		func(r *Reader, a *Attrs) { a.Supported = r.Bitmap() })
	codec(AttrType,
		func(w *Writer, a *Attrs) { w.Uint32(a.Type) },
		func(r *Reader, a *Attrs) { a.Type = r.Uint32() })
	codec(AttrFHExpireType,
		func(w *Writer, a *Attrs) { w.Uint32(a.FHExpireType) },
		func(r *Reader, a *Attrs) { a.FHExpireType = r.Uint32() })
	codec(AttrChange,
		func(w *Writer, a *Attrs) { w.Uint64(a.Change) },
		func(r *Reader, a *Attrs) { a.Change = r.Uint64() })
	codec(AttrSize,
		func(w *Writer, a *Attrs) { w.Uint64(a.Size) },
		func(r *Reader, a *Attrs) { a.Size = r.Uint64() })
	codec(AttrLinkSupport,
		func(w *Writer, a *Attrs) { w.Bool(a.LinkSupport) },
		func(r *Reader, a *Attrs) { a.LinkSupport = r.Bool() })
	codec(AttrSymlinkSupport,
		func(w *Writer, a *Attrs) { w.Bool(a.SymlinkSupport) },
		func(r *Reader, a *Attrs) { a.SymlinkSupport = r.Bool() })
	codec(AttrNamedAttr,
		func(w *Writer, a *Attrs) { w.Bool(a.NamedAttr) },
		func(r *Reader, a *Attrs) { a.NamedAttr = r.Bool() })
	codec(AttrFSID,
		func(w *Writer, a *Attrs) { w.Uint64(a.FSIDMajor); w.Uint64(a.FSIDMinor) },
		func(r *Reader, a *Attrs) { a.FSIDMajor = r.Uint64(); a.FSIDMinor = r.Uint64() })
	codec(AttrUniqueHandles,
		func(w *Writer, a *Attrs) { w.Bool(a.UniqueHandles) },
		func(r *Reader, a *Attrs) { a.UniqueHandles = r.Bool() })
	codec(AttrLeaseTime,
		func(w *Writer, a *Attrs) { w.Uint32(a.LeaseTime) },
		func(r *Reader, a *Attrs) { a.LeaseTime = r.Uint32() })
	codec(AttrRdAttrError,
		func(w *Writer, a *Attrs) { w.Uint32(uint32(a.RdAttrError)) },
		func(r *Reader, a *Attrs) { a.RdAttrError = Status(r.Uint32()) })
	codec(AttrACLSupport,
		func(w *Writer, a *Attrs) { w.Uint32(a.ACLSupport) },
		func(r *Reader, a *Attrs) { a.ACLSupport = r.Uint32() })
	codec(AttrCanSetTime,
		func(w *Writer, a *Attrs) { w.Bool(a.CanSetTime) },
		func(r *Reader, a *Attrs) { a.CanSetTime = r.Bool() })
	codec(AttrCaseInsensitive,
		func(w *Writer, a *Attrs) { w.Bool(a.CaseInsensitive) },
		func(r *Reader, a *Attrs) { a.CaseInsensitive = r.Bool() })
	codec(AttrCasePreserving,
		func(w *Writer, a *Attrs) { w.Bool(a.CasePreserving) },
		func(r *Reader, a *Attrs) { a.CasePreserving = r.Bool() })
	codec(AttrChownRestricted,
		func(w *Writer, a *Attrs) { w.Bool(a.ChownRestricted) },
		func(r *Reader, a *Attrs) { a.ChownRestricted = r.Bool() })
	codec(AttrFileHandle,
		func(w *Writer, a *Attrs) { w.Opaque(a.FileHandle) },
		func(r *Reader, a *Attrs) { a.FileHandle = r.FH() })
	codec(AttrFileID,
		func(w *Writer, a *Attrs) { w.Uint64(a.FileID) },
		func(r *Reader, a *Attrs) { a.FileID = r.Uint64() })
	codec(AttrFilesAvail,
		func(w *Writer, a *Attrs) { w.Uint64(a.FilesAvail) },
		func(r *Reader, a *Attrs) { a.FilesAvail = r.Uint64() })
	codec(AttrFilesFree,
		func(w *Writer, a *Attrs) { w.Uint64(a.FilesFree) },
		func(r *Reader, a *Attrs) { a.FilesFree = r.Uint64() })
	codec(AttrFilesTotal,
		func(w *Writer, a *Attrs) { w.Uint64(a.FilesTotal) },
		func(r *Reader, a *Attrs) { a.FilesTotal = r.Uint64() })
	codec(AttrHomogeneous,
		func(w *Writer, a *Attrs) { w.Bool(a.Homogeneous) },
		func(r *Reader, a *Attrs) { a.Homogeneous = r.Bool() })
	codec(AttrMaxFileSize,
		func(w *Writer, a *Attrs) { w.Uint64(a.MaxFileSize) },
		func(r *Reader, a *Attrs) { a.MaxFileSize = r.Uint64() })
	codec(AttrMaxLink,
		func(w *Writer, a *Attrs) { w.Uint32(a.MaxLink) },
		func(r *Reader, a *Attrs) { a.MaxLink = r.Uint32() })
	codec(AttrMaxName,
		func(w *Writer, a *Attrs) { w.Uint32(a.MaxName) },
		func(r *Reader, a *Attrs) { a.MaxName = r.Uint32() })
	codec(AttrMaxRead,
		func(w *Writer, a *Attrs) { w.Uint64(a.MaxRead) },
		func(r *Reader, a *Attrs) { a.MaxRead = r.Uint64() })
	codec(AttrMaxWrite,
		func(w *Writer, a *Attrs) { w.Uint64(a.MaxWrite) },
		func(r *Reader, a *Attrs) { a.MaxWrite = r.Uint64() })
	codec(AttrMode,
		func(w *Writer, a *Attrs) { w.Uint32(a.Mode) },
		func(r *Reader, a *Attrs) { a.Mode = r.Uint32() })
	codec(AttrNoTrunc,
		func(w *Writer, a *Attrs) { w.Bool(a.NoTrunc) },
		func(r *Reader, a *Attrs) { a.NoTrunc = r.Bool() })
	codec(AttrNumLinks,
		func(w *Writer, a *Attrs) { w.Uint32(a.NumLinks) },
		func(r *Reader, a *Attrs) { a.NumLinks = r.Uint32() })
	codec(AttrOwner,
		func(w *Writer, a *Attrs) { w.String(a.Owner) },
		func(r *Reader, a *Attrs) { a.Owner = r.String(maxOwner) })
	codec(AttrOwnerGroup,
		func(w *Writer, a *Attrs) { w.String(a.OwnerGroup) },
		func(r *Reader, a *Attrs) { a.OwnerGroup = r.String(maxOwner) })
	codec(AttrRawDev,
		func(w *Writer, a *Attrs) { w.Uint32(a.RawMajor); w.Uint32(a.RawMinor) },
		func(r *Reader, a *Attrs) { a.RawMajor = r.Uint32(); a.RawMinor = r.Uint32() })
	codec(AttrSpaceAvail,
		func(w *Writer, a *Attrs) { w.Uint64(a.SpaceAvail) },
		func(r *Reader, a *Attrs) { a.SpaceAvail = r.Uint64() })
	codec(AttrSpaceFree,
		func(w *Writer, a *Attrs) { w.Uint64(a.SpaceFree) },
		func(r *Reader, a *Attrs) { a.SpaceFree = r.Uint64() })
	codec(AttrSpaceTotal,
		func(w *Writer, a *Attrs) { w.Uint64(a.SpaceTotal) },
		func(r *Reader, a *Attrs) { a.SpaceTotal = r.Uint64() })
	codec(AttrSpaceUsed,
		func(w *Writer, a *Attrs) { w.Uint64(a.SpaceUsed) },
		func(r *Reader, a *Attrs) { a.SpaceUsed = r.Uint64() })
	codec(AttrTimeAccess,
		func(w *Writer, a *Attrs) { w.Time(a.TimeAccess) },
		func(r *Reader, a *Attrs) { a.TimeAccess = r.Time() })
	codec(AttrTimeAccessSet,
		func(w *Writer, a *Attrs) { w.setTime(a.TimeAccessSet) },
		func(r *Reader, a *Attrs) { a.TimeAccessSet = r.setTime() })
	codec(AttrTimeCreate,
		func(w *Writer, a *Attrs) { w.Time(a.TimeCreate) },
		func(r *Reader, a *Attrs) { a.TimeCreate = r.Time() })
	codec(AttrTimeDelta,
		func(w *Writer, a *Attrs) { w.Time(a.TimeDelta) },
		func(r *Reader, a *Attrs) { a.TimeDelta = r.Time() })
	codec(AttrTimeMetadata,
		func(w *Writer, a *Attrs) { w.Time(a.TimeMetadata) },
		func(r *Reader, a *Attrs) { a.TimeMetadata = r.Time() })
	codec(AttrTimeModify,
		func(w *Writer, a *Attrs) { w.Time(a.TimeModify) },
		func(r *Reader, a *Attrs) { a.TimeModify = r.Time() })
	codec(AttrTimeModifySet,
		func(w *Writer, a *Attrs) { w.setTime(a.TimeModifySet) },
		func(r *Reader, a *Attrs) { a.TimeModifySet = r.setTime() })
	codec(AttrMountedOnFileID,
		func(w *Writer, a *Attrs) { w.Uint64(a.MountedOnFileID) },
		func(r *Reader, a *Attrs) { a.MountedOnFileID = r.Uint64() })
	codec(AttrModeSetMasked,
		func(w *Writer, a *Attrs) { w.Uint32(a.ModeMaskedValue); w.Uint32(a.ModeMaskedBits) },
		func(r *Reader, a *Attrs) { a.ModeMaskedValue = r.Uint32(); a.ModeMaskedBits = r.Uint32() })
	codec(AttrSuppAttrExclCreat,
		func(w *Writer, a *Attrs) { w.Bitmap(a.ExclCreat) },
		func(r *Reader, a *Attrs) { a.ExclCreat = r.Bitmap() })
	codec(AttrCloneBlkSize,
		func(w *Writer, a *Attrs) { w.Uint32(a.CloneBlkSize) },
		func(r *Reader, a *Attrs) { a.CloneBlkSize = r.Uint32() })
	codec(AttrSpaceFreed,
		func(w *Writer, a *Attrs) { w.Uint64(a.SpaceFreed) },
		func(r *Reader, a *Attrs) { a.SpaceFreed = r.Uint64() })
	codec(AttrChangeAttrType,
		func(w *Writer, a *Attrs) { w.Uint32(a.ChangeAttrType) },
		func(r *Reader, a *Attrs) { a.ChangeAttrType = r.Uint32() })
	codec(AttrModeUmask,
		func(w *Writer, a *Attrs) { w.Uint32(a.UmaskedMode); w.Uint32(a.Umask) },
		func(r *Reader, a *Attrs) { a.UmaskedMode = r.Uint32(); a.Umask = r.Uint32() })
	codec(AttrXattrSupport,
		func(w *Writer, a *Attrs) { w.Bool(a.XattrSupport) },
		func(r *Reader, a *Attrs) { a.XattrSupport = r.Bool() })
	codec(AttrOpenArguments,
		func(w *Writer, a *Attrs) {
			o := &a.OpenArguments
			for _, v := range [...]uint32{o.Access, o.Deny, o.Want, o.Claim, o.CreateMode} {
				w.Bitmap(Bitmap{v})
			}
		},
		func(r *Reader, a *Attrs) {
			o := &a.OpenArguments
			for _, v := range [...]*uint32{&o.Access, &o.Deny, &o.Want, &o.Claim, &o.CreateMode} {
				*v = r.Bitmap()[0]
			}
		})
	return t
}

func (w *Writer) setTime(t SetTime) {
	if !t.Client {
		w.Uint32(SetToServerTime)
		return
	}
	w.Uint32(SetToClientTime)
	w.Time(t.Time)
}

func (r *Reader) setTime() (t SetTime) {
	switch r.Uint32() {
	case SetToServerTime:
	case SetToClientTime:
		t = SetTime{true, r.Time()}
	default:
		r.Fail()
	}
	return t
}
