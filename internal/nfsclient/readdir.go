package nfsclient

import (
	"context"
	"errors"
	"path"
	"sort"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// pageBytes is the size asked for of one reply of READDIR.
const pageBytes = 128 << 10

// ReadDir lists a directory, sorted by name, without "." and "..".
func (c *Client) ReadDir(ctx context.Context, path string) ([]Info, error) {
	t, err := c.target(ctx, path)
	if err != nil {
		return nil, err
	}
	return c.readDir(ctx, t)
}

func (c *Client) readDir(ctx context.Context, t target) ([]Info, error) {
	var page dirPage
	for !page.eof {
		if err := c.readPage(ctx, t, &page); err != nil {
			return nil, err
		}
	}
	sort.Slice(page.entries, func(i, j int) bool { return page.entries[i].Name < page.entries[j].Name })
	return page.entries, nil
}

// dirPage is how far a listing has come.
type dirPage struct {
	entries  []Info
	cookie   uint64
	verifier xdr.Verifier
	eof      bool
}

func (c *Client) readPage(ctx context.Context, t target, page *dirPage) error {
	s, err := c.link.session(ctx)
	if err != nil {
		return err
	}
	p := c.compound("list", t.path, false)
	p.putFH(t.fh)
	p.lookup(t.names)
	w := p.op(xdr.OpReadDir)
	w.Uint64(page.cookie)
	w.Fixed(page.verifier[:])
	size := uint32(min(pageBytes, s.payload()))
	w.Uint32(size)
	w.Uint32(size)
	w.Bitmap(infoAttrs.Or(xdr.Bits(xdr.AttrRdAttrError)))
	return c.call(ctx, p, func(a *reply) error {
		if err := a.at(t); err != nil {
			return err
		}
		return page.parse(a)
	})
}

func (d *dirPage) parse(a *reply) error {
	if err := a.next(xdr.OpReadDir); err != nil {
		return err
	}
	d.verifier = a.r.Verifier()
	before := len(d.entries)
	for a.r.Bool() {
		d.cookie = a.r.Uint64()
		name := a.r.String(fs.MaxName)
		var at xdr.Attrs
		if err := a.r.Attrs(&at); err != nil {
			return err
		}
		d.entries = append(d.entries, makeInfo(name, &at))
	}
	d.eof = a.r.Bool()
	if !d.eof && len(d.entries) == before {
		return errBadReply // it would be asked for again for ever
	}
	return a.whole()
}

// ErrSkipDir, returned by the function of Walk for a directory, skips it.
var ErrSkipDir = errors.New("skip this directory")

// Walk calls fn for the file at path and for everything below it, directories
// before their content and names in order.
func (c *Client) Walk(ctx context.Context, path string, fn func(path string, info Info) error) error {
	t, err := c.target(ctx, path)
	if err != nil {
		return err
	}
	info, err := c.stat(ctx, t)
	if err != nil {
		return err
	}
	return c.walk(ctx, t.path, info, fn)
}

func (c *Client) walk(ctx context.Context, at string, info Info, fn func(string, Info) error) error {
	err := fn(at, info)
	if errors.Is(err, ErrSkipDir) {
		return nil
	}
	if err != nil || info.Type != fs.TypeDir {
		return err
	}
	entries, err := c.readDir(ctx, target{fh: info.Handle, path: at})
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := c.walk(ctx, path.Join(at, e.Name), e, fn); err != nil {
			return err
		}
	}
	return nil
}
