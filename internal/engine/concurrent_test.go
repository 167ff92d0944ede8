package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// refusal reports whether err is an answer that a client may get.
func refusal(err error) bool {
	var e fs.Error
	return err == nil || errors.As(err, &e) && e != fs.ErrIO
}

// busy works on an engine until it is told to stop. What is asked for may be
// refused, but nothing may fail.
func busy(t *testing.T, e *Engine, seed uint64, stop <-chan struct{}) {
	rng := rand.New(rand.NewPCG(seed, 9))
	name := func() fs.Name { return fs.Name(fmt.Sprintf("n%d", rng.IntN(12))) }
	known := []fs.Ino{fs.RootIno}
	dir := func() fs.Ino { return known[rng.IntN(len(known))] }
	buf := make([]byte, 50_000)
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		var err error
		switch rng.IntN(12) {
		case 0, 1:
			res, cerr := e.Create(ctx, &fs.CreateRequest{Parent: dir(), Name: name(), Type: fs.Type(1 + rng.IntN(2)), Attrs: mode(0o777)})
			if err = cerr; err == nil {
				known = append(known, res.Attr.Ino)
			}
		case 2:
			_, err = e.Remove(ctx, &fs.RemoveRequest{Parent: dir(), Name: name()})
		case 3:
			_, err = e.Rename(ctx, &fs.RenameRequest{From: dir(), FromName: name(), To: dir(), ToName: name()})
		case 4, 5:
			_, err = e.Write(ctx, &fs.WriteRequest{Ino: dir(), Offset: rng.Uint64N(9000), Data: buf[:1+rng.IntN(len(buf)-1)]})
		case 6:
			_, _, err = e.Read(ctx, dir(), rng.Uint64N(9000), buf)
		case 7:
			_, err = e.ReadDir(dir(), 0, func(fs.DirEntry) bool { return true })
		case 8:
			_, err = e.Lookup(&root, dir(), name())
		case 9:
			n := rng.Uint64N(9000)
			_, err = e.SetAttr(ctx, &fs.SetAttrRequest{Ino: dir(), Set: fs.AttrChange{Size: &n}})
		case 10:
			ino := dir()
			e.Hold(ino)
			_, err = e.GetAttr(ino)
			e.Release(ino)
		case 11:
			_, err = e.StatFS()
			if err == nil && i%20 == 0 {
				err = e.WaitCommitted(ctx, e.LastApplied())
			}
		}
		if !refusal(err) {
			t.Errorf("seed %d, step %d: %v", seed, i, err)
			return
		}
		if len(known) > 60 {
			known = append(known[:1], known[30:]...)
		}
	}
}

