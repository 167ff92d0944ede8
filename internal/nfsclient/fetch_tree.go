package nfsclient

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"golang.org/x/sys/unix"
)

// FetchTree copies what is at remoteDir to localDir, which is made if it is
// not there, as CopyTree does the other way. Devices are made only by root.
func (c *Client) FetchTree(ctx context.Context, remoteDir, localDir string, workers int, progress func(Tally)) (Tally, error) {
	info, err := c.Stat(ctx, remoteDir)
	if err != nil {
		return Tally{}, err
	}
	if err := os.MkdirAll(localDir, 0o755); err != nil {
		return Tally{}, err
	}
	t := &treeFetch{c: c, count: counter{progress: progress}, first: map[uint64]string{}}
	err = runPool(ctx, workers, func(ctx context.Context, p *pool) error {
		return t.dir(ctx, p, path.Join("/", remoteDir), localDir, info)
	})
	if err == nil {
		err = t.finish()
	}
	return t.count.total(), err
}

// treeFetch is one copy from the server, the mirror image of treeCopy.
type treeFetch struct {
	c     *Client
	count counter

	mu    sync.Mutex
	first map[uint64]string // local path of files with several names, by file id
	links [][2]string
	dirs  []fetchedDir
}

type fetchedDir struct {
	local string
	info  Info
}

func (t *treeFetch) dir(ctx context.Context, p *pool, remote, local string, info Info) error {
	entries, err := t.c.readDir(ctx, target{fh: info.Handle, path: remote})
	if err != nil {
		return err
	}
	for _, e := range entries {
		p.add(func(ctx context.Context) error {
			return t.entry(ctx, p, path.Join(remote, e.Name), filepath.Join(local, e.Name), e)
		})
	}
	t.mu.Lock()
	t.dirs = append(t.dirs, fetchedDir{local, info})
	t.mu.Unlock()
	t.count.add(Tally{Dirs: 1})
	return nil
}

func (t *treeFetch) entry(ctx context.Context, p *pool, remote, local string, info Info) error {
	if err := fs.Name(info.Name).Check(); err != nil {
		return fmt.Errorf("the server lists a name that no file can have, %q: %w", info.Name, err)
	}
	if info.Type == fs.TypeDir {
		if err := os.Mkdir(local, 0o700); err != nil && !errors.Is(err, iofs.ErrExist) {
			return err
		}
		return t.dir(ctx, p, remote, local, info)
	}
	if info.Nlink > 1 && t.isFurtherName(info.ID, local) {
		return nil
	}
	switch info.Type {
	case fs.TypeRegular:
		return t.file(ctx, remote, local, info)
	case fs.TypeSymlink:
		return t.symlink(ctx, remote, local, info)
	}
	return t.special(local, info)
}

func (t *treeFetch) isFurtherName(id uint64, local string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, again := t.first[id]
	if !again {
		t.first[id] = local
		return false
	}
	t.links = append(t.links, [2]string{first, local})
	return true
}

func (t *treeFetch) file(ctx context.Context, remote, local string, info Info) error {
	n, err := t.c.fetch(ctx, &File{c: t.c, at: target{fh: info.Handle, path: remote}, Info: info}, local)
	if err == nil {
		t.count.add(Tally{Files: 1, Bytes: n})
	}
	return err
}

// FetchFile copies one file to a local path, with mode and modification time.
func (c *Client) FetchFile(ctx context.Context, remote, local string) (int64, error) {
	f, err := c.Open(ctx, remote)
	if err != nil {
		return 0, err
	}
	return c.fetch(ctx, f, local)
}

func (c *Client) fetch(ctx context.Context, f *File, local string) (int64, error) {
	out, err := os.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := f.CopyTo(ctx, out)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(local, f.Info.FileMode())
	}
	if err == nil {
		err = setMtime(local, f.Info.Mtime)
	}
	if err != nil {
		return n, fmt.Errorf("copy %s to %s: %w", f.at.path, local, err)
	}
	return n, nil
}

func (t *treeFetch) symlink(ctx context.Context, remote, local string, info Info) error {
	link, err := t.c.readlink(ctx, target{fh: info.Handle, path: remote})
	if err != nil {
		return err
	}
	if err := replace(local, func() error { return os.Symlink(link, local) }); err != nil {
		return err
	}
	t.count.add(Tally{Symlinks: 1})
	return setMtime(local, info.Mtime)
}

func (t *treeFetch) special(local string, info Info) error {
	mode := info.Mode
	for bits, typ := range localTypes {
		if typ == info.Type {
			mode |= bits
		}
	}
	dev := unix.Mkdev(info.Major, info.Minor)
	if err := replace(local, func() error { return unix.Mknod(local, mode, int(dev)) }); err != nil {
		return fmt.Errorf("make %s %s: %w", info.Type, local, err)
	}
	t.count.add(Tally{Others: 1})
	return setMtime(local, info.Mtime)
}

// replace runs make, again after removing what was in its place.
func replace(local string, make func() error) error {
	err := make()
	if !errors.Is(err, iofs.ErrExist) {
		return err
	}
	if err := os.Remove(local); err != nil {
		return err
	}
	return make()
}

// finish makes the further names, then gives the directories their modes and
// times, those inside before those around them.
func (t *treeFetch) finish() error {
	for _, l := range t.links {
		if err := replace(l[1], func() error { return os.Link(l[0], l[1]) }); err != nil {
			return err
		}
		t.count.add(Tally{Links: 1})
	}
	for i := len(t.dirs) - 1; i >= 0; i-- {
		d := t.dirs[i]
		if err := os.Chmod(d.local, d.info.FileMode()); err != nil {
			return err
		}
		if err := setMtime(d.local, d.info.Mtime); err != nil {
			return err
		}
	}
	return nil
}

func setMtime(local string, t fs.Time) error {
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: t.Sec, Nsec: int64(t.Nsec)}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, local, ts, unix.AT_SYMLINK_NOFOLLOW)
}
