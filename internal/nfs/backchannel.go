package nfs

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

const (
	// maxBackConns bounds the connections that a session's callbacks may use;
	// the newest count. Linux binds one.
	maxBackConns = 4
	// callbackTimeout bounds the wait for the answer to a callback.
	callbackTimeout = 5 * time.Second
)

// backChannels are the back channels of all sessions (RFC 8881 §2.10.3.1).
// The zero value is ready. Its mutex is a leaf of the lock order.
type backChannels struct {
	mu       sync.Mutex
	sessions map[xdr.SessionID]*backChannel
}

// backChannel is that of one session. It has one slot.
type backChannel struct {
	session xdr.SessionID
	client  uint64
	minor   uint32
	slot    chan struct{} // holds one token while the slot is free
	seq     uint32        // of the slot; belongs to who has the token

	// Of backChannels.mu.
	program uint32
	sys     *oncrpc.SysCred
	conns   []*oncrpc.Conn
}

// make makes the back channel of a session, unless there is one.
func (b *backChannels) make(id xdr.SessionID, client uint64, minor, program uint32, sys *oncrpc.SysCred) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sessions == nil {
		b.sessions = map[xdr.SessionID]*backChannel{}
	}
	if b.sessions[id] != nil {
		return
	}
	ch := &backChannel{session: id, client: client, minor: minor, program: program, sys: sys, slot: make(chan struct{}, 1)}
	ch.slot <- struct{}{}
	b.sessions[id] = ch
}

// bind adds a connection to a session's back channel; false if it has none.
func (b *backChannels) bind(id xdr.SessionID, conn *oncrpc.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	ch := b.sessions[id]
	if ch == nil || conn == nil {
		return false
	}
	ch.conns = slices.DeleteFunc(ch.conns, func(o *oncrpc.Conn) bool { return o == conn || ended(o) })
	ch.conns = append(ch.conns, conn)
	if len(ch.conns) > maxBackConns {
		ch.conns = slices.Delete(ch.conns, 0, 1)
	}
	return true
}

// control changes how a session's callbacks are made.
func (b *backChannels) control(id xdr.SessionID, program uint32, sys *oncrpc.SysCred) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ch := b.sessions[id]; ch != nil {
		ch.program, ch.sys = program, sys
	}
}

// has tells whether a session has a back channel, which may be down.
func (b *backChannels) has(id xdr.SessionID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sessions[id] != nil
}

func (b *backChannels) drop(id xdr.SessionID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.sessions, id)
}

// prune forgets the channels of sessions that have gone.
func (b *backChannels) prune(there func(xdr.SessionID) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.sessions {
		if !there(id) {
			delete(b.sessions, id)
		}
	}
}

func ended(c *oncrpc.Conn) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

func (ch *backChannel) live() bool {
	return slices.ContainsFunc(ch.conns, func(c *oncrpc.Conn) bool { return !ended(c) })
}

// flags are the SEQUENCE status flags for a session whose back channel has
// lost its connections, so that the client binds one.
func (b *backChannels) flags(id xdr.SessionID, delegs bool) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	ch := b.sessions[id]
	switch {
	case ch == nil || ch.live():
		return 0
	case delegs:
		return xdr.SeqCBPathDown | xdr.SeqCBPathDownSession
	}
	return xdr.SeqCBPathDownSession
}

// of lists the back channels of a client that have a connection.
func (b *backChannels) of(client uint64) (list []*backChannel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ch := range b.sessions {
		if ch.client == client && ch.live() {
			list = append(list, ch)
		}
	}
	return list
}

// route is how a callback can be made now.
func (b *backChannels) route(ch *backChannel) (conns []*oncrpc.Conn, program uint32, sys *oncrpc.SysCred) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(ch.conns), ch.program, ch.sys
}

var errNoBackChannel = errors.New("nfs: the client has no back channel")

// call carries out one callback operation, after CB_SEQUENCE, by any of a
// client's back channels. put appends the operation; get reads what follows
// its status, if that is OK. A status of the client is the error.
func (b *backChannels) call(ctx context.Context, client uint64, op uint32, put func(*xdr.Writer), get func(*xdr.Reader)) error {
	ctx, cancel := context.WithTimeout(ctx, callbackTimeout)
	defer cancel()
	err := errNoBackChannel
	for _, ch := range b.of(client) {
		if err = b.callBy(ctx, ch, op, put, get); err == nil {
			return nil
		}
	}
	return err
}

// callBy waits for the slot and tries the connections, the newest first.
func (b *backChannels) callBy(ctx context.Context, ch *backChannel, op uint32, put func(*xdr.Writer), get func(*xdr.Reader)) error {
	select {
	case <-ch.slot:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { ch.slot <- struct{}{} }()
	conns, program, sys := b.route(ch)
	ch.seq++
	w := xdr.NewWriter()
	defer w.Release()
	ch.put(w, op, put)
	err := errNoBackChannel
	for _, conn := range slices.Backward(conns) {
		var res []byte
		res, err = conn.CallBack(ctx, program, xdr.CallbackVersion, xdr.CallbackCompound, sys, w.Bytes())
		if err != nil {
			continue
		}
		r := xdr.NewReader(res)
		used, err := readCallback(&r, op, get)
		if !used {
			ch.seq--
		}
		return err
	}
	ch.seq-- // it may not have arrived: the next one begins with a retry
	return err
}

// put appends CB_COMPOUND's arguments.
func (ch *backChannel) put(w *xdr.Writer, op uint32, put func(*xdr.Writer)) {
	w.String("")
	w.Uint32(ch.minor)
	w.Uint32(0) // callback_ident: of 4.0
	w.Uint32(2)
	w.Uint32(xdr.OpCBSequence)
	w.Fixed(ch.session[:])
	w.Uint32(ch.seq)
	w.Uint32(0) // slot
	w.Uint32(0) // highest slot
	w.Bool(false)
	w.Uint32(0) // no referring calls
	w.Uint32(op)
	put(w)
}

// readCallback reads CB_COMPOUND's results. used tells that CB_SEQUENCE took
// the sequence number.
func readCallback(r *xdr.Reader, op uint32, get func(*xdr.Reader)) (used bool, err error) {
	r.Uint32() // the status of the whole is that of the last
	r.Opaque(xdr.OpaqueLimit)
	r.Uint32()
	if first, st := r.Uint32(), xdr.Status(r.Uint32()); r.Bad() || first != xdr.OpCBSequence || st != xdr.OK {
		// A retry that was misunderstood: the client has seen this number.
		return st == xdr.ErrSeqMisordered || st == xdr.ErrRetryUncachedRep || st == xdr.ErrSeqFalseRetry, st
	}
	r.Fixed(16)
	for range 4 {
		r.Uint32()
	}
	second, st := r.Uint32(), xdr.Status(r.Uint32())
	switch {
	case r.Bad() || second != op:
		return true, xdr.ErrBadXDR
	case st != xdr.OK:
		return true, st
	}
	if get != nil {
		get(r)
	}
	return true, r.Err()
}
