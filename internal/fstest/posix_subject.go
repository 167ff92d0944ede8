package fstest

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// FilesOf shows a Subject as programs see one on Linux. Every call moves the
// clock on.
func FilesOf(s Subject, c *Clock) Files { return &subjectFiles{s, c, fs.Cred{}} }

type subjectFiles struct {
	fs    Subject
	clock *Clock
	cred  fs.Cred
}

// Errno is the errno of a refusal; other errors stay what they are.
func Errno(err error) error {
	var refusal fs.Error
	if !errors.As(err, &refusal) {
		return err
	}
	if e, ok := errnos[refusal]; ok {
		return e
	}
	return err
}

var errnos = map[fs.Error]syscall.Errno{
	fs.ErrPerm: syscall.EPERM, fs.ErrNoEnt: syscall.ENOENT, fs.ErrIO: syscall.EIO, fs.ErrAccess: syscall.EACCES,
	fs.ErrExist: syscall.EEXIST, fs.ErrNotDir: syscall.ENOTDIR, fs.ErrIsDir: syscall.EISDIR, fs.ErrInval: syscall.EINVAL,
	fs.ErrFBig: syscall.EFBIG, fs.ErrNoSpace: syscall.ENOSPC, fs.ErrROFS: syscall.EROFS, fs.ErrMLink: syscall.EMLINK,
	fs.ErrNameTooLong: syscall.ENAMETOOLONG, fs.ErrNotEmpty: syscall.ENOTEMPTY, fs.ErrStale: syscall.ESTALE, fs.ErrNotSupp: syscall.ENOTSUP,
}

// As implements Files.
func (f *subjectFiles) As(_ testing.TB, uid, gid uint32, groups ...uint32) Files {
	return &subjectFiles{f.fs, f.clock, fs.Cred{UID: uid, GID: gid, Groups: groups}}
}

// walk finds what a path leads to.
func (f *subjectFiles) walk(path string) (fs.Ino, error) {
	ino := fs.RootIno
	if path == "" {
		return ino, nil
	}
	for _, n := range strings.Split(path, "/") {
		a, err := f.fs.Lookup(&f.cred, ino, fs.Name(n))
		if err != nil {
			return 0, Errno(err)
		}
		ino = a.Ino
	}
	return ino, nil
}

// parent finds the directory of a path, and begins a call that changes it.
func (f *subjectFiles) parent(path string) (fs.Ino, fs.Name, error) {
	f.clock.Set(f.clock.Now().Add(1e6))
	i := strings.LastIndexByte(path, '/')
	dir, err := f.walk(path[:max(i, 0)])
	return dir, fs.Name(path[i+1:]), err
}

func (f *subjectFiles) create(path string, r fs.CreateRequest, mode uint32) error {
	dir, name, err := f.parent(path)
	if err != nil {
		return err
	}
	r.Cred, r.Parent, r.Name, r.Attrs.Mode = f.cred, dir, name, &mode
	_, err = f.fs.Create(background, &r)
	return Errno(err)
}

// Mkdir implements Files, as do the following.
func (f *subjectFiles) Mkdir(path string, mode uint32) error {
	return f.create(path, fs.CreateRequest{Type: fs.TypeDir}, mode)
}

func (f *subjectFiles) Create(path string, mode uint32) error {
	return f.create(path, fs.CreateRequest{Type: fs.TypeRegular}, mode)
}

func (f *subjectFiles) Symlink(target, path string) error {
	return f.create(path, fs.CreateRequest{Type: fs.TypeSymlink, Target: target}, 0o777)
}

func (f *subjectFiles) Link(old, path string) error {
	ino, err := f.walk(old)
	if err != nil {
		return err
	}
	dir, name, err := f.parent(path)
	if err != nil {
		return err
	}
	_, err = f.fs.Link(background, &fs.LinkRequest{Cred: f.cred, Ino: ino, Parent: dir, Name: name})
	return Errno(err)
}

func (f *subjectFiles) Remove(path string) error {
	dir, name, err := f.parent(path)
	if err != nil {
		return err
	}
	_, err = f.fs.Remove(background, &fs.RemoveRequest{Cred: f.cred, Parent: dir, Name: name})
	return Errno(err)
}

func (f *subjectFiles) Rename(old, path string) error {
	from, fromName, err := f.parent(old)
	if err != nil {
		return err
	}
	to, toName, err := f.parent(path)
	if err != nil {
		return err
	}
	_, err = f.fs.Rename(background, &fs.RenameRequest{Cred: f.cred, From: from, FromName: fromName, To: to, ToName: toName})
	return Errno(err)
}

func (f *subjectFiles) Stat(path string) (Stat, error) {
	ino, err := f.walk(path)
	if err != nil {
		return Stat{}, err
	}
	a, err := f.fs.GetAttr(ino)
	return Stat{uint64(a.Ino), a.Type, a.Mode, a.Nlink, a.UID, a.GID, a.Size, a.Mtime, a.Ctime}, Errno(err)
}

func (f *subjectFiles) Readlink(path string) (string, error) {
	ino, err := f.walk(path)
	if err != nil {
		return "", err
	}
	s, err := f.fs.Readlink(ino)
	return s, Errno(err)
}

func (f *subjectFiles) List(path string) (names []string, err error) {
	ino, err := f.walk(path)
	if err != nil {
		return nil, err
	}
	if err := f.may(ino, fs.AccessRead); err != nil {
		return nil, err
	}
	_, err = f.fs.ReadDir(ino, 0, func(e fs.DirEntry) bool { names = append(names, string(e.Name)); return true })
	return names, Errno(err)
}

// may is EACCES when the caller has not what it wants.
func (f *subjectFiles) may(ino fs.Ino, want fs.Access) error {
	have, err := f.fs.Access(&f.cred, ino, want)
	if err == nil && have != want {
		return syscall.EACCES
	}
	return Errno(err)
}

func (f *subjectFiles) ReadAt(path string, n int, offset int64) ([]byte, error) {
	ino, err := f.walk(path)
	if err == nil {
		err = f.may(ino, fs.AccessRead)
	}
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	n, _, err = f.fs.Read(background, ino, uint64(offset), b)
	return b[:n], Errno(err)
}

func (f *subjectFiles) WriteAt(path string, data []byte, offset int64) error {
	f.clock.Set(f.clock.Now().Add(1e6))
	ino, err := f.walk(path)
	if err == nil {
		err = f.may(ino, fs.AccessWrite)
	}
	for err == nil && len(data) > 0 {
		var r fs.WriteResult
		r, err = f.fs.Write(background, &fs.WriteRequest{Cred: f.cred, Ino: ino, Offset: uint64(offset), Data: data})
		data, offset = data[r.N:], offset+int64(r.N)
	}
	return Errno(err)
}

func (f *subjectFiles) SetAttr(path string, ch Change) error {
	f.clock.Set(f.clock.Now().Add(1e6))
	ino, err := f.walk(path)
	if err != nil {
		return err
	}
	set := fs.AttrChange{Mode: ch.Mode, UID: ch.UID, GID: ch.GID, Size: ch.Size}
	if ch.Mtime != nil {
		set.AtimeHow, set.Atime, set.MtimeHow, set.Mtime = fs.TimeClient, *ch.Mtime, fs.TimeClient, *ch.Mtime
	}
	_, err = f.fs.SetAttr(background, &fs.SetAttrRequest{Cred: f.cred, Ino: ino, Set: set})
	return Errno(err)
}
