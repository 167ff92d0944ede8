package region

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-fs/holdfast/internal/config"
	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/fstest"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// shelf is the volumes of a region whose clock stands still.
type shelf struct {
	*testing.T
	*volumes
	disk          *disk.Faulty
	clock         *fstest.Clock
	inReplication sync.Map // the ids of file systems
	sized         *sized
	cleaning      engine.CleanOptions
	keys          seal.Keeper
	kmsKey        string // of what is made
}

// sized is a disk that tells its size.
type sized struct {
	*disk.Faulty
	free atomic.Uint64
}

func (d *sized) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.free.Load(), TotalBytes: 100 << 30}, nil
}

func newShelf(t *testing.T) *shelf {
	s := &shelf{T: t, disk: disk.NewFaulty(disk.NewMem()), clock: fstest.NewClock(simStart)}
	s.keys = testKeys()
	s.sized, s.cleaning.Off = &sized{Faulty: s.disk}, true
	s.sized.free.Store(50 << 30)
	s.begin()
	t.Cleanup(func() { _ = s.volumes.Close() }) // the test has closed them, if it looks at that
	return s
}

// begin is a new process on the same disk.
func (s *shelf) begin() {
	s.volumes = newVolumes(volumeEnv{fs: s.sized, dir: "/fs", region: "here", now: s.clock.Now,
		rand: &lockedReader{r: rand.NewChaCha8([32]byte{byte(s.clock.Now().Unix())})}, log: slog.New(slog.DiscardHandler),
		registry: prometheus.NewRegistry(), recordSegmentBytes: 64 << 10, clean: s.cleaning, keys: s.keys,
		replicated: func(id string) bool { _, yes := s.inReplication.Load(id); return yes }})
}

func (s *shelf) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// restart ends the process in an orderly way and opens these in the next.
func (s *shelf) restart(ids ...string) {
	s.Helper()
	s.ok(s.volumes.Close())
	s.clock.Add(time.Second)
	s.begin()
	for _, id := range ids {
		s.ok(s.Open(ctx, id, control.RoleWriter, nil))
	}
}

// make makes a writer.
func (s *shelf) make(id string) *volume {
	s.Helper()
	if _, err := s.Create(ctx, id, s.kmsKey); err != nil {
		s.Fatal(err)
	}
	s.ok(s.Open(ctx, id, control.RoleWriter, nil))
	return s.get(id)
}

func (s *shelf) isAwake(id string) bool {
	return slices.ContainsFunc(s.awake(), func(x *volume) bool { return x.id == id })
}

// asleep puts a file system to rest.
func (s *shelf) asleep(id string) {
	s.Helper()
	s.goesToRest(s.get(id))
}

func (s *shelf) touch(x *volume, name string) fs.Attr {
	s.Helper()
	res, err := x.door.Create(ctx, &fs.CreateRequest{Parent: fs.RootIno, Name: fs.Name(name), Type: fs.TypeRegular})
	if err != nil {
		s.Fatal(err)
	}
	s.ok(x.door.WaitCommitted(ctx, res.Seq))
	return res.Attr
}

const fsOne = "fs-0000000000000000a"

