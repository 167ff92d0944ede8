package fstest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// OpKind is what an Op does.
type OpKind uint8

// The kinds.
const (
	OpCreate OpKind = iota
	OpLink
	OpRemove
	OpRename
	OpSetAttr
	OpWrite
	OpRead
	OpReadDir
	OpLookup
	OpAccess
	OpReadlink
	OpHold
	OpRelease
	OpClient // adds or removes a reclaim record
	OpGraceEnded
	OpXattr
	OpPunch
	OpAllocate
	OpClone
	OpSeek
)

var opNames = [...]string{"create", "link", "remove", "rename", "setattr", "write", "read", "readdir", "lookup",
	"access", "readlink", "hold", "release", "client", "grace-ended", "xattr", "punch", "allocate", "clone", "seek"}

// Op is one operation. Inode numbers are those of the reference file system.
// It holds everything that matters, the time included, so that the same list
// of Ops does the same on every fresh Ref.
type Op struct {
	Kind    OpKind
	Time    time.Time
	Cred    fs.Cred
	Ino     fs.Ino
	Dir     fs.Ino
	To      fs.Ino // the other directory of a rename
	Name    fs.Name
	ToName  fs.Name
	Type    fs.Type
	Set     fs.AttrChange
	Opened  bool
	Target  string
	Major   uint32
	Minor   uint32
	Offset  uint64
	Data    []byte
	Len     int // of a read; entries in a page of a listing
	Want    fs.Access
	Delete  bool // of a client or an extended attribute
	Special [8]byte
	How     fs.XattrHow
	Length  uint64 // of a range
	At      uint64 // in the other file of a clone, To
}

func (o *Op) String() string {
	s := fmt.Sprintf("%s uid %d", opNames[o.Kind], o.Cred.UID)
	switch o.Kind {
	case OpCreate:
		return fmt.Sprintf("%s %s %d/%.10q %s target %.10q", s, o.Type, o.Dir, o.Name, setString(&o.Set), o.Target)
	case OpLink:
		return fmt.Sprintf("%s %d as %d/%.10q", s, o.Ino, o.Dir, o.Name)
	case OpRemove, OpLookup:
		return fmt.Sprintf("%s %d/%.10q", s, o.Dir, o.Name)
	case OpRename:
		return fmt.Sprintf("%s %d/%.10q to %d/%.10q", s, o.Dir, o.Name, o.To, o.ToName)
	case OpSetAttr:
		return fmt.Sprintf("%s %d %s opened %v", s, o.Ino, setString(&o.Set), o.Opened)
	case OpWrite:
		return fmt.Sprintf("%s %d at %d, %d bytes", s, o.Ino, o.Offset, len(o.Data))
	case OpRead:
		return fmt.Sprintf("%s %d at %d, %d bytes", s, o.Ino, o.Offset, o.Len)
	case OpReadDir:
		return fmt.Sprintf("%s %d by %d", s, o.Dir, o.Len)
	case OpAccess:
		return fmt.Sprintf("%s %d want %d", s, o.Ino, o.Want)
	case OpClient:
		return fmt.Sprintf("%s %q delete %v", s, o.Name, o.Delete)
	case OpXattr:
		return fmt.Sprintf("%s %d %.10q, %d bytes, delete %v, how %d", s, o.Ino, o.Name, len(o.Data), o.Delete, o.How)
	case OpPunch, OpAllocate, OpSeek:
		return fmt.Sprintf("%s %d at %d, %d bytes", s, o.Ino, o.Offset, o.Length)
	case OpClone:
		return fmt.Sprintf("%s %d at %d to %d at %d, %d bytes", s, o.Ino, o.Offset, o.To, o.At, o.Length)
	}
	return fmt.Sprintf("%s %d", s, o.Ino)
}

func setString(a *fs.AttrChange) (s string) {
	if a.Mode != nil {
		s += fmt.Sprintf(" mode %04o", *a.Mode)
	}
	if a.UID != nil {
		s += fmt.Sprintf(" uid %d", *a.UID)
	}
	if a.GID != nil {
		s += fmt.Sprintf(" gid %d", *a.GID)
	}
	if a.Size != nil {
		s += fmt.Sprintf(" size %d", *a.Size)
	}
	return s + fmt.Sprintf(" times %d %d", a.AtimeHow, a.MtimeHow)
}

// Gen draws operations at random, biased to collisions: few names, few
// directories, hard links, removed files that are held. It looks at the
// reference to know what there is. Not safe for concurrent use.
type Gen struct {
	rng   *rand.Rand
	ref   *Ref
	now   time.Time
	held  []fs.Ino
	dirs  []fs.Ino // every directory ever made
	files []fs.Ino // everything else ever made
}

