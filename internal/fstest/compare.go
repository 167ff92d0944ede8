package fstest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// look carries out an operation that changes nothing but holds.
func (m *Model) look(o *Op) error {
	switch o.Kind {
	case OpRead:
		return m.sameBytes(o.Ino, o.Offset, o.Len)
	case OpReadDir:
		_, err := m.sameList(o.Dir, o.Len)
		return err
	case OpLookup:
		return m.lookup(o)
	case OpAccess:
		want, rerr := m.Ref.Access(&o.Cred, o.Ino, o.Want)
		got, err := m.FS.Access(&o.Cred, m.ino(o.Ino), o.Want)
		if err == nil && got != want {
			return fmt.Errorf("access %d, want %d", got, want)
		}
		return sameError(rerr, err)
	case OpReadlink:
		want, rerr := m.Ref.Readlink(o.Ino)
		got, err := m.FS.Readlink(m.ino(o.Ino))
		if err == nil && got != want {
			return fmt.Errorf("target %q, want %q", got, want)
		}
		return sameError(rerr, err)
	case OpSeek:
		return m.seek(o)
	case OpHold:
		m.Ref.Hold(o.Ino)
		m.FS.Hold(m.ino(o.Ino))
	case OpRelease:
		m.Ref.Release(o.Ino)
		m.FS.Release(m.ino(o.Ino))
		m.settle()
	case OpGraceEnded:
		m.Ref.GraceEnded()
		m.FS.GraceEnded()
		m.settle()
		return nil
	}
	return m.sameAttrs(o.Ino)
}

func (m *Model) settle() {
	if m.Settle != nil {
		m.Settle()
	}
}

func (m *Model) lookup(o *Op) error {
	want, rerr := m.Ref.Lookup(&o.Cred, o.Dir, o.Name)
	got, err := m.FS.Lookup(&o.Cred, m.ino(o.Dir), o.Name)
	if err := sameError(rerr, err); err != nil || rerr != nil {
		return err
	}
	return m.sameAttr(want, got)
}

// Restarted tells the model that the subject was restarted, or another took
// its place that goes on from the same state.
func (m *Model) Restarted(s Subject) {
	m.Ref.Restart()
	m.FS = s
	if c, _ := m.Ref.Clients(); len(c) == 0 {
		m.Ref.GraceEnded() // nobody to wait for
		s.GraceEnded()
		m.settle()
	}
}

// Abandon releases on the subject all that is held there: its clients have
// gone elsewhere. The reference is left alone.
func (m *Model) Abandon() {
	for ino, n := range m.Ref.holds {
		for range n {
			m.FS.Release(m.ino(ino))
		}
	}
}

// Resume compares another subject that holds the state of an earlier one, of
// the same inode numbers, with another reference that is in that state.
func (m *Model) Resume(ref *Ref, s Subject) *Model {
	return &Model{Ref: ref, Clock: m.Clock, FS: s, Settle: m.Settle, toFS: m.toFS, toRef: m.toRef, last: map[fs.Ino][2]uint64{}}
}

// Compare compares everything: names, attributes, content, clients, counters.
func (m *Model) Compare() error {
	m.settle()
	queue := []fs.Ino{fs.RootIno}
	seen := map[fs.Ino]bool{fs.RootIno: true}
	for len(queue) > 0 {
		ino := queue[0]
		queue = queue[1:]
		children, err := m.compareInode(ino)
		if err != nil {
			return err
		}
		for _, c := range children {
			if !seen[c] {
				seen[c] = true
				queue = append(queue, c)
			}
		}
	}
	for ino := range m.Ref.inodes { // those without a name
		if !seen[ino] {
			if _, err := m.compareInode(ino); err != nil {
				return err
			}
		}
	}
	if err := m.sameClients(); err != nil {
		return err
	}
	want, _ := m.Ref.StatFS()
	got, err := m.FS.StatFS()
	if err != nil || got.Files != want.Files || got.BytesUsed != want.BytesUsed {
		return fmt.Errorf("file system of %d files and %d bytes, %v; want %d and %d", got.Files, got.BytesUsed, err, want.Files, want.BytesUsed)
	}
	return nil
}

