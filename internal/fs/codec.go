package fs

import "encoding/binary"

// The encoding of mutations: unsigned varints, and byte strings with a varint
// length. It is frozen by the golden file in testdata.

func putUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func putString[T ~string | ~[]byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func putTime(b []byte, t Time) []byte {
	b = binary.AppendVarint(b, t.Sec)
	return binary.AppendUvarint(b, uint64(t.Nsec))
}

func putBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// decoder reads a mutation's body. The first failure sticks, so that callers
// check once at the end. Nothing it returns is larger than its input.
type decoder struct {
	b   []byte
	bad string
}

func (d *decoder) fail(what string) {
	if d.bad == "" {
		d.bad = what
	}
	d.b = nil
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("number cut short or too large")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint32() uint32 {
	v := d.uint()
	if v > 1<<32-1 {
		d.fail("number over 32 bits")
		return 0
	}
	return uint32(v)
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("number cut short or too large")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// bytes returns a slice of the input.
func (d *decoder) bytes(limit uint64) []byte {
	n := d.uint()
	if n > limit || n > uint64(len(d.b)) {
		d.fail("string longer than its limit or the input")
		return nil
	}
	s := d.b[:n]
	d.b = d.b[n:]
	return s
}

func (d *decoder) fixed(n int) []byte {
	if len(d.b) < n {
		d.fail("cut short")
		return make([]byte, n)
	}
	s := d.b[:n]
	d.b = d.b[n:]
	return s
}

func (d *decoder) bool() bool {
	switch d.fixed(1)[0] {
	case 0:
		return false
	case 1:
		return true
	}
	d.fail("neither true nor false")
	return false
}

func (d *decoder) time() Time {
	t := Time{Sec: d.int(), Nsec: d.uint32()}
	if t.Nsec >= 1e9 {
		d.fail("nanoseconds out of range")
	}
	return t
}

func (d *decoder) name() Name { return Name(d.bytes(MaxName)) }

func (d *decoder) epoch() EpochID {
	b := d.fixed(14)
	return EpochID{binary.BigEndian.Uint32(b), binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint64(b[6:])}
}
