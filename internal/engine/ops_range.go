package engine

import (
	"context"

	"github.com/holdfast-fs/holdfast/internal/engine/rules"
	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// The operations of NFSv4.2 and RFC 8276, as nfs.FileSystem has them.

// GetXattr reads an extended attribute.
func (e *Engine) GetXattr(c *fs.Cred, ino fs.Ino, name fs.Name) (v []byte, err error) {
	err = e.view(func(t *tree.Tree) error {
		if err := rules.ReadXattr(t, c, ino); err != nil {
			return err
		}
		var ok bool
		if v, ok, err = t.Xattr(ino, name); err == nil && !ok {
			err = fs.ErrNoXattr
		}
		return err
	})
	return v, err
}

// ListXattrs gives the names of the extended attributes.
func (e *Engine) ListXattrs(c *fs.Cred, ino fs.Ino) (l []fs.Name, err error) {
	err = e.view(func(t *tree.Tree) error {
		if err := rules.ReadXattr(t, c, ino); err != nil {
			return err
		}
		l, err = t.Xattrs(ino)
		return err
	})
	return l, err
}

// ChangeXattr sets or removes an extended attribute.
func (e *Engine) ChangeXattr(_ context.Context, r *fs.XattrRequest) (res fs.XattrResult, err error) {
	err = e.change(func(v *tree.Tree, env rules.Env) (fs.Mutation, error) {
		m, err := rules.Xattr(v, r, env)
		if err != nil {
			return nil, err
		}
		res.Change.Before, err = changeOf(v, r.Ino)
		return m, err
	}, func(v *tree.Tree, seq uint64) (err error) {
		res.Seq = seq
		res.Change.After, err = changeOf(v, r.Ino)
		return err
	})
	return res, err
}

// Seek finds data or a hole.
func (e *Engine) Seek(ino fs.Ino, offset uint64, data bool) (at uint64, ok bool, err error) {
	err = e.view(func(t *tree.Tree) error {
		a, err := t.Attr(ino)
		if err != nil {
			return err
		}
		if a.Type != fs.TypeRegular {
			return fs.ErrWrongType
		}
		if offset >= a.Size {
			return nil
		}
		at, ok, err = t.Seek(ino, offset, a.Size, data)
		return err
	})
	return at, ok, err
}

// Allocate lets a file reach to the end of a range, if there is room for it.
func (e *Engine) Allocate(_ context.Context, r *fs.RangeRequest) (res fs.Result, err error) {
	if _, free := e.space.report(); free < r.Length {
		return res, fs.ErrNoSpace
	}
	err = e.change(func(v *tree.Tree, env rules.Env) (fs.Mutation, error) {
		m, err := rules.Allocate(v, r, env)
		if err != nil || m == nil {
			return nil, err
		}
		return m, e.settle(r.Ino)
	}, func(v *tree.Tree, seq uint64) (err error) {
		res.Seq = seq
		res.Attr, err = v.Attr(r.Ino)
		return err
	})
	return res, err
}

// Deallocate makes a range a hole, in steps of one mutation: others get their
// turn between them.
func (e *Engine) Deallocate(ctx context.Context, r *fs.RangeRequest) (res fs.Result, err error) {
	step := *r
	for next := uint64(0); ; step.Offset, step.Length = next, r.Offset+r.Length-next {
		err = e.change(func(v *tree.Tree, env rules.Env) (fs.Mutation, error) {
			m, n, err := rules.Punch(v, &step, env)
			next = n
			if m == nil {
				return nil, err
			}
			return m, err
		}, func(v *tree.Tree, seq uint64) (err error) {
			res.Seq = seq
			res.Attr, err = v.Attr(r.Ino)
			return err
		})
		if err != nil || next == 0 {
			return res, err
		}
		if err := ctx.Err(); err != nil {
			return res, err
		}
	}
}

// Clone shares bytes between files, in steps of one mutation.
func (e *Engine) Clone(ctx context.Context, r *fs.CloneRequest) (res fs.CloneResult, err error) {
	step, want := *r, r.Length
	for ctx.Err() == nil {
		n := uint64(0)
		err = e.change(func(v *tree.Tree, env rules.Env) (fs.Mutation, error) {
			m, err := rules.Clone(v, &step, env)
			if err != nil || m == nil {
				return nil, err
			}
			if res.N == 0 { // fixed once: cloning a file behind itself moves its end
				a, err := v.Attr(r.Src)
				if err != nil {
					return nil, err
				}
				if left := a.Size - r.SrcOffset; want == 0 || want > left {
					want = left
				}
			}
			n = m.Length
			return m, e.settle(r.Dst)
		}, func(_ *tree.Tree, seq uint64) error { res.Seq = seq; return nil })
		res.N += n
		if err != nil || n == 0 || res.N == want {
			return res, err
		}
		step.SrcOffset, step.DstOffset, step.Length = step.SrcOffset+n, step.DstOffset+n, want-res.N
	}
	return res, ctx.Err()
}
