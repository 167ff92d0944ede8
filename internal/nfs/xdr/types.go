package xdr

import "encoding/hex"

// StateID is a stateid4 (RFC 8881 §3.3.12).
type StateID struct {
	Seq   uint32
	Other [12]byte
}

// The special stateids (RFC 8881 §8.2.3).
var (
	AnonymousStateID = StateID{}
	BypassStateID    = StateID{0xffffffff, [12]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	CurrentStateID   = StateID{Seq: 1}
	InvalidStateID   = StateID{Seq: 0xffffffff}
)

// StateID reads a stateid4.
func (r *Reader) StateID() (s StateID) {
	s.Seq = r.Uint32()
	copy(s.Other[:], r.Fixed(12))
	return s
}

// StateID appends a stateid4.
func (w *Writer) StateID(s StateID) {
	w.Uint32(s.Seq)
	w.Fixed(s.Other[:])
}

// SessionID is a sessionid4.
type SessionID [16]byte

func (s SessionID) String() string { return hex.EncodeToString(s[:]) }

// SessionID reads a sessionid4.
func (r *Reader) SessionID() (s SessionID) {
	copy(s[:], r.Fixed(len(s)))
	return s
}

// Verifier is a verifier4: eight bytes compared for equality only.
type Verifier [8]byte

// Verifier reads a verifier4.
func (r *Reader) Verifier() (v Verifier) {
	copy(v[:], r.Fixed(len(v)))
	return v
}

// Time is an nfstime4: seconds since 1970, which may be negative, and 0 to
// 999,999,999 nanoseconds.
type Time struct {
	Sec  int64
	Nsec uint32
}

// Time reads an nfstime4. Its nanoseconds are not checked.
func (r *Reader) Time() Time { return Time{int64(r.Uint64()), r.Uint32()} }

// Time appends an nfstime4.
func (w *Writer) Time(t Time) {
	w.Uint64(uint64(t.Sec))
	w.Uint32(t.Nsec)
}

// FH reads a file handle of at most FHSize bytes; it aliases the input.
func (r *Reader) FH() []byte { return r.Opaque(FHSize) }

// ChangeInfo is a change_info4.
type ChangeInfo struct {
	Atomic        bool
	Before, After uint64
}

// ChangeInfo reads a change_info4.
func (r *Reader) ChangeInfo() ChangeInfo {
	return ChangeInfo{r.Bool(), r.Uint64(), r.Uint64()}
}

// ChangeInfo appends a change_info4.
func (w *Writer) ChangeInfo(c ChangeInfo) {
	w.Bool(c.Atomic)
	w.Uint64(c.Before)
	w.Uint64(c.After)
}

// ChannelAttrs is a channel_attrs4 without its RDMA part.
type ChannelAttrs struct {
	HeaderPad         uint32
	MaxRequest        uint32 // bytes
	MaxResponse       uint32 // bytes
	MaxResponseCached uint32 // bytes
	MaxOps            uint32
	MaxRequests       uint32 // slots
}

// ChannelAttrs reads a channel_attrs4; RDMA attributes are skipped.
func (r *Reader) ChannelAttrs() ChannelAttrs {
	c := ChannelAttrs{r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32()}
	if n := r.Uint32(); n == 1 {
		r.Uint32()
	} else if n > 1 {
		r.Fail()
	}
	return c
}

// ChannelAttrs appends a channel_attrs4.
func (w *Writer) ChannelAttrs(c ChannelAttrs) {
	for _, v := range [...]uint32{c.HeaderPad, c.MaxRequest, c.MaxResponse, c.MaxResponseCached, c.MaxOps, c.MaxRequests, 0} {
		w.Uint32(v)
	}
}
