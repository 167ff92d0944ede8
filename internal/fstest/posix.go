package fstest

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Files is a file system as programs see it: paths and errnos. Paths are
// relative, components are separated by one slash, and only Symlink's target
// may lead anywhere else. Errors answer errors.Is with a syscall.Errno.
type Files interface {
	// As is the same file system for another caller, who is not privileged
	// unless uid is 0.
	As(t testing.TB, uid, gid uint32, groups ...uint32) Files

	Mkdir(path string, mode uint32) error
	Create(path string, mode uint32) error // O_CREAT and O_EXCL
	Symlink(target, path string) error
	Link(old, path string) error
	Remove(path string) error // a file, or an empty directory
	Rename(old, path string) error
	Stat(path string) (Stat, error) // of a symbolic link itself
	Readlink(path string) (string, error)
	List(dir string) ([]string, error) // in any order, without "." and ".."
	// ReadAt reads up to n bytes, fewer at the end of the file.
	ReadAt(path string, n int, offset int64) ([]byte, error)
	WriteAt(path string, data []byte, offset int64) error // of a file that is there
	// SetAttr changes what is not nil; times are Atime and Mtime.
	SetAttr(path string, ch Change) error
}

// Change says which attributes to set; nil means keep.
type Change struct {
	Mode, UID, GID *uint32
	Size           *uint64
	Mtime          *fs.Time // and the access time with it
}

// Stat is what the suite looks at of a file.
type Stat struct {
	Ino          uint64
	Type         fs.Type
	Mode, Nlink  uint32
	UID, GID     uint32
	Size         uint64
	Mtime, Ctime fs.Time
}

// Some people. alice and bob share the group staff, which is bob's first.
const (
	aliceUID, users = 1000, 100
	bobUID, staff   = 1001, 200
	eveUID, others  = 1002, 300
)

// posix is the suite on one file system.
type posix struct {
	Files
	t               *testing.T
	alice, bob, eve Files
}

// Conform checks that f, which is empty and which root calls, behaves as POSIX
// says and, where POSIX leaves a choice, as Linux does.
func Conform(t *testing.T, f Files) {
	for _, c := range []struct {
		name  string
		check func(*posix)
	}{
		{"create", posixCreate}, {"names", posixNames}, {"symlinks", posixSymlinks}, {"links", posixLinks},
		{"remove", posixRemove}, {"rename", posixRename}, {"rename directories", posixRenameDirs}, {"deep", posixDeep},
		{"sticky", posixSticky}, {"setgid directory", posixSetgidDir}, {"listing", posixListing},
		{"permission", posixPermission}, {"mode", posixMode}, {"owner", posixOwner}, {"privilege", posixPrivilege},
		{"size", posixSize}, {"sparse", posixSparse}, {"times", posixTimes},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := f.Mkdir(c.name, 0o777); err != nil {
				t.Fatal(err)
			}
			p := &posix{Files: under{f, c.name}, t: t}
			p.alice = under{f.As(t, aliceUID, users, staff), c.name}
			p.bob = under{f.As(t, bobUID, staff), c.name}
			p.eve = under{f.As(t, eveUID, others), c.name}
			c.check(p)
		})
	}
}

// under is the part of a file system below a directory.
type under struct {
	f   Files
	dir string
}

func (u under) at(path string) string {
	if path == "." {
		return u.dir
	}
	return u.dir + "/" + path
}

func (u under) As(t testing.TB, uid, gid uint32, groups ...uint32) Files {
	return under{u.f.As(t, uid, gid, groups...), u.dir}
}
func (u under) Mkdir(p string, mode uint32) error               { return u.f.Mkdir(u.at(p), mode) }
func (u under) Create(p string, mode uint32) error              { return u.f.Create(u.at(p), mode) }
func (u under) Symlink(target, p string) error                  { return u.f.Symlink(target, u.at(p)) }
func (u under) Link(old, p string) error                        { return u.f.Link(u.at(old), u.at(p)) }
func (u under) Remove(p string) error                           { return u.f.Remove(u.at(p)) }
func (u under) Rename(old, p string) error                      { return u.f.Rename(u.at(old), u.at(p)) }
func (u under) Stat(p string) (Stat, error)                     { return u.f.Stat(u.at(p)) }
func (u under) Readlink(p string) (string, error)               { return u.f.Readlink(u.at(p)) }
func (u under) List(p string) ([]string, error)                 { return u.f.List(u.at(p)) }
func (u under) WriteAt(p string, b []byte, off int64) error     { return u.f.WriteAt(u.at(p), b, off) }
func (u under) SetAttr(p string, ch Change) error               { return u.f.SetAttr(u.at(p), ch) }
func (u under) ReadAt(p string, n int, o int64) ([]byte, error) { return u.f.ReadAt(u.at(p), n, o) }

func (p *posix) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// refused checks that err is one of the errnos.
func (p *posix) refused(what string, err error, want ...syscall.Errno) {
	p.t.Helper()
	for _, e := range want {
		if errors.Is(err, e) {
			return
		}
	}
	p.t.Errorf("%s: %v, want %v", what, err, want)
}

func (p *posix) stat(path string) Stat {
	p.t.Helper()
	s, err := p.Stat(path)
	p.ok(err)
	return s
}

// is checks something that a Stat tells.
func is[T comparable](p *posix, what string, got, want T) {
	p.t.Helper()
	if got != want {
		p.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func (p *posix) list(dir string, want ...string) {
	p.t.Helper()
	got, err := p.List(dir)
	p.ok(err)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		p.t.Errorf("%s has %.200q, want %.200q", dir, got, want)
	}
}

func (p *posix) file(path string, mode uint32, content string) {
	p.t.Helper()
	p.ok(p.Create(path, mode))
	if content != "" {
		p.ok(p.WriteAt(path, []byte(content), 0))
	}
}

func (p *posix) holds(path, want string) {
	p.t.Helper()
	b, err := p.ReadAt(path, len(want)+1, 0)
	p.ok(err)
	is(p, "content of "+path, string(b), want)
}

func mode(m uint32) Change     { return Change{Mode: &m} }
func size(n uint64) Change     { return Change{Size: &n} }
func mtime(sec int64) Change   { return Change{Mtime: &fs.Time{Sec: sec}} }
func group(g uint32) Change    { return Change{GID: &g} }
func owner(u, g uint32) Change { return Change{UID: &u, GID: &g} }
