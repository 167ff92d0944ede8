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
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// DefaultWorkers keeps the group commit of a server busy without taking all
// slots of a session.
const DefaultWorkers = 32

// CopyTree copies what is at localDir to remoteDir, which is made if it is not
// there: files, directories, symbolic links, hard links among what is copied,
// and special files, with modes and modification times; owners only as far as
// the server gives new files to the caller. Files that are there are replaced.
// progress, if not nil, is called with what was copied so far, one call at a
// time. After an error the copy is incomplete.
func (c *Client) CopyTree(ctx context.Context, localDir, remoteDir string, workers int, progress func(Tally)) (Tally, error) {
	if err := c.MkdirAll(ctx, remoteDir, 0o755); err != nil {
		return Tally{}, err
	}
	t := &treeCopy{c: c, count: counter{progress: progress}, first: map[localInode]string{}}
	err := runPool(ctx, workers, func(ctx context.Context, p *pool) error {
		info, err := c.Stat(ctx, remoteDir)
		if err != nil {
			return err
		}
		return t.dir(ctx, p, localDir, path.Join("/", remoteDir), info.Handle)
	})
	if err == nil {
		err = runPool(ctx, workers, t.makeLinks)
	}
	if err == nil {
		err = runPool(ctx, workers, t.finishDirs)
	}
	return t.count.total(), err
}

// treeCopy is one copy to the server. Further names of files are made when all
// files are there, and directories get their modes and times last: making
// something in them needs one and changes the other.
type treeCopy struct {
	c     *Client
	count counter

	mu    sync.Mutex
	first map[localInode]string // remote path of files with several names
	links [][2]string           // existing remote path, new one
	dirs  []doneDir
}

type doneDir struct {
	at  target
	set Change
}

// dir copies the content of a directory that is there already.
func (t *treeCopy) dir(ctx context.Context, p *pool, local, remote string, fh []byte) error {
	fi, err := os.Stat(local)
	if err != nil {
		return err
	}
	info, _, err := localInfo(fi)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(local)
	if err != nil {
		return err
	}
	for _, e := range entries {
		p.add(func(ctx context.Context) error {
			return t.entry(ctx, p, filepath.Join(local, e.Name()), child(fh, e.Name(), path.Join(remote, e.Name())))
		})
	}
	t.mu.Lock()
	t.dirs = append(t.dirs, doneDir{target{fh: fh, path: remote}, Change{Mode: &info.Mode, Mtime: &info.Mtime}})
	t.mu.Unlock()
	t.count.add(Tally{Dirs: 1})
	return nil
}

func (t *treeCopy) entry(ctx context.Context, p *pool, local string, to target) error {
	fi, err := os.Lstat(local)
	if err != nil {
		return err
	}
	info, inode, err := localInfo(fi)
	if err != nil {
		return err
	}
	if info.Type != fs.TypeDir && info.Nlink > 1 && t.isFurtherName(inode, to.path) {
		return nil
	}
	switch info.Type {
	case fs.TypeDir:
		fh, err := t.c.ensureDir(ctx, to, info.Mode|0o700)
		if err != nil {
			return err
		}
		return t.dir(ctx, p, local, to.path, fh)
	case fs.TypeRegular:
		return t.file(ctx, local, to, &info)
	case fs.TypeSymlink:
		return t.symlink(ctx, local, to, &info)
	}
	t.count.add(Tally{Others: 1})
	return t.node(ctx, to, node{typ: info.Type, major: info.Major, minor: info.Minor, set: Change{Mode: &info.Mode, Mtime: &info.Mtime}})
}

// isFurtherName notes a name of a file that has several. All but the first are
// linked at the end.
func (t *treeCopy) isFurtherName(inode localInode, remote string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, again := t.first[inode]
	if !again {
		t.first[inode] = remote
		return false
	}
	t.links = append(t.links, [2]string{first, remote})
	return true
}

func (t *treeCopy) file(ctx context.Context, local string, to target, info *Info) error {
	f, err := os.Open(local)
	if err != nil {
		return err
	}
	defer f.Close()
	w := writing{c: t.c, dir: target{fh: to.fh}, name: to.names[0], full: to.path, src: f, size: int64(info.Size),
		spec: FileSpec{Mode: info.Mode, Exact: true, Mtime: &info.Mtime}}
	if err := t.c.writeTo(ctx, w); err != nil {
		return err
	}
	t.count.add(Tally{Files: 1, Bytes: int64(info.Size)})
	return nil
}

func (t *treeCopy) symlink(ctx context.Context, local string, to target, info *Info) error {
	link, err := os.Readlink(local)
	if err != nil {
		return err
	}
	t.count.add(Tally{Symlinks: 1})
	mode := uint32(0o777)
	return t.node(ctx, to, node{typ: fs.TypeSymlink, target: link, set: Change{Mode: &mode, Mtime: &info.Mtime}})
}

// node makes what is neither file nor directory, in the place of what is there.
func (t *treeCopy) node(ctx context.Context, to target, n node) error {
	dir := target{fh: to.fh}
	err := t.c.createIn(ctx, dir, to.names[0], to.path, "make "+n.typ.String(), n)
	if !errors.Is(err, iofs.ErrExist) {
		return err
	}
	if err := t.c.Remove(ctx, to.path); err != nil {
		return err
	}
	return t.c.createIn(ctx, dir, to.names[0], to.path, "make "+n.typ.String(), n)
}

// ensureDir makes a directory, or finds the one that is there.
func (c *Client) ensureDir(ctx context.Context, to target, mode uint32) (fh []byte, err error) {
	p := c.compound("make directory", to.path, true)
	p.putFH(to.fh)
	p.create(to.names[0], &node{typ: fs.TypeDir, set: Change{Mode: &mode}})
	p.op(xdr.OpGetFH)
	err = c.call(ctx, p, func(a *reply) (err error) {
		if err = a.next(xdr.OpPutFH); err != nil {
			return err
		}
		if err = a.created(); err != nil {
			return err
		}
		fh, err = a.fh()
		return err
	})
	if !errors.Is(err, iofs.ErrExist) {
		return fh, err
	}
	info, err := c.stat(ctx, to)
	if err == nil && info.Type != fs.TypeDir {
		err = fmt.Errorf("%s is there and is a %s: remove it, or copy to another place", to.path, info.Type)
	}
	return info.Handle, err
}

func (t *treeCopy) makeLinks(_ context.Context, p *pool) error {
	for _, l := range t.links {
		p.add(func(ctx context.Context) error {
			err := t.c.Link(ctx, l[0], l[1])
			if errors.Is(err, iofs.ErrExist) {
				if err = t.c.Remove(ctx, l[1]); err == nil {
					err = t.c.Link(ctx, l[0], l[1])
				}
			}
			t.count.add(Tally{Links: 1})
			return err
		})
	}
	return nil
}

func (t *treeCopy) finishDirs(_ context.Context, p *pool) error {
	for _, d := range t.dirs {
		p.add(func(ctx context.Context) error { return t.c.setAttr(ctx, d.at, &d.set) })
	}
	return nil
}
