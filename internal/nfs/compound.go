package nfs

import (
	"context"
	"hash/maphash"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// compound is one COMPOUND while it is carried out (RFC 8881 §16.2). It is
// used by one goroutine.
type compound struct {
	s    *Server
	ctx  context.Context
	view *view
	call *oncrpc.Call
	args *xdr.Reader
	w    *xdr.Writer

	start   int  // where the result begins in w
	countAt int  // where the number of results is
	lasting bool // a retry must not be carried out again (minor version 0)
	ops     int  // how many operations there are
	index   int  // which one is carried out
	op      xdr.Op
	opAt    int           // where its result begins
	keep    bool          // its result has a body in spite of an error
	drop    bool          // no reply must be sent
	ticket  *state.Ticket // nil in minor version 0
	client  uint64        // who asks: of the session, or what the operation says
	dialect *dialect
	squash  *Anonymous  // whom root becomes, nil: it stays root
	turn    *state.Turn // of an owner, in minor version 0
	limit   int         // bytes of the whole reply
	tooBig  xdr.Status  // what to answer beyond it

	cur, saved           object
	curState, savedState xdr.StateID
	pending              []wait
	guards               []string // file systems that grant no delegations during this operation
	entered              []func() // to be called at the end: see admit
	finished             bool
}

// object is what a file handle stands for.
type object struct {
	kind   objectKind
	export Export
	ino    fs.Ino
}

type objectKind uint8

const (
	noObject objectKind = iota
	pseudoRoot
	fileObject
)

func (o *object) file() state.File { return state.File{FS: o.export.Name, Ino: o.ino} }

// opFunc reads an operation's arguments and appends what follows its status.
// After a status other than OK what it appended is dropped, unless it set keep.
type opFunc func(c *compound) xdr.Status

// compound answers COMPOUND.
func (s *Server) compound(ctx context.Context, v *view, call *oncrpc.Call, args *xdr.Reader, w *xdr.Writer) oncrpc.AcceptStat {
	c := &compound{s: s, ctx: ctx, view: v, call: call, args: args, w: w, squash: v.root.Squash.get(), start: w.Len(), limit: maxRequest, tooBig: xdr.ErrRepTooBig}
	defer c.letGo()
	defer c.abandon()
	tag := args.Opaque(maxTag)
	minor := args.Uint32()
	c.ops = int(args.Uint32())
	if args.Bad() {
		return oncrpc.GarbageArgs
	}
	w.Uint32(0)
	w.Opaque(tag)
	c.countAt = w.Len()
	w.Uint32(0)
	if minor >= uint32(len(dialects)) {
		return c.answer(xdr.ErrMinorVersMismatch)
	}
	c.dialect = dialects[minor]
	switch {
	case c.ops > state.MaxOps:
		return c.answer(c.dialect.status(xdr.ErrTooManyOps))
	case c.dialect.sessions:
		return c.answer(c.run())
	}
	return c.once()
}

// answer completes the result, and keeps it where a retry will look for it.
func (c *compound) answer(st xdr.Status) oncrpc.AcceptStat {
	if c.ticket != nil && c.ticket.Replay && c.ticket.Reply != nil {
		c.w.Truncate(c.start)
		c.w.Raw(c.ticket.Reply)
		return oncrpc.Success
	}
	c.w.SetUint32(c.start, uint32(st))
	c.w.SetUint32(c.countAt, uint32(c.index))
	c.finish()
	c.s.notify()
	if c.drop {
		return oncrpc.Drop
	}
	return oncrpc.Success
}

// run carries out the operations up to the first that fails, then waits until
// what they changed is committed. c.index is the number of results.
func (c *compound) run() xdr.Status {
	st := xdr.OK
	for c.index < c.ops && st == xdr.OK {
		st = c.one()
		c.index++
		if c.ticket != nil && c.ticket.Replay {
			return c.replay()
		}
	}
	return c.settle(st)
}

// replay answers a retry of which the reply was not kept: SEQUENCE succeeded,
// what came after it is not known (RFC 8881 §2.10.6.1.3).
func (c *compound) replay() xdr.Status {
	if c.ticket.Reply != nil || c.ops == 1 {
		return xdr.OK
	}
	c.index++
	c.w.Uint32(c.args.Uint32())
	c.w.Uint32(uint32(xdr.ErrRetryUncachedRep))
	return xdr.ErrRetryUncachedRep
}

// one carries out one operation and appends its result.
func (c *compound) one() xdr.Status {
	c.op, c.opAt, c.keep = xdr.Op(c.args.Uint32()), c.w.Len(), false
	if c.args.Bad() {
		// There is no operation to answer. RFC 8881 §16.2.3 has none for this;
		// as Linux does, an illegal one stands for it.
		c.op = xdr.OpIllegal
		return c.result(xdr.ErrBadXDR)
	}
	fn, known := c.dialect.operations[c.op]
	c.w.Uint32(uint32(c.op))
	c.w.Uint32(0)
	var st xdr.Status
	switch {
	case !c.op.Known() || c.op > c.dialect.last:
		c.op = xdr.OpIllegal
		st = xdr.ErrOpIllegal
	case !known:
		st = xdr.ErrNotSupp
	default:
		if st = c.inOrder(); st == xdr.OK {
			st = c.mayChange()
		}
		if st == xdr.OK {
			c.lasting = c.lasting || notIdempotent[c.op]
			st = fn(c)
			c.endChanges()
		}
	}
	if st == xdr.OK && c.args.Bad() {
		st = xdr.ErrBadXDR
	}
	return c.result(st)
}

// result completes the result that begins at c.opAt.
func (c *compound) result(st xdr.Status) xdr.Status {
	if st == xdr.OK && c.w.Len() > c.limit {
		st = c.tooBig
	}
	st = c.dialect.status(st)
	if st == xdr.OK || c.keep {
		c.w.SetUint32(c.opAt+4, uint32(st))
	} else {
		c.failAt(c.opAt, c.op, st)
	}
	c.s.metrics.operation(c.op, st)
	return st
}

// failAt replaces everything from an operation's result on by a failure of it.
func (c *compound) failAt(at int, op xdr.Op, st xdr.Status) {
	c.w.Truncate(at)
	c.w.Uint32(uint32(op))
	c.w.Uint32(uint32(st))
	if op == xdr.OpSetAttr {
		c.w.Bitmap(xdr.Bitmap{}) // attrsset is there whatever the status
	}
}

// inOrder checks the place of an operation: with sessions, a COMPOUND begins with
// SEQUENCE, or consists of one of five operations that work without a session.
func (c *compound) inOrder() xdr.Status {
	switch {
	case !c.dialect.sessions:
		return xdr.OK
	case c.op == xdr.OpSequence && c.index > 0:
		return xdr.ErrSequencePos
	case c.index > 0 || c.op == xdr.OpSequence:
		return xdr.OK
	case !sessionless[c.op]:
		return xdr.ErrOpNotInSession
	case c.ops > 1:
		return xdr.ErrNotOnlyOp
	}
	return xdr.OK
}

var sessionless = map[xdr.Op]bool{
	xdr.OpExchangeID: true, xdr.OpCreateSession: true, xdr.OpBindConnToSession: true,
	xdr.OpDestroySession: true, xdr.OpDestroyClientID: true,
}

// finish gives the slot back and keeps the reply for a retry.
func (c *compound) finish() {
	if c.ticket == nil || c.ticket.Replay {
		return
	}
	c.finished = true
	reply := c.w.Bytes()[c.start:]
	if len(reply) > state.MaxCachedReply {
		reply = nil
	}
	c.s.table.Finish(c.ticket, reply, c.s.cfg.Clock())
}

// abandon gives the slot back if a panic kept finish from doing so.
func (c *compound) abandon() {
	c.endChanges()
	if c.ticket != nil && !c.ticket.Replay && !c.finished {
		c.s.table.Finish(c.ticket, nil, c.s.cfg.Clock())
	}
}

// room checks that the result of an operation that changes something will fit,
// before it is carried out.
func (c *compound) room() xdr.Status {
	if c.w.Len()+mutationReply > c.limit {
		return c.tooBig
	}
	return xdr.OK
}

// sum identifies the part of a request that a retry must repeat: what follows
// SEQUENCE, and who asks.
func (c *compound) sum() uint64 {
	const enough = 1024 // bytes that tell requests apart
	rest := c.args.Rest()
	var h maphash.Hash
	h.SetSeed(c.s.seed)
	h.WriteString(c.principal())
	n := len(rest)
	h.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
	h.Write(rest[:min(n, enough)])
	return h.Sum64() | 1
}
