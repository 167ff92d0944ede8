package journal

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// The format is frozen: these bytes must be read by every release to come, and
// written by this one. A change of the files in testdata/golden-1 is a mistake.
var update = flag.Bool("update", false, "write new golden files, for a new format version only")

const goldenDir = "testdata/golden-1"

// goldenHistory has a record of each kind of payload, two generations and all
// kinds of batch.
func goldenHistory(t *testing.T, d disk.FS) *history {
	o := Options{FS: d, Dir: testDir, Lineage: testLineage, RecordSegmentBytes: 32 << 10, PayloadSegmentBytes: 64 << 10,
		InlineMax: 100, Random: strings.NewReader("saltsalt")}
	j, h := mustCreate(t, o), newHistory()
	fill := func(h *history) {
		for _, n := range []int{0, 1, 100, 101, unitSize + 1} {
			if _, err := h.append(j, bytes.Repeat([]byte{byte(n) | 1}, n)); err != nil {
				t.Fatal(err)
			}
			wait(t, j, h.last().Seq)
		}
	}
	fill(h)
	if err := j.Rebase(basePos(3), []byte("meta")); err != nil {
		t.Fatal(err)
	}
	h = &history{base: basePos(3), epoch: fs.EpochID{Counter: 10}}
	fill(h)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestGoldenJournal(t *testing.T) {
	mem := disk.NewMem()
	h := goldenHistory(t, mem)
	f := newFlipper(t, mem)
	old := checkGolden(t, goldenDir, f)
	rep, err := Verify(old, testDir, nil)
	if err != nil || len(rep.Problems) > 0 || rep.Records != 5 || rep.Payloads != 4 || rep.Last != h.last() || rep.Claimed != h.last().Seq {
		t.Errorf("verify: %+v, %v", rep, err)
	}
	mustOpen(t, tiny(old), h, h.base, h.last().Seq)
}

// checkGolden compares the files of a journal with the golden ones in dir, and
// gives a disk that holds these.
func checkGolden(t *testing.T, dir string, f *flipper) *disk.Mem {
	t.Helper()
	if *update {
		for _, name := range f.names {
			if err := os.WriteFile(filepath.Join(dir, name+".hex"), []byte(dumpHex(f.files[name])), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	golden, err := filepath.Glob(filepath.Join(dir, "*.hex"))
	if err != nil || len(golden) < 3 {
		t.Fatalf("golden files: %v, %v", golden, err)
	}
	old := disk.NewMem()
	if err := old.MkdirAll(testDir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range golden {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".hex")
		if got := dumpHex(f.files[name]); got != string(want) {
			t.Errorf("%s is written differently now", name)
		}
		if err := disk.WriteFileAtomic(old, old.PathJoin(testDir, name), parseHex(t, string(want))); err != nil {
			t.Fatal(err)
		}
	}
	return old
}

// dumpHex leaves out lines that repeat the one before, as hexdump does.
func dumpHex(b []byte) string {
	var out strings.Builder
	const width = 32
	last := ""
	for at := 0; at < len(b); at += width {
		line := hex.EncodeToString(b[at:min(at+width, len(b))])
		if line != last {
			fmt.Fprintf(&out, "%08x %s\n", at, line)
		}
		last = line
	}
	fmt.Fprintf(&out, "%08x\n", len(b))
	return out.String()
}

func parseHex(t *testing.T, s string) []byte {
	var b, last []byte
	for line := range strings.Lines(s) {
		var at int
		var text string
		if n, _ := fmt.Sscanf(line, "%x %s", &at, &text); n == 0 {
			t.Fatalf("golden line %q", line)
		}
		for len(b) < at {
			b = append(b, last...)
		}
		last, _ = hex.DecodeString(text)
		b = append(b[:at], last...)
	}
	return b
}

func TestDumpShowsEverything(t *testing.T) {
	mem := disk.NewMem()
	h := goldenHistory(t, mem)
	var out strings.Builder
	if err := Dump(&out, mem, testDir, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{h.last().String(), "mark of 1", "base of 1", "Setting", "Write, payload of 16385", "spare", "generation 2"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// Of the golden history's payload segment six blocks are of generation 2.
func TestVerifyNamesDamage(t *testing.T) {
	mem := disk.NewMem()
	h := goldenHistory(t, mem)
	f := newFlipper(t, mem)
	name := segmentName(3, classPayload)
	found := 0
	for at := headerSize; at < len(f.files[name]); at += blockSize {
		bad := f.with(name, func(b []byte) []byte { b[at] ^= 1; return b })
		rep, err := Verify(bad, testDir, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range rep.Problems {
			found++
			if !strings.Contains(p.Error(), name) {
				t.Errorf("damage at %d of %s: %v", at, name, p)
			}
		}
	}
	if found != 6 {
		t.Errorf("%d problems, want 6", found)
	}
	bad := f.with(segmentName(2, classRecord), func(b []byte) []byte { b[3*blockSize+batchHeaderSize+5] ^= 1; return b })
	rep, err := Verify(bad, testDir, nil)
	if err != nil || len(rep.Problems) != 1 || rep.Last != h.posAt(3) {
		t.Errorf("damaged batch: %+v, %v", rep, err)
	}
}
