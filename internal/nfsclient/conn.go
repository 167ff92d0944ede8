package nfsclient

import (
	"bufio"
	"net"
	"sync"
	"sync/atomic"

	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
)

const (
	// maxReplyRecord bounds a reply: the largest READ and room around it.
	maxReplyRecord = maxPayload + 64<<10
	// sendQueue holds every slot of a session and the calls outside it.
	sendQueue = maxSlots + 8
	readAhead = 64 << 10
)

// conn is one TCP connection. Its two goroutines end, and done is closed, when
// either side closes it.
type conn struct {
	nc    net.Conn
	queue chan *outgoing
	done  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup

	mu  sync.Mutex
	err error // why it ended
}

// outgoing is a record to be sent. Nobody may change its bytes until they were
// written as often as they were queued.
type outgoing struct {
	bytes  []byte
	writes atomic.Int32
}

// startConn runs a connection; got is called with every record that arrives
// and takes ownership of it.
func startConn(nc net.Conn, got func(rec []byte)) *conn {
	c := &conn{nc: nc, queue: make(chan *outgoing, sendQueue), done: make(chan struct{})}
	c.wg.Go(c.write)
	c.wg.Go(func() { c.read(got) })
	return c
}

// send queues a record. After the end of the connection it does nothing.
func (c *conn) send(rec *outgoing) {
	select {
	case c.queue <- rec:
	case <-c.done:
	}
}

func (c *conn) write() {
	for {
		select {
		case rec := <-c.queue:
			batch := []*outgoing{rec}
			for len(c.queue) > 0 {
				batch = append(batch, <-c.queue)
			}
			if err := c.writeBatch(batch); err != nil {
				c.fail(err)
				return
			}
		case <-c.done:
			return
		}
	}
}

// writeBatch writes records with one system call.
func (c *conn) writeBatch(batch []*outgoing) error {
	bufs := make(net.Buffers, len(batch))
	for i, rec := range batch {
		bufs[i] = rec.bytes
	}
	_, err := bufs.WriteTo(c.nc)
	for _, rec := range batch {
		rec.writes.Add(1)
	}
	return err
}

func (c *conn) read(got func(rec []byte)) {
	in := bufio.NewReaderSize(c.nc, readAhead)
	for {
		rec, err := oncrpc.ReadRecord(in, maxReplyRecord)
		if err != nil {
			c.fail(err)
			return
		}
		got(rec)
	}
}

func (c *conn) fail(err error) {
	c.once.Do(func() {
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
		c.nc.Close()
		close(c.done)
	})
}

// close ends the connection and waits until nobody uses what was sent.
func (c *conn) close() {
	c.fail(errConnLost)
	c.wg.Wait()
}

func (c *conn) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
