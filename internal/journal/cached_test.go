package journal

import (
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-fs/holdfast/internal/disk"
)

// cached is a disk after a kill or a failed sync: reads see the page cache,
// but only what is written from now on, and synced, reaches the platter.
type cached struct {
	disk.FS // the page cache
	platter *disk.Mem
}

type cachedFile struct {
	disk.File
	platter disk.File
}

func (c *cached) OpenReadWrite(name string, k vfs.DiskWriteCategory, o ...vfs.OpenOption) (disk.File, error) {
	f, err := c.FS.OpenReadWrite(name, k, o...)
	if err != nil {
		return nil, err
	}
	p, err := c.platter.OpenReadWrite(name, k, o...)
	return &cachedFile{f, p}, err
}

func (c *cached) OpenDir(name string) (disk.File, error) {
	f, err := c.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	p, err := c.platter.OpenDir(name)
	return &cachedFile{f, p}, err
}

func (c *cached) Remove(name string) error {
	_ = c.platter.Remove(name) // it need not have got there
	return c.FS.Remove(name)
}

func (f *cachedFile) WriteAt(p []byte, off int64) (int, error) {
	if _, err := f.platter.WriteAt(p, off); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *cachedFile) Sync() error     { return errors.Join(f.platter.Sync(), f.File.Sync()) }
func (f *cachedFile) SyncData() error { return f.Sync() }
func (f *cachedFile) Close() error    { return errors.Join(f.platter.Close(), f.File.Close()) }

type (
	category   = vfs.DiskWriteCategory
	openOption = vfs.OpenOption
)