// TestManyAtOnce is for the race detector: everything that an engine does, at
// the same time.
func TestManyAtOnce(t *testing.T) {
	p := newPair(t, 1)
	defer p.close()
	p.steps(50)
	p.transfer(nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	run := func(fn func()) { wg.Add(1); go func() { defer wg.Done(); fn() }() }
	for i := range 4 {
		run(func() { busy(t, p.e, uint64(i), stop) })
	}
	run(func() { busy(t, p.other, 100, stop) }) // a destination: everything that changes is refused
	run(func() {
		for i := range 6 {
			name := fmt.Sprintf("c-%d", i)
			info, err := p.e.OpenCheckpoint(name, nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			for part := range info.Parts() {
				if err := p.e.Items(name, part, nil, func(Item) error { return nil }); err != nil {
					t.Error(err)
				}
			}
			if _, _, err := p.e.Hash(); err != nil {
				t.Error(err)
			}
			if err := p.e.ReleaseCheckpoint(name); err != nil {
				t.Error(err)
			}
		}
	})
	for range 60 {
		pull(t, p.e, p.other, 100)
		if _, err := p.other.History(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	settle(t, p.e)
	catchUp(t, p.e, p.other)
}

// TestReadersSeeTheOldTreeOrTheNew: while a resync switches the tree, readers
// of it meet no error and no mixture: a file that is written whole reads whole.
func TestReadersSeeTheOldTreeOrTheNew(t *testing.T) {
	p := newPair(t, 3)
	defer p.close()
	one := create(t, p.e, fs.RootIno, "one", fs.TypeRegular)
	p.transfer(nil)
	for round := range 6 {
		catchUp(t, p.e, p.other)
		ok(t, p.e.StopWriting(ctx, ReadOnly))
		seq := p.other.LastApplied()
		ok(t, p.other.BeginWriting(ctx))
		write(t, p.other, one.Ino, 0, []byte(strings.Repeat(string(rune('a'+round)), 100_000)))
		ok(t, p.e.BeginWriting(ctx)) // the old primary did not hear of it
		write(t, p.e, one.Ino, 0, []byte(strings.Repeat(string(rune('A'+round)), 100_000)))
		ok(t, p.e.Sync(ctx))
		ok(t, p.other.Sync(ctx))
		ok(t, p.e.StopWriting(ctx, ReadOnly))

		p.e, p.other, p.o, p.otherO = p.other, p.e, p.otherO, p.o
		fork, err := p.other.PosAt(seq)
		ok(t, err)
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, 100_000)
			for {
				n, _, err := p.other.Read(ctx, one.Ino, 0, buf)
				if err != nil || n != len(buf) || strings.Trim(string(buf), string(buf[:1])) != "" {
					t.Errorf("round %d: a reader gets %d bytes, %v, beginning with %.3q", round, n, err, buf)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
		p.names++
		if err := p.transferOnce(fmt.Sprintf("t-%d", p.names), &fork, false); err != nil {
			t.Error(err)
		}
		close(stop)
		<-done
		if got := read(t, p.other, one.Ino, 0, 1); got[0] != byte('a'+round) {
			t.Fatalf("round %d: after the resync the file begins with %q", round, got)
		}
	}
}

// TestAnotherLineageTakesThePlace: an existing file system becomes a replica of
// another one, also through restarts, and nothing of the old one is left.
func TestAnotherLineageTakesThePlace(t *testing.T) {
	eachSeed(t, 3, func(t *testing.T, seed uint64) {
		p := newCrashPair(t, seed)
		defer func() { p.close() }()
		ok(t, p.other.Close())
		// The other one has a life of its own.
		ok(t, p.otherO.FS.RemoveAll(p.otherO.Dir))
		p.other = newWriter(t, p.otherO)
		f := create(t, p.other, fs.RootIno, "old", fs.TypeRegular)
		write(t, p.other, f.Ino, 0, []byte("old"))
		ok(t, p.other.StopWriting(ctx, ReadOnly))
		old := p.other.Lineage()
		p.steps(60)
		for n := 0; p.other.Lineage() == old; n++ {
			p.disk.arm(1 + p.rng.IntN(60+20*n))
			p.attempt(nil)
			p.crash()
			if p.other.Lineage() == old {
				if got := string(read(t, p.other, f.Ino, 0, 9)); got != "old" {
					t.Fatalf("the old tree holds %q", got)
				}
			}
		}
		settle(t, p.e)
		catchUp(t, p.e, p.other)
		p.restartOther()
		leftovers(t, p.otherO)
	})
}

// leftovers checks that a directory holds one tree and one journal.
func leftovers(t *testing.T, o Options) {
	t.Helper()
	names, err := o.FS.List(o.Dir)
	ok(t, err)
	for _, prefix := range []string{treePrefix, journalPrefix} {
		if n := len(slices.DeleteFunc(slices.Clone(names), func(s string) bool { return !strings.HasPrefix(s, prefix) })); n != 1 {
			t.Fatalf("%d of %s in %q", n, prefix, names)
		}
	}
	if slices.Contains(names, stageFileName) {
		t.Fatalf("a stage is left: %q", names)
	}
}

func TestNothingIsLeftOfStagesAndOldTrees(t *testing.T) {
	p := newPair(t, 5)
	defer func() { p.close() }()
	p.steps(50)
	p.transfer(nil)
	for range 3 {
		p.round()
	}
	p.restartOther()
	leftovers(t, p.otherO)
	// A stage that is given up goes at once, and the present tree stays.
	info, err := p.e.OpenCheckpoint("given-up", nil, nil)
	ok(t, err)
	_, err = p.other.OpenStage("given-up", p.e.Lineage(), info, nil)
	ok(t, err)
	if p.other.StageName() != "given-up" {
		t.Fatal("the stage is not there")
	}
	ok(t, p.other.BeginWriting(ctx))
	leftovers(t, p.otherO)
	if _, err := p.other.OpenStage("again", p.e.Lineage(), info, nil); err == nil {
		t.Fatal("a writer opens a stage")
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	d := disk.NewFaulty(disk.NewMem())
	e := newWriter(t, testOptions(d, newClock(), "fs-1", 1))
	defer func() { ok(t, e.Close()) }()
	f := create(t, e, fs.RootIno, "f", fs.TypeRegular)
	over, cancel := context.WithCancel(ctx)
	release := make(chan struct{})
	d.SetRule(func(op disk.Op, _ string, _, _ int64) error {
		if op == disk.OpSync {
			<-release
		}
		return nil
	})
	write(t, e, f.Ino, 0, []byte("x"))
	cancel()
	if err := e.WaitCommitted(over, e.LastApplied()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if e.Err() != nil {
		t.Errorf("an impatient client stopped the engine: %v", e.Err())
	}
	d.SetRule(nil)
	close(release)
}
