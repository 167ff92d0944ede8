package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/engine/rules"
	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// writable says why a change is refused, or nil. Needs mu.
func (e *Engine) writable() error {
	if e.Err() != nil {
		return fs.ErrIO
	}
	switch Mode(e.mode.Load()) {
	case Writer:
		return nil
	case Waiting:
		return fs.ErrDelay
	}
	return fs.ErrROFS
}

// env is what rules may know. Needs mu.
func (e *Engine) env() rules.Env {
	return rules.Env{Now: fs.TimeOf(e.o.Now()), NewIno: fs.MakeIno(*e.epoch.Load(), e.nextIno), Held: e.isHeld}
}

// append makes m a record and applies it. Needs mu. On an error nothing was
// changed; one of the disk stops the engine, other than fs.ErrNoSpace.
func (e *Engine) append(m fs.Mutation, payload []byte, digest [16]byte) error {
	r := &fs.Record{Epoch: *e.epoch.Load(), Seq: e.last.Seq + 1, Stamp: e.tick(),
		Mutation: fs.AppendMutation(nil, m), PayloadLen: uint32(len(payload)), PayloadDigest: digest}
	r.Encode(nil, e.last.Chain)
	return e.commit(r, m, payload)
}

// commit appends and applies a complete record, ours or a source's. Needs mu.
func (e *Engine) commit(r *fs.Record, m fs.Mutation, payload []byte) error {
	if err := e.t.WaitRoom(); err != nil {
		return err
	}
	c, err := e.t.Prepare(r, m)
	if err != nil {
		var damage *fs.CorruptionError
		switch {
		case errors.As(err, &damage):
			e.fail(err)
			return err
		case errors.Is(err, tree.ErrStore):
			return err
		}
		return fmt.Errorf("%w: %w", ErrPoison, err)
	}
	defer c.Close()
	a, err := e.j.Append(r, payload)
	if err != nil {
		if err == fs.ErrNoSpace {
			return err
		}
		e.fail(err)
		return fmt.Errorf("append to the journal: %w", err)
	}
	e.rw.Lock()
	err = c.Commit(a)
	e.rw.Unlock()
	if err != nil {
		e.fail(err)
		return err
	}
	e.last = r.Pos()
	e.noteGrown(len(r.Mutation) + len(payload))
	if c, ok := m.(*fs.Create); ok && c.Ino == fs.MakeIno(r.Epoch, e.nextIno) {
		e.nextIno++
	}
	return nil
}

// tick gives the next stamp of the hybrid logical clock: never behind the wall
// clock, never behind any stamp seen. Needs mu.
func (e *Engine) tick() fs.Stamp {
	e.stamp = max(e.stamp+1, uint64(e.o.Now().UnixMilli())<<16)
	return fs.Stamp{Time: e.stamp, Origin: e.epoch.Load().Member}
}

// change decides a mutation, carries it out and reads the result before
// anybody changes it again. A nil mutation means that nothing is to be done.
func (e *Engine) change(decide func(v *tree.Tree, env rules.Env) (fs.Mutation, error), result func(v *tree.Tree, seq uint64) error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.writable(); err != nil {
		return err
	}
	if err := e.freshIno(); err != nil {
		return err
	}
	m, err := decide(e.t, e.env())
	if err != nil {
		return err
	}
	if m != nil {
		if grows(m) && !e.space.ok() {
			return e.noSpace()
		}
		if err := e.append(m, nil, [16]byte{}); err != nil {
			return err
		}
		e.kickIfPending(m)
	}
	return result(e.t, e.last.Seq)
}

// grows: these need space for good; the others must work on a full disk.
func grows(m fs.Mutation) bool {
	switch m.Kind() {
	case fs.KindCreate, fs.KindLink, fs.KindWrite, fs.KindXattr, fs.KindClone:
		return true
	}
	return false
}

// freshIno begins a new epoch when the numbers of this one are used up. Needs mu.
func (e *Engine) freshIno() error {
	if e.nextIno <= fs.MaxLocalIno {
		return nil
	}
	return e.beginEpoch()
}

// settle finishes the reclaim work on a file that is about to grow over bytes
// which are cut but not gone. Needs mu.
func (e *Engine) settle(ino fs.Ino) error {
	for {
		n, err := e.t.Inode(ino)
		if err != nil || !n.Pending {
			return err
		}
		if err := e.append(&fs.Reclaim{Ino: ino}, nil, [16]byte{}); err != nil {
			return err
		}
	}
}

// Write implements nfs.FileSystem.
func (e *Engine) Write(ctx context.Context, r *fs.WriteRequest) (fs.WriteResult, error) {
	e.slow(ctx, len(r.Data))
	var digest [16]byte
	if len(r.Data) <= fs.MaxWrite {
		digest = fs.Digest(r.Data) // outside the lock: it is the slow part
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.writable(); err != nil {
		return fs.WriteResult{}, err
	}
	m, n, err := rules.Write(e.t, r, e.env())
	if err != nil {
		return fs.WriteResult{}, err
	}
	if n == 0 {
		return e.written(r.Ino, 0)
	}
	if !e.space.ok() {
		return fs.WriteResult{}, e.noSpace()
	}
	if n != len(r.Data) {
		digest = fs.Digest(r.Data[:n])
	}
	if err := e.settle(r.Ino); err != nil {
		return fs.WriteResult{}, err
	}
	if err := e.append(m, r.Data[:n], digest); err != nil {
		return fs.WriteResult{}, err
	}
	e.space.used(n)
	return e.written(r.Ino, n)
}

func (e *Engine) written(ino fs.Ino, n int) (fs.WriteResult, error) {
	a, err := e.t.Attr(ino)
	return fs.WriteResult{N: n, Attr: a, Seq: e.last.Seq}, err
}

// SetAttr implements nfs.FileSystem.
func (e *Engine) SetAttr(_ context.Context, r *fs.SetAttrRequest) (fs.Result, error) {
	var res fs.Result
	err := e.change(func(v *tree.Tree, env rules.Env) (fs.Mutation, error) {
		m, err := rules.SetAttr(v, r, env)
		if err != nil || m == nil {
			return nil, err
		}
		if m.Mask&fs.SetSize == 0 {
			return m, nil
		}
		a, err := v.Attr(r.Ino)
		if err == nil && m.Size > a.Size {
			err = e.settle(r.Ino)
		}
		return m, err
	}, func(v *tree.Tree, seq uint64) (err error) {
		res.Seq = seq
		res.Attr, err = v.Attr(r.Ino)
		return err
	})
	return res, err
}
