package xdr

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriterAndReaderAgree(t *testing.T) {
	w := NewWriter()
	defer w.Release()
	w.Uint32(7)
	w.Uint64(1 << 40)
	w.Bool(true)
	w.Opaque([]byte("abcde"))
	w.String("xyz")
	w.Fixed([]byte{1, 2, 3})
	w.Bitmap(Bits(AttrType, AttrMode, AttrSuppAttrExclCreat))
	w.Time(Time{-5, 17})
	w.StateID(StateID{3, [12]byte{9}})
	r := NewReader(w.Bytes())
	if v := r.Uint32(); v != 7 {
		t.Error(v)
	}
	if v := r.Uint64(); v != 1<<40 {
		t.Error(v)
	}
	if !r.Bool() {
		t.Error("bool")
	}
	if b := r.Opaque(5); string(b) != "abcde" {
		t.Errorf("%q", b)
	}
	if s := r.String(10); s != "xyz" {
		t.Errorf("%q", s)
	}
	if b := r.Fixed(3); !bytes.Equal(b, []byte{1, 2, 3}) {
		t.Error(b)
	}
	if b := r.Bitmap(); b != Bits(1, 33, 75) {
		t.Error(b)
	}
	if v := r.Time(); v != (Time{-5, 17}) {
		t.Error(v)
	}
	if s := r.StateID(); s != (StateID{3, [12]byte{9}}) {
		t.Error(s)
	}
	if r.Err() != nil || r.Remaining() != 0 {
		t.Errorf("err %v, %d left", r.Err(), r.Remaining())
	}
}

func TestReaderFailuresStick(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		read func(*Reader)
	}{
		{"short integer", []byte{0, 0, 1}, func(r *Reader) { r.Uint32() }},
		{"short hyper", make([]byte, 7), func(r *Reader) { r.Uint64() }},
		{"boolean 2", []byte{0, 0, 0, 2}, func(r *Reader) { r.Bool() }},
		{"opaque over its limit", []byte{0, 0, 0, 4, 1, 2, 3, 4}, func(r *Reader) { r.Opaque(3) }},
		{"opaque over the input", []byte{0xff, 0xff, 0xff, 0xff}, func(r *Reader) { r.Opaque(1 << 62) }},
		{"missing padding", []byte{0, 0, 0, 1, 1}, func(r *Reader) { r.Opaque(10) }},
		{"array over the input", []byte{0x40, 0, 0, 0, 0, 0, 0, 0}, func(r *Reader) { r.Count(4) }},
		{"bitmap over the input", []byte{0x40, 0, 0, 0}, func(r *Reader) { r.Bitmap() }},
	} {
		r := NewReader(c.in)
		c.read(&r)
		if r.Err() == nil {
			t.Errorf("%s: no error", c.name)
		}
		if r.Uint32() != 0 || r.Remaining() != 0 {
			t.Errorf("%s: reads on after the failure", c.name)
		}
	}
}

func TestAttrsRoundTripInAscendingOrder(t *testing.T) {
	a := Attrs{
		Mask: KnownAttrs, Supported: KnownAttrs, Type: TypeReg, Change: 8, Size: 9, FSIDMajor: 10, FSIDMinor: 11,
		LeaseTime: 90, FileHandle: []byte("handle"), FileID: 4, Mode: 0o644, Owner: "1000", OwnerGroup: "100",
		RawMajor: 1, RawMinor: 2, TimeAccess: Time{1, 2}, TimeAccessSet: SetTime{true, Time{3, 4}}, TimeModify: Time{5, 6},
		MountedOnFileID: 77, ModeMaskedValue: 1, ModeMaskedBits: 7, ExclCreat: Bits(AttrMode),
	}
	w := NewWriter()
	defer w.Release()
	w.Attrs(&a)
	r := NewReader(w.Bytes())
	var got Attrs
	if err := r.Attrs(&got); err != nil || r.Remaining() != 0 {
		t.Fatalf("%v, %d left", err, r.Remaining())
	}
	if d := cmp.Diff(a, got); d != "" {
		t.Error(d)
	}
}

func TestAttrsGoldenBytes(t *testing.T) {
	w := NewWriter()
	defer w.Release()
	w.Attrs(&Attrs{Mask: Bits(AttrType, AttrSize, AttrMode, AttrOwner), Type: TypeDir, Size: 0x0102, Mode: 0o755, Owner: "0"})
	want := []byte{
		0, 0, 0, 2, 0, 0, 0, 0x12, 0, 0, 0, 0x12, // words: type and size; mode (33) and owner (36)
		0, 0, 0, 24,
		0, 0, 0, 2,
		0, 0, 0, 0, 0, 0, 1, 2,
		0, 0, 1, 0xed,
		0, 0, 0, 1, '0', 0, 0, 0,
	}
	if !bytes.Equal(w.Bytes(), want) {
		t.Errorf("got  %x\nwant %x", w.Bytes(), want)
	}
}

func TestAttrsRefusals(t *testing.T) {
	w := NewWriter()
	defer w.Release()
	w.Bitmap(Bits(AttrACL))
	w.Opaque(nil)
	r := NewReader(w.Bytes())
	if err := r.Attrs(&Attrs{}); err != ErrAttrNotSupp {
		t.Errorf("unknown attribute: %v", err)
	}
	w.Truncate(0)
	w.Bitmap(Bits(AttrMode))
	w.Opaque(make([]byte, 8))
	r = NewReader(w.Bytes())
	if err := r.Attrs(&Attrs{}); err != ErrBadXDR {
		t.Errorf("values left over: %v", err)
	}
}

func TestReserveGrowsAndKeeps(t *testing.T) {
	w := NewWriter()
	defer w.Release()
	w.Uint32(0xabcd)
	for i, n := range []int{10, smallBuffer, 1 << 20, 1 << 20} {
		b := w.Reserve(n)
		if len(b) != n {
			t.Fatalf("%d: %d bytes, want %d", i, len(b), n)
		}
		b[0], b[n-1] = 1, 2
	}
	r := NewReader(w.Bytes())
	if r.Uint32() != 0xabcd || w.Bytes()[4] != 1 || w.Len() != 4+10+smallBuffer+2<<20 {
		t.Error("content lost while growing")
	}
}

func FuzzAttrs(f *testing.F) {
	w := NewWriter()
	w.Attrs(&Attrs{Mask: KnownAttrs, FileHandle: []byte("x"), Owner: "1"})
	f.Add(bytes.Clone(w.Bytes()))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b)
		var a Attrs
		if r.Attrs(&a) != nil {
			return
		}
		w := NewWriter()
		defer w.Release()
		w.Attrs(&a)
		var again Attrs
		r2 := NewReader(w.Bytes())
		if err := r2.Attrs(&again); err != nil {
			t.Fatalf("cannot read what was written: %v", err)
		}
		if d := cmp.Diff(a, again); d != "" {
			t.Error(d)
		}
	})
}
