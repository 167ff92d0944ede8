package nfsclient

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link keeps one connection and one session alive. run is its only goroutine
// beside those of the connection; everything under mu may be used by any.
type link struct {
	addr string
	opt  Options

	mu      sync.Mutex
	cn      *conn
	s       *session
	ready   chan struct{} // closed when s is there or the link has ended
	out     map[uint32]*exchange
	xid     uint32
	used    bool  // something was sent since the last look
	lastErr error // why there is no connection or session
	closing bool  // make no new session
	closed  bool

	lost  chan struct{} // tells run that the session is gone
	heard atomic.Uint64 // records received
	// lease is that of the server; run sets and reads it.
	lease time.Duration
}

const (
	// firstPause and longestPause bound the wait between attempts to connect.
	// A failover is a matter of a second, so the longest is short.
	firstPause   = 20 * time.Millisecond
	longestPause = time.Second
	dialTimeout  = 10 * time.Second
	// setupTimeout bounds the calls that make a session.
	setupTimeout = 30 * time.Second
	// silentLooks is how many looks (a third of a lease each, at most lookEvery)
	// may pass with requests under way and nothing heard before the connection
	// is given up: a server that is busy answers NFS4ERR_DELAY.
	silentLooks = 4
	lookEvery   = 15 * time.Second
)

func newLink(addr string, opt Options) *link {
	return &link{addr: addr, opt: opt, ready: make(chan struct{}), out: map[uint32]*exchange{},
		lost: make(chan struct{}, 1), xid: 1, lease: lookEvery * 3}
}

// run connects, and connects again, until ctx ends. first gets the outcome of
// the first attempt.
func (l *link) run(ctx context.Context, first chan<- error) {
	pause := firstPause
	for ctx.Err() == nil {
		err := l.live(ctx, func() {
			pause = firstPause
			report(first, nil)
		})
		report(first, err)
		l.mu.Lock()
		l.lastErr = err
		l.mu.Unlock()
		sleep(ctx, pause)
		pause = min(2*pause, longestPause)
	}
	l.end()
}

func report(first chan<- error, err error) {
	select {
	case first <- err:
	default:
	}
}

// live is the life of one connection; up is called whenever a session is there.
func (l *link) live(ctx context.Context, up func()) error {
	dctx, cancel := context.WithTimeout(ctx, dialTimeout)
	nc, err := l.opt.Dialer.DialContext(dctx, "tcp", l.addr)
	cancel()
	if err != nil {
		return err
	}
	cn := l.attach(nc)
	defer l.detach(cn)
	look := time.NewTicker(min(l.lease/3, lookEvery))
	defer look.Stop()
	silent := silence{}
	for {
		if err := l.ensureSession(ctx); err != nil {
			return err
		}
		up()
		select {
		case <-cn.done:
			return fmt.Errorf("connection to %s: %w", l.addr, cn.cause())
		case <-ctx.Done():
			return ctx.Err()
		case <-l.lost:
		case <-look.C:
			if silent.look(l) {
				return fmt.Errorf("connection to %s: no answer", l.addr)
			}
			l.renew()
			look.Reset(min(l.lease/3, lookEvery))
		}
	}
}

// attach makes nc the connection and sends what has not been answered.
func (l *link) attach(nc net.Conn) *conn {
	cn := startConn(nc, l.received)
	l.mu.Lock()
	l.cn = cn
	var again []*exchange
	for _, x := range l.out {
		x.sends++
		again = append(again, x)
	}
	l.mu.Unlock()
	for _, x := range again {
		cn.send(&x.out)
	}
	return cn
}

// detach ends the connection, and with it the exchanges outside a session.
func (l *link) detach(cn *conn) {
	l.mu.Lock()
	l.cn = nil
	for xid, x := range l.out {
		if x.s == nil {
			delete(l.out, xid)
			x.finish(errConnLost)
		}
	}
	l.mu.Unlock()
	cn.close()
}

// session waits until there is one.
func (l *link) session(ctx context.Context) (*session, error) {
	for {
		l.mu.Lock()
		s, ready, closed := l.s, l.ready, l.closed || l.closing
		l.mu.Unlock()
		switch {
		case closed:
			return nil, ErrClosed
		case s != nil:
			return s, nil
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, l.gaveUp(ctx)
		}
	}
}

func (l *link) ensureSession(ctx context.Context) error {
	l.mu.Lock()
	have, closing := l.s != nil, l.closing
	l.mu.Unlock()
	switch {
	case have:
		return nil
	case closing:
		return ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	s, err := l.establish(ctx)
	if err != nil {
		return fmt.Errorf("session with %s: %w", l.addr, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.s = s
	close(l.ready)
	return nil
}

// lose ends a session and the exchanges in it. The caller holds the lock.
func (l *link) lose(s *session) {
	select {
	case <-s.dead:
		return
	default:
	}
	close(s.dead)
	for xid, x := range l.out {
		if x.s == s {
			delete(l.out, xid)
			x.finish(x.lostError())
		}
	}
	if l.s == s {
		l.s, l.ready = nil, make(chan struct{})
		select {
		case l.lost <- struct{}{}:
		default:
		}
	}
}

// end answers everybody who still waits.
func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.s != nil {
		l.lose(l.s)
	}
	close(l.ready)
}

// renew sends a lone SEQUENCE when nothing else was sent since the last look:
// that renews the lease, and finds out a broken connection.
func (l *link) renew() {
	l.mu.Lock()
	s, used := l.s, l.used
	l.used = false
	l.mu.Unlock()
	if s == nil || used {
		return
	}
	select {
	case slot := <-s.free:
		l.start(s, slot, newCompound(l.opt.cred(), "renew the lease", "", false))
	default: // all slots are under way, which renews it too
	}
}

// gaveUp is the error of a call whose context ended while it waited.
func (l *link) gaveUp(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lastErr != nil && l.s == nil {
		return fmt.Errorf("gave up waiting for the server: %w (%w)", context.Cause(ctx), l.lastErr)
	}
	return fmt.Errorf("gave up waiting for the server %s: %w", l.addr, context.Cause(ctx))
}

// silence counts looks at which requests were under way and nothing was heard.
type silence struct {
	heard uint64
	looks int
}

func (q *silence) look(l *link) (tooLong bool) {
	l.mu.Lock()
	waiting := len(l.out) > 0
	l.mu.Unlock()
	heard := l.heard.Load()
	if !waiting || heard != q.heard {
		q.heard, q.looks = heard, 0
		return false
	}
	q.looks++
	return q.looks >= silentLooks
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
