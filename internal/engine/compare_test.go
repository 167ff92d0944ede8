package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine/writeset"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// compared brings dst to the position of src by comparing their trees, and
// returns the bytes that the comparison took.
func compared(t testing.TB, src, dst *Engine, name string, fork fs.Pos) (set *writeset.Set, size int) {
	t.Helper()
	info := must[CheckpointInfo](t)(src.OpenCheckpoint(name, nil, nil))
	if !info.Whole {
		t.Fatal("the checkpoint is not of the whole tree")
	}
	ask := func(_ context.Context, q []byte) ([]byte, error) {
		b, err := src.AnswerCompare(name, q)
		size += len(q) + len(b)
		return b, err
	}
	set = must[*writeset.Set](t)(dst.Differences(ctx, ask))
	info = must[CheckpointInfo](t)(src.NarrowCheckpoint(name, set))
	s := must[*Stage](t)(dst.OpenStage(name, src.Lineage(), info, &fork))
	var items []Item
	ok(t, src.Items(name, 0, nil, func(it Item) error {
		items = append(items, Item{bytes.Clone(it.Cursor), bytes.Clone(it.Body), bytes.Clone(it.Payload)})
		return nil
	}))
	ok(t, s.Put(0, items))
	ok(t, s.PartDone(0))
	ok(t, s.Finish(ctx))
	ok(t, src.ReleaseCheckpoint(name))
	return set, size
}

// A destination that was away while its source wrote, cleaned and trimmed comes
// back by comparing; and so does an old primary with changes of its own.
func TestComparingBringsAReplicaBack(t *testing.T) {
	eachSeed(t, 6, func(t *testing.T, seed uint64) {
		p := newPair(t, seed)
		defer func() { p.close() }()
		p.steps(p.rng.IntN(300))
		p.transfer(nil)
		for i := range 6 {
			p.steps(p.rng.IntN(120))
			fork := p.other.Durable()
			if p.rng.IntN(2) == 0 { // the other one goes on too, in an epoch of its own
				ok(t, p.other.BeginWriting(ctx))
				p.other.GraceEnded()
				write(t, p.other, create(t, p.other, fs.RootIno, fmt.Sprint("own-", i), fs.TypeRegular).Ino, 5000, []byte("only here"))
				ok(t, p.other.StopWriting(ctx, ReadOnly))
			}
			ok(t, p.e.Clean(ctx)) // nobody told it what the other one needs
			settle(t, p.e)
			ok(t, p.e.Sync(ctx))
			p.note("compare")
			compared(t, p.e, p.other, fmt.Sprint("compare-", i), fork)
			same(t, p.e, p.other)
			p.compare()
		}
	})
}

// What a comparison costs grows with what differs.
func TestComparingCostsWhatDiffers(t *testing.T) {
	d, clock := disk.NewMem(), newClock()
	a := newWriter(t, testOptions(d, clock, "fs-a", 1))
	defer func() { ok(t, a.Close()) }()
	big := create(t, a, fs.RootIno, "big", fs.TypeRegular)
	for i := range 64 {
		write(t, a, big.Ino, uint64(i)<<18, bytes.Repeat([]byte{byte(i)}, 1<<18))
	}
	const files = 12_000
	var some fs.Ino
	for i := range files {
		f := create(t, a, fs.RootIno, fmt.Sprint("file ", i), fs.TypeRegular)
		if i == files/2 {
			some = f.Ino
		}
	}
	o := testOptions(d, clock, "fs-b", 2)
	ok(t, CreateEmpty(o))
	b := must[*Engine](t)(Open(ctx, o))
	defer func() { ok(t, b.Close()) }()
	ok(t, a.AddMember(ctx, o.ID))
	bootstrap(t, a, b)

	write(t, a, big.Ino, 5<<18+100, []byte("a change in the middle"))
	write(t, a, some, 0, []byte("another one"))
	_, err := a.Remove(ctx, &fs.RemoveRequest{Cred: root, Parent: fs.RootIno, Name: "file 7"})
	ok(t, err)
	settle(t, a)
	ok(t, a.Sync(ctx))
	set, size := compared(t, a, b, "c", b.Durable())
	same(t, a, b)
	// The names and inodes of the three files, the directory, and two ranges: the
	// one within the big file reaches over the run that it was cut out of.
	l := set.Elements()
	if len(l) > 10 {
		t.Errorf("%d elements: %+v", len(l), l)
	}
	for _, e := range l {
		if e.Kind == writeset.Data && e.To-e.From > 1<<18 {
			t.Errorf("a range of %d bytes for a change of 22: %+v", e.To-e.From, e)
		}
	}
	if size > 64<<10 {
		t.Errorf("the comparison took %d bytes for %d files", size, files)
	}
	set, size = compared(t, a, b, "again", b.Durable())
	if len(set.Elements()) != 0 || size > 2<<10 {
		t.Errorf("equal trees: %d elements, %d bytes", len(set.Elements()), size)
	}
}

