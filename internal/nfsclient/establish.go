package nfsclient

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// errNotConnected ends a call outside a session that has no connection.
var errNotConnected = errors.New("not connected")

// establish makes a client id known and a session on it (RFC 8881 §18.35 and
// §18.36), and says that nothing will be reclaimed (§18.51), so that opens are
// not refused for the rest of a grace period on our account.
func (l *link) establish(ctx context.Context) (*session, error) {
	clientID, seq, err := l.exchangeID(ctx)
	if err != nil {
		return nil, err
	}
	s, err := l.createSession(ctx, clientID, seq)
	if err != nil {
		return nil, err
	}
	if err := l.reclaimComplete(ctx, s); err != nil {
		return nil, err
	}
	return s, l.readLease(ctx, s)
}

func (l *link) exchangeID(ctx context.Context) (clientID uint64, seq uint32, err error) {
	p := bareCompound(l.opt.cred(), "register with the server", "")
	w := p.op(xdr.OpExchangeID)
	w.Fixed(l.opt.verifier[:])
	w.String(l.opt.ClientOwner)
	w.Uint32(xdr.ExchgUseNonPNFS)
	w.Uint32(xdr.StateProtectNone)
	w.Uint32(0) // no implementation id
	err = l.bare(ctx, p, func(a *reply) error {
		if err := a.next(xdr.OpExchangeID); err != nil {
			return err
		}
		clientID, seq = a.r.Uint64(), a.r.Uint32()
		return a.whole()
	})
	return clientID, seq, err
}

func (l *link) createSession(ctx context.Context, clientID uint64, seq uint32) (s *session, err error) {
	p := bareCompound(l.opt.cred(), "create a session", "")
	w := p.op(xdr.OpCreateSession)
	w.Uint64(clientID)
	w.Uint32(seq)
	w.Uint32(0) // neither persistent nor with a back channel: there are no delegations to recall
	w.ChannelAttrs(xdr.ChannelAttrs{MaxRequest: maxPayload + recordRoom, MaxResponse: maxPayload + recordRoom,
		MaxResponseCached: keptReply, MaxOps: maxOps, MaxRequests: maxSlots})
	w.ChannelAttrs(xdr.ChannelAttrs{MaxRequest: keptReply, MaxResponse: keptReply, MaxOps: 2, MaxRequests: 1})
	w.Uint32(0) // callback program
	w.Uint32(1) // one way to authenticate callbacks
	w.Uint32(xdr.AuthNone)
	err = l.bare(ctx, p, func(a *reply) error {
		if err := a.next(xdr.OpCreateSession); err != nil {
			return err
		}
		id := a.r.SessionID()
		a.r.Uint64() // sequence and flags
		fore := a.r.ChannelAttrs()
		s = newSession(id, clientID, fore)
		return a.whole()
	})
	return s, err
}

// bare sends a request outside any session; NFS4ERR_DELAY is waited out.
func (l *link) bare(ctx context.Context, p *compound, parse func(*reply) error) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := l.bareOnce(ctx, p, parse)
		if statusOf(err) != xdr.ErrDelay || ctx.Err() != nil {
			return err
		}
		sleep(ctx, pause)
		p = p.clone()
	}
}

func (l *link) bareOnce(ctx context.Context, p *compound, parse func(*reply) error) error {
	x := &exchange{p: p, done: make(chan struct{})}
	l.mu.Lock()
	cn := l.cn
	if cn == nil {
		l.mu.Unlock()
		return errNotConnected
	}
	l.enter(x)
	l.mu.Unlock()
	cn.send(&x.out)
	select {
	case <-x.done:
	case <-cn.done:
		return cn.cause()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if x.err != nil {
		return x.err
	}
	return parse(&x.reply)
}

// inSession sends a request in a session that is not public yet.
func (l *link) inSession(ctx context.Context, s *session, build func() *compound, parse func(*reply) error) error {
	cn := l.current()
	if cn == nil {
		return errNotConnected
	}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		x := l.start(s, <-s.free, build())
		select {
		case <-x.done:
		case <-cn.done:
			return cn.cause()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		err := x.err
		if err == nil {
			err = parse(&x.reply)
		}
		if st := statusOf(err); st != xdr.ErrDelay && st != xdr.ErrGrace {
			return err
		}
		sleep(ctx, pause)
	}
}

func (l *link) current() *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cn
}

func (l *link) reclaimComplete(ctx context.Context, s *session) error {
	build := func() *compound {
		p := newCompound(l.opt.cred(), "finish reclaiming", "", true)
		p.op(xdr.OpReclaimComplete).Bool(false)
		return p
	}
	err := l.inSession(ctx, s, build, func(a *reply) error { return a.next(xdr.OpReclaimComplete) })
	if statusOf(err) == xdr.ErrCompleteAlready {
		return nil // the client id has outlived its session
	}
	return err
}

func (l *link) readLease(ctx context.Context, s *session) error {
	build := func() *compound {
		p := newCompound(l.opt.cred(), "read the lease time", "", false)
		p.op(xdr.OpPutRootFH)
		p.getAttr(xdr.Bits(xdr.AttrLeaseTime))
		return p
	}
	return l.inSession(ctx, s, build, func(a *reply) error {
		if err := a.next(xdr.OpPutRootFH); err != nil {
			return err
		}
		at, err := a.attrs()
		if err == nil && at.LeaseTime > 0 {
			l.lease = time.Duration(at.LeaseTime) * time.Second
		}
		return err
	})
}
