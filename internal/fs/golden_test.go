package fs

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
)

// The encodings are frozen: replicas of different releases and journals of all
// ages depend on them. A line of testdata/golden.txt is never changed; new
// kinds and versions add lines.
var update = flag.Bool("update", false, "write testdata/golden.txt, for new kinds only")

const goldenFile = "testdata/golden.txt"

var (
	goldenEpoch = EpochID{Counter: 0x12345, Member: 0x321, Nonce: 0x0102030405060708}
	goldenTime  = Time{Sec: 1700000000, Nsec: 999999999}
	beforeEpoch = Time{Sec: -1, Nsec: 1}
)

// goldenMutations has at least one of each kind, and no field that is zero by
// accident.
func goldenMutations() map[string]Mutation {
	return map[string]Mutation{
		"genesis": &Genesis{Lineage: Lineage{1, 2, 15: 16}, Mode: 0o755, UID: 1, GID: 2, Time: goldenTime},
		"epoch":   &Epoch{ID: goldenEpoch, Region: "us-east-1", FSID: "fs-0123456789abcdef0", Time: goldenTime},
		"create": &Create{Parent: RootIno, Name: "name \xff", Ino: MakeIno(goldenEpoch, 300), Type: TypeRegular, Mode: 0o4755, UID: 1000, GID: 1001,
			Verifier: [8]byte{1, 7: 8}, Atime: beforeEpoch, Mtime: goldenTime, Time: goldenTime},
		"create-symlink": &Create{Parent: 2, Name: "l", Ino: 3, Type: TypeSymlink, Mode: 0o777, Target: "../a/b", Atime: goldenTime, Mtime: goldenTime, Time: goldenTime},
		"create-device":  &Create{Parent: 2, Name: "d", Ino: 3, Type: TypeBlock, Mode: 0o600, Major: 8, Minor: 300, Atime: goldenTime, Mtime: goldenTime, Time: goldenTime},
		"link":           &Link{Parent: 5, Name: "hard", Ino: 6, Time: goldenTime},
		"unlink":         &Unlink{Parent: 5, Name: "gone", Ino: 6, Last: true, Time: goldenTime},
		"unlink-hold":    &Unlink{Parent: 5, Name: "open", Ino: 6, Last: true, Hold: true, Time: goldenTime},
		"rename":         &Rename{From: 1, FromName: "a", To: 2, ToName: "b", Ino: 3, Time: goldenTime},
		"rename-over":    &Rename{From: 1, FromName: "a", To: 2, ToName: "b", Ino: 3, Victim: 4, Last: true, Hold: true, Time: goldenTime},
		"setattr-all":    &SetAttr{Ino: 7, Mask: setAll, Mode: 0o644, UID: 1, GID: 2, Size: 1 << 40, Atime: goldenTime, Mtime: beforeEpoch, Ctime: goldenTime},
		"setattr-size":   &SetAttr{Ino: 7, Mask: SetSize, Size: MaxFileSize, Ctime: goldenTime},
		"setattr-none":   &SetAttr{Ino: 7, Ctime: goldenTime},
		"write":          &Write{Ino: 8, Offset: 1 << 33, Length: MaxWrite, ClearMode: 0o6000, Time: goldenTime},
		"reclaim":        &Reclaim{Ino: 9},
		"reclaim-drop":   &Reclaim{Ino: 9, Drop: true},
		"setting":        &Setting{Key: "policy", Value: []byte("{\x00}")},
		"setting-delete": &Setting{Key: "policy", Delete: true},
		"client":         &Client{Owner: []byte("client\x00owner")},
		"client-delete":  &Client{Owner: []byte("c"), Delete: true},
		"noop":           &Noop{},
		"xattr":          &Xattr{Ino: 10, Name: "colour", Value: []byte("blue\x00"), Time: goldenTime},
		"xattr-delete":   &Xattr{Ino: 10, Name: "colour", Delete: true, Time: goldenTime},
		"punch":          &Punch{Ino: 11, From: 4096, To: MaxFileSize, ClearMode: 0o6000, Time: goldenTime},
		"clone":          &Clone{Src: 12, SrcOffset: 1 << 33, Dst: 13, DstOffset: 5, Length: 1 << 20, ClearMode: 0o4000, Time: goldenTime},
	}
}

