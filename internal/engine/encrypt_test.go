package engine

import (
	"bytes"
	crand "crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	hfs "github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// encryptedRun is set in the second run of the suite: the key of all file systems.
const encryptedRun = "HOLDFAST_TEST_ENCRYPTED"

const testKMSKey = "arn:aws:kms:here:123456789012:key/00000000-0000-0000-0000-000000000001"

// testKeys has one key.
type testKeys struct{}

func (testKeys) Wrapper(arn string) (seal.Wrapper, error) {
	if arn != testKMSKey {
		return nil, fmt.Errorf("there is no key %q", arn)
	}
	return seal.One([32]byte{1, 2, 3}, crand.Reader), nil
}

// sealed is the disk as the engine sees it.
func sealed(t testing.TB, o Options) disk.FS {
	t.Helper()
	ok(t, o.unlock())
	return o.FS
}

// TestTheSuiteEncrypted runs what touches files again with encrypted file systems:
// the model, crashes, faults, replicas, checkpoints, salvage, cleaning, checks.
// Left out is what finds a place on the disk by the plain bytes there.
func TestTheSuiteEncrypted(t *testing.T) {
	if os.Getenv(encryptedRun) != "" {
		return // this is that run
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := "Model|Crash|Fault|Fail|Replica|Stage|Bootstrap|Resync|Checkpoint|Salvage|Clean|Check|Repair|Reopen|Full"
	args := []string{"-test.skip", "DamageDoesNotStopTheCleaner|AReplicaRepairsDamage|SalvageHoldsWhatIsLeft|SuiteEncrypted"}
	if testing.Short() {
		// The run that looks for races: what runs beside each other.
		tests = "Beside|Concurrent|Bootstrap"
		args = append(args, "-test.short")
	}
	args = append(args, "-test.run", tests)
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), encryptedRun+"="+testKMSKey)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("PASS")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestNothingPlainInTheDirectory: names, bytes, attributes and settings of a file
// system that lived a full life are in no file of its directory.
func TestNothingPlainInTheDirectory(t *testing.T) {
	const secret = "nobody-may-read-this"
	for _, kms := range []string{"", testKMSKey} {
		d := disk.Real()
		o := testOptions(d, newClock(), "fs-1", 1)
		o.Dir = filepath.Join(t.TempDir(), "fs-1")
		o.KMSKey = kms
		e := newWriter(t, o)
		for i := range 200 {
			f := create(t, e, hfs.RootIno, fmt.Sprintf("%s-%d", secret, i), hfs.TypeRegular)
			write(t, e, f.Ino, 0, bytes.Repeat([]byte(secret), 100))
		}
		big := create(t, e, hfs.RootIno, "big", hfs.TypeRegular)
		write(t, e, big.Ino, 0, bytes.Repeat([]byte(secret), 20000))
		if _, err := e.OpenCheckpoint("one", nil, nil); err != nil {
			t.Fatal(err)
		}
		fork, err := e.j.PosAt(20)
		ok(t, err)
		ok(t, e.WaitCommitted(ctx, e.LastApplied()))
		ok(t, e.salvage(fork, e.t))
		ok(t, e.Close())
		e = reopen(t, o)
		if got := read(t, e, big.Ino, 0, len(secret)); string(got) != secret {
			t.Errorf("read %q", got)
		}
		if l, err := e.Salvages(); err != nil || len(l) != 1 || l[0].Records == 0 {
			t.Errorf("salvages %+v, %v", l, err)
		}
		ok(t, e.Close())
		if r, err := Check(o, true); err != nil || len(r.Problems) > 0 || r.Tree.Files != 202 {
			t.Errorf("check: %+v, %v", r, err)
		}
		files, found := 0, map[string]int{}
		err = filepath.WalkDir(o.Dir, func(path string, x fs.DirEntry, err error) error {
			if err != nil || x.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			files++
			if n := bytes.Count(b, []byte(secret)); n > 0 {
				found[path] = n
			}
			return err
		})
		ok(t, err)
		if files < 10 || (len(found) == 0) != (kms != "") {
			t.Errorf("key %q: of %d files these hold it: %v", kms, files, found)
		}
	}
}

// TestWithoutItsKey: what cannot be unwrapped is not opened, says so, and stays.
func TestWithoutItsKey(t *testing.T) {
	mem := disk.NewMem()
	o := testOptions(mem, newClock(), "fs-1", 1)
	o.KMSKey = testKMSKey
	e := newWriter(t, o)
	create(t, e, hfs.RootIno, "a", hfs.TypeRegular)
	ok(t, e.Close())
	for want, keys := range map[string]seal.Keeper{"no keys are configured": nil, "another key": wrongKeys{}, "there is no key": noKeys{}} {
		o.Keys = keys
		if _, err := Open(ctx, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if r, err := Check(o, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("check: %+v, %v", r, err)
		}
	}
	o.Keys = testKeys{}
	path := "/fs-1/" + seal.EnvelopeName
	b, err := disk.ReadFile(mem, path)
	ok(t, err)
	ok(t, mem.Remove(path))
	if _, err := Open(ctx, o); err == nil || !strings.Contains(err.Error(), "key.json") {
		t.Errorf("without the envelope: %v", err)
	}
	ok(t, disk.WriteFileAtomic(mem, path, b))
	e = reopen(t, o)
	if _, err := e.Lookup(&root, hfs.RootIno, "a"); err != nil {
		t.Error(err)
	}
	ok(t, e.Close())
}

// TestAHalfReceivedReplicaWithoutItsEnvelope is not taken for an empty one, that is
// not encrypted.
func TestAHalfReceivedReplicaWithoutItsEnvelope(t *testing.T) {
	mem := disk.NewMem()
	o := testOptions(mem, newClock(), "fs-1", 1)
	o.KMSKey = testKMSKey
	ok(t, CreateEmpty(o))
	e := must[*Engine](t)(Open(ctx, o))
	must[*Stage](t)(e.OpenStage("first", hfs.Lineage{7}, CheckpointInfo{Pos: hfs.Pos{Seq: 5}, Whole: true}, nil))
	ok(t, e.Close())
	path := "/fs-1/" + seal.EnvelopeName
	b := must[[]byte](t)(disk.ReadFile(mem, path))
	ok(t, mem.Remove(path))
	if _, err := Open(ctx, o); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("without the envelope: %v", err)
	}
	ok(t, disk.WriteFileAtomic(mem, path, b))
	e = must[*Engine](t)(Open(ctx, o))
	if name := e.StageName(); name != "first" || !e.Encrypted() {
		t.Errorf("stage %q, encrypted %v", name, e.Encrypted())
	}
	ok(t, e.Close())
}

// TestAnEmptyReplicaWithoutItsEnvelope has nothing that tells of encryption but
// what the control plane knows.
func TestAnEmptyReplicaWithoutItsEnvelope(t *testing.T) {
	mem := disk.NewMem()
	o := testOptions(mem, newClock(), "fs-1", 1)
	o.KMSKey = testKMSKey
	ok(t, CreateEmpty(o))
	ok(t, must[*Engine](t)(Open(ctx, o)).Close())
	ok(t, mem.Remove("/fs-1/"+seal.EnvelopeName))
	if _, err := Open(ctx, o); err == nil || !strings.Contains(err.Error(), "put it back") {
		t.Errorf("it opened, to go on unencrypted: %v", err)
	}
}

type wrongKeys struct{}

func (wrongKeys) Wrapper(string) (seal.Wrapper, error) {
	return seal.One([32]byte{9}, crand.Reader), nil
}

type noKeys struct{}

func (noKeys) Wrapper(arn string) (seal.Wrapper, error) {
	return nil, fmt.Errorf("there is no key %q", arn)
}

// TestCreationThatACrashCutShort: at any disk operation, what is there afterwards
// opens, and is encrypted with the key that its envelope holds.
func TestEncryptedCreationThatACrashCutShort(t *testing.T) {
	step := int64(1)
	if testing.Short() {
		step = 9
	}
	for at := int64(1); ; at += step {
		mem := disk.NewMem()
		faulty := disk.NewFaulty(mem)
		var left *disk.Mem
		faulty.SetRule(func(_ disk.Op, _ string, _, total int64) error {
			if total == at {
				left = mem.Crash(nil, 0)
			}
			return nil
		})
		o := testOptions(faulty, newClock(), "fs-1", 1)
		o.KMSKey = testKMSKey
		ok(t, newWriter(t, o).Close())
		if left == nil {
			if at < 10 {
				t.Errorf("only %d operations", at)
			}
			return
		}
		o.FS = left
		e, err := OpenOrCreate(ctx, o)
		if err != nil {
			t.Fatalf("crash at operation %d: %v", at, err)
		}
		if !e.Encrypted() {
			t.Fatalf("crash at operation %d: not encrypted", at)
		}
		ok(t, e.BeginWriting(ctx))
		create(t, e, hfs.RootIno, "a", hfs.TypeRegular)
		ok(t, e.Close())
		e = reopen(t, o)
		if _, err := e.Lookup(&root, hfs.RootIno, "a"); err != nil {
			t.Errorf("crash at operation %d: %v", at, err)
		}
		ok(t, e.Close())
	}
}