func TestAFileSystemThatNobodyUsesGoesToRestAndWakesUp(t *testing.T) {
	s := newShelf(t)
	x := s.make(fsOne)
	f := s.touch(x, "f")
	s.ok(s.SetSetting(ctx, fsOne, "policy", []byte("text")))
	_, version, _, _ := s.SettingsSince(fsOne, 0)
	before, _ := s.Stat(fsOne)
	sampled, _ := x.sample()
	epoch := x.door.Epoch()
	root, err := x.door.GetAttr(fs.RootIno)
	s.ok(err)

	s.clock.Add(restAfter - time.Second)
	s.tend()
	if !s.isAwake(fsOne) {
		t.Fatal("it went to rest too early")
	}
	s.clock.Add(time.Second)
	s.tend()
	if s.isAwake(fsOne) {
		t.Fatal("it did not go to rest")
	}

	// What is known is told without waking it.
	if st, there := s.Stat(fsOne); !there || st != before {
		t.Errorf("at rest %+v, awake %+v", st, before)
	}
	now, there := x.sample()
	sampled.journal = max(sampled.journal, now.journal) // a spare segment may have been on its way
	if !there || now != sampled {
		t.Errorf("metrics at rest %+v, awake %+v", now, sampled)
	}
	if now, err := x.door.GetAttr(fs.RootIno); err != nil || now != root {
		t.Errorf("root at rest %+v, %v, awake %+v", now, err, root)
	}
	if x.door.Epoch() != epoch || x.door.ReadOnly() || x.door.Lineage() != before.Lineage || x.door.LastApplied() != before.Durable.Seq {
		t.Error("the door says something else at rest")
	}
	s.ok(x.door.WaitCommitted(ctx, before.Durable.Seq))
	x.door.GraceEnded()
	if c, err := x.door.Clients(); err != nil || len(c) > 0 {
		t.Errorf("clients at rest: %q, %v", c, err)
	}
	if keys, now, all, there := s.SettingsSince(fsOne, version); !there || all || len(keys) > 0 || now != version {
		t.Errorf("settings since %d: %q, %d, %v, %v", version, keys, now, all, there)
	}
	if v, err := s.Setting(fsOne, "policy"); err != nil || string(v) != "text" {
		t.Errorf("the policy at rest: %q, %v", v, err)
	}
	if v, err := s.Setting(fsOne, "pol"); err != nil || v != nil {
		t.Errorf("a setting that is not there: %q, %v", v, err)
	}
	if l := s.List(); len(l) != 1 || l[0].Name != fsOne || l[0].FS != x.door {
		t.Errorf("exports at rest: %+v", l)
	}
	if e, found := s.ByLineage(before.Lineage); !found || e.Name != fsOne {
		t.Errorf("by lineage: %+v, %v", e, found)
	}
	s.ok(s.Open(ctx, fsOne, control.RoleWriter, nil))
	s.ok(s.SetRole(ctx, fsOne, control.RoleWriter, nil))
	if s.isAwake(fsOne) {
		t.Fatal("something of this woke it")
	}

	// A use wakes it, as if nothing had happened.
	if a, err := x.door.Lookup(&fs.Cred{}, fs.RootIno, "f"); err != nil || a.Ino != f.Ino {
		t.Fatalf("lookup: %+v, %v", a, err)
	}
	if !s.isAwake(fsOne) || x.door.Epoch() != epoch {
		t.Errorf("awake: %v, in epoch %s, before in %s", s.isAwake(fsOne), x.door.Epoch(), epoch)
	}
	if g := s.touch(x, "g"); g.Ino != f.Ino+1 {
		t.Errorf("inode %d after %d", g.Ino, f.Ino)
	}
	if _, _, all, _ := s.SettingsSince(fsOne, version); !all {
		t.Error("who keeps a copy of settings is not told to read them anew")
	}
	s.asleep(fsOne)
	s.ok(s.SetSetting(ctx, fsOne, "policy", []byte("other")))
	if v, err := s.Setting(fsOne, "policy"); err != nil || string(v) != "other" {
		t.Errorf("the policy: %q, %v", v, err)
	}
}