// goldenRecords chain onto each other in the order of goldenRecordOrder.
var goldenRecordOrder = []string{"record", "record-payload", "record-reply", "record-both"}

func goldenRecords() map[string]*Record {
	noop := AppendMutation(nil, &Noop{})
	reply := &Reply{Session: [16]byte{1, 15: 16}, Slot: 3, SlotSeq: 4, Result: []byte("done")}
	recs := map[string]*Record{
		"record":         {Mutation: noop},
		"record-payload": {Mutation: noop, PayloadLen: 5, PayloadDigest: Digest([]byte("hello"))},
		"record-reply":   {Mutation: noop, Reply: reply},
		"record-both":    {Mutation: noop, PayloadLen: MaxWrite, PayloadDigest: Digest(make([]byte, MaxWrite)), Reply: reply},
	}
	prev := Chain{9, 15: 9}
	for i, name := range goldenRecordOrder {
		r := recs[name]
		r.Epoch, r.Seq, r.Stamp = goldenEpoch, uint64(100+i), Stamp{Time: 0x0001020304050607, Origin: 0x321}
		r.Encode(nil, prev)
		prev = r.Chain
	}
	return recs
}

func encodeAll() map[string][]byte {
	all := map[string][]byte{}
	for name, m := range goldenMutations() {
		all[name] = AppendMutation(nil, m)
	}
	for name, r := range goldenRecords() {
		all[name] = r.Append(nil)
	}
	all["position"] = AppendPos(nil, goldenRecords()["record"].Pos())
	return all
}

// readGolden gives the file's lines, "name hex".
func readGolden(t testing.TB) map[string][]byte {
	text, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		name, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		all[name] = b
	}
	return all
}

func TestEncodingsAreFrozen(t *testing.T) {
	now := encodeAll()
	if *update {
		writeGolden(t, now)
	}
	golden := readGolden(t)
	for name, b := range now {
		if want, ok := golden[name]; !ok || !bytes.Equal(b, want) {
			t.Errorf("%s is encoded as\n%x, frozen as\n%x", name, b, want)
		}
	}
	if len(golden) != len(now) {
		t.Errorf("%d golden lines, %d values", len(golden), len(now))
	}
}

func writeGolden(t *testing.T, all map[string][]byte) {
	var out strings.Builder
	for _, name := range sortedKeys(all) {
		out.WriteString(name + " " + hex.EncodeToString(all[name]) + "\n")
	}
	if err := os.WriteFile(goldenFile, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFrozenMutationsMeanWhatTheyMeant(t *testing.T) {
	golden := readGolden(t)
	kinds := map[Kind]bool{}
	for name, want := range goldenMutations() {
		got, err := ParseMutation(golden[name])
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		kinds[got.Kind()] = true
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is\n%+v, want\n%+v", name, got, want)
		}
	}
	for k := KindGenesis; k <= KindNoop; k++ {
		if !kinds[k] {
			t.Errorf("no golden mutation of kind %d", k)
		}
	}
}

func TestFrozenRecordsMeanWhatTheyMeant(t *testing.T) {
	golden := readGolden(t)
	want := goldenRecords()
	prev := Pos{Epoch: goldenEpoch, Seq: 99, Chain: Chain{9, 15: 9}}
	for _, name := range goldenRecordOrder {
		got, err := ParseRecord(golden[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, want[name]) {
			t.Errorf("%s is\n%+v, want\n%+v", name, got, want[name])
		}
		if err := got.Follows(prev); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		prev = got.Pos()
	}
	if p, err := ParsePos(golden["position"]); err != nil || p != want["record"].Pos() {
		t.Errorf("position %s, %v", p, err)
	}
}
