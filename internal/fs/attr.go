package fs

import "time"

// Type is a file's type; the values are those of nfs_ftype4 (RFC 8881 §5.8.1.2).
type Type uint8

// The seven types of a file.
const (
	TypeRegular Type = 1
	TypeDir     Type = 2
	TypeBlock   Type = 3
	TypeChar    Type = 4
	TypeSymlink Type = 5
	TypeSocket  Type = 6
	TypeFIFO    Type = 7
)

func (t Type) String() string {
	switch t {
	case TypeRegular:
		return "file"
	case TypeDir:
		return "directory"
	case TypeBlock:
		return "block device"
	case TypeChar:
		return "character device"
	case TypeSymlink:
		return "symbolic link"
	case TypeSocket:
		return "socket"
	case TypeFIFO:
		return "fifo"
	}
	return "unknown type"
}

// Time is a point in time as NFS and POSIX carry it: any second, 0 to
// 999,999,999 nanoseconds.
type Time struct {
	Sec  int64
	Nsec uint32
}

// TimeOf converts a time.Time.
func TimeOf(t time.Time) Time { return Time{t.Unix(), uint32(t.Nanosecond())} }

// Go converts to a time.Time in UTC.
func (t Time) Go() time.Time { return time.Unix(t.Sec, int64(t.Nsec)).UTC() }

// Attr is what a file is, without its content.
type Attr struct {
	Ino    Ino
	Type   Type
	Mode   uint32 // permission bits with setuid, setgid, sticky: 0..07777
	Nlink  uint32
	UID    uint32
	GID    uint32
	Size   uint64 // bytes; of a symbolic link the length of its target
	Used   uint64 // bytes of payload that the file's extents refer to
	Major  uint32 // device numbers of a block or character device
	Minor  uint32
	Atime  Time
	Mtime  Time
	Ctime  Time
	Btime  Time   // creation
	Change uint64 // NFS change attribute: epoch counter over sequence, always rising
	Parent Ino    // directories: the directory that holds this one; RootIno of itself
	// Verifier of the exclusive create that made the file, zero for none
	// (RFC 8881 §18.16.3).
	Verifier [8]byte
}

// ChangeOf is the change attribute of what the record at (epoch, seq) touched.
func ChangeOf(e EpochID, seq uint64) uint64 {
	return uint64(e.Counter)<<44 | seq&(1<<44-1)
}

// Name is one component of a path: 1 to MaxName bytes, any but '/' and NUL,
// neither "." nor "..".
type Name string

// Limits of one file system. EFS's own are lower where a comment says so.
const (
	MaxName       = 255            // bytes
	MaxSymlink    = 4095           // bytes of a target: PATH_MAX less its NUL
	MaxFileSize   = 52673613135872 // 47.9 TiB, EFS's limit
	MaxLink       = 65000          // ext4's; EFS allows 177
	MaxWrite      = 1 << 20        // bytes of one write, the payload limit of a record
	MaxExtentsCut = 1024           // extents that one mutation may change
	MaxGroups     = 16             // AUTH_SYS supplementary groups
	MaxXattrs     = 128            // of one inode, so that dropping it stays one bounded mutation
	MaxXattrValue = 64 << 10       // bytes, Linux's XATTR_SIZE_MAX
	MaxSetting    = 64 << 10       // bytes of a setting's value
	MaxClientName = 1024           // bytes of a client owner, NFS4_OPAQUE_LIMIT
)

// Check says why n cannot name a file, or nil.
func (n Name) Check() error {
	switch {
	case len(n) == 0:
		return ErrInval
	case len(n) > MaxName:
		return ErrNameTooLong
	case n == "." || n == "..":
		return ErrBadName
	}
	for i := 0; i < len(n); i++ {
		if n[i] == '/' || n[i] == 0 {
			return ErrBadName
		}
	}
	return nil
}

// Cred is who asks. Groups are the supplementary ones. Root squash has been
// applied before a Cred is made.
type Cred struct {
	UID    uint32
	GID    uint32
	Groups []uint32
}

// InGroup reports whether g is among the groups of c.
func (c *Cred) InGroup(g uint32) bool {
	if c.GID == g {
		return true
	}
	for _, x := range c.Groups {
		if x == g {
			return true
		}
	}
	return false
}

// Access is a set of permissions in the sense of POSIX access(2).
type Access uint8

// The three permissions.
const (
	AccessExec  Access = 1 // search, for a directory
	AccessWrite Access = 2
	AccessRead  Access = 4
)

// DirEntry is one entry of a directory. Cookie is stable for the life of the
// entry and at least 3 (RFC 8881 §18.23.3 reserves 0 to 2).
type DirEntry struct {
	Cookie uint64
	Ino    Ino
	Type   Type
	Name   Name
}

// StatFS is the state of a whole file system.
type StatFS struct {
	BytesTotal uint64
	BytesFree  uint64
	BytesUsed  uint64 // by the extents of files
	Files      uint64 // inodes in use
	FilesFree  uint64
}
