package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

const arn = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"

type keeper map[string]Wrapper

func (k keeper) Wrapper(arn string) (Wrapper, error) {
	if w := k[arn]; w != nil {
		return w, nil
	}
	return nil, fmt.Errorf("no key %s", arn)
}

func keyFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var hexA, hexB = strings.Repeat("a1", 32), strings.Repeat("b2", 32)

func TestKeyFileWrapsWithTheFirstAndUnwrapsWithAll(t *testing.T) {
	mem := disk.NewMem()
	only := func(lines ...string) keeper {
		w, err := KeyFile(keyFile(t, lines...), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return keeper{arn: w}
	}
	if err := Create(mem, "/", arn, only("# the first", "", hexA), rand.Reader); err != nil {
		t.Fatal(err)
	}
	k, err := Open(mem, "/", only(hexA))
	if err != nil {
		t.Fatal(err)
	}
	rotated := only("obKyorKisqKxsrKysrKysrKysrKysrKysrKysrKysrI=", hexA) // a new one, in base64
	if again, err := Open(mem, "/", rotated); err != nil || *again != *k {
		t.Errorf("after a rotation: %v", err)
	}
	if _, err := Open(mem, "/", only(hexB)); !errors.Is(err, ErrNotOurs) {
		t.Errorf("with another key: %v", err)
	}
	if _, err := Open(mem, "/", keeper{}); err == nil || !strings.Contains(err.Error(), "no key "+arn) {
		t.Errorf("without it: %v", err)
	}
	if _, err := Open(mem, "/", nil); err == nil || !strings.Contains(err.Error(), "encryption.keys") {
		t.Errorf("without any: %v", err)
	}
	// Create leaves what is there.
	if err := Create(mem, "/", arn, only(hexB), rand.Reader); err != nil {
		t.Fatal(err)
	}
	if again, err := Open(mem, "/", only(hexA)); err != nil || *again != *k {
		t.Errorf("after a second Create: %v", err)
	}
	if none, err := Open(mem, "/elsewhere", nil); none != nil || err != nil {
		t.Errorf("no envelope: %v, %v", none, err)
	}
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%#v", k), fmt.Sprintf("%+v", k)} {
		if strings.Contains(s, hex.EncodeToString(k.secret[:4])) || strings.Contains(s, fmt.Sprint(k.secret[0])+" "+fmt.Sprint(k.secret[1])) {
			t.Errorf("a key shows: %s", s)
		}
	}
}

