package nfs

import (
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// beginTurn asks the state table for an owner's turn.
type beginTurn func() (*state.Turn, <-chan struct{}, xdr.Status)

// seq is what the current operation says about its place.
func (c *compound) seq(seqid uint32) state.Seq {
	return state.Seq{Identity: c.view.identity, Op: c.op, ID: seqid}
}

// inState carries out an operation that names its owner by a stateid.
func (c *compound) inState(seqid uint32, id xdr.StateID, lock *state.LockSeq, run func() xdr.Status) xdr.Status {
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	if st := c.needFile(); st != xdr.OK {
		return st
	}
	return c.inTurn(func() (*state.Turn, <-chan struct{}, xdr.Status) {
		return c.s.table.BeginState(c.seq(seqid), id, lock, c.s.cfg.Clock())
	}, run)
}

// inTurn carries out an operation when the owner's requests before it are
// finished, or answers it again (RFC 7530 §9.1.7). The answer that is kept is
// that of a change which is committed.
func (c *compound) inTurn(begin beginTurn, run func() xdr.Status) (st xdr.Status) {
	k, st := c.await(begin)
	switch {
	case st != xdr.OK:
		return st
	case k.Replay:
		return c.answerAgain(k)
	}
	c.client, c.turn = k.ClientID, k
	st = xdr.ErrServerFault
	defer func() {
		var reply []byte
		if st == xdr.OK || c.keep {
			reply = c.w.Bytes()[c.opAt+8:]
		}
		c.s.table.FinishTurn(k, st, reply, c.cur.file(), c.s.cfg.Clock())
		c.turn = nil
	}()
	st = c.dialect.status(run())
	if st == xdr.OK {
		st = c.commitOp()
	}
	return st
}

// await waits for the turn. It must not answer NFS4ERR_DELAY: the client would
// count that as an answer.
func (c *compound) await(begin beginTurn) (*state.Turn, xdr.Status) {
	for {
		k, wait, st := begin()
		if st != xdr.OK || wait == nil {
			return k, st
		}
		select {
		case <-wait:
		case <-c.ctx.Done():
			c.drop = true
			return nil, xdr.ErrServerFault
		}
	}
}

// answerAgain gives the answer that an earlier try had.
func (c *compound) answerAgain(k *state.Turn) xdr.Status {
	c.w.Raw(k.Reply)
	c.keep = len(k.Reply) > 0
	if c.op == xdr.OpOpen && k.Status == xdr.OK {
		if e, ok := c.s.cfg.Exports.ByName(k.File.FS); ok {
			c.move(object{fileObject, e, k.File.Ino})
		}
	}
	return k.Status
}

// commitOp waits until what the current operation changed is committed.
func (c *compound) commitOp() xdr.Status {
	for _, p := range c.pending {
		if p.index != c.index {
			continue
		}
		if err := p.fs.WaitCommitted(c.ctx, p.seq); err != nil {
			if st := c.status(err); st != xdr.ErrDelay {
				return st
			}
			return xdr.ErrIO // the change was made: it must not be tried again
		}
	}
	return xdr.OK
}
