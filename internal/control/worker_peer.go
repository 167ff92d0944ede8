package control

import (
	"context"
	"errors"
	"time"
)

// errInterrupted ends a call because someone changed the catalog meanwhile.
var errInterrupted = errors.New("interrupted by a newer request")

// call asks the other region and gives up when kicked: a newer decision must
// not wait for a region that does not answer.
func (w *worker) call(ctx context.Context, timeout time.Duration, region, method string, req, resp any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	interrupted := false
	w.mu.Lock()
	w.interrupt = func() { interrupted = true; cancel() }
	if len(w.kicks) > 0 { // kicked since the catalog was looked at
		w.interrupt()
	}
	w.mu.Unlock()
	err := w.c.cfg.Peers.Call(ctx, region, method, req, resp)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupt = nil
	if err != nil && interrupted {
		return errInterrupted
	}
	return err
}

// reached publishes whether the other region answers; a refusal is an answer.
func (w *worker) reached(err error) {
	if _, refused := refusedByPeer(err); refused {
		err = nil
	}
	now := w.c.cfg.Now()
	w.c.publish(w.id, func(l *live) {
		l.attempts++
		if l.peerErr == nil {
			l.peerErrTime = now
		}
		l.peerErr = err
	})
}

type pollResult struct {
	replication string
	reply       statusReply
	err         error
}

// poll asks the other region for the replication's status, in the background,
// when that is due. It returns how long until the next question.
func (w *worker) poll(r *Replication, every time.Duration) time.Duration {
	now := w.c.cfg.Now()
	if w.rep.polling {
		return every
	}
	if due := w.rep.pollDue.Sub(now); due > 0 && due <= every {
		return due
	}
	w.rep.polling = true
	w.rep.pollDue = now.Add(every)
	w.c.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, pollTimeout)
		defer cancel()
		p := pollResult{replication: r.ID}
		p.err = w.c.cfg.Peers.Call(ctx, r.PeerRegion, methodStatus, replicationRequest{r.ID}, &p.reply)
		w.polls <- p // one at a time: never blocks
	})
	return every
}

// learn takes an answer in.
func (w *worker) learn(p pollResult) {
	if p.replication != w.rep.id {
		return
	}
	w.reached(p.err)
	if p.err != nil {
		return
	}
	w.rep.shared = false
	v := &PeerView{Time: w.c.cfg.Now(), Reply: p.reply}
	w.c.publish(w.id, func(l *live) { l.peer = v })
}

// peerView is the newest answer about the current replication, nil before the first.
func (w *worker) peerView() *PeerView { return w.c.liveOf(w.id).peer }