func TestAStartOpensNoFileSystemThatIsAtRest(t *testing.T) {
	s := newShelf(t)
	x := s.make(fsOne)
	f := s.touch(x, "f")
	s.ok(s.SetSetting(ctx, fsOne, "access-point/fsap-1", []byte("{}")))
	before, _ := s.Stat(fsOne)
	epoch := x.door.Epoch()
	s.restart(fsOne)
	if s.isAwake(fsOne) {
		t.Fatal("the start opened it")
	}
	x = s.get(fsOne)
	if st, there := s.Stat(fsOne); !there || st != before {
		t.Errorf("after the start %+v, before %+v", st, before)
	}
	var keys []string
	s.ok(s.EachSetting(fsOne, "access-point/", func(k string, v []byte) error { keys = append(keys, k+"="+string(v)); return nil }))
	_, version, all, there := s.SettingsSince(fsOne, 0)
	if !slices.Equal(keys, []string{"access-point/fsap-1={}"}) || !all || !there || s.isAwake(fsOne) {
		t.Errorf("settings %q, all %v, there %v, awake %v", keys, all, there, s.isAwake(fsOne))
	}
	if _, _, all, _ := s.SettingsSince(fsOne, version); all {
		t.Error("the settings at rest are to be read again and again")
	}
	if a, err := x.door.Lookup(&fs.Cred{}, fs.RootIno, "f"); err != nil || a.Ino != f.Ino {
		t.Fatalf("lookup: %+v, %v", a, err)
	}
	if x.door.Epoch().Counter != epoch.Counter+1 || x.door.ReadOnly() {
		t.Errorf("in epoch %s after %s; another process is another writer", x.door.Epoch(), epoch)
	}
	second := x.door.Epoch()
	s.asleep(fsOne)
	s.touch(x, "g")
	if x.door.Epoch() != second {
		t.Errorf("in epoch %s after %s in one process", x.door.Epoch(), second)
	}
	// A crash: the next start opens it, and finds all.
	s.volumes.Close()
	s.begin()
	if disk.IsNotExist(s.disk.Remove(filepath.Join("/fs", fsOne, "rest.json"))) {
		t.Fatal("it did not say that it is at rest")
	}
	s.ok(s.Open(ctx, fsOne, control.RoleWriter, nil))
	if !s.isAwake(fsOne) {
		t.Error("a file system that does not say that it is at rest was not opened")
	}
	if _, err := s.get(fsOne).door.Lookup(&fs.Cred{}, fs.RootIno, "g"); err != nil {
		t.Error(err)
	}
}

func TestWhatClientsHaveOpenOrMayReclaimKeepsItAwake(t *testing.T) {
	s := newShelf(t)
	x := s.make(fsOne)
	f := s.touch(x, "f")
	rests := func() bool { s.clock.Add(restAfter); s.tend(); return !s.isAwake(fsOne) }
	x.door.Hold(f.Ino)
	if rests() {
		t.Fatal("a file is open")
	}
	x.door.Release(f.Ino)
	seq, err := x.door.AddClient(ctx, []byte("client"))
	s.ok(err)
	s.ok(x.door.WaitCommitted(ctx, seq))
	if rests() {
		t.Fatal("a client may reclaim")
	}
	s.restart(fsOne)
	x = s.get(fsOne)
	if !s.isAwake(fsOne) {
		t.Fatal("clients will reclaim, and it was not opened")
	}
	if rests() {
		t.Fatal("in grace")
	}
	_, err = x.door.RemoveClient(ctx, []byte("client"))
	s.ok(err)
	x.door.GraceEnded()
	done, err := x.door.keep(ctx)
	s.ok(err)
	if rests() {
		t.Fatal("a request is being carried out")
	}
	done()
	s.clock.Add(-time.Hour) // the clock is put back
	s.tend()
	if !rests() {
		t.Fatal("nobody uses it any more")
	}
}

