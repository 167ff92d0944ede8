package fs

import "fmt"

// Kind tells what a mutation does. Its number, its version and their meaning
// are frozen: replicas of different releases must agree for ever.
type Kind uint8

// The kinds. A number is never given twice.
const (
	KindGenesis Kind = 1
	KindEpoch   Kind = 2
	KindCreate  Kind = 3
	KindLink    Kind = 4
	KindUnlink  Kind = 5
	KindRename  Kind = 6
	KindSetAttr Kind = 7
	KindWrite   Kind = 8
	KindReclaim Kind = 9
	KindSetting Kind = 10
	KindClient  Kind = 11
	KindNoop    Kind = 12
	KindXattr   Kind = 13
	KindPunch   Kind = 14
	KindClone   Kind = 15
)

// Mutation is one resolved change: it already holds the new inode number, the
// time and the owner. Applying it looks at no clock, no random source and no
// map order.
type Mutation interface {
	Kind() Kind
	appendBody(b []byte) []byte
}

// Genesis is the first mutation of a lineage: the root directory appears.
type Genesis struct {
	Lineage Lineage
	Mode    uint32
	UID     uint32
	GID     uint32
	Time    Time
}

// Epoch begins a writer's stretch of history. The record that carries it is
// the first of the epoch.
type Epoch struct {
	ID     EpochID
	Region string // where the writer runs
	FSID   string // the replica that writes, "fs-..."
	Time   Time
}

// Create makes a file of any type under a name that is free.
type Create struct {
	Parent   Ino
	Name     Name
	Ino      Ino
	Type     Type
	Mode     uint32
	UID      uint32
	GID      uint32
	Major    uint32
	Minor    uint32
	Target   string // of a symbolic link
	Verifier [8]byte
	Atime    Time
	Mtime    Time
	Time     Time // ctime and btime, and the parent's mtime and ctime
}

// Link adds a name to an inode that is no directory.
type Link struct {
	Parent Ino
	Name   Name
	Ino    Ino
	Time   Time
}

// Unlink takes a name away. Last tells that it was the last one: the inode
// goes too, unless Hold keeps it because a client has it open: then Reclaim
// removes it later. Of a large file the first MaxExtentsCut extents go at
// once, the rest by Reclaim.
type Unlink struct {
	Parent Ino
	Name   Name
	Ino    Ino
	Last   bool
	Hold   bool
	Time   Time
}

// Rename moves a name, replacing Victim (0: none) as Unlink does.
type Rename struct {
	From     Ino
	FromName Name
	To       Ino
	ToName   Name
	Ino      Ino
	Victim   Ino
	Last     bool // it was the victim's last name
	Hold     bool // the victim is open
	Time     Time
}

// The members that a SetAttr changes.
const (
	SetMode  uint32 = 1 << 0
	SetUID   uint32 = 1 << 1
	SetGID   uint32 = 1 << 2
	SetSize  uint32 = 1 << 3
	SetAtime uint32 = 1 << 4
	SetMtime uint32 = 1 << 5
	setAll   uint32 = 1<<6 - 1
)

// SetAttr changes the attributes that Mask names. A smaller size cuts at most
// MaxExtentsCut extents; Reclaim removes the rest, which no reader sees.
type SetAttr struct {
	Ino   Ino
	Mask  uint32
	Mode  uint32
	UID   uint32
	GID   uint32
	Size  uint64
	Atime Time
	Mtime Time
	Ctime Time
}

// Write puts the record's payload at Offset, growing the file when it must.
type Write struct {
	Ino    Ino
	Offset uint64
	Length uint32 // of the payload, 1..MaxWrite
	// ClearMode are mode bits that go (setuid and setgid, when the writer is
	// not privileged).
	ClearMode uint32
	Time      Time
}

// Reclaim removes up to MaxExtentsCut extents that lie beyond the end of Ino,
// or, when Drop is set, first makes an orphan go for good.
type Reclaim struct {
	Ino  Ino
	Drop bool
}

// Setting sets or deletes a named setting that follows the replicas.
type Setting struct {
	Key    string
	Value  []byte
	Delete bool
}

