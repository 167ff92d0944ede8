// Package nfs serves file systems over NFSv4.1 (RFC 8881), NFSv4.2 (RFC 7862,
// RFC 8276) and NFSv4.0 (RFC 7530). What differs between them is in dialect.go;
// what only 4.0 has is in the files v40_*.
package nfs

import (
	"context"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// FileSystem is what the server needs of one file system. All methods may be
// called from many goroutines. Errors are fs.Error for refusals; anything else
// is a fault of the server, answered with NFS4ERR_SERVERFAULT or NFS4ERR_IO.
//
// A method that changes something returns when the change is applied and
// visible; its result carries a sequence, and the reply to the client must
// wait for WaitCommitted of it, except after an UNSTABLE4 write.
type FileSystem interface {
	Lineage() fs.Lineage
	// Epoch is the current writer's epoch: the write verifier, and part of
	// client, session and state ids.
	Epoch() fs.EpochID
	// ReadOnly is true for a destination and for a superseded primary. Every
	// changing method then answers fs.ErrROFS.
	ReadOnly() bool
	StatFS() (fs.StatFS, error)

	GetAttr(ino fs.Ino) (fs.Attr, error) // fs.ErrStale: no such inode
	// Lookup finds a name in a directory; it checks search permission.
	Lookup(c *fs.Cred, dir fs.Ino, name fs.Name) (fs.Attr, error)
	// Access tells which of want the caller has; it is no error to have none.
	Access(c *fs.Cred, ino fs.Ino, want fs.Access) (fs.Access, error)
	Readlink(ino fs.Ino) (string, error)
	// ReadDir calls fn for the entries after the cookie, in cookie order,
	// until fn returns false; eof tells that the last was delivered. "." and
	// ".." are not among them. fn must not call back into the file system.
	ReadDir(dir fs.Ino, after uint64, fn func(fs.DirEntry) bool) (eof bool, err error)
	// Read fills p from offset. n < len(p) only at the end of the file.
	Read(ctx context.Context, ino fs.Ino, offset uint64, p []byte) (n int, eof bool, err error)

	Create(ctx context.Context, r *fs.CreateRequest) (fs.CreateResult, error)
	Link(ctx context.Context, r *fs.LinkRequest) (fs.DirResult, error)
	Remove(ctx context.Context, r *fs.RemoveRequest) (fs.DirResult, error)
	Rename(ctx context.Context, r *fs.RenameRequest) (fs.RenameResult, error)
	SetAttr(ctx context.Context, r *fs.SetAttrRequest) (fs.Result, error)
	Write(ctx context.Context, r *fs.WriteRequest) (fs.WriteResult, error)

	// Extended attributes (RFC 8276); names are without a namespace prefix.
	// Reading needs read permission, changing write permission.
	GetXattr(c *fs.Cred, ino fs.Ino, name fs.Name) ([]byte, error) // fs.ErrNoXattr
	ListXattrs(c *fs.Cred, ino fs.Ino) ([]fs.Name, error)          // in byte order
	ChangeXattr(ctx context.Context, r *fs.XattrRequest) (fs.XattrResult, error)

	// Seek finds the next data (or hole) at or after offset; the end of the
	// file is a hole. ok is false when there is none (RFC 7862 §15.11).
	Seek(ino fs.Ino, offset uint64, data bool) (at uint64, ok bool, err error)
	// Allocate makes sure that the file reaches to the end of the range and
	// that there is room on the disk now; Deallocate makes the range a hole.
	Allocate(ctx context.Context, r *fs.RangeRequest) (fs.Result, error)
	Deallocate(ctx context.Context, r *fs.RangeRequest) (fs.Result, error)
	// Clone shares the bytes of Src with Dst: no copying, whatever the length.
	Clone(ctx context.Context, r *fs.CloneRequest) (fs.CloneResult, error)

	// WaitCommitted waits until everything up to seq is committed. An error
	// means that it may be lost: never acknowledge then.
	WaitCommitted(ctx context.Context, seq uint64) error
	// LastApplied is the sequence of the newest applied change; COMMIT waits for it.
	LastApplied() uint64

	// Hold keeps an inode alive while it is open, even without a name;
	// Release undoes one Hold. The inode goes when the last is released.
	Hold(ino fs.Ino)
	Release(ino fs.Ino)

	// The reclaim records (RFC 8881 §8.4.2.1): who may reclaim after a restart.
	// On a read-only file system they are kept in memory only.
	Clients() ([][]byte, error)
	AddClient(ctx context.Context, owner []byte) (seq uint64, err error)
	RemoveClient(ctx context.Context, owner []byte) (seq uint64, err error)
	// GraceEnded tells the file system that no more reclaims will come, so
	// that inodes without name and holder may go.
	GraceEnded()
}

// Export is one file system as clients see it.
type Export struct {
	// Name is its entry in the pseudo root, "fs-" and 17 hex digits.
	Name string
	FS   FileSystem
	// Use, if set, is called when a COMPOUND enters the file system, and done when
	// it ends: meanwhile the file system is ready. FS is the same at any time, and
	// answers Lineage, Epoch and ReadOnly, and for the root directory GetAttr,
	// also while it is not ready.
	Use func(ctx context.Context) (done func(), err error)

	// rights is what the client may do there, in the COMPOUND that looked.
	rights Rights
}

// Exports tells the server what there is. A region implements it.
type Exports interface {
	// List returns the exports of the pseudo root, sorted by name.
	List() []Export
	// ByName and ByLineage find one; ok is false when there is none. When two
	// replicas of a lineage are in one region, ByLineage gives either.
	ByName(name string) (e Export, ok bool)
	ByLineage(l fs.Lineage) (e Export, ok bool)
}