func TestAReplicatedFileSystemStaysAwake(t *testing.T) {
	s := newShelf(t)
	s.make(fsOne)
	s.inReplication.Store(fsOne, true)
	s.clock.Add(24 * time.Hour)
	s.tend()
	if !s.isAwake(fsOne) {
		t.Fatal("it went to rest")
	}
	s.restart(fsOne)
	if !s.isAwake(fsOne) {
		t.Fatal("it was not opened")
	}
	s.inReplication.Delete(fsOne)
	s.asleep(fsOne)
	// One that is at rest when it becomes part of a replication wakes up.
	s.ok(s.AddMember(ctx, fsOne, "fs-other", "there"))
	s.asleep(fsOne)
	src, err := s.source(fsOne)
	s.ok(err)
	r, err := src.Records(0)
	s.ok(err)
	if s.putToRest(s.get(fsOne), 0) {
		t.Fatal("it went to rest while its records are read")
	}
	r.Close()
	s.asleep(fsOne)
	if _, err := src.Records(0); err == nil {
		t.Error("records of a closed engine")
	}
	s.ok(s.SetRole(ctx, fsOne, control.RoleSuperseded, nil))
	if x := s.get(fsOne); !x.door.ReadOnly() || !s.isAwake(fsOne) {
		t.Error("it does not have its role")
	}
	s.clock.Add(24 * time.Hour)
	if s.tend(); !s.isAwake(fsOne) {
		t.Error("only a writer goes to rest")
	}
}

// TestAFileSystemThatDoesNotWakeUpSaysWhy: and it is tried again at the next use.
func TestAFileSystemThatDoesNotWakeUpSaysWhy(t *testing.T) {
	s := newShelf(t)
	x := s.make(fsOne)
	s.touch(x, "f")
	before, _ := s.Stat(fsOne)
	s.asleep(fsOne)
	broken := errors.New("the disk is out")
	s.disk.SetRule(func(op disk.Op, name string, _, _ int64) error {
		if strings.HasSuffix(name, ".rec") {
			return broken
		}
		return nil
	})
	for range 2 {
		if _, err := x.door.keep(ctx); !errors.Is(err, fs.ErrDelay) || !errors.Is(err, broken) {
			t.Errorf("a client is told %v", err)
		}
		if err := s.SetSetting(ctx, fsOne, "k", []byte("v")); !errors.Is(err, broken) {
			t.Errorf("the control plane is told %v", err)
		}
	}
	if err := s.faults()[fsOne]; !errors.Is(err, broken) {
		t.Errorf("readiness is told %v", err)
	}
	st, there := s.Stat(fsOne)
	if m, _ := x.sample(); !m.failed || !there || !strings.Contains(st.Err, broken.Error()) || st.Durable != before.Durable {
		t.Errorf("state %+v, metrics %+v", st, m)
	}
	s.disk.SetRule(nil)
	if _, err := x.door.Lookup(&fs.Cred{}, fs.RootIno, "f"); err != nil {
		t.Fatal(err)
	}
	if st, _ := s.Stat(fsOne); s.faults()[fsOne] != nil || st.Err != "" {
		t.Error("the trouble is over and still told")
	}
	// Damage is for the operator: a client need not come again.
	s.asleep(fsOne)
	s.damage(fsOne)
	if _, err := x.door.keep(ctx); !errors.Is(err, fs.ErrIO) {
		t.Errorf("a client is told %v", err)
	}
	s.ok(s.Delete(ctx, fsOne))
	if _, err := x.door.keep(ctx); !errors.Is(err, fs.ErrStale) {
		t.Errorf("of a file system that is gone a client is told %v", err)
	}
	if _, there := s.Stat(fsOne); there || len(s.List()) > 0 || s.faults()[fsOne] != nil {
		t.Error("it is still there")
	}
}

