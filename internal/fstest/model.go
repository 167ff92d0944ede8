package fstest

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Subject is the file system that a Model compares with the reference; it has
// the meaning of nfs.FileSystem.
type Subject interface {
	StatFS() (fs.StatFS, error)
	GetAttr(ino fs.Ino) (fs.Attr, error)
	Lookup(c *fs.Cred, dir fs.Ino, name fs.Name) (fs.Attr, error)
	Access(c *fs.Cred, ino fs.Ino, want fs.Access) (fs.Access, error)
	Readlink(ino fs.Ino) (string, error)
	ReadDir(dir fs.Ino, after uint64, fn func(fs.DirEntry) bool) (eof bool, err error)
	Read(ctx context.Context, ino fs.Ino, offset uint64, p []byte) (n int, eof bool, err error)
	Create(ctx context.Context, r *fs.CreateRequest) (fs.CreateResult, error)
	Link(ctx context.Context, r *fs.LinkRequest) (fs.DirResult, error)
	Remove(ctx context.Context, r *fs.RemoveRequest) (fs.DirResult, error)
	Rename(ctx context.Context, r *fs.RenameRequest) (fs.RenameResult, error)
	SetAttr(ctx context.Context, r *fs.SetAttrRequest) (fs.Result, error)
	Write(ctx context.Context, r *fs.WriteRequest) (fs.WriteResult, error)
	GetXattr(c *fs.Cred, ino fs.Ino, name fs.Name) ([]byte, error)
	ListXattrs(c *fs.Cred, ino fs.Ino) ([]fs.Name, error)
	ChangeXattr(ctx context.Context, r *fs.XattrRequest) (fs.XattrResult, error)
	Seek(ino fs.Ino, offset uint64, data bool) (at uint64, ok bool, err error)
	Allocate(ctx context.Context, r *fs.RangeRequest) (fs.Result, error)
	Deallocate(ctx context.Context, r *fs.RangeRequest) (fs.Result, error)
	Clone(ctx context.Context, r *fs.CloneRequest) (fs.CloneResult, error)
	Hold(ino fs.Ino)
	Release(ino fs.Ino)
	Clients() ([][]byte, error)
	AddClient(ctx context.Context, owner []byte) (uint64, error)
	RemoveClient(ctx context.Context, owner []byte) (uint64, error)
	GraceEnded()
}

var _ Subject = (*Ref)(nil)

// Model does operations on the reference and on a subject and compares what
// they answer. Not safe for concurrent use.
type Model struct {
	Ref   *Ref
	Clock *Clock // both read it
	FS    Subject
	// Settle waits until the subject has done what it does later: removed
	// files that nobody holds any more are gone. nil: nothing is done later.
	Settle func()

	toFS  map[fs.Ino]fs.Ino // from the reference's inode numbers
	toRef map[fs.Ino]fs.Ino
	last  map[fs.Ino][2]uint64 // change attributes seen: reference, subject
}

// NewModel compares s, which is empty, with a new reference.
func NewModel(c *Clock, s Subject) *Model {
	m := &Model{Ref: NewRef(c.Now), Clock: c, FS: s, toFS: map[fs.Ino]fs.Ino{}, toRef: map[fs.Ino]fs.Ino{}, last: map[fs.Ino][2]uint64{}}
	m.pair(fs.RootIno, fs.RootIno)
	return m
}

func (m *Model) pair(ref, sub fs.Ino) { m.toFS[ref], m.toRef[sub] = sub, ref }

// ino translates; an inode that was never made gets a number that nobody has.
func (m *Model) ino(ref fs.Ino) fs.Ino {
	if sub, ok := m.toFS[ref]; ok {
		return sub
	}
	return 1<<62 + ref
}

// Done is what an operation did: Made is the inode it created (0: none), Seq
// the subject's sequence that holds the change (0: nothing was changed).
type Done struct {
	Made fs.Ino
	Type fs.Type
	Seq  uint64
}

// Do carries out o on both sides. An error says how they differ.
func (m *Model) Do(o *Op) (Done, error) {
	m.Clock.Set(o.Time)
	switch o.Kind {
	case OpCreate:
		return m.create(o)
	case OpLink:
		return m.link(o)
	case OpRemove:
		return m.remove(o)
	case OpRename:
		return m.rename(o)
	case OpSetAttr:
		return m.setAttr(o)
	case OpWrite:
		return m.write(o)
	case OpClient:
		return m.client(o)
	case OpXattr:
		return m.xattr(o)
	case OpPunch, OpAllocate:
		return m.reserve(o)
	case OpClone:
		return m.clone(o)
	}
	return Done{}, m.look(o)
}

