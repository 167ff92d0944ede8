package nfs

import (
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// transfer is a COPY or CLONE: from a range of the saved file into the current
// one. Once checked, count is the number of bytes.
type transfer struct {
	from, to     xdr.StateID
	fromAt, toAt uint64
	count        uint64
}

func (c *compound) readTransfer() transfer {
	t := transfer{from: c.args.StateID(), to: c.resolve(c.args.StateID())}
	if t.from == xdr.CurrentStateID {
		t.from = c.savedState
	}
	t.fromAt, t.toAt, t.count = c.args.Uint64(), c.args.Uint64(), c.args.Uint64()
	return t
}

// mayTransfer checks both files, both stateids and the range of the source.
func (c *compound) mayTransfer(t *transfer) xdr.Status {
	if st := c.ready(); st != xdr.OK {
		return st
	}
	switch c.saved.kind {
	case noObject:
		return xdr.ErrNoFileHandle
	case pseudoRoot:
		return xdr.ErrWrongType
	}
	if st := c.regular(); st != xdr.OK {
		return wrongType(st)
	}
	if st := c.mayIO(t.to, xdr.ShareWrite); st != xdr.OK {
		return st
	}
	return c.source(t)
}

// source checks the source, which has to be the current file for that.
func (c *compound) source(t *transfer) xdr.Status {
	target := c.cur
	c.cur = c.saved
	defer func() { c.cur = target }()
	a, err := c.cur.export.FS.GetAttr(c.cur.ino)
	if err != nil {
		return c.status(err)
	}
	if st := regularOnly(a.Type); st != xdr.OK {
		return wrongType(st)
	}
	if st := c.mayIO(t.from, xdr.ShareRead); st != xdr.OK {
		return st
	}
	if t.fromAt > a.Size || t.count > a.Size-t.fromAt {
		return xdr.ErrInval
	}
	if t.count == 0 {
		t.count = a.Size - t.fromAt
	}
	return xdr.OK
}

// sameFS tells whether source and target are in one file system, so that bytes
// can be shared.
func (c *compound) sameFS() bool { return c.saved.export.Name == c.cur.export.Name }

func (c *compound) clone(t *transfer) (uint64, error) {
	if t.count == 0 {
		return 0, nil
	}
	res, err := c.cur.export.FS.Clone(c.ctx, &fs.CloneRequest{
		Cred: c.cred(), Src: c.saved.ino, SrcOffset: t.fromAt, Dst: c.cur.ino, DstOffset: t.toAt, Length: t.count,
	})
	c.changed(res.Seq)
	return res.N, err
}

// opClone is RFC 7862 §15.13.
func opClone(c *compound) xdr.Status {
	t := c.readTransfer()
	if st := c.mayTransfer(&t); st != xdr.OK {
		return st
	}
	if !c.sameFS() {
		return xdr.ErrXDev
	}
	n, err := c.clone(&t)
	switch {
	case err != nil:
		return c.status(err)
	case n != t.count:
		return xdr.ErrInval // the source has become shorter meanwhile
	}
	return xdr.OK
}

// opCopy is RFC 7862 §15.2, always synchronous and in order. In one file
// system no bytes move, so that even the largest copy takes one request.
// Between file systems a part is copied, and the client asks for the rest.
func opCopy(c *compound) xdr.Status {
	t := c.readTransfer()
	c.args.Bool() // consecutive
	c.args.Bool() // synchronous
	servers := c.args.Count(4)
	for range servers {
		skipNetLoc(c.args)
	}
	if st := c.mayTransfer(&t); st != xdr.OK {
		return st
	}
	switch {
	case servers > 0:
		return xdr.ErrNotSupp // from another server
	case c.sameFS() && c.saved.ino == c.cur.ino:
		return xdr.ErrInval
	}
	verifier := writeVerifier(c.cur.export.FS.Epoch())
	move := c.clone
	if !c.sameFS() {
		move = c.copyBytes
	}
	n, err := move(&t)
	if err != nil && n == 0 {
		return c.status(err)
	}
	c.w.Uint32(0) // no stateid: it is done
	c.w.Uint64(n)
	c.w.Uint32(xdr.FileSync)
	c.w.Fixed(verifier[:])
	c.w.Bool(true)
	c.w.Bool(true)
	return xdr.OK
}

// copyBytes copies between file systems, at most maxCopy bytes.
func (c *compound) copyBytes(t *transfer) (n uint64, err error) {
	buf := make([]byte, min(t.count, maxIO))
	for n < min(t.count, maxCopy) {
		if st := c.paced(int(min(uint64(len(buf)), t.count-n)), false); st != xdr.OK {
			return n, st
		}
		got, _, err := c.saved.export.FS.Read(c.ctx, c.saved.ino, t.fromAt+n, buf[:min(uint64(len(buf)), t.count-n)])
		if err != nil || got == 0 {
			return n, err
		}
		res, err := c.cur.export.FS.Write(c.ctx, &fs.WriteRequest{Cred: c.cred(), Ino: c.cur.ino, Offset: t.toAt + n, Data: buf[:got]})
		if err != nil {
			return n, err
		}
		c.changed(res.Seq)
		n += uint64(res.N)
	}
	return n, nil
}

// maxCopy bounds the bytes that one COPY moves between file systems, so that
// no request takes much longer than a few WRITEs.
const maxCopy = 16 << 20

// skipNetLoc reads a netloc4: where an inter-server copy comes from.
func skipNetLoc(r *xdr.Reader) {
	switch r.Uint32() {
	case xdr.NetLocName, xdr.NetLocURL:
		r.Opaque(xdr.OpaqueLimit)
	case xdr.NetLocAddr:
		r.Opaque(xdr.OpaqueLimit)
		r.Opaque(xdr.OpaqueLimit)
	default:
		r.Fail()
	}
}