// TestWhatIsOnItsWayToRestIsNotCommittedYet: going to rest may fail, and with it
// what was to be made durable.
func TestWhatIsOnItsWayToRestIsNotCommittedYet(t *testing.T) {
	s := newShelf(t)
	x := s.make(fsOne)
	broken := errors.New("the disk is out")
	s.disk.SetRule(func(op disk.Op, name string, _, _ int64) error {
		if op == disk.OpSync && strings.HasSuffix(name, ".rec") {
			return broken
		}
		return nil
	})
	res, err := x.door.Create(ctx, &fs.CreateRequest{Parent: fs.RootIno, Name: "f", Type: fs.TypeRegular})
	s.ok(err)
	e := x.engine()
	r, err := e.Resting()
	s.ok(err)
	at := func(e *engine.Engine, r *engine.Resting) {
		x.stateMu.Lock()
		defer x.stateMu.Unlock()
		x.eng, x.rest = e, r
	}
	x.mu.Lock() // as in putToRest
	at(nil, r)
	answer := make(chan error, 1)
	go func() { answer <- x.door.WaitCommitted(ctx, res.Seq) }()
	for range 100_000 { // so that it comes before the end
		runtime.Gosched()
	}
	at(e, nil) // as in finishRest
	x.mu.Unlock()
	if err := <-answer; err == nil {
		t.Error("it is told that what the disk did not take is committed")
	}
}

// damage makes the file system's description something else.
func (s *shelf) damage(id string) {
	s.Helper()
	s.ok(disk.WriteFileAtomic(s.disk, filepath.Join("/fs", id, "current.json"), []byte("junk")))
}

// TestUsersNeverMeetAClosedFileSystem: many use it while it goes to rest at
// every opportunity.
func TestUsersNeverMeetAClosedFileSystem(t *testing.T) {
	s := newShelf(t)
	x := s.make(fsOne)
	lineage := x.door.Lineage()
	var rests atomic.Int64
	var all sync.WaitGroup
	stop := make(chan struct{})
	all.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if s.putToRest(x, 0) {
				rests.Add(1)
			}
			time.Sleep(100 * time.Microsecond)
		}
	})
	const users, rounds = 3, 60
	var clients sync.WaitGroup
	for u := range users {
		clients.Go(func() {
			for n := range rounds {
				if err := s.oneUse(x, fmt.Sprintf("%d-%d", u, n)); err != nil {
					t.Errorf("user %d, round %d: %v", u, n, err)
					return
				}
				time.Sleep(time.Duration(n*7%20) * time.Millisecond) // or it is never alone
			}
		})
	}
	all.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			st, there := s.Stat(fsOne)
			m, sampled := x.sample()
			_, _, _, settings := s.SettingsSince(fsOne, 0)
			if !there || !sampled || !settings || st.Lineage != lineage || m.files == 0 || !m.writable || len(s.List()) != 1 || x.door.Epoch().IsZero() {
				t.Errorf("somebody who looks sees %v %+v, %v %+v, %v", there, st, sampled, m, settings)
				return
			}
		}
	})
	clients.Wait()
	close(stop)
	all.Wait()
	if rests.Load() < 3 {
		t.Errorf("it went to rest %d times: nothing was tried", rests.Load())
	}
	names := map[fs.Name]bool{}
	_, err := x.door.ReadDir(fs.RootIno, 0, func(e fs.DirEntry) bool { names[e.Name] = true; return true })
	if err != nil || len(names) != users*rounds {
		t.Errorf("%d files, %v", len(names), err)
	}
	t.Logf("it went to rest %d times", rests.Load())
}

// oneUse does what a COMPOUND does.
func (s *shelf) oneUse(x *volume, name string) error {
	e, found := s.ByName(x.id)
	if !found {
		return errors.New("it is not there")
	}
	done, err := e.Use(ctx)
	if err != nil {
		return err
	}
	defer done()
	res, err := e.FS.Create(ctx, &fs.CreateRequest{Parent: fs.RootIno, Name: fs.Name(name), Type: fs.TypeRegular})
	if err != nil {
		return err
	}
	e.FS.Hold(res.Attr.Ino)
	defer e.FS.Release(res.Attr.Ino)
	data := []byte(name)
	w, err := e.FS.Write(ctx, &fs.WriteRequest{Ino: res.Attr.Ino, Data: data})
	if err != nil {
		return err
	}
	if err := e.FS.WaitCommitted(ctx, w.Seq); err != nil {
		return err
	}
	got := make([]byte, len(data))
	if _, _, err := e.FS.Read(ctx, res.Attr.Ino, 0, got); err != nil || !bytes.Equal(got, data) {
		return fmt.Errorf("read %q: %w", got, err)
	}
	if n := len(name); name[n-1] == '7' {
		return s.SetSetting(ctx, x.id, "last", data)
	}
	return nil
}