// Client adds or removes a reclaim record: which NFS client may reclaim opens
// and locks after a restart or a failover (RFC 8881 §8.4.2.1).
type Client struct {
	Owner  []byte // the client owner, 1..MaxClientName bytes
	Delete bool
}

// Xattr sets or removes an extended attribute (RFC 8276).
type Xattr struct {
	Ino    Ino
	Name   Name // without a namespace prefix
	Value  []byte
	Delete bool
	Time   Time
}

// Punch makes the bytes [From, To) of a file a hole; its size stays. The range
// covers at most MaxExtentsCut extents.
type Punch struct {
	Ino       Ino
	From      uint64
	To        uint64
	ClearMode uint32
	Time      Time
}

// Clone makes the bytes at DstOffset of Dst those at SrcOffset of Src, by
// reference: no payload is copied. Holes stay holes. Dst grows when it must.
// Each range covers at most MaxExtentsCut extents; both files may be one, then
// the ranges do not overlap.
type Clone struct {
	Src       Ino
	SrcOffset uint64
	Dst       Ino
	DstOffset uint64
	Length    uint64 // 1..MaxFileSize
	ClearMode uint32 // of Dst
	Time      Time
}

// Noop changes nothing. It marks a position.
type Noop struct{}

// Kind tells which kind each mutation is.
func (*Genesis) Kind() Kind { return KindGenesis }

// Kind implements Mutation.
func (*Epoch) Kind() Kind { return KindEpoch }

// Kind implements Mutation.
func (*Create) Kind() Kind { return KindCreate }

// Kind implements Mutation.
func (*Link) Kind() Kind { return KindLink }

// Kind implements Mutation.
func (*Unlink) Kind() Kind { return KindUnlink }

// Kind implements Mutation.
func (*Rename) Kind() Kind { return KindRename }

// Kind implements Mutation.
func (*SetAttr) Kind() Kind { return KindSetAttr }

// Kind implements Mutation.
func (*Write) Kind() Kind { return KindWrite }

// Kind implements Mutation.
func (*Reclaim) Kind() Kind { return KindReclaim }

// Kind implements Mutation.
func (*Setting) Kind() Kind { return KindSetting }

// Kind implements Mutation.
func (*Client) Kind() Kind { return KindClient }

// Kind implements Mutation.
func (*Xattr) Kind() Kind { return KindXattr }

// Kind implements Mutation.
func (*Punch) Kind() Kind { return KindPunch }

// Kind implements Mutation.
func (*Clone) Kind() Kind { return KindClone }

// Kind implements Mutation.
func (*Noop) Kind() Kind { return KindNoop }

// MaxMutation bounds an encoded mutation in bytes: a setting with its key.
const MaxMutation = MaxSetting + 2048

const mutationVersion = 1

// AppendMutation appends kind, version and body.
func AppendMutation(b []byte, m Mutation) []byte {
	return m.appendBody(append(b, byte(m.Kind()), mutationVersion))
}

// ParseMutation reads what AppendMutation wrote; all of b must be used. A kind
// or version that this release does not know is an error that names it.
func ParseMutation(b []byte) (Mutation, error) {
	if len(b) < 2 {
		return nil, &DecodeError{"mutation", "shorter than 2 bytes"}
	}
	if b[1] != mutationVersion {
		return nil, &DecodeError{"mutation", fmt.Sprintf("kind %d has version %d; this release knows %d", b[0], b[1], mutationVersion)}
	}
	d := &decoder{b: b[2:]}
	m := parseBody(Kind(b[0]), d)
	switch {
	case m == nil:
		return nil, &DecodeError{"mutation", fmt.Sprintf("kind %d is not known to this release", b[0])}
	case d.bad != "":
		return nil, &DecodeError{fmt.Sprintf("mutation of kind %d", b[0]), d.bad}
	case len(d.b) != 0:
		return nil, &DecodeError{fmt.Sprintf("mutation of kind %d", b[0]), fmt.Sprintf("%d bytes left over", len(d.b))}
	}
	return m, nil
}
