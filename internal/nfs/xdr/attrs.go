package xdr

// Attrs holds the values of the attributes in Mask (RFC 8881 §5). The
// attributes that can be encoded and decoded are those of KnownAttrs.
type Attrs struct {
	Mask Bitmap

	Supported       Bitmap
	ExclCreat       Bitmap
	Type            uint32
	FHExpireType    uint32
	Change          uint64
	Size            uint64
	LinkSupport     bool
	SymlinkSupport  bool
	NamedAttr       bool
	FSIDMajor       uint64
	FSIDMinor       uint64
	UniqueHandles   bool
	LeaseTime       uint32 // seconds
	RdAttrError     Status
	ACLSupport      uint32
	CanSetTime      bool
	CaseInsensitive bool
	CasePreserving  bool
	ChownRestricted bool
	FileHandle      []byte
	FileID          uint64
	FilesAvail      uint64
	FilesFree       uint64
	FilesTotal      uint64
	Homogeneous     bool
	MaxFileSize     uint64
	MaxLink         uint32
	MaxName         uint32
	MaxRead         uint64
	MaxWrite        uint64
	Mode            uint32
	NoTrunc         bool
	NumLinks        uint32
	Owner           string
	OwnerGroup      string
	RawMajor        uint32
	RawMinor        uint32
	SpaceAvail      uint64
	SpaceFree       uint64
	SpaceTotal      uint64
	SpaceUsed       uint64
	TimeAccess      Time
	TimeAccessSet   SetTime
	TimeCreate      Time
	TimeDelta       Time
	TimeMetadata    Time
	TimeModify      Time
	TimeModifySet   SetTime
	MountedOnFileID uint64
	ModeMaskedValue uint32
	ModeMaskedBits  uint32
	CloneBlkSize    uint32 // bytes
	SpaceFreed      uint64 // bytes
	ChangeAttrType  uint32
	UmaskedMode     uint32 // mode_umask: the mode before the umask
	Umask           uint32
	XattrSupport    bool
	OpenArguments   OpenArguments
}

// OpenArguments is an open_arguments4 (RFC 9754 §4): what OPEN supports. The
// bits are the values of the arguments, those of wishes shifted by eight.
type OpenArguments struct{ Access, Deny, Want, Claim, CreateMode uint32 }

// SetTime is a settime4: the server's time, or the one given.
type SetTime struct {
	Client bool
	Time   Time
}

// KnownAttrs are the attributes that Attrs can carry.
var KnownAttrs = func() (b Bitmap) {
	for n := range attrCodecs {
		if attrCodecs[n].put != nil {
			b.Set(n)
		}
	}
	return b
}()

// Attrs appends a fattr4 with the attributes in a.Mask, which must be among
// KnownAttrs.
func (w *Writer) Attrs(a *Attrs) {
	w.Bitmap(a.Mask)
	length := w.Len()
	w.Uint32(0)
	for word, bits := range a.Mask {
		for bit := 0; bits != 0; bit, bits = bit+1, bits>>1 {
			if bits&1 != 0 {
				attrCodecs[word<<5|bit].put(w, a)
			}
		}
	}
	w.SetUint32(length, uint32(w.Len()-length-4))
}

// Attrs reads a fattr4. An attribute that is not among KnownAttrs ends it with
// ErrAttrNotSupp; values that do not fill their list exactly are ErrBadXDR.
func (r *Reader) Attrs(a *Attrs) error {
	a.Mask = r.Bitmap()
	vals := NewReader(r.Opaque(maxAttrList))
	if r.bad {
		return ErrBadXDR
	}
	if !a.Mask.Without(KnownAttrs).IsZero() {
		return ErrAttrNotSupp
	}
	for word, bits := range a.Mask {
		for bit := 0; bits != 0; bit, bits = bit+1, bits>>1 {
			if bits&1 != 0 {
				attrCodecs[word<<5|bit].get(&vals, a)
			}
		}
	}
	if vals.bad || vals.Remaining() != 0 {
		r.Fail()
		return ErrBadXDR
	}
	return nil
}

// maxAttrList bounds attr_vals, bytes: the attributes of KnownAttrs need less
// than 1 KiB, but for owner names.
const maxAttrList = 16 << 10

// maxOwner bounds owner and owner_group, bytes.
const maxOwner = 1024