// bootstrap brings a whole checkpoint of a to b.
func bootstrap(t testing.TB, a, b *Engine) {
	t.Helper()
	info := must[CheckpointInfo](t)(a.OpenCheckpoint("boot", nil, nil))
	s := must[*Stage](t)(b.OpenStage("boot", a.Lineage(), info, nil))
	for part := range info.Parts() {
		ok(t, a.Items("boot", part, nil, func(it Item) error { return s.Put(part, []Item{it}) }))
		ok(t, s.PartDone(part))
	}
	ok(t, s.Finish(ctx))
	ok(t, a.ReleaseCheckpoint("boot"))
}

// An old primary that comes back so late that its own records since the fork
// are trimmed: the bytes of its files are set aside.
func TestSalvageWithoutRecordsHoldsContent(t *testing.T) {
	d, clock := disk.NewMem(), newClock()
	oa := testOptions(d, clock, "fs-a", 1)
	oa.Clean.PeerBytes = 1
	a := newWriter(t, oa)
	defer func() { ok(t, a.Close()) }()
	f := create(t, a, fs.RootIno, "f", fs.TypeRegular)
	write(t, a, f.Ino, 0, bytes.Repeat([]byte("both"), 50_000))
	ob := testOptions(d, clock, "fs-b", 2)
	ok(t, CreateEmpty(ob))
	b := must[*Engine](t)(Open(ctx, ob))
	defer func() { ok(t, b.Close()) }()
	ok(t, a.AddMember(ctx, ob.ID))
	bootstrap(t, a, b)
	fork := b.Durable()
	a.PeerHolds("b", fork.Seq)
	ok(t, b.BeginWriting(ctx))

	lost := bytes.Repeat([]byte("lost"), 10_000)
	write(t, a, f.Ino, 40_000, lost)
	for i := range 300 { // so much that the records go
		write(t, a, f.Ino, 150_000, bytes.Repeat([]byte{byte(i)}, 2000))
	}
	ok(t, a.Clean(ctx))
	if must[fs.History](t)(a.History()).Base.Seq <= fork.Seq {
		t.Fatal("the records since the fork are still there")
	}
	write(t, b, f.Ino, 0, []byte("new"))
	ok(t, b.Sync(ctx))
	ok(t, a.StopWriting(ctx, ReadOnly))
	compared(t, b, a, "c", fork)
	same(t, a, b)

	l := must[[]Salvage](t)(a.Salvages())
	if len(l) != 1 || l[0].Incomplete == "" || len(l[0].Content) != 1 || l[0].Content[0].Inode != f.Ino || l[0].FromSeq <= fork.Seq+1 {
		t.Fatalf("%+v", l)
	}
	got := must[[]byte](t)(disk.ReadFile(sealed(t, oa), filepath.Join(oa.Dir, salvageDir, l[0].ID, salvageContentDir, fmt.Sprint(uint64(f.Ino)))))
	held, at := map[uint64]byte{}, 0
	for _, r := range l[0].Content[0].Ranges {
		for off := r[0]; off < r[1]; off, at = off+1, at+1 {
			held[off] = got[at]
		}
	}
	for i, b := range lost {
		if x, ok := held[40_000+uint64(i)]; !ok || x != b {
			t.Fatalf("the salvage does not hold byte %d of what was lost", i)
		}
	}
	if at != len(got) || held[150_000] != byte(299-256) {
		t.Errorf("%d bytes of %d are in ranges, the newest is %d", at, len(got), held[150_000])
	}
	if len(l[0].Paths) != 1 || l[0].Paths[0].Path != "/f" {
		t.Errorf("%+v", l[0].Paths)
	}
}

