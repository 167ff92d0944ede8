package fs

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/blake3"
)

// Record is one mutation in a journal.
//
// Encoded, all integers big-endian unless varint:
//
//	 1  version (1)
//	 1  flags: 1 = payload, 2 = reply
//	14  epoch: counter 4, member 2, nonce 8
//	 8  sequence
//	10  stamp: time 8, origin 2
//	20  payload length 4, digest 16          (flag 1)
//	 v  reply: session 16, slot 4, slot sequence 4, result with varint length (flag 2)
//	 v  mutation, with varint length
//	16  chain
//
// The reply is room for exactly-once replies across a failover.
type Record struct {
	Epoch    EpochID
	Seq      uint64 // counts from 1 along a history, across epochs
	Stamp    Stamp
	Mutation []byte // as AppendMutation wrote it

	PayloadLen    uint32
	PayloadDigest [16]byte // of the plain payload; zero without one
	Reply         *Reply   // nil: none

	// Chain is the hash of the previous chain and of everything above.
	Chain Chain
}

// Reply names the NFS request that a record answers, and its result.
type Reply struct {
	Session [16]byte
	Slot    uint32
	SlotSeq uint32
	Result  []byte
}

// MaxRecord bounds an encoded record (without payload) in bytes.
const MaxRecord = MaxMutation + MaxReply + 128

// MaxReply bounds a kept reply in bytes.
const MaxReply = 4096

const (
	recordVersion = 1
	flagPayload   = 1
	flagReply     = 2
)

// Pos is the position just after r.
func (r *Record) Pos() Pos { return Pos{r.Epoch, r.Seq, r.Chain} }

// Digest is the digest of a plain payload: BLAKE3, 128 bits.
func Digest(payload []byte) [16]byte {
	sum := blake3.Sum256(payload)
	return [16]byte(sum[:16])
}

func (r *Record) appendUnchained(b []byte) []byte {
	flags := byte(0)
	if r.PayloadLen > 0 {
		flags |= flagPayload
	}
	if r.Reply != nil {
		flags |= flagReply
	}
	b = append(b, recordVersion, flags)
	b = appendEpochID(b, r.Epoch)
	b = binary.BigEndian.AppendUint64(b, r.Seq)
	b = binary.BigEndian.AppendUint64(b, r.Stamp.Time)
	b = binary.BigEndian.AppendUint16(b, r.Stamp.Origin)
	if r.PayloadLen > 0 {
		b = binary.BigEndian.AppendUint32(b, r.PayloadLen)
		b = append(b, r.PayloadDigest[:]...)
	}
	if r.Reply != nil {
		b = append(b, r.Reply.Session[:]...)
		b = binary.BigEndian.AppendUint32(b, r.Reply.Slot)
		b = binary.BigEndian.AppendUint32(b, r.Reply.SlotSeq)
		b = putString(b, r.Reply.Result)
	}
	return putString(b, r.Mutation)
}

// Encode appends r to b, computing the chain from prev and setting r.Chain.
func (r *Record) Encode(b []byte, prev Chain) []byte {
	start := len(b)
	b = r.appendUnchained(b)
	r.Chain = chainOf(prev, b[start:])
	return append(b, r.Chain[:]...)
}

// Append appends r with the chain it has.
func (r *Record) Append(b []byte) []byte {
	return append(r.appendUnchained(b), r.Chain[:]...)
}

func chainOf(prev Chain, unchained []byte) Chain {
	h := blake3.New()
	h.Write(prev[:])
	h.Write(unchained)
	var sum [32]byte
	return Chain(h.Sum(sum[:0])[:16])
}

// ParseRecord reads one record, which must fill b. The mutation and the reply
// alias b. The chain is read, not checked: see Follows.
func ParseRecord(b []byte) (*Record, error) {
	if len(b) < 2 || b[0] != recordVersion {
		return nil, &DecodeError{"record", "unknown version or empty"}
	}
	if b[1]&^(flagPayload|flagReply) != 0 {
		return nil, &DecodeError{"record", fmt.Sprintf("flags %#x are not known to this release", b[1])}
	}
	r := &Record{}
	d := &decoder{b: b[2:]}
	r.Epoch = d.epoch()
	r.Seq = binary.BigEndian.Uint64(d.fixed(8))
	r.Stamp.Time = binary.BigEndian.Uint64(d.fixed(8))
	r.Stamp.Origin = binary.BigEndian.Uint16(d.fixed(2))
	if b[1]&flagPayload != 0 {
		r.PayloadLen = binary.BigEndian.Uint32(d.fixed(4))
		copy(r.PayloadDigest[:], d.fixed(16))
		if r.PayloadLen == 0 || r.PayloadLen > MaxWrite {
			d.fail("payload length out of range")
		}
	}
	if b[1]&flagReply != 0 {
		p := &Reply{}
		copy(p.Session[:], d.fixed(16))
		p.Slot = binary.BigEndian.Uint32(d.fixed(4))
		p.SlotSeq = binary.BigEndian.Uint32(d.fixed(4))
		p.Result = d.bytes(MaxReply)
		r.Reply = p
	}
	r.Mutation = d.bytes(MaxMutation)
	copy(r.Chain[:], d.fixed(16))
	switch {
	case d.bad != "":
		return nil, &DecodeError{"record", d.bad}
	case len(d.b) != 0:
		return nil, &DecodeError{"record", fmt.Sprintf("%d bytes left over", len(d.b))}
	}
	return r, nil
}

// Follows checks that r is the next record after prev: sequence and chain. An
// epoch that changes must rise.
func (r *Record) Follows(prev Pos) error {
	if r.Seq != prev.Seq+1 {
		return &DecodeError{"record", fmt.Sprintf("sequence %d follows %d", r.Seq, prev.Seq)}
	}
	if r.Epoch != prev.Epoch && r.Epoch.Counter <= prev.Epoch.Counter && prev.Seq > 0 {
		return &DecodeError{"record", fmt.Sprintf("epoch %s follows %s", r.Epoch, prev.Epoch)}
	}
	if c := chainOf(prev.Chain, r.appendUnchained(nil)); c != r.Chain {
		return &DecodeError{"record", fmt.Sprintf("chain of record %d is %s, want %s: the histories differ", r.Seq, r.Chain, c)}
	}
	return nil
}
