package nfs

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

const (
	// maxRetries bounds the replies of minor version 0 that are kept, those of
	// all clients together: at most 16 MiB. A client asks again within a minute
	// of losing its connection, and then has one request in flight per slot.
	maxRetries = 4096
	// retryLife is how long a reply is kept. After that the same address, xid
	// and content are another request, of a program that counts from 1.
	retryLife = 2 * time.Minute
)

// notIdempotent are the operations of minor version 0 that give another result
// when they are carried out twice.
var notIdempotent = map[xdr.Op]bool{
	xdr.OpCreate: true, xdr.OpLink: true, xdr.OpRemove: true, xdr.OpRename: true, xdr.OpSetAttr: true,
	xdr.OpOpen: true, xdr.OpOpenConfirm: true, xdr.OpOpenDowngrade: true, xdr.OpClose: true,
	xdr.OpLock: true, xdr.OpLockU: true, xdr.OpReleaseLockOwner: true,
	xdr.OpSetClientID: true, xdr.OpSetClientIDConfirm: true,
}

// retries is the duplicate request cache of minor version 0, which has no
// sessions: a client that lost its connection asks again with the same xid,
// from the same port.
type retries struct {
	mu     sync.Mutex
	byKey  map[retryKey]*retry
	oldest []*retry // that have a reply, in the order in which they got it
}

type retryKey struct {
	remote string
	xid    uint32
	sum    uint64 // of listener, principal and content
}

// retry is a request that may come again. done is closed when it is finished;
// reply and when are fixed then.
type retry struct {
	key   retryKey
	done  chan struct{}
	reply []byte
	when  time.Time
}

// begin admits a request. If it was carried out before, reply is its answer;
// if it is being carried out now, begin waits. Else r must be given to finish.
// All are nil if ctx ended.
func (t *retries) begin(ctx context.Context, key retryKey, now time.Time) (r *retry, reply []byte) {
	for {
		t.mu.Lock()
		old := t.byKey[key]
		if old == nil || old.reply != nil && now.Sub(old.when) > retryLife {
			r = &retry{key: key, done: make(chan struct{})}
			t.byKey[key] = r
			t.mu.Unlock()
			return r, nil
		}
		t.mu.Unlock()
		select {
		case <-old.done:
		case <-ctx.Done():
			return nil, nil
		}
		if old.reply != nil {
			return nil, old.reply
		}
	}
}

// finish ends a request. reply, which is copied, is kept for a retry; with nil
// a retry is carried out anew.
func (t *retries) finish(r *retry, reply []byte, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer close(r.done)
	if reply == nil || len(reply) > state.MaxCachedReply {
		t.drop(r)
		return
	}
	r.reply, r.when = bytes.Clone(reply), now
	t.oldest = append(t.oldest, r)
	for len(t.oldest) > maxRetries {
		t.drop(t.oldest[0])
		t.oldest = t.oldest[1:]
	}
}

func (t *retries) drop(r *retry) {
	if t.byKey[r.key] == r {
		delete(t.byKey, r.key)
	}
}

// retryKey identifies the COMPOUND, of which the arguments are still to be
// read.
func (c *compound) retryKey() retryKey {
	k := retryKey{xid: c.call.XID, sum: c.sum()}
	if c.call.Remote != nil {
		k.remote = c.call.Remote.String() + " " + c.view.identity
	}
	return k
}

// once carries out a COMPOUND of minor version 0, unless it was before.
func (c *compound) once() oncrpc.AcceptStat {
	r, reply := c.s.retries.begin(c.ctx, c.retryKey(), c.s.cfg.Clock())
	switch {
	case reply != nil:
		c.w.Truncate(c.start)
		c.w.Raw(reply)
		return oncrpc.Success
	case r == nil:
		return oncrpc.Drop
	}
	var keep []byte
	defer func() { c.s.retries.finish(r, keep, c.s.cfg.Clock()) }()
	stat := c.answer(c.run())
	if c.lasting && stat == oncrpc.Success {
		keep = c.w.Bytes()[c.start:]
	}
	return stat
}
