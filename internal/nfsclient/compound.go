package nfsclient

import (
	"errors"

	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// compound is one request being built: a whole record, whose xid and SEQUENCE
// are filled in when it is sent.
type compound struct {
	w     *xdr.Writer
	verb  string
	path  string
	ops   uint32
	count int // offset of the number of operations
	seq   int // offset of the arguments of SEQUENCE, 0: none
}

const (
	xidOffset = 4 // after the record mark

	// Offsets within the arguments of SEQUENCE.
	seqIDOffset   = 16
	seqSlotOffset = 20
	seqHighOffset = 24
	sequenceArgs  = 32 // bytes
)

// bareCompound begins a request outside any session.
func bareCompound(sys *oncrpc.SysCred, verb, path string) *compound {
	p := &compound{w: xdr.NewWriter(), verb: verb, path: path}
	oncrpc.BeginRecord(p.w)
	oncrpc.AppendCall(p.w, 0, xdr.Program, xdr.Version, xdr.ProcCompound, sys)
	p.w.String("")
	p.w.Uint32(xdr.MinorVersion1)
	p.count = p.w.Len()
	p.w.Uint32(0)
	return p
}

// newCompound begins a request with SEQUENCE. keep asks the server to keep the
// reply: for everything that changes something.
func newCompound(sys *oncrpc.SysCred, verb, path string, keep bool) *compound {
	p := bareCompound(sys, verb, path)
	w := p.op(xdr.OpSequence)
	p.seq = w.Len()
	clear(w.Reserve(sequenceArgs - 4))
	w.Bool(keep)
	return p
}

// op adds an operation; its arguments follow.
func (p *compound) op(o xdr.Op) *xdr.Writer {
	p.ops++
	p.w.Uint32(uint32(o))
	return p.w
}

// seal makes the record whole.
func (p *compound) seal(xid uint32) {
	p.w.SetUint32(p.count, p.ops)
	p.w.SetUint32(xidOffset, xid)
	oncrpc.EndRecord(p.w)
}

// address fills in SEQUENCE.
func (p *compound) address(id xdr.SessionID, slot, seq, high uint32) {
	copy(p.w.Bytes()[p.seq:], id[:])
	p.w.SetUint32(p.seq+seqIDOffset, seq)
	p.w.SetUint32(p.seq+seqSlotOffset, slot)
	p.w.SetUint32(p.seq+seqHighOffset, high)
}

// clone is a copy for another attempt: the bytes of the first may still be on
// their way.
func (p *compound) clone() *compound {
	c := *p
	c.w = xdr.NewWriter()
	c.w.Raw(p.w.Bytes())
	return &c
}

func (p *compound) putFH(fh []byte) { p.op(xdr.OpPutFH).Opaque(fh) }

func (p *compound) lookup(names []string) {
	for _, n := range names {
		p.op(xdr.OpLookup).String(n)
	}
}

func (p *compound) getAttr(b xdr.Bitmap) { p.op(xdr.OpGetAttr).Bitmap(b) }

func (p *compound) fail(op xdr.Op, s xdr.Status) error {
	return &Error{Verb: p.verb, Path: p.path, Op: op, Status: s}
}

// reply is what came back. r stands after the results of SEQUENCE.
type reply struct {
	p   *compound
	rec []byte
	r   xdr.Reader
	// done: the request was written as often as it was queued, so that nobody
	// uses its bytes any more.
	done func() bool
}

// release gives the buffers of the reply, and if it can those of the request,
// back to the pool.
func (a *reply) release() {
	xdr.PutBuffer(a.rec)
	if a.done() {
		a.p.w.Release()
	}
}

var errBadReply = errors.New("the server's reply cannot be understood")

// next reads the header of the next result, which must be of op.
func (a *reply) next(op xdr.Op) error {
	got, status := xdr.Op(a.r.Uint32()), xdr.Status(a.r.Uint32())
	switch {
	case a.r.Bad() || got != op:
		return errBadReply
	case status != xdr.OK:
		return a.p.fail(op, status)
	}
	return nil
}

// skip reads results that have no body.
func (a *reply) skip(ops ...xdr.Op) error {
	for _, op := range ops {
		if err := a.next(op); err != nil {
			return err
		}
	}
	return nil
}

// at reads the results of PUTFH and the LOOKUPs that reached t.
func (a *reply) at(t target) error {
	if err := a.next(xdr.OpPutFH); err != nil {
		return err
	}
	for range t.names {
		if err := a.next(xdr.OpLookup); err != nil {
			return err
		}
	}
	return nil
}

// fh reads the result of GETFH, copied.
func (a *reply) fh() ([]byte, error) {
	if err := a.next(xdr.OpGetFH); err != nil {
		return nil, err
	}
	fh := append([]byte(nil), a.r.FH()...)
	return fh, a.whole()
}

// attrs reads the result of GETATTR.
func (a *reply) attrs() (xdr.Attrs, error) {
	var at xdr.Attrs
	if err := a.next(xdr.OpGetAttr); err != nil {
		return at, err
	}
	return at, a.r.Attrs(&at)
}

// whole reports a reply that ended too early.
func (a *reply) whole() error {
	if a.r.Bad() {
		return errBadReply
	}
	return nil
}
