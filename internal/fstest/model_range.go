package fstest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

func (m *Model) xattr(o *Op) (Done, error) {
	q := fs.XattrRequest{Cred: o.Cred, Ino: o.Ino, Name: o.Name, Value: o.Data, Remove: o.Delete, How: o.How}
	_, rerr := m.Ref.ChangeXattr(background, &q)
	q.Ino = m.ino(o.Ino)
	got, err := m.FS.ChangeXattr(background, &q)
	if err := sameError(rerr, err); err != nil || rerr != nil {
		return Done{}, err
	}
	if err := m.sameInfo(o.Ino, got.Change, true); err != nil {
		return Done{}, err
	}
	if err := m.sameXattrs(o.Ino); err != nil {
		return Done{}, err
	}
	return Done{Seq: got.Seq}, m.sameAttrs(o.Ino)
}

// sameXattrs compares all extended attributes of an inode.
func (m *Model) sameXattrs(ino fs.Ino) error {
	root := &fs.Cred{}
	want, rerr := m.Ref.ListXattrs(root, ino)
	got, err := m.FS.ListXattrs(root, m.ino(ino))
	if err := sameError(rerr, err); err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("extended attributes of %d: %q, want %q", ino, got, want)
	}
	for _, name := range want {
		w, _ := m.Ref.GetXattr(root, ino, name)
		g, err := m.FS.GetXattr(root, m.ino(ino), name)
		if err != nil || !bytes.Equal(g, w) {
			return fmt.Errorf("extended attribute %.20q of %d: %.20x, %v, want %.20x", name, ino, g, err, w)
		}
	}
	return nil
}

// reserve allocates or punches.
func (m *Model) reserve(o *Op) (Done, error) {
	ref, sub := m.Ref.Deallocate, m.FS.Deallocate
	if o.Kind == OpAllocate {
		ref, sub = m.Ref.Allocate, m.FS.Allocate
	}
	before := m.Ref.LastApplied()
	q := fs.RangeRequest{Cred: o.Cred, Ino: o.Ino, Offset: o.Offset, Length: o.Length}
	want, rerr := ref(background, &q)
	q.Ino = m.ino(o.Ino)
	got, err := sub(background, &q)
	if err := sameError(rerr, err); err != nil || rerr != nil {
		return Done{}, err
	}
	if err := m.sameAttr(want.Attr, got.Attr); err != nil {
		return Done{}, err
	}
	if m.Ref.LastApplied() == before {
		got.Seq = 0
	}
	return Done{Seq: got.Seq}, m.sameAttrs(o.Ino)
}

func (m *Model) clone(o *Op) (Done, error) {
	before := m.Ref.LastApplied()
	q := fs.CloneRequest{Cred: o.Cred, Src: o.Ino, SrcOffset: o.Offset, Dst: o.To, DstOffset: o.At, Length: o.Length}
	want, rerr := m.Ref.Clone(background, &q)
	q.Src, q.Dst = m.ino(o.Ino), m.ino(o.To)
	got, err := m.FS.Clone(background, &q)
	if err := sameError(rerr, err); err != nil || rerr != nil {
		return Done{}, err
	}
	if got.N != want.N {
		return Done{}, fmt.Errorf("cloned %d bytes, want %d", got.N, want.N)
	}
	if m.Ref.LastApplied() == before {
		got.Seq = 0
	}
	return Done{Seq: got.Seq}, m.sameAttrs(o.Ino, o.To)
}

func (m *Model) seek(o *Op) error {
	for _, data := range []bool{true, false} {
		want, wok, rerr := m.Ref.Seek(o.Ino, o.Offset, data)
		got, gok, err := m.FS.Seek(m.ino(o.Ino), o.Offset, data)
		if err := sameError(rerr, err); err != nil {
			return err
		}
		if rerr == nil && (got != want || gok != wok) && wok {
			return fmt.Errorf("seek to %d, %v; want %d, %v", got, gok, want, wok)
		}
	}
	return nil
}
