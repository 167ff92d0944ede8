package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

func noPause(context.Context, int) error { return nil }

// kept is a journal with a tree beside it that still needs some pieces.
type kept struct {
	h    *history
	live map[uint64]Piece // by sequence
	addr map[uint64]fs.Addr
	rng  *rand.Rand
}

func newKept(seed uint64) *kept {
	return &kept{h: newHistory(), live: map[uint64]Piece{}, addr: map[uint64]fs.Addr{}, rng: rand.New(rand.NewPCG(seed, 1))}
}

// fill appends records; of most payloads nothing is needed afterwards, of the
// rest some part.
func (k *kept) fill(j *Journal, n int) error {
	for range n {
		p := randomPayload(k.rng)
		a, err := k.h.append(j, p)
		if err != nil {
			return err
		}
		seq := k.h.last().Seq
		k.addr[seq] = a
		if len(p) > 0 && k.rng.IntN(3) == 0 {
			from := k.rng.IntN(len(p))
			k.live[seq] = Piece{a, uint32(from), uint32(1 + k.rng.IntN(len(p)-from))}
		}
	}
	return j.WaitDurable(noDeadline, k.h.last().Seq)
}

// forget makes some of what was needed superfluous.
func (k *kept) forget() {
	for seq := range k.live {
		if seq%3 == 0 {
			delete(k.live, seq)
		}
	}
}

// choose takes some of the closed segments: of the history a run of the oldest.
func (k *kept) choose(j *Journal) (victims []Segment, pieces []Piece, err error) {
	l := j.Closed()
	history := true
	for _, s := range l {
		take := k.rng.IntN(3) > 0
		if s.History {
			take = take && history
			history = take
		}
		if take {
			victims = append(victims, s)
		}
	}
	for _, v := range victims {
		for seq := k.h.base.Seq; seq <= k.h.last().Seq; seq++ {
			p, ok := k.live[seq]
			if !ok || v.Stays {
				continue
			}
			if to, _, moved, err := j.Locate(p.Addr, p.From, p.Length); err != nil {
				return nil, nil, err
			} else if p.Addr.Segment == v.ID && !moved {
				pieces = append(pieces, p)
			} else if to.Segment == v.ID {
				pieces = append(pieces, Piece{to, 0, p.Length})
			}
		}
	}
	return victims, pieces, err
}

// check reads all that is needed under the addresses it had at first.
func (k *kept) check(j *Journal) error {
	for seq, p := range k.live {
		want := k.h.data[seq-1][p.From : p.From+p.Length]
		got := make([]byte, p.Length)
		if err := j.Read(p.Addr, p.From, got); err != nil {
			return fmt.Errorf("record %d at %+v: %w", seq, p, err)
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("record %d at %+v has other bytes", seq, p)
		}
	}
	return nil
}

// follow reads the history from its beginning; a payload is right or gone.
func (k *kept) follow(j *Journal) (gone int, err error) {
	r, err := j.Reader(j.Begin().Seq)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for {
		e, ok, err := r.TryNext()
		if err != nil || !ok {
			return gone, err
		}
		i := e.Record.Seq - 1
		if e.Record.Pos() != k.h.records[i].Pos() {
			return gone, fmt.Errorf("record %s, want %s", e.Record.Pos(), k.h.records[i].Pos())
		}
		p, err := e.Payload(nil)
		switch {
		case errors.Is(err, ErrCleaned):
			gone++
		case err != nil:
			return gone, err
		case !bytes.Equal(p, k.h.data[i]):
			return gone, fmt.Errorf("payload of record %d differs", e.Record.Seq)
		}
	}
}