var background = context.Background()

// sameError compares answers; both must be refusals or neither.
func sameError(ref, sub error) error {
	if ref != sub {
		return fmt.Errorf("the answer is %v, want %v", sub, ref)
	}
	return nil
}

// sameInfo checks that a directory's change is what its attribute says.
func (m *Model) sameInfo(dir fs.Ino, c fs.ChangeInfo, changed bool) error {
	a, err := m.FS.GetAttr(m.ino(dir))
	if err != nil {
		return err
	}
	if c.After != a.Change || (c.Before != c.After) != changed {
		return fmt.Errorf("change of directory %d from %d to %d, its attribute is %d", dir, c.Before, c.After, a.Change)
	}
	return nil
}

// sameAttrs compares the attributes of inodes of the reference.
func (m *Model) sameAttrs(inos ...fs.Ino) error {
	for _, ino := range inos {
		want, rerr := m.Ref.GetAttr(ino)
		got, err := m.FS.GetAttr(m.ino(ino))
		if err := sameError(rerr, err); err != nil {
			return fmt.Errorf("attributes of %d: %w", ino, err)
		}
		if rerr != nil {
			continue
		}
		if err := m.sameAttr(want, got); err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) sameAttr(want, got fs.Attr) error {
	ino := want.Ino
	if got.Ino != m.ino(ino) {
		return fmt.Errorf("inode %d, want %d", got.Ino, m.ino(ino))
	}
	if last, ok := m.last[ino]; ok {
		if (last[0] != want.Change) != (last[1] != got.Change) || got.Change < last[1] {
			return fmt.Errorf("change of %d is %d, was %d; the reference's is %d, was %d", ino, got.Change, last[1], want.Change, last[0])
		}
	}
	m.last[ino] = [2]uint64{want.Change, got.Change}
	got.Ino, got.Change = want.Ino, want.Change
	if want.Parent != 0 {
		if m.toRef[got.Parent] != want.Parent {
			return fmt.Errorf("parent of %d is %d, want %d", ino, got.Parent, want.Parent)
		}
		got.Parent = want.Parent
	}
	if got != want {
		return fmt.Errorf("attributes of %d:\n got %+v\nwant %+v", ino, got, want)
	}
	return nil
}

func (m *Model) create(o *Op) (Done, error) {
	q := fs.CreateRequest{Cred: o.Cred, Parent: o.Dir, Name: o.Name, Type: o.Type, Attrs: o.Set, Major: o.Major, Minor: o.Minor,
		Target: o.Target, Verifier: o.Special}
	want, rerr := m.Ref.Create(background, &q)
	q.Parent = m.ino(o.Dir)
	got, err := m.FS.Create(background, &q)
	if err := sameError(rerr, err); err != nil {
		return Done{}, err
	}
	if rerr == fs.ErrExist {
		return Done{}, m.sameAttr(want.Attr, got.Attr)
	}
	if rerr != nil {
		return Done{}, m.sameAttrs(o.Dir)
	}
	m.pair(want.Attr.Ino, got.Attr.Ino)
	done := Done{Made: want.Attr.Ino, Type: o.Type, Seq: got.Seq}
	if err := m.sameAttr(want.Attr, got.Attr); err != nil {
		return done, err
	}
	if err := m.sameInfo(o.Dir, got.Parent, true); err != nil {
		return done, err
	}
	return done, m.sameAttrs(o.Dir, want.Attr.Ino)
}

func (m *Model) link(o *Op) (Done, error) {
	q := fs.LinkRequest{Cred: o.Cred, Ino: o.Ino, Parent: o.Dir, Name: o.Name}
	_, rerr := m.Ref.Link(background, &q)
	q.Ino, q.Parent = m.ino(o.Ino), m.ino(o.Dir)
	got, err := m.FS.Link(background, &q)
	if err := sameError(rerr, err); err != nil || rerr != nil {
		return Done{}, err
	}
	if err := m.sameInfo(o.Dir, got.Parent, true); err != nil {
		return Done{}, err
	}
	return Done{Seq: got.Seq}, m.sameAttrs(o.Dir, o.Ino)
}

func (m *Model) remove(o *Op) (Done, error) {
	q := fs.RemoveRequest{Cred: o.Cred, Parent: o.Dir, Name: o.Name}
	want, rerr := m.Ref.Remove(background, &q)
	q.Parent = m.ino(o.Dir)
	got, err := m.FS.Remove(background, &q)
	if err := sameError(rerr, err); err != nil || rerr != nil {
		return Done{}, err
	}
	if m.toRef[got.Removed] != want.Removed || got.Gone != want.Gone {
		return Done{}, fmt.Errorf("removed %d gone %v, want %d %v", got.Removed, got.Gone, m.ino(want.Removed), want.Gone)
	}
	if err := m.sameInfo(o.Dir, got.Parent, true); err != nil {
		return Done{}, err
	}
	return Done{Seq: got.Seq}, m.sameAttrs(o.Dir, want.Removed)
}

func (m *Model) rename(o *Op) (Done, error) {
	q := fs.RenameRequest{Cred: o.Cred, From: o.Dir, FromName: o.Name, To: o.To, ToName: o.ToName}
	want, rerr := m.Ref.Rename(background, &q)
	q.From, q.To = m.ino(o.Dir), m.ino(o.To)
	got, err := m.FS.Rename(background, &q)
	if err := sameError(rerr, err); err != nil || rerr != nil {
		return Done{}, err
	}
	if m.toRef[got.Victim] != want.Victim {
		return Done{}, fmt.Errorf("replaced %d, want %d", got.Victim, m.ino(want.Victim))
	}
	changed := want.Seq != 0
	if err := m.sameInfo(o.Dir, got.From, changed); err != nil {
		return Done{}, err
	}
	if err := m.sameInfo(o.To, got.To, changed); err != nil {
		return Done{}, err
	}
	moved, err := m.Ref.Lookup(&fs.Cred{}, o.To, o.ToName)
	if err != nil {
		return Done{}, err
	}
	list := []fs.Ino{o.Dir, o.To, moved.Ino}
	if want.Victim != 0 {
		list = append(list, want.Victim)
	}
	if !changed {
		got.Seq = 0
	}
	return Done{Seq: got.Seq}, m.sameAttrs(list...)
}

func (m *Model) setAttr(o *Op) (Done, error) {
	q := fs.SetAttrRequest{Cred: o.Cred, Ino: o.Ino, Set: o.Set, Opened: o.Opened}
	want, rerr := m.Ref.SetAttr(background, &q)
	q.Ino = m.ino(o.Ino)
	got, err := m.FS.SetAttr(background, &q)
	if err := sameError(rerr, err); err != nil || rerr != nil {
		return Done{}, err
	}
	if err := m.sameAttr(want.Attr, got.Attr); err != nil {
		return Done{}, err
	}
	if want.Seq == 0 {
		got.Seq = 0
	}
	return Done{Seq: got.Seq}, m.sameAttrs(o.Ino)
}

// write: a subject may take less than it was given, but must take something.
// o is shortened to that, so that it does the same when it is done again.
func (m *Model) write(o *Op) (Done, error) {
	q := fs.WriteRequest{Cred: o.Cred, Ino: m.ino(o.Ino), Offset: o.Offset, Data: o.Data}
	got, err := m.FS.Write(background, &q)
	q.Ino = o.Ino
	if err == nil {
		if got.N < 1 || got.N > len(o.Data) {
			return Done{}, fmt.Errorf("wrote %d of %d bytes", got.N, len(o.Data))
		}
		o.Data = o.Data[:got.N]
		q.Data = o.Data
	}
	want, rerr := m.Ref.Write(background, &q)
	if err := sameError(rerr, err); err != nil || rerr != nil {
		return Done{}, err
	}
	if err := m.sameAttr(want.Attr, got.Attr); err != nil {
		return Done{}, err
	}
	return Done{Seq: got.Seq}, m.sameAttrs(o.Ino)
}

func (m *Model) client(o *Op) (done Done, err error) {
	owner := []byte(o.Name)
	if o.Delete {
		_, _ = m.Ref.RemoveClient(background, owner)
		done.Seq, err = m.FS.RemoveClient(background, owner)
	} else {
		_, _ = m.Ref.AddClient(background, owner)
		done.Seq, err = m.FS.AddClient(background, owner)
	}
	if err != nil {
		return done, err
	}
	return done, m.sameClients()
}

func (m *Model) sameClients() error {
	want, _ := m.Ref.Clients()
	got, err := m.FS.Clients()
	if err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
		return fmt.Errorf("clients %q, %v; want %q", got, err, want)
	}
	return nil
}