// TestManyFirstUsersOpenItOnce: also when they come at the same moment.
func TestManyFirstUsersOpenItOnce(t *testing.T) {
	s := newShelf(t)
	s.make(fsOne)
	s.restart(fsOne)
	x := s.get(fsOne)
	var locks atomic.Int64
	s.disk.SetRule(func(op disk.Op, name string, _, _ int64) error {
		if op == disk.OpRemove && strings.HasSuffix(name, "rest.json") {
			locks.Add(1)
		}
		return nil
	})
	before := x.door.Epoch()
	var users sync.WaitGroup
	for range 16 {
		users.Go(func() {
			if _, err := x.door.ReadDir(fs.RootIno, 0, func(fs.DirEntry) bool { return true }); err != nil {
				t.Error(err)
			}
		})
	}
	users.Wait()
	if n := locks.Load(); n != 1 || x.door.Epoch().Counter != before.Counter+1 {
		t.Errorf("it was woken %d times, from epoch %s to %s", n, before, x.door.Epoch())
	}
}

// TestTheScrubWakesWhatIsAtRestAndLetsItGoBack: nothing is forgotten, and not
// all are open at once.
func TestTheScrubWakesWhatIsAtRestAndLetsItGoBack(t *testing.T) {
	s := newShelf(t)
	const n = 5
	var ids []string
	for i := range n {
		id := fmt.Sprintf("fs-%017d", i)
		f := s.touch(s.make(id), "f")
		w, err := s.get(id).door.Write(ctx, &fs.WriteRequest{Ino: f.Ino, Data: make([]byte, 100_000)})
		s.ok(err)
		s.ok(s.get(id).door.WaitCommitted(ctx, w.Seq))
		ids = append(ids, id)
	}
	s.restart(ids...)
	s.touch(s.get(ids[0]), "g") // this one is in use
	reg := prometheus.NewRegistry()
	c := newScrubber(s.volumes, nil, 1<<30, slog.New(slog.DiscardHandler), reg)
	most := 0
	c.sleep = func(context.Context, time.Duration) error { most = max(most, len(s.awake())); return nil }
	c.bytesPerSecond = 1 << 20
	c.pass(ctx, s.all())
	if got := counted(t, reg)["holdfast_scrub_bytes_total"]; got != n*100_000 {
		t.Errorf("%v bytes were scrubbed", got)
	}
	if most != 2 || len(s.awake()) != 1 || !s.isAwake(ids[0]) {
		t.Errorf("%d were awake at once, %d are now", most, len(s.awake()))
	}
	// Damage that it finds is not forgotten by going to rest.
	x := s.get(ids[1])
	e, err := x.use(ctx)
	s.ok(err)
	x.done()
	seg := s.largestRecordFile(ids[1])
	s.flip(seg, 100_000)
	s.asleep(ids[1])
	c.fetch = func(context.Context, fs.Lineage, engine.Run) ([]byte, error) { return nil, errors.New("nobody has it") }
	c.pass(ctx, []*volume{x})
	if e == x.engine() || x.fault() == nil || s.faults()[ids[1]] == nil {
		t.Errorf("the fault %v is told", x.fault())
	}
	s.clock.Add(24 * time.Hour)
	s.tend()
	if !s.isAwake(ids[1]) {
		t.Error("it went to rest, and nobody knows of its damage any more")
	}
}

func counted(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] += m.GetCounter().GetValue()
		}
	}
	return got
}

