package engine

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine/writeset"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/fstest"
)

var update = flag.Bool("update", false, "write new golden files, for a new format version only")

// told are the settings of a file system at rest.
func told(t testing.TB, o Options, at fs.Pos) map[string]string {
	t.Helper()
	m := map[string]string{}
	found, err := RestingSettings(o, at, "", func(k string, v []byte) error { m[k] = string(v); return nil })
	ok(t, err)
	if !found {
		t.Fatal("no settings are told at rest")
	}
	return m
}

func settingsOf(t testing.TB, e *Engine) map[string]string {
	t.Helper()
	m := map[string]string{}
	ok(t, e.Settings("", func(k string, v []byte) error { m[k] = string(v); return nil }))
	return m
}

// sameAsTold fails unless what was told at rest is what the engine says.
func sameAsTold(t testing.TB, r *Resting, e *Engine) {
	t.Helper()
	is := must[*Resting](t)(e.Resting())
	if r.Lineage != is.Lineage || r.Pos != is.Pos || r.Files != is.Files || r.BytesUsed != is.BytesUsed || r.Root != is.Root {
		t.Fatalf("at rest it said %+v, open it says %+v", r, is)
	}
	if pos := e.Durable(); pos != r.Pos {
		t.Fatalf("at rest %s was durable, open %s", r.Pos, pos)
	}
}

func TestAtRestAFileSystemTellsWhatItHolds(t *testing.T) {
	o := testOptions(disk.NewMem(), newClock(), "fs-a", 1)
	e := newWriter(t, o)
	f := create(t, e, fs.RootIno, "f", fs.TypeRegular)
	write(t, e, f.Ino, 0, bytes.Repeat([]byte("x"), 100_000))
	ok(t, e.SetSetting(ctx, "policy", []byte("\x00 a policy \xff")))
	ok(t, e.SetSetting(ctx, "access-point/fsap-1", []byte("{}")))
	epoch, want := e.Epoch(), settingsOf(t, e)
	_, version, _ := e.SettingsSince(0)

	r := must[*Resting](t)(e.Rest())
	if r.SettingsVersion != version {
		t.Errorf("settings at version %d; want %d", r.SettingsVersion, version)
	}
	read1 := ReadResting(o)
	if read1 == nil || read1.SettingsVersion != 0 || read1.nextIno != 0 {
		t.Fatalf("what only this process knows is in the file, or there is none: %+v", read1)
	}
	if got := told(t, o, r.Pos); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("settings at rest %q, want %q", got, want)
	}
	n := 0
	_, err := RestingSettings(o, r.Pos, "access-point/", func(string, []byte) error { n++; return nil })
	if ok(t, err); n != 1 {
		t.Errorf("%d settings begin with access-point/", n)
	}
	if found, _ := RestingSettings(o, fs.Pos{Seq: r.Pos.Seq + 1}, "", func(string, []byte) error { return nil }); found {
		t.Error("settings of another position were told")
	}

	if rep, err := Check(o, true); err != nil || len(rep.Problems) > 0 {
		t.Errorf("a check at rest: %v, %v", rep.Problems, err)
	}
	if ReadResting(o) == nil {
		t.Error("a check changes nothing, but the file system is at rest no longer")
	}

	e = must[*Engine](t)(Open(ctx, o))
	sameAsTold(t, r, e)
	sameAsTold(t, read1, e)
	if jb := e.JournalBytes(); jb != r.JournalBytes || jb != read1.JournalBytes {
		t.Errorf("a journal of %d bytes; at rest it said %d and %d", jb, r.JournalBytes, read1.JournalBytes)
	}
	if ReadResting(o) != nil {
		t.Error("an open file system says that it is at rest")
	}
	if e.Resume(read1) {
		t.Error("an epoch of another process went on")
	}
	if !e.Resume(r) || e.Epoch() != epoch || e.Mode() != Writer {
		t.Errorf("it does not go on in epoch %s but in %s, mode %d", epoch, e.Epoch(), e.Mode())
	}
	g := create(t, e, fs.RootIno, "g", fs.TypeRegular)
	if g.Ino == f.Ino || g.Ino != f.Ino+1 {
		t.Errorf("inode numbers %d, then %d", f.Ino, g.Ino)
	}
	if e.Resume(r) {
		t.Error("a writer was made a writer once more")
	}
	ok(t, e.Close())
	// Something came after the rest: the epoch must not go on.
	e = must[*Engine](t)(Open(ctx, o))
	if e.Resume(r) {
		t.Error("it went on from where it is not any more")
	}
	ok(t, e.BeginWriting(ctx))
	if e.Epoch() == epoch {
		t.Error("no new epoch")
	}
	ok(t, e.Close())
}

