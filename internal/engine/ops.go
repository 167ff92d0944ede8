package engine

import (
	"bytes"
	"context"
	"slices"

	"github.com/holdfast-fs/holdfast/internal/engine/rules"
	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// The operations that change names, as nfs.FileSystem has them. Each: rules
// decide, the result is read under the same lock, so that change infos are
// atomic with the operation.

// Create makes a file. On fs.ErrExist the result holds the file that is there.
func (e *Engine) Create(_ context.Context, r *fs.CreateRequest) (res fs.CreateResult, err error) {
	var made fs.Ino
	err = e.change(func(v *tree.Tree, env rules.Env) (fs.Mutation, error) {
		m, there, err := rules.Create(v, r, env)
		if err != nil {
			res.Attr = there
			return nil, err
		}
		made = m.Ino
		res.Parent.Before, err = changeOf(v, r.Parent)
		return m, err
	}, func(v *tree.Tree, seq uint64) (err error) {
		res.Seq = seq
		if res.Attr, err = v.Attr(made); err != nil {
			return err
		}
		res.Parent.After, err = changeOf(v, r.Parent)
		return err
	})
	return res, err
}

func changeOf(v *tree.Tree, ino fs.Ino) (uint64, error) {
	n, err := v.Inode(ino)
	if err != nil {
		return 0, err
	}
	return n.Change, nil
}

// Link gives an inode another name.
func (e *Engine) Link(_ context.Context, r *fs.LinkRequest) (res fs.DirResult, err error) {
	err = e.change(func(v *tree.Tree, env rules.Env) (fs.Mutation, error) {
		m, err := rules.Link(v, r, env)
		if err != nil {
			return nil, err
		}
		res.Parent.Before, err = changeOf(v, r.Parent)
		return m, err
	}, func(v *tree.Tree, seq uint64) (err error) {
		res.Seq = seq
		res.Parent.After, err = changeOf(v, r.Parent)
		return err
	})
	return res, err
}

// Remove takes a name away.
func (e *Engine) Remove(_ context.Context, r *fs.RemoveRequest) (res fs.DirResult, err error) {
	err = e.change(func(v *tree.Tree, env rules.Env) (fs.Mutation, error) {
		m, err := rules.Remove(v, r, env)
		if err != nil {
			return nil, err
		}
		res.Removed, res.Gone = m.Ino, m.Last
		res.Parent.Before, err = changeOf(v, r.Parent)
		return m, err
	}, func(v *tree.Tree, seq uint64) (err error) {
		res.Seq = seq
		res.Parent.After, err = changeOf(v, r.Parent)
		return err
	})
	return res, err
}

// Rename moves a name.
func (e *Engine) Rename(_ context.Context, r *fs.RenameRequest) (res fs.RenameResult, err error) {
	err = e.change(func(v *tree.Tree, env rules.Env) (fs.Mutation, error) {
		m, err := rules.Rename(v, r, env)
		if err != nil {
			return nil, err
		}
		if res.From.Before, err = changeOf(v, r.From); err != nil {
			return nil, err
		}
		if res.To.Before, err = changeOf(v, r.To); err != nil || m == nil {
			return nil, err
		}
		res.Victim = m.Victim
		return m, nil
	}, func(v *tree.Tree, seq uint64) (err error) {
		res.Seq = seq
		if res.From.After, err = changeOf(v, r.From); err != nil {
			return err
		}
		res.To.After, err = changeOf(v, r.To)
		return err
	})
	return res, err
}

// AddClient keeps a reclaim record. On a read-only file system it lives in
// memory only: a destination's clients are not its source's.
func (e *Engine) AddClient(_ context.Context, owner []byte) (uint64, error) {
	return e.client(&fs.Client{Owner: owner})
}

// RemoveClient drops a reclaim record.
func (e *Engine) RemoveClient(_ context.Context, owner []byte) (uint64, error) {
	return e.client(&fs.Client{Owner: owner, Delete: true})
}

func (e *Engine) client(m *fs.Client) (uint64, error) {
	if len(m.Owner) == 0 || len(m.Owner) > fs.MaxClientName {
		return 0, fs.ErrInval
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch err := e.writable(); {
	case err == fs.ErrROFS:
		e.localClient(m)
		return e.last.Seq, nil
	case err != nil:
		return 0, err
	}
	if m.Delete {
		e.localClient(m) // it may be from before a promotion
	}
	err := e.append(m, nil, [16]byte{})
	return e.last.Seq, err
}

func (e *Engine) localClient(m *fs.Client) {
	e.holdMu.Lock()
	defer e.holdMu.Unlock()
	if m.Delete {
		delete(e.localClients, string(m.Owner))
		return
	}
	e.localClients[string(m.Owner)] = struct{}{}
}

// Clients gives the owners that may reclaim, in byte order. On a read-only
// file system these are its own clients: those of the source reclaim from the
// source, or here after a promotion.
func (e *Engine) Clients() (l [][]byte, err error) {
	e.rw.RLock()
	if e.t != nil && !e.ReadOnly() {
		l, err = e.t.Clients()
	}
	e.rw.RUnlock()
	e.holdMu.Lock()
	defer e.holdMu.Unlock()
	for c := range e.localClients {
		l = append(l, []byte(c))
	}
	slices.SortFunc(l, bytes.Compare)
	return slices.CompactFunc(l, bytes.Equal), err
}

// SetSetting sets a setting that follows the replicas (nil value: deletes it)
// and returns when it is durable. key is at most fs.MaxName bytes, value at
// most fs.MaxSetting.
func (e *Engine) SetSetting(ctx context.Context, key string, value []byte) error {
	if len(key) > fs.MaxName || len(value) > fs.MaxSetting {
		return fs.ErrInval
	}
	var at uint64
	err := e.change(func(*tree.Tree, rules.Env) (fs.Mutation, error) {
		return &fs.Setting{Key: key, Value: value, Delete: value == nil}, nil
	}, func(_ *tree.Tree, seq uint64) error { at = seq; return nil })
	if err != nil {
		return err
	}
	return e.WaitCommitted(ctx, at)
}

// Setting reads a setting; nil: not set.
func (e *Engine) Setting(key string) ([]byte, error) {
	e.rw.RLock()
	defer e.rw.RUnlock()
	if e.t == nil {
		return nil, nil
	}
	return e.t.Setting(key)
}
