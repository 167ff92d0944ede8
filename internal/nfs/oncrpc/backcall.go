package oncrpc

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// ErrConnClosed is why a call on a connection that has ended fails.
var ErrConnClosed = errors.New("rpc connection closed")

// maxBackCalls bounds the calls to a client on one connection that wait for
// their replies: one for each session that is bound to it, and few are.
const maxBackCalls = 64

// backCalls are the calls of a server to the client of one connection: the
// back channel of NFSv4.1 (RFC 8881 §2.10.3.1).
type backCalls struct {
	nc    net.Conn
	write sync.Mutex // held while bytes are sent

	mu      sync.Mutex
	xid     uint32
	waiting map[uint32]chan []byte
	done    chan struct{}
}

func newBackCalls(nc net.Conn) *backCalls {
	return &backCalls{nc: nc, done: make(chan struct{})}
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.back.done }

// CallBack calls the client over its own connection: a program of the client,
// by AUTH_SYS or, if sys is nil, AUTH_NONE. It returns the results, which
// belong to the caller. It waits for the reply until ctx ends.
func (c *Conn) CallBack(ctx context.Context, program, version, proc uint32, sys *SysCred, args []byte) ([]byte, error) {
	b := c.back
	xid, reply, err := b.begin()
	if err != nil {
		return nil, err
	}
	defer b.end(xid)
	w := xdr.NewWriter()
	defer w.Release()
	BeginRecord(w)
	AppendCall(w, xid, program, version, proc, sys)
	w.Raw(args)
	EndRecord(w)
	if err := b.send(net.Buffers{w.Bytes()}); err != nil {
		return nil, err
	}
	select {
	case rec := <-reply:
		r := xdr.NewReader(rec)
		if _, err := ParseReply(&r); err != nil {
			return nil, err
		}
		return r.Rest(), nil
	case <-b.done:
		return nil, ErrConnClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (b *backCalls) begin() (uint32, chan []byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.done:
		return 0, nil, ErrConnClosed
	default:
	}
	if len(b.waiting) >= maxBackCalls {
		return 0, nil, errors.New("rpc: too many calls to one client wait for their replies")
	}
	if b.waiting == nil {
		b.waiting = map[uint32]chan []byte{}
	}
	b.xid++
	reply := make(chan []byte, 1)
	b.waiting[b.xid] = reply
	return b.xid, reply, nil
}

func (b *backCalls) end(xid uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, xid)
}

// send sends whole records.
func (b *backCalls) send(bufs net.Buffers) error {
	b.write.Lock()
	defer b.write.Unlock()
	b.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := bufs.WriteTo(b.nc); err != nil {
		b.nc.Close()
		return err
	}
	return nil
}

// deliver gives a record to the call that waits for it, if it is a reply; it
// tells whether it is. A reply that nobody waits for is dropped.
func (b *backCalls) deliver(rec []byte) bool {
	r := xdr.NewReader(rec)
	xid := r.Uint32()
	if r.Uint32() != msgReply || r.Bad() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if reply := b.waiting[xid]; reply != nil && len(rec) <= maxBackReply {
		delete(b.waiting, xid)
		reply <- append([]byte(nil), rec...)
	}
	return true
}

// maxBackReply bounds a client's reply, bytes: a CB_COMPOUND answers with a few
// hundred.
const maxBackReply = 64 << 10
