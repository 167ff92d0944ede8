package fstest

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"golang.org/x/sys/unix"
)

// FilesIn is a directory of this machine, through its kernel. Only root may
// use it: calls of others are made with their ids on one thread.
func FilesIn(dir string) Files {
	syscall.Umask(0)
	return &osFiles{dir: dir}
}

type osFiles struct {
	dir      string
	uid, gid uint32
	groups   []uint32
}

// As implements Files.
func (f *osFiles) As(_ testing.TB, uid, gid uint32, groups ...uint32) Files {
	return &osFiles{f.dir, uid, gid, groups}
}

// do makes a call as the caller whom f stands for. Go's own functions change
// the ids of all threads; these change those of this one, and with the file
// system's user id the privileges over files go.
func (f *osFiles) do(call func() error) error {
	if f.uid == 0 {
		return call()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	setGroups(f.groups)
	unix.RawSyscall(unix.SYS_SETFSGID, uintptr(f.gid), 0, 0)
	unix.RawSyscall(unix.SYS_SETFSUID, uintptr(f.uid), 0, 0)
	defer func() {
		unix.RawSyscall(unix.SYS_SETFSUID, 0, 0, 0)
		unix.RawSyscall(unix.SYS_SETFSGID, 0, 0, 0)
		setGroups(nil)
	}()
	return call()
}

func setGroups(l []uint32) {
	unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(l)), uintptr(unsafe.Pointer(unsafe.SliceData(l))), 0)
}

func (f *osFiles) at(path string) string { return filepath.Join(f.dir, path) }

// Mkdir implements Files, as do the following.
func (f *osFiles) Mkdir(path string, mode uint32) error {
	return f.do(func() error { return syscall.Mkdir(f.at(path), mode) })
}

func (f *osFiles) Create(path string, mode uint32) error {
	return f.do(func() error {
		fd, err := syscall.Open(f.at(path), syscall.O_CREAT|syscall.O_EXCL|syscall.O_WRONLY|syscall.O_CLOEXEC, mode)
		if err != nil {
			return err
		}
		return syscall.Close(fd)
	})
}

func (f *osFiles) Symlink(target, path string) error {
	return f.do(func() error { return syscall.Symlink(target, f.at(path)) })
}

func (f *osFiles) Link(old, path string) error {
	return f.do(func() error { return syscall.Link(f.at(old), f.at(path)) })
}

func (f *osFiles) Remove(path string) error {
	return f.do(func() error {
		err := syscall.Unlink(f.at(path))
		if err == syscall.EISDIR {
			err = syscall.Rmdir(f.at(path))
		}
		return err
	})
}

func (f *osFiles) Rename(old, path string) error {
	return f.do(func() error { return syscall.Rename(f.at(old), f.at(path)) })
}

func (f *osFiles) Stat(path string) (s Stat, err error) {
	var st syscall.Stat_t
	err = f.do(func() error { return syscall.Lstat(f.at(path), &st) })
	s = Stat{Ino: st.Ino, Mode: st.Mode & 0o7777, Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid, Size: uint64(st.Size),
		Mtime: fs.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}, Ctime: fs.Time{Sec: st.Ctim.Sec, Nsec: uint32(st.Ctim.Nsec)}}
	s.Type = map[uint32]fs.Type{syscall.S_IFREG: fs.TypeRegular, syscall.S_IFDIR: fs.TypeDir, syscall.S_IFLNK: fs.TypeSymlink}[st.Mode&syscall.S_IFMT]
	return s, err
}

func (f *osFiles) Readlink(path string) (target string, err error) {
	b := make([]byte, fs.MaxSymlink+1)
	err = f.do(func() error {
		n, err := syscall.Readlink(f.at(path), b)
		target = string(b[:max(n, 0)])
		return err
	})
	return target, err
}

func (f *osFiles) List(path string) (names []string, err error) {
	err = f.do(func() error {
		d, err := os.Open(f.at(path))
		if err != nil {
			return err
		}
		defer d.Close()
		names, err = d.Readdirnames(-1)
		return err
	})
	return names, err
}

func (f *osFiles) ReadAt(path string, n int, offset int64) (b []byte, err error) {
	b = make([]byte, n)
	err = f.do(func() error {
		x, err := os.Open(f.at(path))
		if err != nil {
			return err
		}
		defer x.Close()
		if n, err = x.ReadAt(b, offset); err == io.EOF {
			err = nil
		}
		return err
	})
	return b[:max(n, 0)], err
}

func (f *osFiles) WriteAt(path string, data []byte, offset int64) error {
	return f.do(func() error {
		x, err := os.OpenFile(f.at(path), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		if _, err := x.WriteAt(data, offset); err != nil {
			x.Close()
			return err
		}
		return x.Close()
	})
}

func (f *osFiles) SetAttr(path string, ch Change) error {
	return f.do(func() error { return setAttr(f.at(path), ch) })
}

func setAttr(path string, ch Change) (err error) {
	if ch.UID != nil || ch.GID != nil {
		uid, gid := -1, -1
		if ch.UID != nil {
			uid = int(*ch.UID)
		}
		if ch.GID != nil {
			gid = int(*ch.GID)
		}
		err = syscall.Lchown(path, uid, gid)
	}
	if err == nil && ch.Mode != nil {
		err = syscall.Chmod(path, *ch.Mode)
	}
	if err == nil && ch.Size != nil {
		err = syscall.Truncate(path, int64(*ch.Size))
	}
	if err == nil && ch.Mtime != nil {
		t := syscall.Timespec{Sec: ch.Mtime.Sec, Nsec: int64(ch.Mtime.Nsec)}
		err = syscall.UtimesNano(path, []syscall.Timespec{t, t})
	}
	return err
}