// largestRecordFile is the payload segment.
func (s *shelf) largestRecordFile(id string) string {
	s.Helper()
	dir := filepath.Join("/fs", id, "journal-000001")
	names, err := s.disk.List(dir)
	s.ok(err)
	for _, n := range names {
		if strings.HasSuffix(n, ".pay") {
			return filepath.Join(dir, n)
		}
	}
	s.Fatal("no payload segment")
	return ""
}

// flip changes a byte of a file.
func (s *shelf) flip(path string, at int64) {
	s.Helper()
	f, err := s.disk.OpenReadWrite(path, disk.Category)
	s.ok(err)
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		s.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		s.Fatal(err)
	}
	s.ok(f.Close())
}

// TestAFileSystemAtRestIsCleaned: its history grows old while nobody uses it, and
// the disk may get full meanwhile.
func TestAFileSystemAtRestIsCleaned(t *testing.T) {
	for what, c := range map[string]struct {
		free uint64
		wait time.Duration
		back time.Duration // the clock is put back meanwhile
	}{"once a day": {50 << 30, cleanRested, 0}, "on a disk with little room": {3 << 29, cleanCrowded, 0},
		"with a clock that was wrong": {50 << 30, cleanRested, 365 * 24 * time.Hour}} {
		t.Run(what, func(t *testing.T) {
			s := newShelf(t)
			s.cleaning = engine.CleanOptions{HistoryAge: time.Hour, HistoryBytes: 1 << 20, SlackBytes: 1 << 20}
			s.begin()
			x := s.make(fsOne)
			f := s.touch(x, "f")
			for range 3 {
				w, err := x.door.Write(ctx, &fs.WriteRequest{Ino: f.Ino, Data: make([]byte, fs.MaxWrite)})
				s.ok(err)
				s.ok(x.door.WaitCommitted(ctx, w.Seq))
			}
			s.goesToRest(x) // what was overwritten is history now
			before, _ := x.sample()
			s.sized.free.Store(c.free)
			s.clock.Add(-c.back)
			s.clean(ctx)
			s.clock.Add(c.wait - time.Second)
			if s.clean(ctx); s.isAwake(fsOne) {
				t.Fatal("it was woken too early")
			}
			s.clock.Add(time.Second)
			if s.clean(ctx); !s.isAwake(fsOne) {
				t.Fatal("it was not woken")
			}
			s.sized.free.Store(1 << 20)
			s.clock.Add(time.Second) // the figure is old then
			if s.putToRest(x, 0) {
				t.Error("it went to rest on a full disk")
			}
			s.sized.free.Store(c.free)
			s.clock.Add(time.Second)
			s.goesToRest(x)
			after, _ := x.sample()
			if after.clean.Copied == 0 || after.journal > before.journal-2*fs.MaxWrite {
				t.Errorf("before %+v, after %+v", before, after)
			}
			s.clock.Add(2 * cleanRested)
			if s.clean(ctx); s.isAwake(fsOne) {
				t.Error("it was woken for nothing")
			}
		})
	}
}

// goesToRest waits until it does.
func (s *shelf) goesToRest(x *volume) {
	s.Helper()
	for end := time.Now().Add(20 * time.Second); !s.putToRest(x, 0); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("it does not go to rest: %v", x.engine().Idle())
		}
	}
}

// TestManyNewFileSystemsDoNotAllStayOpen: those that were used last stay, the
// others go to rest soon.
func TestManyNewFileSystemsDoNotAllStayOpen(t *testing.T) {
	s := newShelf(t)
	const n = restCrowd + 20
	for i := range n {
		s.make(fmt.Sprintf("fs-%017d", i))
		s.clock.Add(100 * time.Millisecond)
	}
	s.clock.Add(restCrowdAfter)
	s.tend()
	open := s.awake()
	if len(open) != restCrowd || open[0].id != fmt.Sprintf("fs-%017d", 20) {
		t.Errorf("%d are open, first %s", len(open), open[0].id)
	}
	s.clock.Add(restAfter)
	s.tend()
	if len(s.awake()) != 0 || len(s.List()) != n {
		t.Errorf("%d are open, %d are there", len(s.awake()), len(s.List()))
	}
}