// NewGen makes a generator for what happens on ref from time now on.
func NewGen(seed uint64, ref *Ref, now time.Time) *Gen {
	return &Gen{rng: rand.New(rand.NewPCG(seed, 1)), ref: ref, now: now, dirs: []fs.Ino{fs.RootIno}}
}

// Made tells the generator of a file that an Op created.
func (g *Gen) Made(ino fs.Ino, t fs.Type) {
	if t == fs.TypeDir {
		g.dirs = append(g.dirs, ino)
		return
	}
	g.files = append(g.files, ino)
}

// Use tells the generator that another reference, in an earlier state, takes
// the place of the one that it looks at.
func (g *Gen) Use(ref *Ref) { g.ref = ref }

// Restarted tells the generator that all holds are forgotten.
func (g *Gen) Restarted() { g.held = nil }

// weights of the kinds, in per mille; the rest is writes.
var weights = [...]struct {
	kind   OpKind
	weight int
}{{OpCreate, 180}, {OpLink, 60}, {OpRemove, 120}, {OpRename, 130}, {OpSetAttr, 100}, {OpRead, 30}, {OpReadDir, 20},
	{OpLookup, 20}, {OpAccess, 20}, {OpReadlink, 10}, {OpHold, 40}, {OpRelease, 30}, {OpClient, 10}, {OpGraceEnded, 10},
	{OpXattr, 40}, {OpPunch, 30}, {OpAllocate, 10}, {OpClone, 40}, {OpSeek, 10}}

// Next draws an operation. It does not depend on whether earlier ones
// succeeded but for what the reference holds.
func (g *Gen) Next() *Op {
	g.now = g.now.Add(time.Duration(1+g.rng.IntN(5_000_000)) * time.Microsecond)
	o := &Op{Kind: OpWrite, Time: g.now, Cred: g.cred(), Ino: g.ino(), Dir: g.dir(), To: g.dir(), Name: g.name(), ToName: g.name()}
	n := g.rng.IntN(1000)
	for _, w := range weights {
		if n < w.weight {
			o.Kind = w.kind
			break
		}
		n -= w.weight
	}
	g.fill(o)
	return o
}

func (g *Gen) fill(o *Op) {
	switch o.Kind {
	case OpCreate:
		g.fillCreate(o)
	case OpSetAttr:
		if g.one(4) {
			o.Ino = o.Dir
		}
		o.Set, o.Opened = g.set(), g.one(3)
	case OpWrite:
		o.Offset, o.Data = g.offset(), g.data()
	case OpRead:
		o.Offset, o.Len = g.offset(), 1+g.rng.IntN(100<<10)
	case OpReadDir:
		o.Len = 1 + g.rng.IntN(3)
	case OpAccess:
		o.Want = fs.Access(g.rng.IntN(8))
	case OpHold:
		if g.one(4) {
			o.Ino = o.Dir
		}
		if len(g.held) > 12 || g.ref.inodes[o.Ino] == nil {
			o.Kind = OpRead
			return
		}
		g.held = append(g.held, o.Ino)
	case OpRelease:
		if len(g.held) == 0 {
			o.Kind = OpRead
			return
		}
		i := g.rng.IntN(len(g.held))
		o.Ino = g.held[i]
		g.held = append(g.held[:i], g.held[i+1:]...)
	case OpXattr:
		if g.one(4) {
			o.Ino = o.Dir
		}
		o.Data, o.Delete, o.How = g.data(), g.one(3), fs.XattrHow(g.rng.IntN(3))
		if len(o.Data) > 100 && !g.one(4) {
			o.Data = nil
		}
	case OpPunch, OpAllocate, OpSeek:
		o.Offset, o.Length = g.offset(), g.offset()
	case OpClone:
		o.To, o.Offset, o.At, o.Length = g.ino(), g.offset(), g.offset(), g.offset()
		if g.one(3) {
			o.Length = 0
		}
	case OpClient:
		o.Name, o.Delete = fs.Name(fmt.Sprintf("client-%d", g.rng.IntN(3))), g.one(3)
	}
}

