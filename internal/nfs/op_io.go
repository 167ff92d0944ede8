package nfs

import (
	"encoding/binary"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// checkIO checks a stateid for reading or writing the current file. opened
// tells that permission was checked when the file was opened.
func (c *compound) checkIO(id xdr.StateID, want uint32) (opened bool, st xdr.Status) {
	own := true
	if !c.dialect.sessions {
		if own, st = c.clientOf(id); st != xdr.OK {
			return false, st
		}
	}
	special := id == xdr.AnonymousStateID || id == xdr.BypassStateID
	if special {
		if st := c.outOfGrace(); st != xdr.OK {
			return false, st // what is reclaimed may forbid it
		}
	}
	opened, st = c.s.table.CheckIO(c.client, id, c.cur.file(), want)
	return opened && own, st
}

// outOfGrace is ErrGrace while there may be state that is not reclaimed yet. A
// file system that has just become writable is observed first.
func (c *compound) outOfGrace() xdr.Status {
	if err := c.s.observe(c.ctx, &c.cur.export); err != nil {
		return c.status(err)
	}
	if c.s.table.AskInGrace(c.cur.export.Name) {
		return xdr.ErrGrace
	}
	return xdr.OK
}

// mayIO checks what an I/O operation needs: a regular file, a stateid or,
// with a special one, permission.
func (c *compound) mayIO(id xdr.StateID, want uint32) xdr.Status {
	opened, st := c.checkIO(id, want)
	if st != xdr.OK || opened {
		return st
	}
	if st := c.regular(); st != xdr.OK {
		return st
	}
	if st := c.permitted(want); st != xdr.OK {
		return st
	}
	return c.undelegated(c.cur.ino, want == xdr.ShareWrite)
}

// regular checks that the current object is a regular file.
func (c *compound) regular() xdr.Status {
	a, err := c.cur.export.FS.GetAttr(c.cur.ino)
	if err != nil {
		return c.status(err)
	}
	return regularOnly(a.Type)
}

func regularOnly(t fs.Type) xdr.Status {
	switch t {
	case fs.TypeRegular:
		return xdr.OK
	case fs.TypeDir:
		return xdr.ErrIsDir
	case fs.TypeSymlink:
		return xdr.ErrSymlink
	}
	return xdr.ErrWrongType
}

// permitted checks that the caller may read or write the current file. Who may
// execute a file may read it, or it could not be executed (RFC 8881 §18.22.4).
func (c *compound) permitted(want uint32) xdr.Status {
	cred := c.cred()
	have, err := c.cur.export.FS.Access(&cred, c.cur.ino, fs.AccessRead|fs.AccessWrite|fs.AccessExec)
	switch {
	case err != nil:
		return c.status(err)
	case want&xdr.ShareRead != 0 && have&(fs.AccessRead|fs.AccessExec) == 0:
		return xdr.ErrAccess
	case want&xdr.ShareWrite != 0 && have&fs.AccessWrite == 0:
		return xdr.ErrAccess
	}
	return xdr.OK
}

// opRead is RFC 8881 §18.22. The data goes from the file system straight into
// the reply.
func opRead(c *compound) xdr.Status {
	id := c.resolve(c.args.StateID())
	offset, count := c.args.Uint64(), c.args.Uint32()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	if c.cur.kind == pseudoRoot {
		return xdr.ErrIsDir
	}
	if st := c.needFile(); st != xdr.OK {
		return st
	}
	if st := c.mayIO(id, xdr.ShareRead); st != xdr.OK {
		return st
	}
	head := c.w.Len()
	left := c.limit - head - 12
	if left < 0 {
		return c.tooBig
	}
	want := min(int(min(count, maxIO)), left)
	if st := c.paced(want, true); st != xdr.OK {
		return st
	}
	c.w.Uint64(0) // eof and length
	buf := c.w.Reserve(want)
	n, eof, err := c.cur.export.FS.Read(c.ctx, c.cur.ino, offset, buf)
	if err != nil {
		return c.status(err)
	}
	c.w.Truncate(head + 8 + n)
	c.w.Pad(n)
	if eof {
		c.w.SetUint32(head, 1)
	}
	c.w.SetUint32(head+4, uint32(n))
	c.s.metrics.bytes.WithLabelValues("read").Add(float64(n))
	return xdr.OK
}

// opWrite is RFC 8881 §18.32.
func opWrite(c *compound) xdr.Status {
	id := c.resolve(c.args.StateID())
	offset, stable := c.args.Uint64(), c.args.Uint32()
	data := c.args.Opaque(maxRequest)
	if stable > xdr.FileSync {
		return xdr.ErrInval
	}
	if st := c.ready(); st != xdr.OK {
		return st
	}
	if st := c.mayIO(id, xdr.ShareWrite); st != xdr.OK {
		return st
	}
	if st := c.paced(len(data), false); st != xdr.OK {
		return st
	}
	// The verifier is read before the data is applied: if the file system
	// restarts in between, the client must see that the data may be lost.
	verifier := writeVerifier(c.cur.export.FS.Epoch())
	var n int
	if len(data) > 0 {
		res, err := c.cur.export.FS.Write(c.ctx, &fs.WriteRequest{
			Cred: c.cred(), Ino: c.cur.ino, Offset: offset, Data: data[:min(len(data), maxIO)],
		})
		if err != nil {
			return c.status(err)
		}
		n = res.N
		if stable != xdr.Unstable {
			c.changed(res.Seq)
			stable = xdr.FileSync
		}
	}
	c.w.Uint32(uint32(n))
	c.w.Uint32(stable)
	c.w.Fixed(verifier[:])
	c.s.metrics.bytes.WithLabelValues("write").Add(float64(n))
	return xdr.OK
}

// opCommit is RFC 8881 §18.3. It commits all that was written, which includes
// the range asked for. The verifier is read after the wait: see opWrite.
func opCommit(c *compound) xdr.Status {
	c.args.Uint64()
	c.args.Uint32()
	if st := c.ready(); st != xdr.OK {
		return st
	}
	if st := c.regular(); st != xdr.OK {
		return st
	}
	x := c.cur.export.FS
	if err := x.WaitCommitted(c.ctx, x.LastApplied()); err != nil {
		return c.status(err)
	}
	verifier := writeVerifier(x.Epoch())
	c.w.Fixed(verifier[:])
	return xdr.OK
}

// writeVerifier changes whenever unstable data may have been lost: with the
// epoch, which no other writer and no restart has.
func writeVerifier(e fs.EpochID) (v xdr.Verifier) {
	binary.BigEndian.PutUint64(v[:], e.Nonce^uint64(e.Short())<<32)
	return v
}