func TestCleaningKeepsWhatIsNeeded(t *testing.T) {
	for seed := range uint64(20) {
		mem := disk.NewMem()
		k := newKept(seed)
		j := mustCreate(t, tiny(mem))
		total := 0
		for range 6 {
			if err := k.fill(j, 80); err != nil {
				t.Fatal(err)
			}
			k.forget()
			victims, pieces, err := k.choose(j)
			if err != nil {
				t.Fatal(err)
			}
			before := j.Bytes()
			if err := j.Clean(noDeadline, victims, pieces, noPause); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if len(victims) > 3 && j.Bytes() >= before {
				t.Errorf("seed %d: %d segments were cleaned, %d bytes became %d", seed, len(victims), before, j.Bytes())
			}
			if err := k.check(j); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			gone, err := k.follow(j)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			total += gone
			if j.Begin().Seq > 0 {
				if _, err := j.Reader(j.Begin().Seq - 1); !errors.Is(err, ErrTrimmed) {
					t.Fatalf("seed %d: a reader before the beginning: %v", seed, err)
				}
			}
			if k.rng.IntN(2) == 0 {
				j.kill()
				if j, err = Open(tiny(mem)); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(j.kill)
				if err := j.Recover(k.h.last(), func(*fs.Record, fs.Addr) error { return nil }); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				if err := k.check(j); err != nil {
					t.Fatalf("seed %d, after a restart: %v", seed, err)
				}
			}
		}
		if total == 0 {
			t.Errorf("seed %d: no payload was ever cleaned away", seed)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		rep, err := Verify(mem, testDir, testKey)
		if err != nil || len(rep.Problems) > 0 || rep.Last != k.h.last() {
			t.Fatalf("seed %d: verify: %+v, %v", seed, rep, err)
		}
	}
}

// A crash at each operation of a cleaning, with any part of what was not
// synced, leaves all that is needed.
func TestACrashWhileCleaningLosesNothing(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() { // with the race detector, which makes it thirty times as slow
		seeds = 1
	}
	for seed := range seeds {
		for at := int64(1); ; at++ {
			done, err := crashWhileCleaning(seed, at)
			if err != nil {
				t.Fatalf("seed %d, operation %d: %v", seed, at, err)
			}
			if done {
				break
			}
		}
	}
}

func crashWhileCleaning(seed uint64, at int64) (done bool, err error) {
	mem := disk.NewMem()
	faulty := disk.NewFaulty(mem)
	k := newKept(seed)
	if err := Create(tiny(faulty)); err != nil {
		return false, err
	}
	j, err := Open(tiny(faulty))
	if err != nil {
		return false, err
	}
	defer func() { j.kill() }()
	if err := j.Recover(fs.Pos{}, func(*fs.Record, fs.Addr) error { return nil }); err != nil {
		return false, err
	}
	var left *disk.Mem
	for round := range 3 {
		if err := k.fill(j, 60); err != nil {
			return false, err
		}
		k.forget()
		victims, pieces, err := k.choose(j)
		if err != nil {
			return false, err
		}
		if round == 2 {
			crash := rand.New(rand.NewPCG(seed, uint64(at)))
			faulty.SetRule(func(_ disk.Op, _ string, _, total int64) error {
				if total == at && left == nil {
					left = mem.Crash(crash, []int{0, 30, 70, 100}[crash.IntN(4)])
				}
				return nil
			})
		}
		if err := j.Clean(noDeadline, victims, pieces, noPause); err != nil {
			return false, err
		}
	}
	faulty.SetRule(nil)
	if left == nil {
		return true, nil
	}
	again, err := Open(tiny(left))
	if err != nil {
		return false, err
	}
	defer again.kill()
	if err := again.Recover(k.h.last(), func(*fs.Record, fs.Addr) error { return nil }); err != nil {
		return false, err
	}
	if err := k.check(again); err != nil {
		return false, err
	}
	if _, err := k.follow(again); err != nil {
		return false, err
	}
	// And it goes on, under ids that were never given.
	if err := k.fill(again, 60); err != nil {
		return false, err
	}
	return false, k.check(again)
}

func TestAFailedCleaningLosesNothing(t *testing.T) {
	boom := errors.New("boom")
	for _, op := range []disk.Op{disk.OpCreate, disk.OpWrite, disk.OpSync, disk.OpRename, disk.OpRemove, disk.OpRead} {
		for n := int64(1); n < 40; n += 3 {
			faulty := disk.NewFaulty(disk.NewMem())
			k := newKept(uint64(n))
			j := mustCreate(t, tiny(faulty))
			if err := k.fill(j, 120); err != nil {
				t.Fatal(err)
			}
			victims, pieces, err := k.choose(j)
			if err != nil {
				t.Fatal(err)
			}
			faulty.FailNth(op, n, boom)
			_ = j.Clean(noDeadline, victims, pieces, noPause) // it may have met the fault or not
			faulty.SetRule(nil)
			if err := k.check(j); err != nil {
				t.Fatalf("operation %d, number %d: %v", op, n, err)
			}
			j.kill()
			again, err := Open(tiny(faulty))
			if err != nil {
				t.Fatalf("operation %d, number %d: %v", op, n, err)
			}
			t.Cleanup(again.kill)
			if err := again.Recover(k.h.last(), func(*fs.Record, fs.Addr) error { return nil }); err != nil {
				t.Fatal(err)
			}
			if err := k.check(again); err != nil {
				t.Fatalf("operation %d, number %d, after a restart: %v", op, n, err)
			}
		}
	}
}

// A reader that stands in what is removed is told; one behind it goes on.
func TestReadersMeetTheTrimming(t *testing.T) {
	k := newKept(3)
	j := mustCreate(t, tiny(disk.NewMem()))
	if err := k.fill(j, 200); err != nil {
		t.Fatal(err)
	}
	early, err := j.Reader(0)
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	late, err := j.Reader(k.h.last().Seq - 1)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	l := j.Closed()
	if err := j.Clean(noDeadline, l, allPieces(k, j, l), noPause); err != nil {
		t.Fatal(err)
	}
	if _, _, err := early.TryNext(); !errors.Is(err, ErrTrimmed) {
		t.Errorf("the early reader: %v", err)
	}
	if e, ok, err := late.TryNext(); err != nil || !ok || e.Record.Seq != k.h.last().Seq {
		t.Errorf("the late reader: %v, %v", ok, err)
	}
	if _, err := j.PosAt(1); !errors.Is(err, ErrTrimmed) {
		t.Errorf("position of a trimmed record: %v", err)
	}
	if p, err := j.PosAt(j.Begin().Seq); err != nil || p != k.h.posAt(p.Seq) {
		t.Errorf("position of the beginning: %v, %v", p, err)
	}
}

func allPieces(k *kept, _ *Journal, victims []Segment) (pieces []Piece) {
	for _, p := range k.live {
		for _, v := range victims {
			if p.Addr.Segment == v.ID && !v.Stays {
				pieces = append(pieces, p)
			}
		}
	}
	return pieces
}

// An address may lead through several maps, which can be forgotten once nobody
// uses it any more.
func TestMovedTwice(t *testing.T) {
	k := newKept(9)
	mem := disk.NewMem()
	j := mustCreate(t, tiny(mem))
	for range 4 {
		if err := k.fill(j, 60); err != nil {
			t.Fatal(err)
		}
		j.payMu.Lock()
		if j.pay != nil { // so that what was moved is in a segment that is closed
			j.files.release(j.pay.file)
			j.pay = nil
		}
		j.payMu.Unlock()
		l := j.Closed()
		var pieces []Piece
		for _, p := range k.live {
			to, from, _, _ := j.Locate(p.Addr, p.From, p.Length)
			for _, v := range l {
				if v.ID == to.Segment && !v.Stays {
					pieces = append(pieces, Piece{to, from, p.Length})
				}
			}
		}
		if err := j.Clean(noDeadline, l, pieces, noPause); err != nil {
			t.Fatal(err)
		}
		if err := k.check(j); err != nil {
			t.Fatal(err)
		}
	}
	for seq, p := range k.live {
		to, from, _, _ := j.Locate(p.Addr, p.From, p.Length)
		k.live[seq] = Piece{to, from, p.Length}
		k.h.data[seq-1] = bytes.Repeat([]byte{0}, int(from))
		got := make([]byte, p.Length)
		if err := j.Read(p.Addr, p.From, got); err != nil {
			t.Fatal(err)
		}
		k.h.data[seq-1] = append(k.h.data[seq-1], got...)
	}
	if j.Moved() == 0 {
		t.Fatal("nothing was moved")
	}
	if err := j.ForgetMoved(j.MovedSegments()); err != nil {
		t.Fatal(err)
	}
	if err := k.check(j); err != nil {
		t.Errorf("under the new addresses: %v", err)
	}
	names, err := mem.List(testDir)
	for _, n := range names {
		if _, ok := parseMapName(n); ok {
			t.Errorf("%s is still there, %v", n, err)
		}
	}
}

// A damaged piece cannot be moved: its segment stays, and says so when read.
func TestDamageIsNotMoved(t *testing.T) {
	mem := disk.NewMem()
	k := newKept(5)
	j := mustCreate(t, tiny(mem))
	if err := k.fill(j, 200); err != nil {
		t.Fatal(err)
	}
	l := j.Closed()
	pieces := allPieces(k, j, l)
	bad := pieces[len(pieces)/2]
	c, _ := j.files.classOf(bad.Addr.Segment)
	b, err := mem.UnsafeGetFileDataBuffer(j.files.path(segmentName(bad.Addr.Segment, c)))
	if err != nil {
		t.Fatal(err)
	}
	b[bad.Addr.Offset] ^= 1
	before := j.Bytes()
	var damage *fs.CorruptionError
	// Each piece's first unit is where the damage is only if it is read.
	if err := j.Read(bad.Addr, 0, make([]byte, 1)); !errors.As(err, &damage) {
		t.Fatalf("a flipped bit was read: %v", err)
	}
	bad.From, bad.Length = 0, 1
	pieces[len(pieces)/2] = bad
	if err := j.Clean(noDeadline, l, pieces, noPause); !errors.As(err, &damage) {
		t.Fatalf("cleaning damage: %v", err)
	}
	if j.Bytes() < before || j.Begin().Seq != 0 {
		t.Error("something was removed all the same")
	}
	if err := j.Read(bad.Addr, 0, make([]byte, 1)); !errors.As(err, &damage) {
		t.Errorf("the damage is not told any more: %v", err)
	}
}

// A new history begins while the old one is cleaned (a destination switches to
// what it has received): what is trimmed is the old one's.
func TestARebaseWhileCleaning(t *testing.T) {
	o := tiny(disk.NewMem())
	k := newKept(5)
	j := mustCreate(t, o)
	if err := k.fill(j, 200); err != nil {
		t.Fatal(err)
	}
	victims := j.Closed()
	pieces := allPieces(k, j, victims)
	rebased := false
	err := j.Clean(noDeadline, victims, pieces, func(context.Context, int) error {
		if rebased {
			return nil
		}
		rebased = true
		return j.Rebase(basePos(1000), nil)
	})
	if err != nil || !rebased {
		t.Fatalf("%v; rebased: %v", err, rebased)
	}
	if err := k.check(j); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.kill)
	if base, _ := again.Base(); base != basePos(1000) || again.Begin() != base {
		t.Fatalf("base %s, begin %s", base, again.Begin())
	}
	if err := again.Recover(basePos(1000), func(*fs.Record, fs.Addr) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := k.check(again); err != nil {
		t.Fatal(err)
	}
}

// A segment goes between a reader's look at the list and its opening: that is
// trimming, not corruption.
func TestAReaderMeetsTheTrimmingHalfWay(t *testing.T) {
	k := newKept(3)
	j := mustCreate(t, tiny(disk.NewMem()))
	if err := k.fill(j, 200); err != nil {
		t.Fatal(err)
	}
	r, err := j.Reader(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for r.c.pos != j.segs[r.c.i+1].start {
		if err := r.fill(); err != nil {
			t.Fatal(err)
		}
		r.next, r.pending = r.c.pos.Seq+1, nil
	}
	l := j.Closed()
	if err := j.Clean(noDeadline, l, allPieces(k, j, l), noPause); err != nil {
		t.Fatal(err)
	}
	if err := r.fill(); !errors.Is(err, ErrTrimmed) {
		t.Errorf("a reader whose next segment has gone: %v", err)
	}
}
