package nfsclient

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// exchange is one request until its reply. It keeps its slot when its caller
// stops waiting: only the reply, or the end of the session, frees it.
type exchange struct {
	xid   uint32
	s     *session // nil: outside a session, ends with the connection
	slot  uint32
	p     *compound
	out   outgoing
	sends int32 // how often it was handed to a connection
	reply reply
	err   error
	done  chan struct{}
}

// roundTrip sends p on a free slot and waits for the reply, whose SEQUENCE was
// good. errSessionLost: the session went; the next call waits for a new one.
// The caller releases the reply; p is then used up.
func (l *link) roundTrip(ctx context.Context, p *compound) (*reply, error) {
	x, err := l.begin(ctx, p)
	if err != nil {
		return nil, err
	}
	select {
	case <-x.done:
		return &x.reply, x.err
	case <-ctx.Done():
		return nil, l.gaveUp(ctx)
	}
}

// begin waits for a session and a slot and starts the exchange.
func (l *link) begin(ctx context.Context, p *compound) (*exchange, error) {
	for {
		s, err := l.session(ctx)
		if err != nil {
			return nil, err
		}
		select {
		case slot := <-s.free:
			return l.start(s, slot, p), nil
		case <-s.dead:
		case <-ctx.Done():
			return nil, l.gaveUp(ctx)
		}
	}
}

// start sends p on a slot that the caller holds.
func (l *link) start(s *session, slot uint32, p *compound) *exchange {
	x := &exchange{s: s, slot: slot, p: p, done: make(chan struct{})}
	l.mu.Lock()
	p.address(s.id, slot, s.seqs[slot]+1, s.highest())
	select {
	case <-s.dead:
		x.finish(errNotSent)
		l.mu.Unlock()
		return x
	default:
	}
	l.enter(x)
	cn := l.cn
	l.mu.Unlock()
	if cn != nil {
		cn.send(&x.out)
	}
	return x
}

// enter gives x an xid and adds it to those under way. From here on its bytes
// do not change. The caller holds the lock and sends it.
func (l *link) enter(x *exchange) {
	l.xid++
	x.xid = l.xid
	x.p.seal(x.xid)
	x.out.bytes = x.p.w.Bytes()
	l.out[x.xid] = x
	if l.cn != nil {
		x.sends++
	}
	l.used = true
}

// isWritten may be asked once the reply is there: nothing is sent any more.
func (x *exchange) isWritten() bool { return x.out.writes.Load() == x.sends }

func (x *exchange) finish(err error) {
	x.err = err
	close(x.done)
}

// lostError is the end of x with its session. The request that hears of it is
// itself not carried out, unless it was sent before.
func (x *exchange) lostError() error {
	if x.sends == 0 || (x.sends == 1 && x.reply.rec != nil) {
		return errNotSent
	}
	return errSessionLost
}

// received takes a record from the connection's reader.
func (l *link) received(rec []byte) {
	l.heard.Add(1)
	r := xdr.NewReader(rec)
	xid, err := oncrpc.ParseReply(&r)
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.out[xid]
	if x == nil {
		return
	}
	delete(l.out, xid)
	x.reply = reply{p: x.p, rec: rec, r: r, done: x.isWritten}
	if err != nil {
		l.release(x, false)
		x.finish(fmt.Errorf("%s %s: the server refused the call: %w", x.p.verb, x.p.path, err))
		return
	}
	l.judge(x)
}

// judge reads the head of a COMPOUND reply and the results of SEQUENCE.
func (l *link) judge(x *exchange) {
	r := &x.reply.r
	status := xdr.Status(r.Uint32())
	r.Opaque(xdr.OpaqueLimit)
	results := r.Uint32()
	if x.s == nil {
		x.finish(headError(x, status, results))
		return
	}
	if results > 0 && xdr.Op(r.Uint32()) == xdr.OpSequence {
		status = xdr.Status(r.Uint32())
	}
	switch {
	case r.Bad():
		l.release(x, false)
		x.finish(errBadReply)
	case status == xdr.OK:
		r.Fixed(16 + 5*4)
		l.release(x, true)
		x.finish(x.reply.whole())
	case status == xdr.ErrDelay:
		l.again(x)
	case isLost(status):
		l.lose(x.s)
		x.finish(x.lostError())
	case status == xdr.ErrRetryUncachedRep:
		l.release(x, true)
		x.finish(x.p.fail(xdr.OpSequence, status))
	default:
		l.release(x, false)
		x.finish(x.p.fail(xdr.OpSequence, status))
	}
}

// headError is the error of a reply that has no results at all.
func headError(x *exchange, status xdr.Status, results uint32) error {
	if results == 0 && status != xdr.OK {
		return x.p.fail(xdr.OpSequence, status)
	}
	return x.reply.whole()
}

// release gives the slot of x back. used: the server counted the sequence id.
func (l *link) release(x *exchange, used bool) {
	if x.s == nil {
		return
	}
	if used {
		x.s.seqs[x.slot]++
	}
	x.s.free <- x.slot
}

// slotPause is the wait before a slot that the server is still busy with is
// tried again.
const slotPause = 20 * time.Millisecond

// again sends x once more on the same slot a little later.
func (l *link) again(x *exchange) {
	l.out[x.xid] = x
	time.AfterFunc(slotPause, func() {
		l.mu.Lock()
		cn := l.cn
		if l.out[x.xid] != x {
			cn = nil
		} else if cn != nil {
			x.sends++
		}
		l.mu.Unlock()
		if cn != nil {
			cn.send(&x.out)
		}
	})
}
