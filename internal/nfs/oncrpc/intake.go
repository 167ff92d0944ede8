package oncrpc

import (
	"bufio"
	"net"
	"time"
)

// recordTimeout bounds the time from the first byte of a record to its last. A
// client that is slower, or has died on the way, holds a buffer and a
// connection for nothing: the largest record takes it at 20 KB/s.
const recordTimeout = 60 * time.Second

// nextRecord reads a record, for as long as it takes to begin and within
// RecordTimeout from then on. A large one waits for room, in which time counts
// too: who waits so long asks again.
func (s *Server) nextRecord(nc net.Conn, in *bufio.Reader, c *Conn) ([]byte, error) {
	if _, err := in.Peek(1); err != nil {
		return nil, err
	}
	if whole(in) {
		return readRecord(in, s.MaxRecord, c.requests.Take)
	}
	if err := nc.SetReadDeadline(time.Now().Add(s.RecordTimeout)); err != nil {
		return nil, err
	}
	rec, err := readRecord(in, s.MaxRecord, c.requests.Take)
	if err != nil {
		return rec, err
	}
	return rec, nc.SetReadDeadline(time.Time{})
}

// whole tells whether a record of one fragment has arrived already, as most
// have: no deadline needs to be set for it.
func whole(in *bufio.Reader) bool {
	if in.Buffered() < markSize {
		return false
	}
	b, err := in.Peek(markSize)
	if err != nil {
		return false
	}
	m := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	return m&lastFragment != 0 && in.Buffered()-markSize >= int(m&^lastFragment)
}
