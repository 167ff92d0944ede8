package nfs

import (
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// wait is a change that the reply has to wait for.
type wait struct {
	fs    FileSystem
	seq   uint64
	at    int // where the result of the operation begins
	index int
	op    xdr.Op
}

// changed notes that the reply waits until the change with this sequence is
// committed.
func (c *compound) changed(seq uint64) {
	if seq != 0 {
		c.pending = append(c.pending, wait{c.cur.export.FS, seq, c.opAt, c.index, c.op})
	}
}

// settle waits until all changes are committed, once per file system. If that
// fails, the first operation whose change may be lost is answered with
// NFS4ERR_IO, and so the COMPOUND; nothing after it is claimed.
func (c *compound) settle(st xdr.Status) xdr.Status {
	for i := range c.pending {
		p := &c.pending[i]
		last := p.seq
		for _, q := range c.pending[i+1:] {
			if q.fs == p.fs {
				last = max(last, q.seq)
			}
		}
		if i > 0 && c.pending[i-1].fs == p.fs {
			continue // waited for already
		}
		if err := p.fs.WaitCommitted(c.ctx, last); err != nil {
			c.op = p.op
			st = c.status(err)
			if st == xdr.ErrDelay {
				st = xdr.ErrIO // the change was made: it must not be tried again
			}
			c.failAt(p.at, p.op, st)
			c.index = p.index + 1
			return st
		}
	}
	return st
}