func TestWhatIsInUseDoesNotGoToRest(t *testing.T) {
	for name, x := range map[string]func(t *testing.T, e *Engine) (undo func()){
		"a file is held": func(t *testing.T, e *Engine) func() {
			e.Hold(fs.RootIno)
			return func() { e.Release(fs.RootIno) }
		},
		"a removed file is held": func(t *testing.T, e *Engine) func() {
			f := create(t, e, fs.RootIno, "gone", fs.TypeRegular)
			e.Hold(f.Ino)
			must[fs.DirResult](t)(e.Remove(ctx, &fs.RemoveRequest{Cred: root, Parent: fs.RootIno, Name: "gone"}))
			return func() { e.Release(f.Ino); settle(t, e) }
		},
		"a client may reclaim": func(t *testing.T, e *Engine) func() {
			must[uint64](t)(e.AddClient(ctx, []byte("client")))
			return func() { must[uint64](t)(e.RemoveClient(ctx, []byte("client"))) }
		},
		"a checkpoint is kept": func(t *testing.T, e *Engine) func() {
			must[CheckpointInfo](t)(e.OpenCheckpoint("c", nil, &writeset.Set{}))
			return func() { ok(t, e.ReleaseCheckpoint("c")) }
		},
		"it is no writer": func(t *testing.T, e *Engine) func() {
			ok(t, e.StopWriting(ctx, ReadOnly))
			return func() { ok(t, e.BeginWriting(ctx)) }
		},
		"it waits for its peer": func(t *testing.T, e *Engine) func() {
			ok(t, e.StopWriting(ctx, Waiting))
			return func() { ok(t, e.BeginWriting(ctx)) }
		},
		"damage was met": func(t *testing.T, e *Engine) func() {
			if e.noteDamage(&fs.CorruptionError{File: "x.pay"}) == nil {
				t.Fatal("no damage")
			}
			return func() { e.damage.Store(nil) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(disk.NewMem(), newClock(), "fs-a", 1)
			e := newWriter(t, o)
			settle(t, e)
			undo := x(t, e)
			if r, err := e.Rest(); !errors.Is(err, ErrInUse) || r != nil {
				t.Fatalf("it went to rest: %+v, %v", r, err)
			}
			if ReadResting(o) != nil {
				t.Error("it says that it is at rest")
			}
			undo()
			settle(t, e)
			create(t, e, fs.RootIno, "after", fs.TypeRegular) // it works as before
			if _, err := e.Rest(); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestADestinationDoesNotGoToRest: neither while it receives, nor with a stage.
func TestADestinationDoesNotGoToRest(t *testing.T) {
	p := newPair(t, 3)
	defer p.close()
	p.steps(50)
	ok(t, p.e.Sync(ctx))
	if _, err := p.other.Rest(); !errors.Is(err, ErrInUse) {
		t.Fatalf("an empty destination: %v", err)
	}
	info := must[CheckpointInfo](t)(p.e.OpenCheckpoint("c", nil, nil))
	must[*Stage](t)(p.other.OpenStage("c", p.e.Lineage(), info, nil))
	if _, err := p.other.Rest(); !errors.Is(err, ErrInUse) {
		t.Fatalf("a destination with a stage: %v", err)
	}
}

// TestARestFileThatIsNotTrueIsNotBelieved: the engine is opened then, as if
// there were none.
func TestARestFileThatIsNotTrueIsNotBelieved(t *testing.T) {
	m := disk.NewMem()
	o := testOptions(m, newClock(), "fs-a", 1)
	e := newWriter(t, o)
	create(t, e, fs.RootIno, "f", fs.TypeRegular)
	must[*Resting](t)(e.Rest())
	good := must[[]byte](t)(disk.ReadFile(m, o.restPath()))
	put := func(b []byte) { ok(t, disk.WriteFileAtomic(m, o.restPath(), b)) }
	for i := range good {
		for _, bit := range []byte{1, 0x20} {
			bad := slices.Clone(good)
			bad[i] ^= bit
			put(bad)
			if r := ReadResting(o); r != nil && *r != *mustDecode(t, good) {
				t.Fatalf("byte %d flipped: %+v", i, r)
			}
		}
		put(good[:i])
		if ReadResting(o) != nil {
			t.Fatalf("cut to %d bytes it is believed", i)
		}
	}
	for what, b := range map[string][]byte{
		"another format":      bytes.Replace(good, []byte(`"format":1`), []byte(`"format":2`), 1),
		"another file system": reframe(t, good, `"fs-a"`, `"fs-b"`),
		"another lineage":     reframe(t, good, e.Lineage().String(), strings.Repeat("a", 32)),
		"another journal":     reframe(t, good, `"journal-000001"`, `"journal-000002"`),
		"a path":              reframe(t, good, `"journal-000001"`, `"journal-/../x"`),
		"no form at all":      []byte("{}"),
	} {
		put(b)
		if ReadResting(o) != nil {
			t.Errorf("%s is believed", what)
		}
	}
	put(good)
	if ReadResting(o) == nil {
		t.Fatal("the good one is not believed")
	}
	// A release that knows of no rest file opens the engine, and even changes
	// something; then this one is started again.
	e = must[*Engine](t)(Open(ctx, o))
	ok(t, e.Close())
	put(good)
	if ReadResting(o) != nil {
		t.Error("the engine was opened since, and the file is believed")
	}
	e = must[*Engine](t)(Open(ctx, o)) // which removes it
	ok(t, e.BeginWriting(ctx))
	ok(t, e.Close())
	if ReadResting(o) != nil {
		t.Error("a file system that was not put to rest is at rest")
	}
}

func mustDecode(t testing.TB, b []byte) *Resting {
	t.Helper()
	r, _, err := decodeRest(b, "fs-a")
	ok(t, err)
	return &r.Resting
}

// reframe changes the body and makes the checksum right.
func reframe(t testing.TB, b []byte, old, new string) []byte {
	t.Helper()
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("there is no %s in %s", old, b)
	}
	_, body, found := bytes.Cut(bytes.TrimSuffix(b, []byte("}")), []byte(`"rest":`))
	if !found {
		t.Fatal("no body")
	}
	body = bytes.Replace(body, []byte(old), []byte(new), 1)
	return fmt.Appendf(nil, `{"format":1,"crc32c":"%s","rest":%s}`, restSum(body), body)
}

const goldenRest = "testdata/rest-v1.json"

// TestFormOfTheRestFileIsFrozen: docs/formats/rest.md describes it.
func TestFormOfTheRestFileIsFrozen(t *testing.T) {
	r := &restFile{Resting: Resting{Lineage: fs.Lineage{1, 2, 15: 16},
		Pos:   fs.Pos{Epoch: fs.EpochID{Counter: 0x12345, Member: 0x321, Nonce: 0x0102030405060708}, Seq: 77, Chain: fs.Chain{9, 15: 8}},
		Files: 3, BytesUsed: 4, JournalBytes: 5,
		Root: fs.Attr{Ino: fs.RootIno, Parent: fs.RootIno, Type: fs.TypeDir, Mode: 0o1755, Nlink: 6, UID: 7, GID: 8, Size: 9, Change: 1<<63 | 10,
			Atime: fs.Time{Sec: 11, Nsec: 12}, Mtime: fs.Time{Sec: 13, Nsec: 14}, Ctime: fs.Time{Sec: 15, Nsec: 999999999}, Btime: fs.Time{Sec: -17, Nsec: 18}}},
		settings: []restSetting{{"access-point/fsap-1", []byte(`{"v":1}`)}, {"member/fs-a", []byte{0, 0}}}, journal: "journal-000001", tree: "tree-000002"}
	b, err := r.encode(&Options{ID: "fs-a"}, strings.Repeat("ab", 32))
	ok(t, err)
	if *update {
		ok(t, os.WriteFile(goldenRest, append(b, '\n'), 0o644))
	}
	golden := bytes.TrimSuffix(must[[]byte](t)(os.ReadFile(goldenRest)), []byte("\n"))
	if !bytes.Equal(golden, b) {
		t.Errorf("it is written as\n%s\nwant\n%s", b, golden)
	}
	back, witness, err := decodeRest(golden, "fs-a")
	ok(t, err)
	if fmt.Sprint(back) != fmt.Sprint(r) || witness != strings.Repeat("ab", 32) {
		t.Errorf("it is read as %+v, want %+v", back, r)
	}
}

func FuzzDecodeRest(f *testing.F) {
	golden, err := os.ReadFile(goldenRest)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add([]byte(`{"format":1,"crc32c":"00000000","rest":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _, err := decodeRest(b, "fs-a")
		if err == nil && (filepath.Base(r.tree) != r.tree || filepath.Base(r.journal) != r.journal) {
			t.Fatalf("directories %q and %q", r.tree, r.journal)
		}
	})
}

// quiet makes the world's file system idle: what is open is closed, and who may
// reclaim goes.
func (w *world) quiet() {
	w.t.Helper()
	do := func(o *fstest.Op) {
		o.Time = w.clock.Now()
		w.note("%s", o)
		done, err := w.m.Do(o)
		if err != nil {
			w.fail(o.String(), err)
		}
		w.events = append(w.events, event{o, done.Seq})
	}
	for _, ino := range w.m.Ref.Held() {
		for range w.m.Ref.Holds(ino) {
			do(&fstest.Op{Kind: fstest.OpRelease, Ino: ino})
		}
	}
	w.gen.Restarted() // nothing is held
	clients, _ := w.m.Ref.Clients()
	for _, c := range clients {
		do(&fstest.Op{Kind: fstest.OpClient, Name: fs.Name(c), Delete: true})
	}
	do(&fstest.Op{Kind: fstest.OpGraceEnded})
	settle(w.t, w.e)
}

// rest goes to rest and wakes up, sometimes as another process.
func (w *world) rest() {
	w.t.Helper()
	w.quiet()
	w.note("rest")
	r, err := w.e.Rest()
	if err != nil {
		w.fail("rest", err)
	}
	if w.rng.IntN(2) == 0 {
		if r = ReadResting(w.o); r == nil {
			w.fail("rest", errors.New("it does not say that it is at rest"))
		}
	}
	e, err := Open(ctx, w.o)
	if err != nil {
		w.fail("wake", err)
	}
	sameAsTold(w.t, r, e)
	w.e = e
	if e.Resume(r) {
		w.m.FS = e // as if nothing had happened
		return
	}
	ok(w.t, e.BeginWriting(ctx))
	w.taken(false)
}

func TestRestsChangeNothing(t *testing.T) {
	eachSeed(t, 6, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed)
		defer func() { ok(t, w.e.Close()) }()
		for range 12 {
			for range w.rng.IntN(60) {
				w.step()
			}
			w.rest()
			w.compare()
		}
	})
}

// TestACrashWhileGoingToRestOrWaking: at every operation of the disk, and of the
// first changes afterwards. Nothing that was acknowledged is lost, whether the
// file system says that it is at rest or not; and what it says is true.
func TestACrashWhileGoingToRestOrWaking(t *testing.T) {
	eachSeed(t, 2, func(t *testing.T, seed uint64) {
		w := newCrashWorld(t, seed)
		defer func() { ok(t, w.e.Close()) }()
		w.work(60)
		resting, waking, awake := 0, 0, 0
		for n, try := 1, 0; ; try++ {
			if try == crashesEach {
				n, try = n+1, 0
			}
			w.quiet()
			w.ack()
			w.disk.arm(n)
			r, err := w.e.Rest()
			if err != nil {
				w.fail("rest", err)
			}
			restOps := int(w.disk.Total())
			w.open()
			if !w.e.Resume(r) {
				w.fail("wake", errors.New("it does not go on"))
			}
			wakeOps := int(w.disk.Total())
			w.m.FS = w.e
			w.step()
			w.step()
			w.ack()
			told := w.crashWith()
			switch {
			case told == nil:
				awake++
			case n <= restOps:
				resting++
			default:
				waking++
			}
			if n > wakeOps+20 {
				break
			}
		}
		t.Logf("a crash left it open %d times, at rest %d times while it went to rest and %d times while it woke up", awake, resting, waking)
		if resting+waking == 0 || awake == 0 {
			t.Error("one of them was not tried")
		}
	})
}

// crashWith goes on with what the crash left, and gives what that said at rest.
func (w *crashWorld) crashWith() (told *Resting) {
	w.t.Helper()
	c := newCrasher(w.disk.crashed(), w.rng.Uint64())
	ok(w.t, w.e.Close())
	w.o.FS, w.disk = c, c
	told = ReadResting(w.o)
	w.open()
	if told != nil {
		sameAsTold(w.t, told, w.e)
	}
	seq := w.e.LastApplied()
	if seq < w.acked {
		w.fail("crash", fmt.Errorf("recovered %d, but %d was acknowledged", seq, w.acked))
	}
	ok(w.t, w.e.BeginWriting(ctx))
	w.acked = w.e.LastApplied()
	w.rollback(w.e, seq)
	w.compare()
	return told
}

// crashesEach so many crashes at each operation: what a crash keeps of what is
// not synced is drawn.
const crashesEach = 3

// TestAFaultWhileGoingToRest: at every operation of the disk that can fail. The
// file system is open as it was, or closed with all that it had; the file tells
// the truth or is not there.
func TestAFaultWhileGoingToRest(t *testing.T) {
	injected := errors.New("injected")
	stayed, closed := 0, 0
	for n := int64(1); ; n++ {
		m := disk.NewMem()
		d := disk.NewFaulty(m)
		o := testOptions(d, newClock(), "fs-a", 1)
		e := newWriter(t, o)
		f := create(t, e, fs.RootIno, "f", fs.TypeRegular)
		write(t, e, f.Ino, 0, []byte("content"))
		settle(t, e)
		ok(t, e.Sync(ctx))
		d.SetRule(func(op disk.Op, _ string, _, total int64) error {
			if total == n && op != disk.OpRead && op != disk.OpOpen {
				return injected
			}
			return nil
		})
		r, err := e.Rest()
		done := d.Total() < n
		d.SetRule(nil)
		if errors.Is(err, ErrInUse) {
			stayed++
			// The store may tell of the fault only now.
			_, err := e.Create(ctx, &fs.CreateRequest{Cred: root, Parent: fs.RootIno, Name: "after", Type: fs.TypeRegular, Attrs: mode(0o755)})
			if err != nil && e.Err() == nil {
				t.Fatalf("operation %d: it stayed as it was, and refuses a change: %v", n, err)
			}
			_ = e.Close() // of one that may have failed
		} else {
			closed++
			if r == nil {
				t.Fatalf("operation %d: closed without a word: %v", n, err)
			}
		}
		told := ReadResting(o)
		if err == nil && told == nil {
			t.Fatalf("operation %d: no error, and no rest file", n)
		}
		e = must[*Engine](t)(Open(ctx, o))
		if told != nil {
			sameAsTold(t, told, e)
		}
		if r != nil && e.Resume(r) {
			sameAsTold(t, r, e)
		} else {
			ok(t, e.BeginWriting(ctx))
		}
		if got := read(t, e, f.Ino, 0, 100); string(got) != "content" {
			t.Fatalf("operation %d: %q", n, hex.EncodeToString(got))
		}
		ok(t, e.Close())
		if done {
			break
		}
	}
	if stayed == 0 || closed < 2 {
		t.Errorf("a fault kept it open %d times and found it closed %d times: one of them was not tried", stayed, closed)
	}
}
