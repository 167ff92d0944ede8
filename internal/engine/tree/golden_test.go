package tree

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// The values that a tree stores are read by later releases. A line of
// testdata/golden.txt is never changed.
var update = flag.Bool("update", false, "write testdata/golden.txt, for new kinds only")

const goldenFile = "testdata/golden.txt"

var stamp = fs.Stamp{Time: 0x0123456789abcdef, Origin: 0x321}

func goldenInode() *Inode {
	n := &Inode{NextCookie: 77, Entries: 12, Target: "over/there", Pending: true, Dropped: true, Xattrs: 3, Stamp: stamp}
	n.Attr = fs.Attr{Ino: 42, Type: fs.TypeDir, Mode: 0o2755, Nlink: 9, UID: 1000, GID: 100, Size: 1 << 40, Used: 4096, Major: 8, Minor: 1,
		Atime: fs.Time{Sec: -1, Nsec: 999999999}, Mtime: fs.Time{Sec: 1700000000, Nsec: 1}, Ctime: fs.Time{Sec: 1 << 35}, Btime: fs.Time{Sec: 5},
		Change: 1<<50 + 3, Parent: 7, Verifier: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	return n
}

func goldenEntry() *Entry {
	e := &Entry{Stamp: stamp}
	e.Name, e.Ino, e.Type, e.Cookie = "name \xff", 1<<43+5, fs.TypeSymlink, 1000
	return e
}

func goldenExtent() *Extent {
	return &Extent{Offset: 1 << 41, Length: 1 << 20, Epoch: 5<<10 | 3, Seq: 1 << 36, From: 4096,
		Addr: fs.Addr{Segment: 9, Offset: 1 << 28, Length: 1 << 20}, AddrFrom: 12}
}

var goldenEpoch = fs.EpochID{Counter: 0x12345, Member: 0x321, Nonce: 0x0102030405060708}

func goldenMeta() *Meta {
	return &Meta{Applied: fs.Pos{Epoch: goldenEpoch, Seq: 77, Chain: fs.Chain{1, 2, 15: 3}}, Files: 1, BytesUsed: 2, HistoryBytes: 3, LastStamp: 4}
}

// values are the kinds with how each is read back.
var values = []struct {
	name   string
	value  any
	encode func() []byte
	decode func(b []byte) (any, error)
}{
	{"inode", goldenInode(), func() []byte { return goldenInode().encode() }, func(b []byte) (any, error) { return decodeInode(42, b) }},
	{"entry", goldenEntry(), func() []byte { return encodeEntry(goldenEntry()) }, func(b []byte) (any, error) { return decodeEntry("name \xff", b) }},
	{"entry-by-cookie", goldenEntry().DirEntry, func() []byte { return encodeByCookie(goldenEntry()) },
		func(b []byte) (any, error) { return decodeByCookie(1000, b) }},
	{"extent", *goldenExtent(), func() []byte { return goldenExtent().encode() }, func(b []byte) (any, error) { return decodeExtent(1<<41, b) }},
	{"epoch", goldenEpoch, func() []byte { return encodeEpoch(goldenEpoch) }, func(b []byte) (any, error) { return decodeEpoch(b) }},
	{"meta", *goldenMeta(), func() []byte { return goldenMeta().encode() }, func(b []byte) (any, error) { return decodeMeta(b) }},
}

func TestStoredValuesAreFrozen(t *testing.T) {
	var b strings.Builder
	for _, v := range values {
		fmt.Fprintf(&b, "%s %x\n", v.name, v.encode())
	}
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
		t.Fatalf("values are encoded otherwise than before:\n%s\nwant\n%s", b.String(), golden)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(golden)), "\n") {
		raw, err := hex.DecodeString(strings.Fields(line)[1])
		if err != nil {
			t.Fatal(err)
		}
		got, err := values[i].decode(raw)
		if err != nil || !reflect.DeepEqual(got, values[i].value) {
			t.Errorf("%s is read as %+v, %v; want %+v", values[i].name, got, err, values[i].value)
		}
	}
}

// FuzzStoredValues: no stored bytes make a decoder panic, and what is read is
// what is written again.
func FuzzStoredValues(f *testing.F) {
	for i, v := range values {
		f.Add(byte(i), v.encode())
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		v, err := values[int(kind)%len(values)].decode(b)
		if err != nil {
			return
		}
		var again []byte
		switch v := v.(type) {
		case *Inode:
			again = v.encode()
		case *Entry:
			again = encodeEntry(v)
		case fs.DirEntry:
			again = encodeByCookie(&Entry{DirEntry: v})
		case Extent:
			again = v.encode()
		case fs.EpochID:
			again = encodeEpoch(v)
		case Meta:
			again = v.encode()
		}
		w, err := values[int(kind)%len(values)].decode(again)
		if err != nil || !reflect.DeepEqual(v, w) {
			t.Fatalf("%+v is read back as %+v, %v", v, w, err)
		}
	})
}

func TestKeysAreFrozen(t *testing.T) {
	for want, got := range map[string][]byte{
		"c\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02": cookieKey(1, 2),
		"d\x00\x00\x00\x00\x00\x00\x00\x01name":                             entryKey(1, "name"),
		"e\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02": extentKey(1, 2),
		"h\x00\x00\x00\x00\x00\x00\x00\x01":                                 epochKey(1),
		"i\x00\x00\x00\x00\x00\x00\x00\x01":                                 inodeKey(1),
		"m":                                                                 metaKey,
		"o\x00\x00\x00\x00\x00\x00\x00\x01":                                 orphanKey(1),
		"p\x00\x00\x00\x00\x00\x00\x00\x01":                                 pendingKey(1),
		"rowner":                                                            clientKey([]byte("owner")),
		"skey":                                                              settingKey("key"),
		"x\x00\x00\x00\x00\x00\x00\x00\x01name":                             xattrKey(1, "name"),
	} {
		if !bytes.Equal(got, []byte(want)) {
			t.Errorf("key %q, want %q", got, want)
		}
	}
}