func (g *Gen) fillCreate(o *Op) {
	o.Type = fs.TypeRegular
	switch g.rng.IntN(10) {
	case 0, 1, 2, 3:
		o.Type = fs.TypeDir
	case 4:
		o.Type = fs.Type(1 + g.rng.IntN(7))
	}
	o.Set = g.set()
	o.Set.Size = nil
	if o.Set.Mode == nil || g.one(2) {
		m := uint32(0o755)
		o.Set.Mode = &m
	}
	o.Major, o.Minor = uint32(g.rng.IntN(4)), uint32(g.rng.IntN(4))
	if o.Type == fs.TypeSymlink && !g.one(10) {
		o.Target = "../over/there"[:1+g.rng.IntN(12)]
	}
	if g.one(4) {
		o.Special[g.rng.IntN(8)] = byte(1 + g.rng.IntN(200))
	}
}

func (g *Gen) one(in int) bool { return g.rng.IntN(in) == 0 }

func (g *Gen) cred() fs.Cred {
	switch g.rng.IntN(8) {
	case 0:
		return fs.Cred{UID: 1000, GID: 100, Groups: []uint32{200}}
	case 1:
		return fs.Cred{UID: 1001, GID: 200}
	}
	return fs.Cred{}
}

func (g *Gen) name() fs.Name {
	switch g.rng.IntN(60) {
	case 0:
		return [...]fs.Name{"", ".", "..", "a/b", "nul\x00"}[g.rng.IntN(5)]
	case 1:
		b := make([]byte, fs.MaxName-1+g.rng.IntN(3))
		for i := range b {
			b[i] = 'L'
		}
		return fs.Name(b)
	case 2:
		return "\xff\xfe not UTF-8"
	}
	return fs.Name("abcde"[g.rng.IntN(5):][:1])
}

// recent draws from l with a bias to its end; removed ones come up too.
func (g *Gen) recent(l []fs.Ino) fs.Ino {
	for range 3 {
		ino := l[max(0, len(l)-1-int(g.rng.ExpFloat64()*20))]
		if g.ref.inodes[ino] != nil || g.one(6) {
			return ino
		}
	}
	return fs.RootIno
}

func (g *Gen) dir() fs.Ino {
	switch {
	case g.one(3):
		return fs.RootIno
	case g.one(30) && len(g.files) > 0:
		return g.recent(g.files)
	}
	return g.recent(g.dirs)
}

func (g *Gen) ino() fs.Ino {
	switch {
	case len(g.held) > 0 && g.one(4):
		return g.held[g.rng.IntN(len(g.held))]
	case len(g.files) == 0 || g.one(30):
		return g.recent(g.dirs)
	}
	return g.recent(g.files)
}

func (g *Gen) set() (a fs.AttrChange) {
	if g.one(3) {
		m := [...]uint32{0o777, 0o1777, 0o2775, 0o6755, 0o4755, 0o640, 0o2745, 0, 0o7777}[g.rng.IntN(9)]
		a.Mode = &m
	}
	if g.one(6) {
		u := 1000 + uint32(g.rng.IntN(2))
		a.UID = &u
	}
	if g.one(6) {
		v := 100 * (1 + uint32(g.rng.IntN(3)))
		a.GID = &v
	}
	if g.one(3) {
		v := g.offset()
		a.Size = &v
	}
	a.AtimeHow, a.Atime = g.time()
	a.MtimeHow, a.Mtime = g.time()
	return a
}

func (g *Gen) time() (how fs.SetTime, t fs.Time) {
	switch g.rng.IntN(10) {
	case 0:
		return fs.TimeServer, t
	case 1:
		return fs.TimeClient, fs.Time{Sec: -5 + int64(g.rng.IntN(10)), Nsec: 999_999_999}
	case 2:
		return fs.TimeClient, fs.Time{Sec: 1 << 33, Nsec: uint32(g.rng.IntN(1e9))}
	}
	return fs.TimeKeep, t
}

func (g *Gen) offset() uint64 {
	switch g.rng.IntN(40) {
	case 0:
		return fs.MaxFileSize - 5 + g.rng.Uint64N(10)
	case 1:
		return 1<<40 + g.rng.Uint64N(100)
	case 2, 3, 4:
		return g.rng.Uint64N(300 << 10)
	case 5, 6:
		return 4096 * g.rng.Uint64N(20)
	}
	return g.rng.Uint64N(6000)
}

func (g *Gen) data() []byte {
	n := 1 + g.rng.IntN(100)
	switch g.rng.IntN(20) {
	case 0:
		n = 60<<10 + g.rng.IntN(100<<10) // a payload of its own
	case 1, 2, 3:
		n = 1 + g.rng.IntN(40<<10)
	case 4:
		n = 4096
	}
	b := make([]byte, n)
	seed := byte(g.rng.Uint32())
	for i := range b {
		b[i] = seed + byte(i*7) + byte(i>>8)
	}
	return b
}
