package disk

import "github.com/cockroachdb/pebble/v2/vfs"

// Create is FS.Create.
func (f *Faulty) Create(name string, c vfs.DiskWriteCategory) (File, error) {
	if err := f.before(OpCreate, name); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name, c)
	return f.wrap(file, name, err)
}

// OpenReadWrite is FS.OpenReadWrite.
func (f *Faulty) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (File, error) {
	if err := f.before(OpCreate, name); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenReadWrite(name, c, o...)
	return f.wrap(file, name, err)
}

// ReuseForWrite is FS.ReuseForWrite.
func (f *Faulty) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (File, error) {
	if err := f.before(OpCreate, to); err != nil {
		return nil, err
	}
	file, err := f.FS.ReuseForWrite(from, to, c)
	return f.wrap(file, to, err)
}

// Open is FS.Open.
func (f *Faulty) Open(name string, o ...vfs.OpenOption) (File, error) {
	if err := f.before(OpOpen, name); err != nil {
		return nil, err
	}
	file, err := f.FS.Open(name, o...)
	return f.wrap(file, name, err)
}

// OpenDir is FS.OpenDir.
func (f *Faulty) OpenDir(name string) (File, error) {
	if err := f.before(OpOpen, name); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenDir(name)
	return f.wrap(file, name, err)
}

// Link is FS.Link.
func (f *Faulty) Link(from, to string) error {
	if err := f.before(OpRename, to); err != nil {
		return err
	}
	return f.FS.Link(from, to)
}

// Rename is FS.Rename.
func (f *Faulty) Rename(from, to string) error {
	if err := f.before(OpRename, to); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

// Remove is FS.Remove.
func (f *Faulty) Remove(name string) error {
	if err := f.before(OpRemove, name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

// RemoveAll is FS.RemoveAll.
func (f *Faulty) RemoveAll(name string) error {
	if err := f.before(OpRemove, name); err != nil {
		return err
	}
	return f.FS.RemoveAll(name)
}

// Unwrap gives what is wrapped.
func (f *Faulty) Unwrap() FS { return f.FS }

type faultyFile struct {
	File
	fs   *Faulty
	name string
}

func (f *faultyFile) Read(p []byte) (int, error) {
	if err := f.fs.before(OpRead, f.name); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.before(OpRead, f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.fs.before(OpWrite, f.name); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.before(OpWrite, f.name); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *faultyFile) Preallocate(off, n int64) error {
	if err := f.fs.before(OpPreallocate, f.name); err != nil {
		return err
	}
	return f.File.Preallocate(off, n)
}

func (f *faultyFile) Sync() error {
	if err := f.fs.before(OpSync, f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultyFile) SyncData() error {
	if err := f.fs.before(OpSync, f.name); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *faultyFile) SyncTo(n int64) (bool, error) {
	if err := f.fs.before(OpSync, f.name); err != nil {
		return false, err
	}
	return f.File.SyncTo(n)
}
