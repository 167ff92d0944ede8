package oncrpc

import (
	"net"
	"net/netip"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

const (
	// maxLarge bounds the large buffers of requests, and those of replies, of
	// all clients together: about 1 MiB each. A request that finds no room is
	// left in the network; a reply waits to be made.
	maxLarge = 512
	// maxLargePerHost bounds those of one client's address, so that some that
	// do not read, or do not finish what they send, leave room for others. It
	// is twice what Linux has under way by one mount.
	maxLargePerHost = 128
)

// Rooms bound the memory that large requests and replies take. Several servers
// may share them.
type Rooms struct{ requests, replies room }

// NewRooms makes rooms of the usual size.
func NewRooms() *Rooms { return newRooms(maxLarge, maxLargePerHost) }

func newRooms(all, perHost int) *Rooms {
	return &Rooms{newRoom(all, perHost), newRoom(all, perHost)}
}

type room struct {
	all     chan struct{} // holds a token for each large buffer
	perHost int

	mu    sync.Mutex
	hosts map[netip.Addr]*host
}

func newRoom(all, perHost int) room {
	return room{all: make(chan struct{}, all), perHost: perHost, hosts: map[netip.Addr]*host{}}
}

// host is the share of one address, for as long as it has connections.
type host struct {
	room  *room
	addr  netip.Addr
	own   chan struct{}
	conns int // of room.mu
}

// enter gives a connection its host's share; leave gives it back.
func (r *room) enter(remote net.Addr) *host {
	var addr netip.Addr // of what is no TCP connection: none
	if t, ok := remote.(*net.TCPAddr); ok {
		addr = t.AddrPort().Addr().Unmap()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hosts[addr]
	if h == nil {
		h = &host{room: r, addr: addr, own: make(chan struct{}, r.perHost)}
		r.hosts[addr] = h
	}
	h.conns++
	return h
}

func (h *host) leave() {
	h.room.mu.Lock()
	defer h.room.mu.Unlock()
	if h.conns--; h.conns == 0 {
		delete(h.room.hosts, h.addr)
	}
}

// Take waits for room for one large buffer: first in the host's share, so that
// who waits for that keeps nothing from others.
func (h *host) Take() {
	h.own <- struct{}{}
	h.room.all <- struct{}{}
}

// Give gives it back.
func (h *host) Give() {
	<-h.room.all
	<-h.own
}

// putRecord gives the buffer of a request back, and its room.
func (c *Conn) putRecord(rec []byte) {
	large := cap(rec) > believed
	xdr.PutBuffer(rec)
	if large {
		c.requests.Give()
	}
}