// salvaged gives the bytes of a file that a salvage's content holds, by offset.
func salvaged(t *testing.T, o *Options, s *Salvage, ino fs.Ino) map[uint64]byte {
	t.Helper()
	held := map[uint64]byte{}
	for _, c := range s.Content {
		if c.Inode != ino {
			continue
		}
		got, at := must[[]byte](t)(disk.ReadFile(sealed(t, *o), filepath.Join(o.Dir, salvageDir, s.ID, salvageContentDir, fmt.Sprint(uint64(ino))))), 0
		for _, r := range c.Ranges {
			for off := r[0]; off < r[1]; off, at = off+1, at+1 {
				held[off] = got[at]
			}
		}
	}
	return held
}

// All records since the fork are there, but a payload was overwritten in part
// and cleaned: what is left of it is in the salvage, and so it is when bytes
// are damaged, which is told.
func TestSalvageHoldsWhatIsLeftOfPayloads(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		d, clock := disk.NewMem(), newClock()
		oa := testOptions(d, clock, "fs-a", 1)
		oa.Clean.PeerBytes, oa.Clean.HistoryBytes, oa.Clean.HistoryAge = 1, 1<<30, 1<<40
		a := newWriter(t, oa)
		f := create(t, a, fs.RootIno, "f", fs.TypeRegular)
		ob := testOptions(d, clock, "fs-b", 2)
		ok(t, CreateEmpty(ob))
		b := must[*Engine](t)(Open(ctx, ob))
		defer func() { ok(t, b.Close()) }()
		ok(t, a.AddMember(ctx, ob.ID))
		bootstrap(t, a, b)
		fork := b.Durable()
		a.PeerHolds("b", fork.Seq)
		ok(t, b.BeginWriting(ctx))

		var want []byte
		for i := 0; len(want) < 200<<10; i++ {
			want = fmt.Appendf(want, "only-here-%d ", i)
		}
		write(t, a, f.Ino, 0, want)
		copy(want, bytes.Repeat([]byte("over"), 40<<10))
		if damaged {
			ok(t, a.Close())
			if flipIn(t, d, filepath.Join(oa.Dir, firstJournal), want[180<<10:][:100]) != 1 {
				t.Fatal("nothing was damaged")
			}
			a = reopen(t, oa)
		} else {
			write(t, a, f.Ino, 0, want[:160<<10])
			for range 30 {
				write(t, a, create(t, a, fs.RootIno, "g", fs.TypeRegular).Ino, 0, bytes.Repeat([]byte("g"), 100<<10))
				_, err := a.Remove(ctx, &fs.RemoveRequest{Cred: root, Parent: fs.RootIno, Name: "g"})
				ok(t, err)
			}
			settle(t, a)
			ok(t, a.Clean(ctx))
		}
		ok(t, a.StopWriting(ctx, ReadOnly))
		compared(t, b, a, "c", fork)
		same(t, a, b)
		l := must[[]Salvage](t)(a.Salvages())
		if len(l) != 1 || l[0].FromSeq != fork.Seq+1 || l[0].Incomplete == "" {
			t.Fatalf("damaged: %v: %+v", damaged, l)
		}
		if !damaged && l[0].PayloadsGone == 0 || damaged && (l[0].PayloadsDamaged != 1 || len(l[0].Content) != 1 || len(l[0].Content[0].Damaged) != 1) {
			t.Fatalf("damaged: %v: %+v", damaged, l)
		}
		held := salvaged(t, &oa, &l[0], f.Ino)
		for i := 160 << 10; i < len(want); i++ {
			if damaged && i >= 150<<10 && uint64(i) >= l[0].Content[0].Damaged[0][0] && uint64(i) < l[0].Content[0].Damaged[0][1] {
				continue
			}
			if x, ok := held[uint64(i)]; !ok || x != want[i] {
				t.Fatalf("damaged: %v: the salvage does not hold byte %d", damaged, i)
			}
		}
		if damaged && l[0].Content[0].Damaged[0][1]-l[0].Content[0].Damaged[0][0] > 32<<10 {
			t.Errorf("given up around one bit: %v", l[0].Content[0].Damaged)
		}
		ok(t, a.Close())
	}
}

