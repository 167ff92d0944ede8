// Package disk is the only door to the host's disk: the real one, an in-memory
// one that crashes, and a wrapper that fails on demand. It imports nothing of
// ours.
//
// What is assumed of a disk: a synced file keeps its bytes, a synced directory
// keeps its names; anything else may be kept, lost or torn, in any order. A
// failed sync leaves the file's state unknown.
package disk

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// FS is a name space of files. It is pebble's, so that the tree's store and
// the journal share one disk and one crash.
type FS = vfs.FS

// File is an open file. WriteAt may be called only on files that came from
// OpenReadWrite. SyncData is fdatasync.
type File = vfs.File

// Category is what writes are accounted under; we do not tell them apart.
const Category = vfs.WriteCategoryUnspecified

// Real is the host's disk.
func Real() FS { return vfs.Default }

// Lock takes the exclusive lock file of a directory, so that no two processes,
// nor two parts of one, work in it. Close the result to let go; the kernel
// lets go for a process that died.
func Lock(fs FS, dir string) (io.Closer, error) {
	c, err := fs.Lock(fs.PathJoin(dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("lock %s: in use by another process or part of this one: %w", dir, err)
	}
	return c, nil
}

// SyncDir makes the names in dir durable.
func SyncDir(fs FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// WriteFileAtomic replaces the file at path: afterwards, and after any crash,
// it holds either what it held or data. It is durable when nil is returned.
// The temporary name is path + ".tmp".
func WriteFileAtomic(fs FS, path string, data []byte) error {
	tmp := path + ".tmp"
	if err := writeSynced(fs, tmp, data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := fs.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return SyncDir(fs, fs.PathDir(path))
}

func writeSynced(fs FS, path string, data []byte) error {
	f, err := fs.Create(path, Category)
	if err != nil {
		return err
	}
	// vfs.File.Write may change what it is given.
	_, err = f.Write(append([]byte(nil), data...))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// Preallocate reserves length bytes from the start of f, without changing its
// size. It reports false when the disk cannot reserve; an error means that it
// can but did not (see IsNoSpace).
func Preallocate(f File, length int64) (reserved bool, err error) {
	for {
		err = f.Preallocate(0, length)
		// fallocate of much space is interrupted by signals, such as those of
		// Go's scheduler.
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reserve %d bytes: %w", length, err)
	}
	return f.Fd() != vfs.InvalidFd, nil
}

// ReleaseBeyond gives back what Preallocate reserved beyond size bytes, and
// cuts the file there. A file that is not on the real disk is left alone.
func ReleaseBeyond(f File, size int64) error {
	fd := f.Fd()
	if fd == vfs.InvalidFd {
		return nil
	}
	if err := unix.Ftruncate(int(fd), size); err != nil {
		return fmt.Errorf("cut to %d bytes: %w", size, err)
	}
	return nil
}

// IsNoSpace reports whether err says that the disk, or our share of it, is full.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
