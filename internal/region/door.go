package region

import (
	"context"

	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs"
)

// door is a file system as the NFS server sees it, whether it is awake or at
// rest: the same one as long as the file system is there. What is known at rest
// it answers from that; for anything else it wakes the file system.
type door struct{ x *volume }

var _ nfs.FileSystem = (*door)(nil)

// enter gives the engine; leave must be called then. fs.ErrStale: the file system
// is gone for good; fs.ErrDelay: it does not open now.
func (d *door) enter(ctx context.Context) (*engine.Engine, error) {
	e, err := d.x.use(ctx)
	if err == nil {
		return e, nil
	}
	if d.x.isGone() {
		return nil, fs.ErrStale
	}
	return nil, wakeRefusal(err)
}

func (d *door) leave() { d.x.done() }

// keep is nfs.Export.Use.
func (d *door) keep(ctx context.Context) (done func(), err error) {
	if _, err := d.enter(ctx); err != nil {
		return nil, err
	}
	return d.leave, nil
}

// Lineage implements nfs.FileSystem.
func (d *door) Lineage() fs.Lineage {
	e, r := d.x.look()
	defer d.x.looked(e)
	switch {
	case e != nil:
		return e.Lineage()
	case r != nil:
		return r.Lineage
	}
	return fs.Lineage{}
}

// Epoch implements nfs.FileSystem. An epoch goes on when the file system wakes
// up in the process in which it went to rest.
func (d *door) Epoch() fs.EpochID {
	e, r := d.x.look()
	defer d.x.looked(e)
	switch {
	case e != nil:
		return e.Epoch()
	case r != nil:
		return r.Pos.Epoch
	}
	return fs.EpochID{}
}

// ReadOnly implements nfs.FileSystem. Only writers are at rest.
func (d *door) ReadOnly() bool {
	e, r := d.x.look()
	defer d.x.looked(e)
	if e != nil {
		return e.ReadOnly()
	}
	return r == nil
}

// StatFS implements nfs.FileSystem.
func (d *door) StatFS() (s fs.StatFS, err error) {
	e, err := d.enter(context.Background())
	if err != nil {
		return s, err
	}
	defer d.leave()
	return e.StatFS()
}

// GetAttr implements nfs.FileSystem. A listing of all file systems asks for
// their root directories: it wakes none.
func (d *door) GetAttr(ino fs.Ino) (a fs.Attr, err error) {
	if ino == fs.RootIno {
		e, r := d.x.look()
		defer d.x.looked(e)
		if e == nil && r != nil {
			return r.Root, nil
		}
	}
	e, err := d.enter(context.Background())
	if err != nil {
		return a, err
	}
	defer d.leave()
	return e.GetAttr(ino)
}

// Lookup implements nfs.FileSystem.
func (d *door) Lookup(c *fs.Cred, dir fs.Ino, name fs.Name) (a fs.Attr, err error) {
	e, err := d.enter(context.Background())
	if err != nil {
		return a, err
	}
	defer d.leave()
	return e.Lookup(c, dir, name)
}

// Access implements nfs.FileSystem.
func (d *door) Access(c *fs.Cred, ino fs.Ino, want fs.Access) (fs.Access, error) {
	e, err := d.enter(context.Background())
	if err != nil {
		return 0, err
	}
	defer d.leave()
	return e.Access(c, ino, want)
}

// Readlink implements nfs.FileSystem.
func (d *door) Readlink(ino fs.Ino) (string, error) {
	e, err := d.enter(context.Background())
	if err != nil {
		return "", err
	}
	defer d.leave()
	return e.Readlink(ino)
}

// ReadDir implements nfs.FileSystem.
func (d *door) ReadDir(dir fs.Ino, after uint64, fn func(fs.DirEntry) bool) (eof bool, err error) {
	e, err := d.enter(context.Background())
	if err != nil {
		return false, err
	}
	defer d.leave()
	return e.ReadDir(dir, after, fn)
}

// Read implements nfs.FileSystem.
func (d *door) Read(ctx context.Context, ino fs.Ino, offset uint64, p []byte) (n int, eof bool, err error) {
	e, err := d.enter(ctx)
	if err != nil {
		return 0, false, err
	}
	defer d.leave()
	return e.Read(ctx, ino, offset, p)
}

// Create implements nfs.FileSystem.
func (d *door) Create(ctx context.Context, r *fs.CreateRequest) (res fs.CreateResult, err error) {
	e, err := d.enter(ctx)
	if err != nil {
		return res, err
	}
	defer d.leave()
	return e.Create(ctx, r)
}

// Link implements nfs.FileSystem.
func (d *door) Link(ctx context.Context, r *fs.LinkRequest) (res fs.DirResult, err error) {
	e, err := d.enter(ctx)
	if err != nil {
		return res, err
	}
	defer d.leave()
	return e.Link(ctx, r)
}

// Remove implements nfs.FileSystem.
func (d *door) Remove(ctx context.Context, r *fs.RemoveRequest) (res fs.DirResult, err error) {
	e, err := d.enter(ctx)
	if err != nil {
		return res, err
	}
	defer d.leave()
	return e.Remove(ctx, r)
}

// Rename implements nfs.FileSystem.
func (d *door) Rename(ctx context.Context, r *fs.RenameRequest) (res fs.RenameResult, err error) {
	e, err := d.enter(ctx)
	if err != nil {
		return res, err
	}
	defer d.leave()
	return e.Rename(ctx, r)
}

