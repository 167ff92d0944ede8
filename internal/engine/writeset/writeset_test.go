package writeset

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Regions of different releases exchange write sets. testdata/golden.txt is
// never changed; new kinds get new lines.
var update = flag.Bool("update", false, "write testdata/golden.txt, for new kinds only")

const goldenFile = "testdata/golden.txt"

var elements = []Element{
	{Kind: Inode, Ino: 1},
	{Kind: Inode, Ino: 1<<43 + 7},
	{Kind: Entry, Ino: 1, Name: "name \xff"},
	{Kind: Data, Ino: 5, From: 4096, To: 1 << 20},
	{Kind: Data, Ino: 5, From: 1 << 21, To: End},
	{Kind: Setting, Name: "member/fs-1"},
	{Kind: Client, Name: "owner\x00"},
	{Kind: Xattr, Ino: 5},
	{Kind: Xattr, Ino: 5, Name: "user.key"},
}

func TestTheEncodingIsFrozen(t *testing.T) {
	var b strings.Builder
	s := &Set{}
	for i := range elements {
		fmt.Fprintf(&b, "%d %x\n", i, elements[i].Append(nil))
		s.AddElement(elements[i])
	}
	fmt.Fprintf(&b, "set %x\n", s.Encode())
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(goldenFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(golden) != b.String() {
		t.Fatalf("a write set is encoded otherwise than before:\n%s\nwant\n%s", b.String(), golden)
	}
	lines := strings.Split(strings.TrimSpace(string(golden)), "\n")
	raw, err := hex.DecodeString(strings.Fields(lines[len(lines)-1])[1])
	if err != nil {
		t.Fatal(err)
	}
	got := &Set{}
	if err := got.Decode(raw); err != nil || !reflect.DeepEqual(got.Elements(), elements) {
		t.Fatalf("read as %+v, %v", got.Elements(), err)
	}
}

func TestRangesAreMerged(t *testing.T) {
	s := &Set{}
	for _, at := range []uint64{40, 0, 10, 20, 41, 100} {
		s.Add(&fs.Write{Ino: 1, Offset: at, Length: 10})
	}
	var got []Element
	for _, e := range s.Elements() {
		if e.Kind == Data {
			got = append(got, e)
		}
	}
	want := []Element{{Kind: Data, Ino: 1, From: 0, To: 30}, {Kind: Data, Ino: 1, From: 40, To: 51}, {Kind: Data, Ino: 1, From: 100, To: 110}}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v", got)
	}
}

func TestWhatIsNoWriteSetIsRefused(t *testing.T) {
	good := (&Element{Kind: Entry, Ino: 1, Name: "name"}).Append([]byte{version})
	for what, b := range map[string][]byte{
		"nothing":          {},
		"another version":  {version + 1},
		"an unknown kind":  {version, 99, 0, 0, 0, 0},
		"cut short":        good[:len(good)-1],
		"a name too long":  {version, byte(Entry), 1, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"a range reversed": {version, byte(Data), 1, 0, 5, 4},
	} {
		if err := new(Set).Decode(b); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

func FuzzDecode(f *testing.F) {
	s := &Set{}
	for _, e := range elements {
		s.AddElement(e)
	}
	f.Add(s.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &Set{}
		if s.Decode(b) != nil {
			return
		}
		again := &Set{}
		if err := again.Decode(s.Encode()); err != nil || !reflect.DeepEqual(s.Elements(), again.Elements()) {
			t.Fatalf("%+v is read back as %+v, %v", s.Elements(), again.Elements(), err)
		}
	})
}
