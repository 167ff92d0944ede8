package nfsclient

import (
	"context"
	"errors"
	iofs "io/fs"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// node is what CREATE makes: anything but a regular file.
type node struct {
	typ          fs.Type
	target       string // of a symbolic link
	major, minor uint32
	set          Change
}

// Mkdir makes a directory.
func (c *Client) Mkdir(ctx context.Context, path string, mode uint32) error {
	return c.create(ctx, path, "make directory", node{typ: fs.TypeDir, set: Change{Mode: &mode}})
}

// Symlink makes a symbolic link at path.
func (c *Client) Symlink(ctx context.Context, target, path string) error {
	mode := uint32(0o777)
	return c.create(ctx, path, "make symbolic link", node{typ: fs.TypeSymlink, target: target, set: Change{Mode: &mode}})
}

func (c *Client) create(ctx context.Context, path, verb string, n node) error {
	dir, name, full, err := c.pathTo(ctx, path)
	if err != nil {
		return err
	}
	return c.createIn(ctx, dir, name, full, verb, n)
}

func (c *Client) createIn(ctx context.Context, dir target, name, full, verb string, n node) error {
	p := c.compound(verb, full, true)
	p.putFH(dir.fh)
	p.lookup(dir.names)
	p.create(name, &n)
	return c.change(ctx, p, xdr.ErrExist, func(a *reply) error {
		if err := a.at(dir); err != nil {
			return err
		}
		return a.created()
	})
}

func (p *compound) create(name string, n *node) {
	w := p.op(xdr.OpCreate)
	w.Uint32(uint32(n.typ))
	switch n.typ {
	case fs.TypeSymlink:
		w.String(n.target)
	case fs.TypeBlock, fs.TypeChar:
		w.Uint32(n.major)
		w.Uint32(n.minor)
	}
	w.String(name)
	w.Attrs(n.set.attrs())
}

func (a *reply) created() error {
	if err := a.next(xdr.OpCreate); err != nil {
		return err
	}
	a.r.ChangeInfo()
	a.r.Bitmap()
	return a.whole()
}

// MkdirAll makes a directory and those above it; it is no error when they are
// there.
func (c *Client) MkdirAll(ctx context.Context, path string, mode uint32) error {
	names, err := split(path)
	if err != nil || len(names) == 0 {
		return err
	}
	err = c.Mkdir(ctx, path, mode)
	if isNotThere(err) {
		if err = c.MkdirAll(ctx, strings.Join(names[:len(names)-1], "/"), mode); err == nil {
			err = c.Mkdir(ctx, path, mode)
		}
	}
	if errors.Is(err, iofs.ErrExist) {
		info, statErr := c.Stat(ctx, path)
		if statErr == nil && info.Type == fs.TypeDir {
			return nil
		}
	}
	return err
}

// Readlink gives the target of a symbolic link.
func (c *Client) Readlink(ctx context.Context, path string) (string, error) {
	t, err := c.target(ctx, path)
	if err != nil {
		return "", err
	}
	return c.readlink(ctx, t)
}

func (c *Client) readlink(ctx context.Context, t target) (link string, err error) {
	p := c.compound("read link", t.path, false)
	p.putFH(t.fh)
	p.lookup(t.names)
	p.op(xdr.OpReadlink)
	err = c.call(ctx, p, func(a *reply) error {
		if err := a.at(t); err != nil {
			return err
		}
		if err := a.next(xdr.OpReadlink); err != nil {
			return err
		}
		link = a.r.String(fs.MaxSymlink)
		return a.whole()
	})
	return link, err
}

// Remove takes a name away: a file's, or that of an empty directory.
func (c *Client) Remove(ctx context.Context, path string) error {
	dir, name, full, err := c.pathTo(ctx, path)
	if err != nil {
		return err
	}
	p := c.compound("remove", full, true)
	p.putFH(dir.fh)
	p.lookup(dir.names)
	p.op(xdr.OpRemove).String(name)
	return c.change(ctx, p, xdr.ErrNoEnt, func(a *reply) error {
		if err := a.at(dir); err != nil {
			return err
		}
		return a.next(xdr.OpRemove)
	})
}

// RemoveAll removes a file or a whole tree; it is no error when there is none.
func (c *Client) RemoveAll(ctx context.Context, path string) error {
	err := c.Remove(ctx, path)
	if !errors.Is(err, fs.ErrNotEmpty) {
		if isNotThere(err) {
			return nil
		}
		return err
	}
	entries, err := c.ReadDir(ctx, path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := c.RemoveAll(ctx, path+"/"+e.Name); err != nil {
			return err
		}
	}
	return c.Remove(ctx, path)
}

// Link gives a file another name.
func (c *Client) Link(ctx context.Context, old, path string) error {
	from, err := c.target(ctx, old)
	if err != nil {
		return err
	}
	if from, err = c.resolve(ctx, from); err != nil {
		return err
	}
	dir, name, full, err := c.pathTo(ctx, path)
	if err != nil {
		return err
	}
	p := c.compound("link", full, true)
	p.putFH(from.fh)
	p.op(xdr.OpSaveFH)
	p.putFH(dir.fh)
	p.lookup(dir.names)
	p.op(xdr.OpLink).String(name)
	return c.change(ctx, p, xdr.ErrExist, func(a *reply) error {
		if err := a.skip(xdr.OpPutFH, xdr.OpSaveFH); err != nil {
			return err
		}
		if err := a.at(dir); err != nil {
			return err
		}
		return a.next(xdr.OpLink)
	})
}

// Rename moves a name, replacing what is at the new one as POSIX allows.
func (c *Client) Rename(ctx context.Context, old, path string) error {
	from, oldName, oldFull, err := c.pathTo(ctx, old)
	if err != nil {
		return err
	}
	if from, err = c.resolve(ctx, from); err != nil {
		return err
	}
	to, name, _, err := c.pathTo(ctx, path)
	if err != nil {
		return err
	}
	p := c.compound("rename", oldFull, true)
	p.putFH(from.fh)
	p.op(xdr.OpSaveFH)
	p.putFH(to.fh)
	p.lookup(to.names)
	w := p.op(xdr.OpRename)
	w.String(oldName)
	w.String(name)
	return c.change(ctx, p, xdr.ErrNoEnt, func(a *reply) error {
		if err := a.skip(xdr.OpPutFH, xdr.OpSaveFH); err != nil {
			return err
		}
		if err := a.at(to); err != nil {
			return err
		}
		return a.next(xdr.OpRename)
	})
}
