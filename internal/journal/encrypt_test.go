package journal

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// testKey is what the journals of tiny are encrypted with: nil, or in the second
// run of the suite a key.
var testKey = func() *seal.Key {
	if os.Getenv(encryptedRun) == "" {
		return nil
	}
	return fixedKey()
}()

// firstSegment is the one that the first record of a new journal goes to: an
// encrypted one begins a new segment with every opening.
func firstSegment() uint64 {
	if testKey != nil {
		return 2
	}
	return 1
}

// recordsAt is where its first batch of records is: behind the BASE, if that is
// in it too.
func recordsAt() int {
	if testKey != nil {
		return headerSize
	}
	return 2 * blockSize
}

const encryptedRun = "HOLDFAST_TEST_ENCRYPTED"

// testRandom never repeats, as the salts of segments must not.
var testRandom = &lockedRandom{src: rand.NewChaCha8([32]byte{1})}

type lockedRandom struct {
	mu  sync.Mutex
	src *rand.ChaCha8
}

func (r *lockedRandom) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.src.Read(p)
}

func fixedKey() *seal.Key {
	k, err := seal.NewKey(bytes.NewReader(bytes.Repeat([]byte{0xa5, 1, 2, 3}, 12)))
	if err != nil {
		panic(err)
	}
	return k
}

