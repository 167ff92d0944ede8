package nfsclient

import (
	"bufio"
	"net"
	"sync"

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
	queue chan []byte
	done  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup

	mu  sync.Mutex
	err error // why it ended
}

// startConn runs a connection; got is called with every record that arrives
// and takes ownership of it.
func startConn(nc net.Conn, got func(rec []byte)) *conn {
	c := &conn{nc: nc, queue: make(chan []byte, sendQueue), done: make(chan struct{})}
	c.wg.Go(c.write)
	c.wg.Go(func() { c.read(got) })
	return c
}

// send queues a record, which nobody may change until it is answered. After
// the end of the connection it does nothing.
func (c *conn) send(rec []byte) {
	select {
	case c.queue <- rec:
	case <-c.done:
	}
}

func (c *conn) write() {
	for {
		select {
		case rec := <-c.queue:
			bufs := net.Buffers{rec}
			for len(c.queue) > 0 {
				bufs = append(bufs, <-c.queue)
			}
			if _, err := bufs.WriteTo(c.nc); err != nil {
				c.fail(err)
				return
			}
		case <-c.done:
			return
		}
	}
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
