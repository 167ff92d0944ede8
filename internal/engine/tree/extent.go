package tree

import (
	"encoding/binary"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Extent says where the bytes [Offset, Offset+Length) of a file are. Epoch,
// Seq and From name them for ever: bytes From.. of the payload of that record.
// Addr and AddrFrom locate them in this machine's journal, where the whole
// payload or only a piece of it may be stored.
type Extent struct {
	Offset   uint64
	Length   uint32
	Epoch    uint32 // fs.EpochID.Short
	Seq      uint64
	From     uint32
	Addr     fs.Addr
	AddrFrom uint32
}

// End is the offset behind the extent's last byte.
func (e *Extent) End() uint64 { return e.Offset + uint64(e.Length) }

// Clip gives the part of e in [from, to), which must overlap it.
func (e *Extent) Clip(from, to uint64) Extent {
	c := *e
	if from > c.Offset {
		d := uint32(from - c.Offset)
		c.Offset, c.Length, c.From, c.AddrFrom = from, c.Length-d, c.From+d, c.AddrFrom+d
	}
	if to < c.End() {
		c.Length = uint32(to - c.Offset)
	}
	return c
}

// continues reports whether e holds the bytes that follow those of p, of the
// same payload: then both are one extent, logically.
func (e *Extent) continues(p *Extent) bool {
	return e.Offset == p.End() && e.Epoch == p.Epoch && e.Seq == p.Seq && e.From == p.From+p.Length
}

func (e *Extent) encode() []byte {
	b := make([]byte, 0, 48)
	for _, v := range [...]uint64{uint64(e.Length), uint64(e.Epoch), e.Seq, uint64(e.From),
		e.Addr.Segment, e.Addr.Offset, uint64(e.Addr.Length), uint64(e.AddrFrom)} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func decodeExtent(off uint64, b []byte) (Extent, error) {
	r := reader{b: b}
	e := Extent{Offset: off, Length: uint32(r.uint()), Epoch: uint32(r.uint()), Seq: r.uint(), From: uint32(r.uint())}
	e.Addr = fs.Addr{Segment: r.uint(), Offset: r.uint(), Length: uint32(r.uint())}
	e.AddrFrom = uint32(r.uint())
	return e, r.err("extent")
}
