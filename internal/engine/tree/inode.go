package tree

import (
	"encoding/binary"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Inode is the stored form of a file. Values handed out are shared: never
// change one, copy it.
type Inode struct {
	fs.Attr
	NextCookie uint64 // directories: the next entry's cookie
	Entries    uint64 // directories: how many there are
	Target     string // symbolic links
	Xattrs     uint64 // how many extended attributes there are
	Pending    bool   // extents beyond Size wait for Reclaim
	Dropped    bool   // it has neither name nor holder: Reclaim removes it
	Stamp      fs.Stamp
}

// firstCookie: RFC 8881 §18.23.3 reserves 0, 1 and 2.
const firstCookie = 3

const (
	inodeVersion = 1
	flagPending  = 1
	flagDropped  = 2
)

func (n *Inode) encode() []byte {
	b := make([]byte, 0, 128+len(n.Target))
	b = append(b, inodeVersion, byte(n.Type))
	for _, v := range [...]uint64{uint64(n.Mode), uint64(n.Nlink), uint64(n.UID), uint64(n.GID), n.Size, n.Used,
		uint64(n.Major), uint64(n.Minor), n.Change, uint64(n.Parent), n.NextCookie, n.Entries, n.Xattrs} {
		b = binary.AppendUvarint(b, v)
	}
	for _, t := range [...]fs.Time{n.Atime, n.Mtime, n.Ctime, n.Btime} {
		b = binary.AppendVarint(b, t.Sec)
		b = binary.AppendUvarint(b, uint64(t.Nsec))
	}
	b = append(b, n.Verifier[:]...)
	flags := byte(0)
	if n.Pending {
		flags |= flagPending
	}
	if n.Dropped {
		flags |= flagDropped
	}
	b = append(b, flags)
	b = appendStamp(b, n.Stamp)
	b = binary.AppendUvarint(b, uint64(len(n.Target)))
	return append(b, n.Target...)
}

func decodeInode(ino fs.Ino, b []byte) (*Inode, error) {
	r := reader{b: b}
	if r.byte() != inodeVersion {
		return nil, &fs.DecodeError{What: "inode", Detail: "unknown version"}
	}
	n := &Inode{}
	n.Ino = ino
	n.Type = fs.Type(r.byte())
	n.Mode, n.Nlink, n.UID, n.GID = uint32(r.uint()), uint32(r.uint()), uint32(r.uint()), uint32(r.uint())
	n.Size, n.Used = r.uint(), r.uint()
	n.Major, n.Minor = uint32(r.uint()), uint32(r.uint())
	n.Change, n.Parent, n.NextCookie, n.Entries, n.Xattrs = r.uint(), fs.Ino(r.uint()), r.uint(), r.uint(), r.uint()
	for _, t := range [...]*fs.Time{&n.Atime, &n.Mtime, &n.Ctime, &n.Btime} {
		*t = fs.Time{Sec: r.int(), Nsec: uint32(r.uint())}
	}
	copy(n.Verifier[:], r.take(8))
	flags := r.byte()
	n.Pending, n.Dropped = flags&flagPending != 0, flags&flagDropped != 0
	n.Stamp = r.stamp()
	n.Target = string(r.bytes())
	return n, r.err("inode")
}

// Entry is one directory entry with its stamp.
type Entry struct {
	fs.DirEntry
	Stamp fs.Stamp
}

func encodeEntry(e *Entry) []byte {
	b := binary.AppendUvarint(nil, uint64(e.Ino))
	b = append(b, byte(e.Type))
	b = binary.AppendUvarint(b, e.Cookie)
	return appendStamp(b, e.Stamp)
}

func decodeEntry(name fs.Name, b []byte) (*Entry, error) {
	r := reader{b: b}
	e := &Entry{}
	e.Name, e.Ino, e.Type, e.Cookie, e.Stamp = name, fs.Ino(r.uint()), fs.Type(r.byte()), r.uint(), r.stamp()
	return e, r.err("directory entry")
}

func encodeByCookie(e *Entry) []byte {
	b := binary.AppendUvarint(nil, uint64(e.Ino))
	b = append(b, byte(e.Type))
	return append(b, e.Name...)
}

func decodeByCookie(cookie uint64, b []byte) (fs.DirEntry, error) {
	r := reader{b: b}
	e := fs.DirEntry{Cookie: cookie, Ino: fs.Ino(r.uint()), Type: fs.Type(r.byte())}
	e.Name = fs.Name(r.b)
	r.b = nil
	return e, r.err("directory entry")
}

func appendStamp(b []byte, s fs.Stamp) []byte {
	b = binary.BigEndian.AppendUint64(b, s.Time)
	return binary.BigEndian.AppendUint16(b, s.Origin)
}

// reader decodes stored values; the first failure sticks.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.bad, r.b = true, nil
		return make([]byte, n)
	}
	s := r.b[:n]
	r.b = r.b[n:]
	return s
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	return r.take(int(n))
}

func (r *reader) stamp() fs.Stamp {
	b := r.take(10)
	return fs.Stamp{Time: binary.BigEndian.Uint64(b), Origin: binary.BigEndian.Uint16(b[8:])}
}

func (r *reader) err(what string) error {
	if r.bad || len(r.b) != 0 {
		return &fs.DecodeError{What: what, Detail: "stored value cut short or too long"}
	}
	return nil
}