func (m *Model) compareInode(ino fs.Ino) (children []fs.Ino, err error) {
	if err := m.sameAttrs(ino); err != nil {
		return nil, err
	}
	if err := m.sameXattrs(ino); err != nil {
		return nil, err
	}
	switch n := m.Ref.inodes[ino]; n.attr.Type {
	case fs.TypeDir:
		return m.sameList(ino, 7)
	case fs.TypeRegular:
		return nil, m.sameContent(n)
	case fs.TypeSymlink:
		return nil, m.look(&Op{Kind: OpReadlink, Ino: ino})
	}
	return nil, nil
}

// sameList reads a listing in pages; it gives the inodes of the reference.
func (m *Model) sameList(dir fs.Ino, page int) ([]fs.Ino, error) {
	var want []fs.DirEntry
	_, rerr := m.Ref.ReadDir(dir, 0, func(e fs.DirEntry) bool { want = append(want, e); return true })
	got, err := m.list(m.ino(dir), page)
	if err := sameError(rerr, err); err != nil || rerr != nil {
		return nil, err
	}
	same := slices.EqualFunc(got, want, func(g, w fs.DirEntry) bool {
		return g.Name == w.Name && g.Type == w.Type && m.toRef[g.Ino] == w.Ino && g.Cookie >= firstCookie
	})
	if !same {
		return nil, fmt.Errorf("listing of %d:\n got %v\nwant %v", dir, got, want)
	}
	var inos []fs.Ino
	for _, e := range want {
		inos = append(inos, e.Ino)
	}
	return inos, nil
}

func (m *Model) list(dir fs.Ino, page int) (l []fs.DirEntry, err error) {
	var after uint64
	for {
		n := 0
		eof, err := m.FS.ReadDir(dir, after, func(e fs.DirEntry) bool {
			if n == page {
				return false
			}
			n++
			l = append(l, e)
			return true
		})
		if err != nil || eof {
			return l, err
		}
		if n == 0 || l[len(l)-1].Cookie <= after {
			return nil, fmt.Errorf("listing makes no progress after %d", after)
		}
		after = l[len(l)-1].Cookie
	}
}

func (m *Model) sameBytes(ino fs.Ino, offset uint64, n int) error {
	want, got := make([]byte, n), make([]byte, n)
	for i := range got {
		got[i] = 0xee // what is not filled shows
	}
	wn, weof, rerr := m.Ref.Read(background, ino, offset, want)
	gn, geof, err := m.FS.Read(background, m.ino(ino), offset, got)
	if err := sameError(rerr, err); err != nil || rerr != nil {
		return err
	}
	if wn != gn || weof != geof {
		return fmt.Errorf("read of %d at %d: %d bytes, end %v; want %d, %v", ino, offset, gn, geof, wn, weof)
	}
	if !bytes.Equal(want[:wn], got[:gn]) {
		i := 0
		for want[i] == got[i] {
			i++
		}
		return fmt.Errorf("content of %d differs at %d: %#x, want %#x", ino, offset+uint64(i), got[i], want[i])
	}
	return nil
}

// wholeFile is the size up to which a file is read whole; of a larger one only
// what was written, and its end.
const wholeFile = 1 << 20

func (m *Model) sameContent(n *inode) error {
	ino, size := n.attr.Ino, n.attr.Size
	if size <= wholeFile {
		return m.sameBytes(ino, 0, int(size)+10)
	}
	for page := range n.data.pages {
		if err := m.sameBytes(ino, page*pageSize, pageSize+1); err != nil {
			return err
		}
	}
	return m.sameBytes(ino, size-100, 200)
}