// SetAttr implements nfs.FileSystem.
func (d *door) SetAttr(ctx context.Context, r *fs.SetAttrRequest) (res fs.Result, err error) {
	e, err := d.enter(ctx)
	if err != nil {
		return res, err
	}
	defer d.leave()
	return e.SetAttr(ctx, r)
}

// Write implements nfs.FileSystem.
func (d *door) Write(ctx context.Context, r *fs.WriteRequest) (res fs.WriteResult, err error) {
	e, err := d.enter(ctx)
	if err != nil {
		return res, err
	}
	defer d.leave()
	return e.Write(ctx, r)
}

// GetXattr implements nfs.FileSystem.
func (d *door) GetXattr(c *fs.Cred, ino fs.Ino, name fs.Name) ([]byte, error) {
	e, err := d.enter(context.Background())
	if err != nil {
		return nil, err
	}
	defer d.leave()
	return e.GetXattr(c, ino, name)
}

// ListXattrs implements nfs.FileSystem.
func (d *door) ListXattrs(c *fs.Cred, ino fs.Ino) ([]fs.Name, error) {
	e, err := d.enter(context.Background())
	if err != nil {
		return nil, err
	}
	defer d.leave()
	return e.ListXattrs(c, ino)
}

// ChangeXattr implements nfs.FileSystem.
func (d *door) ChangeXattr(ctx context.Context, r *fs.XattrRequest) (res fs.XattrResult, err error) {
	e, err := d.enter(ctx)
	if err != nil {
		return res, err
	}
	defer d.leave()
	return e.ChangeXattr(ctx, r)
}

// Seek implements nfs.FileSystem.
func (d *door) Seek(ino fs.Ino, offset uint64, data bool) (at uint64, ok bool, err error) {
	e, err := d.enter(context.Background())
	if err != nil {
		return 0, false, err
	}
	defer d.leave()
	return e.Seek(ino, offset, data)
}

// Allocate implements nfs.FileSystem.
func (d *door) Allocate(ctx context.Context, r *fs.RangeRequest) (res fs.Result, err error) {
	e, err := d.enter(ctx)
	if err != nil {
		return res, err
	}
	defer d.leave()
	return e.Allocate(ctx, r)
}

// Deallocate implements nfs.FileSystem.
func (d *door) Deallocate(ctx context.Context, r *fs.RangeRequest) (res fs.Result, err error) {
	e, err := d.enter(ctx)
	if err != nil {
		return res, err
	}
	defer d.leave()
	return e.Deallocate(ctx, r)
}

// Clone implements nfs.FileSystem.
func (d *door) Clone(ctx context.Context, r *fs.CloneRequest) (res fs.CloneResult, err error) {
	e, err := d.enter(ctx)
	if err != nil {
		return res, err
	}
	defer d.leave()
	return e.Clone(ctx, r)
}

// WaitCommitted implements nfs.FileSystem. All that was done before a rest is
// committed when the file system has come to it: on the way there it is not yet.
func (d *door) WaitCommitted(ctx context.Context, seq uint64) error {
	e, r := d.x.look()
	d.x.looked(e)
	if e == nil && r != nil {
		if r = d.x.resting(); r != nil && seq <= r.Pos.Seq {
			return nil
		}
	}
	e, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer d.leave()
	return e.WaitCommitted(ctx, seq)
}

// LastApplied implements nfs.FileSystem.
func (d *door) LastApplied() uint64 {
	e, r := d.x.look()
	defer d.x.looked(e)
	switch {
	case e != nil:
		return e.LastApplied()
	case r != nil:
		return r.Pos.Seq
	}
	return 0
}

// Hold implements nfs.FileSystem. A COMPOUND keeps the file system awake that
// it is in (nfs.Export.Use), and one that is held does not go to rest.
func (d *door) Hold(ino fs.Ino) {
	if e := d.x.pin(); e != nil {
		defer d.leave()
		e.Hold(ino)
	}
}

// Release implements nfs.FileSystem.
func (d *door) Release(ino fs.Ino) {
	if e := d.x.pin(); e != nil {
		defer d.leave()
		e.Release(ino)
	}
}

// Clients implements nfs.FileSystem. Where clients may reclaim there is no rest.
func (d *door) Clients() ([][]byte, error) {
	e, r := d.x.look()
	defer d.x.looked(e)
	switch {
	case e != nil:
		return e.Clients()
	case r == nil:
		return nil, fs.ErrDelay
	}
	return nil, nil
}

// AddClient implements nfs.FileSystem.
func (d *door) AddClient(ctx context.Context, owner []byte) (seq uint64, err error) {
	e, err := d.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer d.leave()
	return e.AddClient(ctx, owner)
}

// RemoveClient implements nfs.FileSystem.
func (d *door) RemoveClient(ctx context.Context, owner []byte) (seq uint64, err error) {
	e, err := d.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer d.leave()
	return e.RemoveClient(ctx, owner)
}

// GraceEnded implements nfs.FileSystem. At rest nothing waits for it.
func (d *door) GraceEnded() {
	e, _ := d.x.look()
	defer d.x.looked(e)
	if e != nil {
		e.GraceEnded()
	}
}
