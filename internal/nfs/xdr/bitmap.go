package xdr

// Bitmap is a bitmap4 of attribute numbers 0 to 95, which is all that any
// minor version defines; higher bits are ignored when read.
type Bitmap [3]uint32

// Bits makes a Bitmap of attribute numbers.
func Bits(numbers ...int) Bitmap {
	var b Bitmap
	for _, n := range numbers {
		b.Set(n)
	}
	return b
}

// Has reports whether bit n is set.
func (b *Bitmap) Has(n int) bool { return b[n>>5]&(1<<(n&31)) != 0 }

// Set sets bit n, 0 to 95.
func (b *Bitmap) Set(n int) { b[n>>5] |= 1 << (n & 31) }

// Clear clears bit n, 0 to 95.
func (b *Bitmap) Clear(n int) { b[n>>5] &^= 1 << (n & 31) }

// And returns the bits that are in both.
func (b Bitmap) And(o Bitmap) Bitmap {
	return Bitmap{b[0] & o[0], b[1] & o[1], b[2] & o[2]}
}

// Or returns the bits that are in either.
func (b Bitmap) Or(o Bitmap) Bitmap {
	return Bitmap{b[0] | o[0], b[1] | o[1], b[2] | o[2]}
}

// Without returns the bits of b that are not in o.
func (b Bitmap) Without(o Bitmap) Bitmap {
	return Bitmap{b[0] &^ o[0], b[1] &^ o[1], b[2] &^ o[2]}
}

// IsZero reports whether no bit is set.
func (b Bitmap) IsZero() bool { return b == Bitmap{} }

// Bitmap reads a bitmap4. Words beyond the third are skipped.
func (r *Reader) Bitmap() (b Bitmap) {
	n := r.Count(4)
	for i := range n {
		if v := r.Uint32(); i < len(b) {
			b[i] = v
		}
	}
	return b
}

// Bitmap appends a bitmap4 without trailing zero words.
func (w *Writer) Bitmap(b Bitmap) {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	w.Uint32(uint32(n))
	for _, v := range b[:n] {
		w.Uint32(v)
	}
}
