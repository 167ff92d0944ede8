package tree

import (
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
}

func (g *gate) pass() error {
	f := g.durable.Load()
	seq := g.newest.Load()
	if f == nil || seq == 0 {
		return nil // nothing has been applied since the store was opened
	}
	return (*f)(seq)
}

func isMarker(name string) bool { return strings.HasPrefix(filepath.Base(name), "marker.") }

func isManifest(name string) bool { return strings.HasPrefix(filepath.Base(name), "MANIFEST-") }

// Create implements vfs.FS.
func (g *gate) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
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
	f, err := g.FS.ReuseForWrite(old, name, c)
	if err != nil || !isManifest(name) {
		return f, err
	}
	return &gatedFile{f, g}, nil
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
