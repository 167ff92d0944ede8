package fs

// The requests that change a file system. Rules resolve each into a mutation;
// the reference file system of the tests takes the same ones. Every request
// carries who asks; permissions are checked where it is carried out.

// SetTime says how a time attribute is to be set.
type SetTime uint8

// Ways to set a time.
const (
	TimeKeep   SetTime = iota
	TimeServer         // to the server's clock
	TimeClient         // to the value given
)

// AttrChange is a set of attributes to change; nil means keep.
type AttrChange struct {
	Mode     *uint32
	UID      *uint32
	GID      *uint32
	Size     *uint64
	AtimeHow SetTime
	Atime    Time
	MtimeHow SetTime
	Mtime    Time
}

// CreateRequest asks for a new file of any type.
type CreateRequest struct {
	Cred   Cred
	Parent Ino
	Name   Name
	Type   Type
	Attrs  AttrChange // Mode nil means 0; Size is ignored; UID and GID need privilege
	Major  uint32
	Minor  uint32
	Target string
	// Verifier, if not zero, is kept in the inode (exclusive create).
	Verifier [8]byte
}

// ChangeInfo is a directory's change attribute around an operation, which is
// atomic with it.
type ChangeInfo struct{ Before, After uint64 }

// CreateResult tells what was made. On ErrExist, Attr holds the attributes of
// the file that is there.
type CreateResult struct {
	Attr   Attr
	Parent ChangeInfo
	Seq    uint64 // to wait for with WaitCommitted
}

// LinkRequest asks for another name of an inode.
type LinkRequest struct {
	Cred   Cred
	Ino    Ino
	Parent Ino
	Name   Name
}

// RemoveRequest asks to take a name away (a file's, or an empty directory's).
type RemoveRequest struct {
	Cred   Cred
	Parent Ino
	Name   Name
}

// RenameRequest asks to move a name.
type RenameRequest struct {
	Cred     Cred
	From     Ino
	FromName Name
	To       Ino
	ToName   Name
}

// SetAttrRequest asks to change attributes.
type SetAttrRequest struct {
	Cred Cred
	Ino  Ino
	Set  AttrChange
	// Opened says that the caller holds the file open for writing, so a new
	// size needs no permission (as ftruncate).
	Opened bool
}

// WriteRequest asks to write Data, 1..MaxWrite bytes, which belong to the
// caller again once the call returns. The caller has checked permission when
// the file was opened.
type WriteRequest struct {
	Cred   Cred
	Ino    Ino
	Offset uint64
	Data   []byte
}

// Result of an operation on one inode.
type Result struct {
	Attr Attr
	Seq  uint64
}

// WriteResult may be short: N says how many bytes were taken.
type WriteResult struct {
	N    int
	Attr Attr
	Seq  uint64
}

// DirResult of Link and Remove: the directory's change. Removed tells which
// inode lost a name; Gone, that it was the last.
type DirResult struct {
	Parent  ChangeInfo
	Removed Ino
	Gone    bool
	Seq     uint64
}

// RenameResult holds the change of both directories.
type RenameResult struct {
	From, To ChangeInfo
	Victim   Ino // 0: nothing was replaced
	Seq      uint64
}

// XattrHow says whether an extended attribute may or must exist (RFC 8276 §8.4.3).
type XattrHow uint8

// The ways to set one.
const (
	XattrEither XattrHow = iota
	XattrCreate
	XattrReplace
)

// XattrRequest asks to set (Value not nil) or remove an extended attribute.
type XattrRequest struct {
	Cred   Cred
	Ino    Ino
	Name   Name
	Value  []byte // at most MaxXattrValue bytes; kept by nobody after the call
	Remove bool
	How    XattrHow
}

// XattrResult holds the inode's change.
type XattrResult struct {
	Change ChangeInfo
	Seq    uint64
}

// RangeRequest asks to allocate or to punch the bytes [Offset, Offset+Length)
// of a file that is open for writing.
type RangeRequest struct {
	Cred   Cred
	Ino    Ino
	Offset uint64
	Length uint64
}

// CloneRequest asks to make a range of Dst the same as one of Src, by
// reference. Length 0 means to the end of Src. Src is open for reading, Dst
// for writing.
type CloneRequest struct {
	Cred      Cred
	Src       Ino
	SrcOffset uint64
	Dst       Ino
	DstOffset uint64
	Length    uint64
}

// CloneResult tells how many bytes were cloned: fewer than asked when Src ends
// before.
type CloneResult struct {
	N   uint64
	Seq uint64
}
