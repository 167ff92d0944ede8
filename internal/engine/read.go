package engine

import (
	"context"
	"errors"

	"github.com/holdfast-fs/holdfast/internal/engine/rules"
	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// view runs fn on the tree, which nobody changes meanwhile. A replica that has
// received nothing yet has no tree: fs.ErrDelay.
func (e *Engine) view(fn func(t *tree.Tree) error) error {
	e.rw.RLock()
	defer e.rw.RUnlock()
	if e.t == nil {
		return fs.ErrDelay
	}
	return e.noteDamage(fn(e.t))
}

// Lineage is the identity of the data; zero while nothing was received.
func (e *Engine) Lineage() fs.Lineage {
	e.rw.RLock()
	defer e.rw.RUnlock()
	return e.lineage
}

// Epoch is the newest writer's epoch.
func (e *Engine) Epoch() fs.EpochID { return *e.epoch.Load() }

// ReadOnly reports whether changes are refused.
func (e *Engine) ReadOnly() bool { return Mode(e.mode.Load()) == ReadOnly }

// Mode tells what is done with changes.
func (e *Engine) Mode() Mode { return Mode(e.mode.Load()) }

// GetAttr gives an inode's attributes.
func (e *Engine) GetAttr(ino fs.Ino) (a fs.Attr, err error) {
	err = e.view(func(t *tree.Tree) (err error) { a, err = t.Attr(ino); return err })
	return a, err
}

// Lookup finds a name.
func (e *Engine) Lookup(c *fs.Cred, dir fs.Ino, name fs.Name) (a fs.Attr, err error) {
	err = e.view(func(t *tree.Tree) (err error) { a, err = rules.Lookup(t, c, dir, name); return err })
	return a, err
}

// Access tells which of want c has.
func (e *Engine) Access(c *fs.Cred, ino fs.Ino, want fs.Access) (fs.Access, error) {
	a, err := e.GetAttr(ino)
	if err != nil {
		return 0, err
	}
	return rules.Granted(c, &a, want), nil
}

// Readlink gives a symbolic link's target.
func (e *Engine) Readlink(ino fs.Ino) (target string, err error) {
	err = e.view(func(t *tree.Tree) error {
		n, err := t.Inode(ino)
		if err != nil {
			return err
		}
		if n.Type != fs.TypeSymlink {
			return fs.ErrInval
		}
		target = n.Target
		return nil
	})
	return target, err
}

// ReadDir lists a directory; see nfs.FileSystem.
func (e *Engine) ReadDir(dir fs.Ino, after uint64, fn func(fs.DirEntry) bool) (eof bool, err error) {
	err = e.view(func(t *tree.Tree) error {
		n, err := t.Inode(dir)
		if err != nil {
			return err
		}
		if n.Type != fs.TypeDir {
			return fs.ErrNotDir
		}
		eof, err = t.ReadDir(dir, after, fn)
		return err
	})
	return eof, err
}

// piece is a run of bytes to be read from the journal into p.
type piece struct {
	p    []byte
	addr fs.Addr
	from uint32
}

// movedTries is how often a read looks anew where its bytes are: the cleaner
// moves a payload, and forgets where it was, at most once in a pass.
const movedTries = 4

// Read fills p from offset. The tree is consulted under the lock, the bytes
// are read without it: a payload never changes, and the journal knows where one
// is that was moved. Only when it was moved and the tree told so in between,
// the tree is asked again.
func (e *Engine) Read(ctx context.Context, ino fs.Ino, offset uint64, p []byte) (n int, eof bool, err error) {
	for range movedTries {
		n, eof, err = e.readOnce(ino, offset, p)
		if !errors.Is(err, journal.ErrAbsent) || ctx.Err() != nil {
			break
		}
	}
	return n, eof, e.noteDamage(err)
}

func (e *Engine) readOnce(ino fs.Ino, offset uint64, p []byte) (n int, eof bool, err error) {
	var pieces []piece
	var j *journal.Journal
	err = e.view(func(t *tree.Tree) error {
		j = e.j
		a, err := t.Attr(ino)
		if err != nil {
			return err
		}
		switch a.Type {
		case fs.TypeRegular:
		case fs.TypeDir:
			return fs.ErrIsDir
		default:
			return fs.ErrInval
		}
		if offset >= a.Size {
			eof = true
			return nil
		}
		n = int(min(uint64(len(p)), a.Size-offset))
		eof = offset+uint64(n) == a.Size
		pieces, err = locate(t, ino, offset, p[:n])
		return err
	})
	if err != nil {
		return 0, false, err
	}
	for _, x := range pieces {
		if err := j.Read(x.addr, x.from, x.p); err != nil {
			return 0, false, err
		}
	}
	return n, eof, nil
}

// locate zeroes the holes of p and tells where the rest is.
func locate(t *tree.Tree, ino fs.Ino, offset uint64, p []byte) (pieces []piece, err error) {
	at, end := offset, offset+uint64(len(p))
	err = t.Extents(ino, offset, end, func(x tree.Extent) error {
		from, to := max(x.Offset, offset), min(x.End(), end)
		clear(p[at-offset : from-offset])
		pieces = append(pieces, piece{p[from-offset : to-offset], x.Addr, x.AddrFrom + uint32(from-x.Offset)})
		at = to
		return nil
	})
	clear(p[at-offset:])
	return pieces, err
}

// StatFS tells the state of the whole.
func (e *Engine) StatFS() (s fs.StatFS, err error) {
	err = e.view(func(t *tree.Tree) error {
		m := t.Meta()
		total, free := e.space.report()
		s = fs.StatFS{BytesTotal: total, BytesFree: free, BytesUsed: m.BytesUsed, Files: m.Files, FilesFree: maxFiles - m.Files}
		return nil
	})
	return s, err
}

// maxFiles is what statfs shows as the number of possible files; there is no
// such limit but the disk.
const maxFiles = 1 << 40

// LastApplied is the newest applied sequence.
func (e *Engine) LastApplied() (seq uint64) {
	_ = e.view(func(t *tree.Tree) error { seq = t.Meta().Applied.Seq; return nil })
	return seq
}

// WaitCommitted waits until everything up to seq is committed: today, durable
// here. With a synchronous replication it will wait for the destination too.
func (e *Engine) WaitCommitted(ctx context.Context, seq uint64) error {
	j := e.journalNow()
	if j == nil || seq == 0 {
		return nil
	}
	return j.WaitDurable(ctx, seq)
}

func (e *Engine) journalNow() *journal.Journal {
	e.rw.RLock()
	defer e.rw.RUnlock()
	return e.j
}

// Hash is the hash of the whole tree and the position it stands for.
func (e *Engine) Hash() (pos fs.Pos, h tree.RangeHash, err error) {
	e.treeLife.RLock()
	defer e.treeLife.RUnlock()
	var s *tree.Snapshot
	if err = e.view(func(t *tree.Tree) error { s = t.Snapshot(); return nil }); err != nil {
		return pos, h, err
	}
	h, err = s.Hash(nil, nil)
	pos = s.Meta().Applied
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return pos, h, err
}

// Meta tells the tree's position and counters; zero while nothing was received.
func (e *Engine) Meta() (m tree.Meta) {
	_ = e.view(func(t *tree.Tree) error { m = t.Meta(); return nil })
	return m
}