func TestKeyFilesThatAreRefused(t *testing.T) {
	open := keyFile(t, hexA)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		pipe:                           "no regular file",
		t.TempDir():                    "no regular file",
		keyFile(t, ""):                 "openssl rand",
		open:                           "chmod 600",
		filepath.Join(open, "x"):       "read the key file",
		keyFile(t, "# nothing"):        "openssl rand",
		keyFile(t, hexA, hexA[2:]):     "line 2",
		keyFile(t, "not a key at all"): "line 1",
		keyFile(t, strings.Repeat("# long\n", 20000)): "are read at most",
	} {
		if _, err := KeyFile(path, rand.Reader); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestKeyFilesThatEditorsAndMountsMake: with other line ends, or behind a link.
func TestKeyFilesThatEditorsAndMountsMake(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(keyFile(t, hexA), link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, keyFile(t, "# one\r", "  "+hexA+"\r", "\r")} {
		w, err := KeyFile(path, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(w.(*fileWrapper).keys[0]); got != hexA || len(w.(*fileWrapper).keys) != 1 {
			t.Errorf("%s: key %s", path, got)
		}
	}
}

// TestDamagedEnvelope: no byte of it can be changed unnoticed, but for spaces and
// the name of the key.
func TestDamagedEnvelope(t *testing.T) {
	mem := disk.NewMem()
	keys := keeper{arn: One([32]byte{1}, rand.Reader)}
	if err := Create(mem, "/", arn, keys, rand.Reader); err != nil {
		t.Fatal(err)
	}
	k, err := Open(mem, "/", keys)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := disk.ReadFile(mem, "/"+EnvelopeName)
	if err != nil {
		t.Fatal(err)
	}
	rng := mrand.New(mrand.NewPCG(1, 1))
	for at := range raw {
		b := bytes.Clone(raw)
		b[at] ^= 1 << rng.IntN(7)
		if err := disk.WriteFileAtomic(mem, "/"+EnvelopeName, b); err != nil {
			t.Fatal(err)
		}
		if got, err := Open(mem, "/", keys); err == nil && (got == nil || *got != *k) {
			t.Errorf("flip at %d: another key, without an error", at)
		}
	}
	for _, s := range []string{"", "{", `{"format":2}`, `{"format":1,"kms_key":"` + arn + `","id":"00","wrapped":""}`} {
		if err := disk.WriteFileAtomic(mem, "/"+EnvelopeName, []byte(s)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(mem, "/", keys); err == nil {
			t.Errorf("envelope %q is taken", s)
		}
	}
}

// script makes a program that a key command can be.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "command")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommandWraps(t *testing.T) {
	// It turns the key around, and refuses what it did not make.
	cmd := script(t, `python3 -c '
import sys, json, base64
q = json.load(sys.stdin)
k = base64.b64decode(q["key"])
head = (q["kms_key"] + q["context"]).encode()
if q["operation"] == "wrap":
    k = head + k[::-1]
elif not k.startswith(head):
    sys.exit("it is not of this key and context")
else:
    k = k[len(head):][::-1]
print(json.dumps({"key": base64.b64encode(k).decode()}))'`)
	w := Command([]string{cmd}, arn, time.Minute)
	mem := disk.NewMem()
	if err := Create(mem, "/", arn, keeper{arn: w}, rand.Reader); err != nil {
		t.Fatal(err)
	}
	k, err := Open(mem, "/", keeper{arn: w})
	if err != nil || k.secret == [32]byte{} {
		t.Fatal(err)
	}
	other := Command([]string{cmd}, "arn:other", time.Minute)
	if _, err := Open(mem, "/", keeper{arn: other}); err == nil || !strings.Contains(err.Error(), "not of this key") {
		t.Errorf("another key: %v", err)
	}
}

func TestCommandThatFails(t *testing.T) {
	for body, want := range map[string]string{
		"echo the service is down >&2; exit 3": "the service is down",
		"exit 1":                               "nothing to standard error",
		"echo no json":                         "answered 8 bytes",
		"echo '{}'":                            "are not",
		"cat /dev/zero | head -c 100000":       "are not",
		"sleep 60":                             "no answer within 200ms",
	} {
		_, err := Command([]string{script(t, body)}, arn, 200*time.Millisecond).Unwrap([]byte("x"), "c")
		if body != "sleep 60" && err != nil && strings.Contains(err.Error(), "no answer within") {
			// A busy machine: once more, with time.
			_, err = Command([]string{script(t, body)}, arn, time.Minute).Unwrap([]byte("x"), "c")
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", body, err, want)
		}
	}
	if _, err := Command([]string{"/nowhere"}, arn, time.Minute).Wrap([]byte("x"), "c"); err == nil {
		t.Error("a command that is not there wraps")
	}
}

// TestWrappingIsTriedBeforeItIsReliedUpon: a command that cannot give a key back
// must not be noticed by the restart that needs it.
func TestWrappingIsTriedBeforeItIsReliedUpon(t *testing.T) {
	for body, want := range map[string]string{
		"cat":                   "plain data key",
		`echo '{"key":"AQ=="}'`: "another key",
		`grep -q '"wrap"' && echo '{"key":"AQ=="}'`: "not unwrapped again",
	} {
		mem := disk.NewMem()
		err := Create(mem, "/", arn, keeper{arn: Command([]string{script(t, body)}, arn, time.Minute)}, rand.Reader)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "nothing was made") {
			t.Errorf("%q: %v, want %q", body, err, want)
		}
		if e, err := ReadEnvelope(mem, "/"); e != nil || err != nil {
			t.Errorf("%q: an envelope is left: %+v, %v", body, e, err)
		}
	}
}

// TestWhatACommandAnswersIsNotTold: it may be a key.
func TestWhatACommandAnswersIsNotTold(t *testing.T) {
	const secret = "1234567890123456789"
	for _, body := range []string{`{"key":[` + secret + `]}`, `{"key":` + secret + `}`, `{"key":"` + secret + `"}`, secret, `"` + secret + `"`, `{"` + secret + `"`} {
		_, err := Command([]string{script(t, "echo '"+body+"'")}, arn, time.Minute).Unwrap([]byte("x"), "c")
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestAnAnswerThatIsNoDataKey is not held against the envelope.
func TestAnAnswerThatIsNoDataKey(t *testing.T) {
	mem := disk.NewMem()
	if err := Create(mem, "/", arn, keeper{arn: One([32]byte{1}, rand.Reader)}, rand.Reader); err != nil {
		t.Fatal(err)
	}
	w := Command([]string{script(t, `echo '{"key":"AQ=="}'`)}, arn, time.Minute)
	_, err := Open(mem, "/", keeper{arn: w})
	var damage *fs.CorruptionError
	if !errors.Is(err, ErrLocked) || errors.As(err, &damage) || !strings.Contains(err.Error(), "1 bytes came") {
		t.Errorf("%v", err)
	}
}

// What the program is asked is frozen.
func TestCommandQuestion(t *testing.T) {
	out := filepath.Join(t.TempDir(), "question")
	_, err := Command([]string{script(t, "cat > "+out+"; echo '{\"key\":\"AQ==\"}'")}, arn, time.Minute).Unwrap([]byte{1, 2}, "context")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if want := `{"operation":"unwrap","kms_key":"` + arn + `","context":"context","key":"AQI="}`; string(got) != want || err != nil {
		t.Errorf("asked %s, %v", got, err)
	}
}

var update = flag.Bool("update", false, "write new golden files, for a new format version only")

// The forms of files and envelopes are frozen.
func TestGoldenFiles(t *testing.T) {
	mem := disk.NewMem()
	d := Files(mem, testKey(t, 1), fixed())
	for _, name := range names {
		f, err := d.Create(name, disk.Category)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{"one", strings.Repeat("two", 2000), "three"} {
			if _, err := f.Write([]byte(p)); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := Create(mem, "/", arn, keeper{arn: One([32]byte{1, 2, 3}, fixed())}, fixed()); err != nil {
		t.Fatal(err)
	}
	want := "one" + strings.Repeat("two", 2000) + "three"
	for _, name := range append([]string{EnvelopeName}, names...) {
		path := filepath.Join("testdata", "golden-1", name+".hex")
		raw, err := disk.ReadFile(mem, name)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(path, []byte(hex.Dump(raw)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if hex.Dump(raw) != string(golden) {
			t.Errorf("%s is written differently now", name)
		}
		if name == EnvelopeName {
			continue
		}
		if got, err := disk.ReadFile(d, name); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	k, err := Open(mem, "/", keeper{arn: One([32]byte{1, 2, 3}, nil)})
	if err != nil || k.secret != [32]byte(bytes.Repeat([]byte{7}, 32)) {
		t.Errorf("the golden envelope: %v", err)
	}
}

// FuzzOpen: whatever a file holds, reading it ends with an error or with bytes,
// and takes no memory in proportion to what it claims.
func FuzzOpen(f *testing.F) {
	for _, name := range names {
		mem := disk.NewMem()
		w, err := Files(mem, testKey(f, 1), fixed()).Create(name, disk.Category)
		if err != nil {
			f.Fatal(err)
		}
		w.Write(bytes.Repeat([]byte("x"), 5000))
		w.Close()
		raw, err := disk.ReadFile(mem, name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, raw)
	}
	f.Fuzz(func(t *testing.T, _ string, raw []byte) {
		for _, name := range names {
			mem := disk.NewMem()
			if err := disk.WriteFileAtomic(mem, name, raw); err != nil {
				t.Fatal(err)
			}
			got, err := disk.ReadFile(Files(mem, testKey(t, 1), fixed()), name)
			var damage *fs.CorruptionError
			if len(got) > len(raw) || err != nil && !errors.As(err, &damage) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
	})
}
