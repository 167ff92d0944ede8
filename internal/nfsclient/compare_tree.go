package nfsclient

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sort"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/zeebo/blake3"
)

// maxDifferences bounds the list of a comparison: who gets a hundred has a
// problem that the next hundred do not explain better.
const maxDifferences = 100

// Difference is one path at which two trees are not the same.
type Difference struct {
	Path string // relative to the trees
	What string
}

func (d Difference) String() string { return d.Path + ": " + d.What }

// CompareOptions say how trees are compared.
type CompareOptions struct {
	Workers int // 0: DefaultWorkers
	// Content chooses the files whose content is compared, by relative path;
	// nil: all. Names, types, sizes, modes and targets of symbolic links are
	// always compared.
	Content  func(rel string) bool
	Progress func(Tally) // as for CopyTree
}

// Comparison is the outcome. Tally counts what is in the local tree; its Bytes
// are those whose BLAKE3 was compared.
type Comparison struct {
	Tally       Tally
	Differences []Difference // sorted by path, at most 100
	Total       int64        // differences found
}

// Equal reports whether no difference was found.
func (c *Comparison) Equal() bool { return c.Total == 0 }

// CompareTree compares a local tree with one of the server: names, types,
// sizes, modes (not of symbolic links), targets of
// symbolic links, and the BLAKE3 of contents.
func (c *Client) CompareTree(ctx context.Context, localDir, remoteDir string, opt CompareOptions) (*Comparison, error) {
	if opt.Workers == 0 {
		opt.Workers = DefaultWorkers
	}
	remote, err := c.Stat(ctx, remoteDir)
	if err != nil {
		return nil, err
	}
	fi, err := os.Stat(localDir)
	if err != nil {
		return nil, err
	}
	local, _, err := localInfo(fi)
	if err != nil {
		return nil, err
	}
	t := &treeCompare{c: c, opt: opt, local: localDir, remote: path.Join("/", remoteDir), count: counter{progress: opt.Progress}}
	err = runPool(ctx, opt.Workers, func(ctx context.Context, p *pool) error {
		return t.pair(ctx, p, ".", &local, &remote)
	})
	t.found.Tally = t.count.total()
	sort.Slice(t.found.Differences, func(i, j int) bool { return t.found.Differences[i].Path < t.found.Differences[j].Path })
	return &t.found, err
}

type treeCompare struct {
	c             *Client
	opt           CompareOptions
	local, remote string
	count         counter

	mu    sync.Mutex
	found Comparison
}

func (t *treeCompare) differs(rel, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.found.Total++
	if len(t.found.Differences) < maxDifferences {
		t.found.Differences = append(t.found.Differences, Difference{rel, fmt.Sprintf(format, args...)})
	}
}

// pair compares one file of both sides.
func (t *treeCompare) pair(ctx context.Context, p *pool, rel string, l, r *Info) error {
	if l.Type != r.Type {
		t.differs(rel, "is a %s here and a %s there", l.Type, r.Type)
		return nil
	}
	if l.Type != fs.TypeSymlink && l.Mode != r.Mode {
		t.differs(rel, "mode %04o here and %04o there", l.Mode, r.Mode)
	}
	switch l.Type {
	case fs.TypeDir:
		return t.dir(ctx, p, rel, r)
	case fs.TypeSymlink:
		return t.symlink(ctx, rel, r)
	case fs.TypeRegular:
		return t.file(ctx, rel, l, r)
	}
	t.count.add(Tally{Others: 1})
	return nil
}

func (t *treeCompare) dir(ctx context.Context, p *pool, rel string, r *Info) error {
	t.count.add(Tally{Dirs: 1})
	entries, err := os.ReadDir(filepath.Join(t.local, rel))
	if err != nil {
		return err
	}
	listed, err := t.c.readDir(ctx, target{fh: r.Handle, path: path.Join(t.remote, rel)})
	if err != nil {
		return err
	}
	there := make(map[string]*Info, len(listed))
	for i := range listed {
		there[listed[i].Name] = &listed[i]
	}
	for _, e := range entries {
		rel, other := path.Join(rel, e.Name()), there[e.Name()]
		delete(there, e.Name())
		if other == nil {
			t.differs(rel, "is not there")
			continue
		}
		p.add(func(ctx context.Context) error { return t.entry(ctx, p, rel, other) })
	}
	for name := range there {
		t.differs(path.Join(rel, name), "is only there")
	}
	return nil
}

func (t *treeCompare) entry(ctx context.Context, p *pool, rel string, r *Info) error {
	fi, err := os.Lstat(filepath.Join(t.local, rel))
	if err != nil {
		return err
	}
	l, _, err := localInfo(fi)
	if err != nil {
		return err
	}
	return t.pair(ctx, p, rel, &l, r)
}

func (t *treeCompare) symlink(ctx context.Context, rel string, r *Info) error {
	t.count.add(Tally{Symlinks: 1})
	here, err := os.Readlink(filepath.Join(t.local, rel))
	if err != nil {
		return err
	}
	there, err := t.c.readlink(ctx, target{fh: r.Handle, path: path.Join(t.remote, rel)})
	if err == nil && here != there {
		t.differs(rel, "links to %q here and to %q there", here, there)
	}
	return err
}

func (t *treeCompare) file(ctx context.Context, rel string, l, r *Info) error {
	if l.Size != r.Size {
		t.differs(rel, "%d bytes here and %d there", l.Size, r.Size)
		return nil
	}
	if t.opt.Content != nil && !t.opt.Content(rel) {
		t.count.add(Tally{Files: 1})
		return nil
	}
	here, err := hashLocal(filepath.Join(t.local, rel))
	if err != nil {
		return err
	}
	there := blake3.New()
	f := &File{c: t.c, at: target{fh: r.Handle, path: path.Join(t.remote, rel)}, Info: *r}
	if _, err := f.CopyTo(ctx, there); err != nil {
		return err
	}
	if !bytes.Equal(here, there.Sum(nil)) {
		t.differs(rel, "same size, other content")
	}
	t.count.add(Tally{Files: 1, Bytes: int64(l.Size)})
	return nil
}

func hashLocal(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := blake3.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}