// TestTheWholeSuiteEncrypted runs all other tests again with encrypted journals
// (with -short, some of them).
func TestTheWholeSuiteEncrypted(t *testing.T) {
	if testKey != nil {
		return // this is that run
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.skip", "TestTheWholeSuiteEncrypted|Golden|Dump|VerifyNamesDamage|UnknownFeatures|Fuzz"}
	if testing.Short() {
		// The run that looks for races: what runs beside each other.
		args = append(args, "-test.short", "-test.run", "ManyWaiters|ReadersFollow|EverythingAtOnce|ReaderStarts")
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), encryptedRun+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("PASS")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func encryptedTiny(d disk.FS) Options {
	o := tiny(d)
	o.Key = fixedKey()
	return o
}

// The form of an encrypted journal is frozen, too.
func TestGoldenEncryptedJournal(t *testing.T) {
	const dir = "testdata/golden-encrypted-1"
	mem, h := disk.NewMem(), newHistory()
	o := encryptedTiny(mem)
	o.PayloadSegmentBytes, o.InlineMax = 64<<10, 100
	o.Random = bytes.NewReader(append([]byte("saltsalt"), bytes.Repeat([]byte("0123456789abcdef"), 20)...))
	if err := Create(o); err != nil {
		t.Fatal(err)
	}
	j := mustOpen(t, o, h, fs.Pos{}, 0)
	for _, n := range []int{0, 1, 100, 101, unitSize + 1} {
		if _, err := h.append(j, bytes.Repeat([]byte{byte(n) | 1}, n)); err != nil {
			t.Fatal(err)
		}
		wait(t, j, h.last().Seq)
		// The spare takes its random bytes before the payload segment does.
		if err := untilSpare(j); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	f := newFlipper(t, mem)
	old := checkGolden(t, dir, f)
	rep, err := Verify(old, testDir, fixedKey())
	if err != nil || len(rep.Problems) > 0 || rep.Records != 5 || rep.Payloads != 4 || rep.Last != h.last() {
		t.Errorf("verify: %+v, %v", rep, err)
	}
	mustOpen(t, encryptedTiny(old), h, h.base, h.last().Seq)
}

func untilSpare(j *Journal) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.needSpare()
}

// TestNothingPlainOnDisk looks for what was written in every file.
func TestNothingPlainOnDisk(t *testing.T) {
	const secret = "a name that nobody may read"
	for _, key := range []*seal.Key{nil, fixedKey()} {
		mem, h := disk.NewMem(), newHistory()
		o := tiny(mem)
		o.Key = key
		j := mustCreate(t, o)
		put := func() {
			r := h.make(nil)
			r.Mutation = fs.AppendMutation(nil, &fs.Setting{Key: "k", Value: []byte(secret)})
			r.Encode(nil, h.last().Chain)
			if _, err := j.Append(r, nil); err != nil {
				t.Fatal(err)
			}
			h.add(r, nil)
			for _, n := range []int{1, 200} { // inline and apart
				if _, err := h.append(j, bytes.Repeat([]byte(secret), n)); err != nil {
					t.Fatal(err)
				}
			}
			if err := j.SyncPayloads(); err != nil {
				t.Fatal(err)
			}
		}
		put()
		if err := j.Rebase(h.last(), []byte(secret)); err != nil {
			t.Fatal(err)
		}
		h.base, h.records, h.data = h.last(), nil, nil
		put()
		cleanAll(t, j, h)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, b := range newFlipper(t, mem).files {
			found += bytes.Count(b, []byte(secret))
		}
		if (found == 0) != (key != nil) {
			t.Errorf("encrypted %v: the secret is on disk %d times", key != nil, found)
		}
		mustOpen(t, o, h, h.base, h.last().Seq)
	}
}

// cleanAll moves the payloads of all closed payload segments.
func cleanAll(t *testing.T, j *Journal, h *history) {
	t.Helper()
	for _, n := range []int{30000, 30000, 30000, 30000, 30000, 30000, 30000, 30000, 30000} {
		if _, err := h.append(j, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, j, h.last().Seq)
	var victims []Segment
	for _, s := range j.Closed() {
		if s.Payloads {
			victims = append(victims, s)
		}
	}
	if len(victims) == 0 {
		t.Fatal("nothing to clean")
	}
	r, err := j.Reader(h.base.Seq)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var pieces []Piece
	for {
		e, ok, err := r.TryNext()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if e.Addr.IsZero() {
			continue
		}
		at, from, _, err := j.Locate(e.Addr, 0, e.Addr.Length) // an earlier cleaning may have moved it
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range victims {
			if at.Segment == v.ID {
				pieces = append(pieces, Piece{Addr: at, From: from, Length: e.Addr.Length})
			}
		}
	}
	if err := j.Clean(noDeadline, victims, pieces, func(_ context.Context, _ int) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestWrongKeyIsRefused(t *testing.T) {
	other, err := seal.NewKey(bytes.NewReader(make([]byte, 48)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		made, opened *seal.Key
		want         string
	}{
		{fixedKey(), nil, "no key was given"},
		{fixedKey(), other, "the file system's is 0000"},
		{nil, fixedKey(), "not encrypted, but its file system is"},
	} {
		mem := disk.NewMem()
		o := tiny(mem)
		o.Key = c.made
		if err := Create(o); err != nil {
			t.Fatal(err)
		}
		o.Key = c.opened
		_, err := Open(o)
		var damage *fs.CorruptionError
		if err == nil || errors.As(err, &damage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("open: %v, want %q", err, c.want)
		}
	}
}

// TestAnotherSecretChangesNothing: whoever unwraps data keys gave another one for
// this id. Nothing opens, nothing is changed, and the right key finds it all.
func TestAnotherSecretChangesNothing(t *testing.T) {
	id := fixedKey().ID()
	other, err := seal.NewKey(bytes.NewReader(append(id[:], make([]byte, 32)...)))
	if err != nil || other.ID() != id {
		t.Fatal(err)
	}
	for _, rebased := range []bool{false, true} {
		mem := disk.NewMem()
		o := encryptedTiny(mem)
		j, h := mustCreate(t, o), newHistory()
		put := func() {
			if _, err := h.append(j, make([]byte, 5000)); err != nil {
				t.Fatal(err)
			}
			wait(t, j, h.last().Seq)
		}
		put()
		if rebased {
			if err := j.Rebase(h.last(), nil); err != nil {
				t.Fatal(err)
			}
			h = &history{base: h.last(), epoch: h.epoch}
			put()
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		before := newFlipper(t, mem).files
		wrong := o
		wrong.Key = other
		if _, err := Open(wrong); err == nil || !strings.Contains(err.Error(), "another key") {
			t.Errorf("rebased %v: opened with another secret: %v", rebased, err)
		}
		after := newFlipper(t, mem).files
		for name, b := range before {
			if !bytes.Equal(after[name], b) {
				t.Errorf("rebased %v: %s was changed", rebased, name)
			}
		}
		if len(after) != len(before) {
			t.Errorf("rebased %v: %d files, were %d", rebased, len(after), len(before))
		}
		mustOpen(t, o, h, h.base, h.last().Seq)
	}
}

// TestAWipedHeaderOpensNoPlainBytes: units with good checksums, put into an
// encrypted journal's segment whose header was wiped, are not served.
func TestAWipedHeaderOpensNoPlainBytes(t *testing.T) {
	mem := disk.NewMem()
	o := encryptedTiny(mem)
	j, h := mustCreate(t, o), newHistory()
	a, err := h.append(j, make([]byte, 1500)) // inline
	if err != nil {
		t.Fatal(err)
	}
	wait(t, j, h.last().Seq)
	if err := j.Rebase(h.last(), nil); err != nil { // its segment stays for the payload
		t.Fatal(err)
	}
	h = &history{base: h.last(), epoch: h.epoch}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := mem.OpenReadWrite(testDir+"/"+segmentName(a.Segment, classRecord), disk.Category)
	if err != nil {
		t.Fatal(err)
	}
	forged := appendUnits(nil, bytes.Repeat([]byte("x"), 1500), a.Segment, a.Offset, nil)
	for _, w := range []struct {
		b  []byte
		at int64
	}{{make([]byte, headerSize), 0}, {forged, int64(a.Offset)}} {
		if _, err := f.WriteAt(w.b, w.at); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	j = mustOpen(t, o, h, h.base, h.last().Seq)
	got := make([]byte, 1500)
	var damage *fs.CorruptionError
	if err := j.Read(a, 0, got); !errors.As(err, &damage) {
		t.Errorf("forged bytes are served: %q..., %v", got[:8], err)
	}
}
