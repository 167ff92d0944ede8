package nfsclient

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fstest"
)

func TestClientConforms(t *testing.T) {
	l := newLab(t)
	fstest.Conform(t, l.files(t, Options{}))
}

// files shows the server as programs see a file system, through this client.
func (l *lab) files(t testing.TB, o Options) fstest.Files {
	o.Prefix = "/" + exportName
	c, err := Dial(context.Background(), l.addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &clientFiles{l, c, context.Background()}
}

type clientFiles struct {
	l   *lab
	c   *Client
	ctx context.Context
}

func (f *clientFiles) As(t testing.TB, uid, gid uint32, groups ...uint32) fstest.Files {
	return f.l.files(t, Options{UID: uid, GID: gid, Groups: groups})
}

func (f *clientFiles) Mkdir(p string, mode uint32) error  { return f.c.Mkdir(f.ctx, p, mode) }
func (f *clientFiles) Create(p string, mode uint32) error { return f.c.Create(f.ctx, p, mode) }
func (f *clientFiles) Symlink(target, p string) error     { return f.c.Symlink(f.ctx, target, p) }
func (f *clientFiles) Link(old, p string) error           { return f.c.Link(f.ctx, old, p) }
func (f *clientFiles) Remove(p string) error              { return f.c.Remove(f.ctx, p) }
func (f *clientFiles) Rename(old, p string) error         { return f.c.Rename(f.ctx, old, p) }
func (f *clientFiles) Readlink(p string) (string, error)  { return f.c.Readlink(f.ctx, p) }

func (f *clientFiles) Stat(p string) (fstest.Stat, error) {
	i, err := f.c.Stat(f.ctx, p)
	return fstest.Stat{Ino: i.ID, Type: i.Type, Mode: i.Mode, Nlink: i.Nlink, UID: i.UID, GID: i.GID, Size: i.Size, Mtime: i.Mtime, Ctime: i.Ctime}, err
}

func (f *clientFiles) List(p string) (names []string, err error) {
	l, err := f.c.ReadDir(f.ctx, p)
	for i := range l {
		names = append(names, l[i].Name)
	}
	return names, err
}

func (f *clientFiles) ReadAt(p string, n int, offset int64) ([]byte, error) {
	x, err := f.c.Open(f.ctx, p)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	n, err = x.ReadAt(f.ctx, b, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

func (f *clientFiles) WriteAt(p string, data []byte, offset int64) error {
	return f.c.WriteAt(f.ctx, p, data, offset)
}

func (f *clientFiles) SetAttr(p string, ch fstest.Change) error {
	return f.c.SetAttr(f.ctx, p, Change{Mode: ch.Mode, UID: ch.UID, GID: ch.GID, Size: ch.Size, Atime: ch.Mtime, Mtime: ch.Mtime})
}
