package nfsclient

import (
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

const (
	// maxSlots bounds the requests under way; the server may grant fewer.
	maxSlots = 64
	// maxPayload is the largest READ or WRITE asked for, bytes.
	maxPayload = 1 << 20
	// recordRoom is asked for around the payload: header, credential, handles
	// and the names of a path.
	recordRoom = 16 << 10
	// keptReply is asked for as the largest reply the server keeps for
	// retransmissions: an OPEN with its attributes.
	keptReply = 4 << 10
	// maxOps is the length of compounds asked for; a deep path takes one
	// LOOKUP per component.
	maxOps = 64
)

// session is one NFSv4.1 session. Its slots' sequence ids belong to whoever
// holds the slot; everything else is constant.
type session struct {
	id       xdr.SessionID
	clientID uint64
	fore     xdr.ChannelAttrs
	seqs     []uint32    // last sequence id used, by slot
	free     chan uint32 // slots
	dead     chan struct{}
}

func newSession(id xdr.SessionID, clientID uint64, fore xdr.ChannelAttrs) *session {
	n := min(max(fore.MaxRequests, 1), maxSlots)
	s := &session{id: id, clientID: clientID, fore: fore, seqs: make([]uint32, n),
		free: make(chan uint32, n), dead: make(chan struct{})}
	for i := range n {
		s.free <- i
	}
	return s
}

// highest is the highest slot id that this client uses.
func (s *session) highest() uint32 { return uint32(len(s.seqs) - 1) }

// payload is the largest READ or WRITE that fits into the session's records.
func (s *session) payload() int {
	room := func(n uint32) int { return max(int(n)-recordRoom, 4<<10) }
	return min(maxPayload, room(s.fore.MaxRequest), room(s.fore.MaxResponse))
}

// lookups is how many path components fit into one compound beside the
// operations that are done at the end of the path.
func (s *session) lookups() int {
	const others = 12 // SEQUENCE, PUTFH, OPEN, WRITE, SETATTR, CLOSE, GETFH, GETATTR and some to spare
	return max(int(min(s.fore.MaxOps, maxOps))-others, 1)
}

// isLost reports whether a status of SEQUENCE means that the session, or what
// the two sides know of its slots, is gone.
func isLost(s xdr.Status) bool {
	switch s {
	case xdr.ErrBadSession, xdr.ErrDeadSession, xdr.ErrBadSlot, xdr.ErrSeqMisordered,
		xdr.ErrSeqFalseRetry, xdr.ErrConnNotBoundToSession, xdr.ErrStaleClientID:
		return true
	}
	return false
}
