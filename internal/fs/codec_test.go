package fs

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func sortedKeys(m map[string][]byte) []string { return slices.Sorted(maps.Keys(m)) }

func FuzzParseMutation(f *testing.F) {
	for _, b := range readGolden(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMutation(b)
		if err != nil {
			var bad *DecodeError
			if !errors.As(err, &bad) || m != nil {
				t.Fatalf("%v with %v", m, err)
			}
			return
		}
		// Numbers may have been written in more bytes than needed, so the
		// bytes can differ, the meaning cannot.
		again, err := ParseMutation(AppendMutation(nil, m))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	for _, b := range readGolden(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			var bad *DecodeError
			if !errors.As(err, &bad) || r != nil {
				t.Fatalf("%v with %v", r, err)
			}
			return
		}
		again, err := ParseRecord(r.Append(nil))
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

// Every proper prefix, and every value with a byte more, is refused.
func TestCutOrLongerEncodingsAreRefused(t *testing.T) {
	for name, b := range readGolden(t) {
		if name == "position" {
			continue
		}
		parse := func(b []byte) error { _, err := ParseMutation(b); return err }
		if strings.HasPrefix(name, "record") {
			parse = func(b []byte) error { _, err := ParseRecord(b); return err }
		}
		for n := range b {
			if parse(b[:n]) == nil {
				t.Errorf("%s: the first %d of %d bytes are accepted", name, n, len(b))
			}
		}
		if parse(append(bytes.Clone(b), 0)) == nil {
			t.Errorf("%s: a byte more is accepted", name)
		}
	}
}

func TestUnknownKindsVersionsAndFlagsAreNamed(t *testing.T) {
	for want, b := range map[string][]byte{"kind 200": {200, mutationVersion}, "version 9": {byte(KindNoop), 9}} {
		if _, err := ParseMutation(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	r := goldenRecords()["record"].Append(nil)
	r[1] |= 0x80
	if _, err := ParseRecord(r); err == nil || !strings.Contains(err.Error(), "0x80") {
		t.Errorf("unknown flag: %v", err)
	}
}

// The chain covers every byte of a record: no change of one goes unnoticed.
func TestChainCoversTheWholeRecord(t *testing.T) {
	prev := Pos{Epoch: goldenEpoch, Seq: 99, Chain: Chain{9, 15: 9}}
	for _, name := range goldenRecordOrder {
		r := goldenRecords()[name]
		b := r.Append(nil)
		for i := range b {
			c := bytes.Clone(b)
			c[i] ^= 4
			got, err := ParseRecord(c)
			if err == nil && got.Follows(prev) == nil {
				t.Errorf("%s: byte %d can change", name, i)
			}
		}
		if err := r.Follows(prev); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		prev = r.Pos()
	}
}

func TestEpochsRise(t *testing.T) {
	next := func(prev Pos, e EpochID) error {
		r := &Record{Epoch: e, Seq: prev.Seq + 1, Mutation: AppendMutation(nil, &Noop{})}
		r.Encode(nil, prev.Chain)
		return r.Follows(prev)
	}
	at := Pos{Epoch: EpochID{Counter: 5, Member: 1}, Seq: 10}
	for _, e := range []EpochID{{Counter: 4, Member: 1}, {Counter: 5, Member: 2}, {Counter: 5, Member: 1, Nonce: 1}} {
		if next(at, e) == nil {
			t.Errorf("epoch %s follows %s", e, at.Epoch)
		}
	}
	for _, e := range []EpochID{at.Epoch, {Counter: 6}} {
		if err := next(at, e); err != nil {
			t.Errorf("epoch %s: %v", e, err)
		}
	}
	if err := next(Pos{}, EpochID{}); err != nil {
		t.Errorf("the first record: %v", err)
	}
}

func TestIdentitiesInText(t *testing.T) {
	l := Lineage{0xab, 15: 1}
	if got, err := ParseLineage(l.String()); err != nil || got != l {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{"", "xy", l.String() + "00", l.String()[1:]} {
		if _, err := ParseLineage(bad); err == nil {
			t.Errorf("lineage %q is accepted", bad)
		}
	}
	p := Pos{Epoch: goldenEpoch, Seq: 77, Chain: Chain{1, 2, 3}}
	text, err := p.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var got Pos
	if err := got.UnmarshalText(text); err != nil || got != p {
		t.Errorf("%s, %v", got, err)
	}
	if got.UnmarshalText(text[2:]) == nil {
		t.Error("a short position is accepted")
	}
}

// Inode numbers of two epochs never meet, and bit 63 stays free.
func TestInodeNumbersAreApart(t *testing.T) {
	most := EpochID{Counter: MaxEpochCounter, Member: MaxMember}
	if ino := MakeIno(most, MaxLocalIno); ino>>63 != 0 {
		t.Errorf("bit 63 of %#x is set", ino)
	}
	seen := map[Ino]EpochID{}
	for c := range uint32(20) {
		for m := range uint16(20) {
			for _, n := range []uint64{1, 2, MaxLocalIno} {
				e := EpochID{Counter: c, Member: m}
				ino := MakeIno(e, n)
				if other, ok := seen[ino]; ok {
					t.Fatalf("epochs %s and %s both give %d", e, other, ino)
				}
				seen[ino] = e
			}
		}
	}
}

func TestForkIsTheLastSharedRecord(t *testing.T) {
	e := func(c uint32) EpochID { return EpochID{Counter: c, Nonce: uint64(c)} }
	hist := func(last uint64, starts ...EpochStart) *History {
		return &History{Epochs: starts, Last: Pos{Seq: last}}
	}
	shared := []EpochStart{{e(1), 1}, {e(2), 10}}
	for name, c := range map[string]struct {
		a, b *History
		want uint64
		ok   bool
	}{
		"prefix":        {hist(20, shared...), hist(15, shared...), 15, true},
		"both went on":  {hist(30, append(shared[:2:2], EpochStart{e(3), 18})...), hist(40, append(shared[:2:2], EpochStart{e(4), 16})...), 15, true},
		"one went on":   {hist(30, append(shared[:2:2], EpochStart{e(3), 18})...), hist(40, shared...), 17, true},
		"nothing alike": {hist(5, EpochStart{e(7), 1}), hist(5, EpochStart{e(8), 1}), 0, false},
	} {
		for _, swap := range []bool{false, true} {
			a, b := c.a, c.b
			if swap {
				a, b = b, a
			}
			if got, ok := Fork(a, b); got != c.want || ok != c.ok {
				t.Errorf("%s: %d, %v, want %d, %v", name, got, ok, c.want, c.ok)
			}
		}
	}
	other := hist(5, shared...)
	other.Lineage[0] = 1
	if _, ok := Fork(other, hist(5, shared...)); ok {
		t.Error("two lineages share history")
	}
}

func TestNamesThatNoFileCanHave(t *testing.T) {
	for n, want := range map[Name]error{"": ErrInval, ".": ErrBadName, "..": ErrBadName, "a/b": ErrBadName, "a\x00": ErrBadName,
		Name(strings.Repeat("x", 256)): ErrNameTooLong, Name(strings.Repeat("x", 255)): nil, "...": nil, "\xff": nil} {
		if got := n.Check(); got != want {
			t.Errorf("%q: %v, want %v", n, got, want)
		}
	}
}