// TestARegionWithFileSystemsAtRest: clients, the API and the metrics, with
// everything wired.
func TestARegionWithFileSystemsAtRest(t *testing.T) {
	x := start(t, func(*config.Config) {})
	var ids []string
	for i := range 3 {
		d, err := x.control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		p, err := x.control.CreateAccessPoint(t.Context(), control.CreateAccessPointRequest{FileSystemID: d.ID, ClientToken: "t", Path: "/a"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, d.ID, p.ID)
	}
	rest := func() {
		t.Helper()
		for i := 0; i < len(ids); i += 2 {
			v := x.volumes.get(ids[i])
			for deadline := time.Now().Add(20 * time.Second); v.engine() != nil && !x.volumes.putToRest(v, 0); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%s does not go to rest: %v", ids[i], v.engine().Idle())
				}
			}
		}
	}
	awake := func() int { return len(x.volumes.awake()) }
	rest()
	c := x.root(x.cfg.NFS.Listen, "")
	l, err := c.ReadDir(t.Context(), "/")
	if err != nil || len(l) != 3 || awake() != 0 {
		t.Fatalf("the shared root lists %d file systems, %v; %d are awake", len(l), err, awake())
	}
	for i := 0; i < len(ids); i += 2 {
		d, err := x.control.DescribeAccessPoint(ids[i+1])
		if err != nil || d.FileSystemID != ids[i] {
			t.Errorf("access point: %+v, %v", d, err)
		}
		if status, answer, err := x.call(config.RoleAdmin, "GET", "file-systems/"+ids[i], ""); status != 200 || !strings.Contains(answer, `"role":"writer"`) {
			t.Errorf("status: %d %s %v", status, answer, err)
		}
	}
	all, err := x.control.DescribeFileSystems("", "")
	if err != nil || len(all) != 3 || awake() != 0 {
		t.Fatalf("%d file systems, %v; %d are awake", len(all), err, awake())
	}
	if _, err := x.registry.Gather(); err != nil || awake() != 0 {
		t.Fatalf("metrics: %v; %d are awake", err, awake())
	}
	if p := x.volumes.faults(); len(p) > 0 {
		t.Error(p)
	}

	// One client comes, writes and goes; only that file system wakes up.
	if err := c.WriteFile(t.Context(), "/"+ids[0]+"/f", []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	if awake() != 1 {
		t.Errorf("%d are awake", awake())
	}
	if x.volumes.putToRest(x.volumes.get(ids[0]), 0) {
		t.Error("it went to rest although its client may reclaim")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	rest()
	// The other calls wake what they need.
	for path, want := range map[string]string{"hash": `"hash"`, "salvage": `"salvages":[]`} {
		if status, answer, err := x.call(config.RoleAdmin, "GET", "file-systems/"+ids[0]+"/"+path, ""); status != 200 || !strings.Contains(answer, want) {
			t.Errorf("%s: %d %s %v", path, status, answer, err)
		}
		rest()
	}
	if err := x.control.DeleteAccessPoint(t.Context(), ids[1]); err != nil {
		t.Error(err)
	}
	rest()
	if _, err := x.control.DescribeAccessPoint(ids[1]); err == nil {
		t.Error("a deleted access point is back at rest")
	}
	again := x.root(x.cfg.NFS.Listen, "/"+ids[0])
	if got, err := again.ReadFile(t.Context(), "/f"); err != nil || string(got) != "content" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := x.control.DeleteFileSystem(t.Context(), ids[2]); err != nil || x.volumes.get(ids[2]) != nil {
		t.Errorf("delete one at rest: %v", err)
	}
}
