package tree

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-fs/holdfast/internal/disk"
)

// gate enforces the write-ahead rule. Pebble flushes when it likes; a flush
// counts once the MANIFEST names its tables. So every write to a MANIFEST
// first makes the journal durable through the newest record that was handed
// to the store, and fails when that fails: the flushed tree is never ahead of
// the durable journal.
type gate struct {
	vfs.FS
	// newest is the newest sequence that may be in a memtable.
	newest atomic.Uint64
	// durable makes the journal durable through seq. Set before the first Apply.
	durable atomic.Pointer[func(seq uint64) error]

	// dead is set when pebble met an error that it would end the process for:
	// what it has in memory may then be wrong, and it must change nothing on
	// disk any more. Reads go on.
	dead atomic.Pointer[error]
	// failed is told of an error that makes the gate dead.
	failed func(error)
}

// stop makes the gate dead.
func (g *gate) stop(err error) { g.dead.CompareAndSwap(nil, &err) }

func (g *gate) alive() error {
	if p := g.dead.Load(); p != nil {
		return fmt.Errorf("the store stopped before: %w", *p)
	}
	return nil
}

func (g *gate) pass() error {
	if err := g.alive(); err != nil {
		return err
	}
	f := g.durable.Load()
	seq := g.newest.Load()
	if f == nil || seq == 0 {
		return nil // nothing has been applied since the store was opened
	}
	return (*f)(seq)
}

func isManifest(name string) bool { return strings.HasPrefix(filepath.Base(name), "MANIFEST-") }

func isMarker(name string) bool { return strings.HasPrefix(filepath.Base(name), "marker.") }

// Create implements vfs.FS.
func (g *gate) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.alive(); err != nil {
		return nil, err
	}
	if isMarker(name) {
		// A marker names a MANIFEST or a format. Its own name may become durable
		// before what it names: pebble syncs the directory only afterwards.
		if err := disk.SyncDir(g.FS, filepath.Dir(name)); err != nil {
			return nil, err
		}
	}
	f, err := g.FS.Create(name, c)
	if err != nil || !isManifest(name) {
		return f, err
	}
	return &gatedFile{f, g}, nil
}

// ReuseForWrite implements vfs.FS.
func (g *gate) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.alive(); err != nil {
		return nil, err
	}
	f, err := g.FS.ReuseForWrite(old, name, c)
	if err != nil || !isManifest(name) {
		return f, err
	}
	return &gatedFile{f, g}, nil
}

// OpenDir implements vfs.FS.
func (g *gate) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &gatedDir{f, g}, nil
}

// Link implements vfs.FS.
func (g *gate) Link(from, to string) error {
	if err := g.alive(); err != nil {
		return err
	}
	return g.FS.Link(from, to)
}

// Rename implements vfs.FS.
func (g *gate) Rename(from, to string) error {
	if err := g.alive(); err != nil {
		return err
	}
	return g.FS.Rename(from, to)
}

// Remove implements vfs.FS.
func (g *gate) Remove(name string) error {
	if err := g.alive(); err != nil {
		return err
	}
	return g.FS.Remove(name)
}

// Unwrap implements vfs.FS.
func (g *gate) Unwrap() vfs.FS { return g.FS }

type gatedFile struct {
	vfs.File
	g *gate
}

func (f *gatedFile) Write(p []byte) (int, error) {
	if err := f.g.pass(); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

// gatedDir keeps pebble from ending the process: it panics when a directory
// cannot be synced. The gate is dead instead, so nothing that builds upon the
// sync is done either.
type gatedDir struct {
	vfs.File
	g *gate
}

func (d *gatedDir) Sync() error {
	err := d.File.Sync()
	if err == nil {
		return nil
	}
	d.g.failed(fmt.Errorf("sync the tree's directory: %w", err))
	return nil
}