// So much differs that the whole tree comes: what only this side had is set
// aside all the same.
func TestAWholeTreeDoesNotReplaceWhatOnlyThisSideHad(t *testing.T) {
	d, clock := disk.NewMem(), newClock()
	oa := testOptions(d, clock, "fs-a", 1)
	a := newWriter(t, oa)
	defer func() { ok(t, a.Close()) }()
	f := create(t, a, fs.RootIno, "f", fs.TypeRegular)
	ob := testOptions(d, clock, "fs-b", 2)
	ok(t, CreateEmpty(ob))
	b := must[*Engine](t)(Open(ctx, ob))
	defer func() { ok(t, b.Close()) }()
	ok(t, a.AddMember(ctx, ob.ID))
	bootstrap(t, a, b)
	fork := b.Durable()
	ok(t, b.BeginWriting(ctx))
	ok(t, b.Sync(ctx))
	write(t, a, f.Ino, 0, []byte("only here"))
	ok(t, a.StopWriting(ctx, ReadOnly))
	last := a.Durable()
	bootstrap(t, b, a)
	same(t, a, b)
	l := must[[]Salvage](t)(a.Salvages())
	if len(l) != 1 || l[0].Fork != fork || l[0].Last != last || l[0].Records != 1 || l[0].PayloadBytes != 9 {
		t.Fatalf("%+v", l)
	}
	bootstrap(t, b, a) // it has nothing of its own any more
	if l := must[[]Salvage](t)(a.Salvages()); len(l) != 1 {
		t.Fatalf("%+v", l)
	}
}

func TestAComparisonRefusesNonsense(t *testing.T) {
	p := newPair(t, 3)
	defer p.close()
	p.steps(80)
	ok(t, p.e.Sync(ctx))
	must[CheckpointInfo](t)(p.e.OpenCheckpoint("c", nil, nil))
	for _, q := range [][]byte{nil, {}, {9}, {askChunks}, {askChunks, 1, 'd', 1, 'e', 0}, {askKeys, 200, 1}, {askRuns}, bytes.Repeat([]byte{255}, 40)} {
		if _, err := p.e.AnswerCompare("c", q); err == nil {
			t.Errorf("query %v was answered", q)
		}
	}
	if _, err := p.e.AnswerCompare("none", (&compareQuery{kind: askRuns, ino: 1}).encode()); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("of a checkpoint that is not: %v", err)
	}
	p.transfer(nil)
	for _, answer := range [][]byte{nil, {7}, {0}, {1}, {0, 1, 'a'}, {0, 1, 'd', 1, 2, 3}, bytes.Repeat([]byte{255}, 100)} {
		_, err := p.other.Differences(ctx, func(context.Context, []byte) ([]byte, error) { return answer, nil })
		if err == nil {
			t.Errorf("answer %v was taken", answer)
		}
	}
	if _, err := p.other.Differences(ctx, func(context.Context, []byte) ([]byte, error) { return nil, os.ErrClosed }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a source that is gone: %v", err)
	}
}

func FuzzCompareQuery(f *testing.F) {
	for _, q := range []compareQuery{{kind: askChunks, lo: []byte("d"), hi: []byte("e"), per: 16}, {kind: askKeys, lo: []byte("i"), hi: []byte("j")}, {kind: askRuns, ino: 1, offset: 7}} {
		f.Add(q.encode())
	}
	e := newWriter(f, testOptions(disk.NewMem(), newClock(), "fs-1", 1))
	write(f, e, create(f, e, fs.RootIno, "f", fs.TypeRegular).Ino, 0, []byte("bytes"))
	must[CheckpointInfo](f)(e.OpenCheckpoint("c", nil, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := parseQuery(b)
		if err == nil && !bytes.Equal(q.encode(), b) && len(q.encode()) > len(b) {
			t.Fatalf("%+v", q)
		}
		_, _ = e.AnswerCompare("c", b) // no panic, whatever it says
	})
}

// A list of differences is not made for ever: then the whole tree is taken.
func TestTooManyDifferencesAreNotListed(t *testing.T) {
	p := newPair(t, 4)
	defer p.close()
	p.transfer(nil)
	p.other.o.MaxDifferences = 5
	for i := range 6 {
		create(t, p.e, fs.RootIno, fmt.Sprint("new ", i), fs.TypeRegular)
	}
	ok(t, p.e.Sync(ctx))
	must[CheckpointInfo](t)(p.e.OpenCheckpoint("c", nil, nil))
	_, err := p.other.Differences(ctx, func(_ context.Context, q []byte) ([]byte, error) { return p.e.AnswerCompare("c", q) })
	if !errors.Is(err, ErrTooDifferent) {
		t.Fatalf("%v", err)
	}
}
