package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/engine/writeset"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// pull gives dst at most n records that src has durable and dst lacks.
func pull(t testing.TB, src, dst *Engine, n int) (got int) {
	t.Helper()
	r, err := src.Records(dst.LastApplied())
	ok(t, err)
	defer r.Close()
	var batch []Incoming
	for len(batch) < n {
		en, more, err := r.TryNext()
		ok(t, err)
		if !more {
			break
		}
		p, err := en.Payload(nil)
		ok(t, err)
		batch = append(batch, Incoming{en.Record, p})
	}
	ok(t, dst.Receive(batch))
	return len(batch)
}

// catchUp brings dst to the position of src, which stands still.
func catchUp(t testing.TB, src, dst *Engine) {
	t.Helper()
	ok(t, src.Sync(ctx))
	for pull(t, src, dst, 50) > 0 {
	}
	ok(t, dst.Sync(ctx))
	same(t, src, dst)
}

// same checks that two replicas stand at one position with equal content.
func same(t testing.TB, a, b *Engine) {
	t.Helper()
	ap, ah, err := a.Hash()
	ok(t, err)
	bp, bh, err := b.Hash()
	ok(t, err)
	if ap != bp || ah != bh {
		t.Fatalf("replicas differ:\n%s %v\n%s %v", ap, ah, bp, bh)
	}
	if a.Meta() != b.Meta() {
		t.Fatalf("counters differ:\n%+v\n%+v", a.Meta(), b.Meta())
	}
}

// pairWorld is a world with a second replica that follows it.
type pairWorld struct {
	*world
	other  *Engine
	otherO Options
	names  int
	// cleaning: both sides clean their journals at random moments.
	cleaning bool
}

func newPair(t *testing.T, seed uint64) *pairWorld {
	w := newWorld(t, seed)
	p := &pairWorld{world: w, otherO: testOptions(w.o.FS, w.clock, "fs-b", seed+1000)}
	ok(t, CreateEmpty(p.otherO))
	p.other = must[*Engine](t)(Open(ctx, p.otherO))
	ok(t, w.e.AddMember(ctx, p.otherO.ID))
	return p
}

func (p *pairWorld) close() {
	ok(p.t, p.e.Close())
	ok(p.t, p.other.Close())
}

// restartOther closes and opens the one that follows.
func (p *pairWorld) restartOther() {
	p.t.Helper()
	p.note("the destination restarts")
	ok(p.t, p.other.Close())
	p.other = must[*Engine](p.t)(Open(ctx, p.otherO))
}

func (p *pairWorld) steps(n int) {
	p.t.Helper()
	for range n {
		p.step()
		p.mayClean(20)
	}
}

// mayClean cleans one side, one time in n. The writer keeps what the other one
// lacks.
func (p *pairWorld) mayClean(n int) {
	p.t.Helper()
	if !p.cleaning || p.rng.IntN(n) > 0 {
		return
	}
	side := p.e
	if p.rng.IntN(2) == 0 {
		side = p.other
	}
	p.note("clean %s", side.o.ID)
	ok(p.t, side.Clean(ctx))
}

// ack tells the writer what the other one holds.
func (p *pairWorld) ack() {
	p.t.Helper()
	ok(p.t, p.other.Sync(ctx))
	p.e.PeerHolds("other", p.other.Durable().Seq)
}

// transfer brings a checkpoint of the writer to the other one, which fork nil
// lacks whole, with interruptions on both sides and operations meanwhile.
func (p *pairWorld) transfer(fork *fs.Pos) {
	p.t.Helper()
	p.names++
	name := fmt.Sprintf("transfer-%d", p.names)
	for attempt := 0; ; attempt++ {
		err := p.transferOnce(name, fork, attempt < 12)
		if err == nil {
			break
		}
		if !errors.Is(err, errCut) {
			p.fail("transfer", err)
		}
		p.note("the transfer is cut")
		p.steps(p.rng.IntN(4))
		switch p.rng.IntN(5) {
		case 0:
			p.restartOther()
		case 1:
			p.restart()
		case 2:
			name += "x" // another one
		}
	}
	ok(p.t, p.e.ReleaseCheckpoint(name))
	if s := p.other.StageName(); s != "" {
		p.t.Fatalf("stage %s is left", s)
	}
}

var errCut = errors.New("cut")

func (p *pairWorld) transferOnce(name string, fork *fs.Pos, mayCut bool) error {
	var theirs *writeset.Set
	if fork != nil {
		ok(p.t, p.other.Sync(ctx))
		mine, err := p.other.WriteSet(fork.Seq)
		if err != nil {
			return fmt.Errorf("write set: %w", err)
		}
		theirs = &writeset.Set{}
		ok(p.t, theirs.Decode(mine.Encode()))
	}
	info, err := p.e.OpenCheckpoint(name, fork, theirs)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	s, err := p.other.OpenStage(name, p.e.Lineage(), info, fork)
	if err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	for part := range info.Parts() {
		p.mayClean(3)
		if err := p.transferPart(s, name, part, mayCut); err != nil {
			return err
		}
	}
	if mayCut && p.rng.IntN(6) == 0 {
		return errCut
	}
	return s.Finish(ctx)
}

func (p *pairWorld) transferPart(s *Stage, name string, part int, mayCut bool) error {
	cursor, done, err := s.Cursor(part)
	if err != nil || done {
		return err
	}
	var batch []Item
	size := 1 + p.rng.IntN(6)
	err = p.e.Items(name, part, cursor, func(it Item) error {
		batch = append(batch, Item{slices.Clone(it.Cursor), slices.Clone(it.Body), slices.Clone(it.Payload)})
		if len(batch) < size {
			return nil
		}
		err := s.Put(part, batch)
		batch = nil
		if err == nil && mayCut && p.rng.IntN(12) == 0 {
			return errCut
		}
		return err
	})
	if err == nil {
		err = s.Put(part, batch)
	}
	if err != nil {
		return err
	}
	p.mayClean(3)
	if mayCut && p.rng.IntN(10) == 0 {
		return errCut
	}
	return s.PartDone(part)
}

func TestAReplicaEqualsItsSourceAtEachPosition(t *testing.T) {
	eachSeed(t, 4, func(t *testing.T, seed uint64) {
		p := newPair(t, seed)
		p.cleaning = seed%2 == 1
		defer p.close()
		p.steps(p.rng.IntN(400))
		p.transfer(nil)
		p.ack()
		for range 20 {
			p.steps(p.rng.IntN(40))
			if p.rng.IntN(4) == 0 {
				p.restartOther()
			}
			for range p.rng.IntN(3) {
				pull(t, p.e, p.other, 1+p.rng.IntN(20))
			}
			p.ack()
			if p.rng.IntN(3) == 0 {
				settle(t, p.e)
				catchUp(t, p.e, p.other)
			}
		}
	})
}

// TestFailoverAndFailback goes back and forth between two replicas. Each time
// the destination takes over at what it has; what the old primary did after
// that is lost, and all of it is in the salvage.
func TestFailoverAndFailback(t *testing.T) {
	eachSeed(t, 6, func(t *testing.T, seed uint64) {
		p := newPair(t, seed)
		p.cleaning = seed%2 == 1
		defer func() { p.close() }()
		p.steps(p.rng.IntN(100))
		p.transfer(nil)
		p.ack()
		for range 5 {
			p.round()
		}
	})
}

func (p *pairWorld) round() {
	t := p.t
	t.Helper()
	p.steps(p.rng.IntN(60))
	ok(t, p.e.Sync(ctx))
	for pull(t, p.e, p.other, 1+p.rng.IntN(30)) > 0 && p.rng.IntN(4) > 0 {
	}
	p.ack()
	// The primary goes on and is lost. At times it goes on after that too.
	p.steps(p.rng.IntN(40))
	if p.rng.IntN(3) == 0 {
		p.restart()
		p.steps(p.rng.IntN(20))
	}
	ok(t, p.e.Sync(ctx))
	lost := p.lost(p.other.LastApplied())
	p.swap()
	p.steps(p.rng.IntN(40))
	p.compare()
	p.comeBack(lost)
}

// lost are the operations after seq.
func (p *pairWorld) lost(seq uint64) (l []event) {
	for _, ev := range p.events {
		if ev.op != nil && ev.seq > seq {
			l = append(l, ev)
		}
	}
	return l
}

// swap promotes the destination; the primary becomes the other one.
func (p *pairWorld) swap() {
	t := p.t
	t.Helper()
	ok(t, p.e.StopWriting(ctx, ReadOnly))
	p.m.Abandon()
	seq := p.other.LastApplied()
	ok(t, p.other.BeginWriting(ctx))
	p.note("failover at %d", seq)
	old, oldO := p.e, p.o
	p.o = p.otherO
	p.rollback(p.other, seq)
	p.other, p.otherO = old, oldO
	p.compare()
}

// comeBack makes the old primary follow the new one.
func (p *pairWorld) comeBack(lost []event) {
	t := p.t
	t.Helper()
	if p.rng.IntN(2) == 0 {
		p.restartOther()
	}
	ours, err := p.e.History()
	ok(t, err)
	theirs, err := p.other.History()
	ok(t, err)
	seq, shared := fs.Fork(&ours, &theirs)
	if !shared {
		t.Fatal("the histories share nothing")
	}
	fork, err := p.other.PosAt(seq)
	ok(t, err)
	if has, err := p.e.Has(fork); err != nil || !has {
		t.Fatalf("the new primary does not have the fork %s: %v", fork, err)
	}
	if seq < theirs.Last.Seq {
		p.note("resync from %d", seq)
		before := len(must[[]Salvage](t)(p.other.Salvages()))
		last := p.other.Durable()
		p.transfer(&fork)
		p.checkSalvage(before, fork, last, lost)
	}
	settle(t, p.e)
	catchUp(t, p.e, p.other)
	p.ack()
}

func (p *pairWorld) checkSalvage(before int, fork, last fs.Pos, lost []event) {
	t := p.t
	t.Helper()
	l := must[[]Salvage](t)(p.other.Salvages())
	if len(l) != before+1 {
		t.Fatalf("%d salvages, want %d", len(l), before+1)
	}
	i := slices.IndexFunc(l, func(s Salvage) bool { return s.Fork == fork && s.Last == last })
	if i < 0 || uint64(l[i].Records) != last.Seq-fork.Seq {
		t.Fatalf("no salvage from %s to %s: %+v", fork, last, l)
	}
	for _, ev := range lost {
		name := printable(string(ev.op.Name))
		if ev.op.Dir == 0 || name == "" || ev.op.Kind > 3 { // create, link, remove, rename
			continue
		}
		if !slices.ContainsFunc(l[i].Paths, func(p SalvagePath) bool { return strings.HasSuffix(p.Path, "/"+name) }) {
			t.Fatalf("the salvage does not tell of %s: %v", ev.op, l[i].Paths)
		}
	}
}

func TestAReplicaRefusesWhatIsNotItsHistory(t *testing.T) {
	p := newPair(t, 1)
	defer p.close()
	p.steps(50)
	p.transfer(nil)
	p.steps(50)
	ok(t, p.e.Sync(ctx))
	r, err := p.e.Records(p.other.LastApplied())
	ok(t, err)
	defer r.Close()
	var l []Incoming
	for {
		en, more, err := r.TryNext()
		ok(t, err)
		if !more {
			break
		}
		payload, err := en.Payload(nil)
		ok(t, err)
		l = append(l, Incoming{en.Record, payload})
	}
	refused := func(what string, in Incoming) {
		t.Helper()
		before := p.other.LastApplied()
		if err := p.other.Receive([]Incoming{in}); !errors.Is(err, ErrPoison) {
			t.Fatalf("%s: %v", what, err)
		}
		if p.other.LastApplied() != before || p.other.Err() != nil {
			t.Fatalf("%s changed something: %v", what, p.other.Err())
		}
	}
	refused("a gap", l[1])
	for _, in := range l {
		forged := *in.Record
		forged.Chain[rand.IntN(16)] ^= 1
		refused("another chain", Incoming{&forged, in.Payload})
		if len(in.Payload) > 0 {
			other := slices.Clone(in.Payload)
			other[0] ^= 1
			refused("another payload", Incoming{in.Record, other})
			refused("no payload", Incoming{in.Record, nil})
		}
		ok(t, p.other.Receive([]Incoming{in}))
	}
	// One that is well formed but cannot be applied never enters the journal.
	last := l[len(l)-1].Record
	bad := &fs.Record{Epoch: last.Epoch, Seq: last.Seq + 1, Stamp: last.Stamp,
		Mutation: fs.AppendMutation(nil, &fs.Unlink{Parent: fs.RootIno, Name: "nobody", Ino: 99, Last: true})}
	bad.Encode(nil, last.Chain)
	refused("an impossible record", Incoming{bad, nil})
	p.restartOther()
	same(t, p.e, p.other)
}

func TestRecordsBeforeTheBaseAreSaidToBeAbsent(t *testing.T) {
	p := newPair(t, 2)
	defer p.close()
	p.steps(100)
	p.transfer(nil)
	if _, err := p.other.Records(3); !errors.Is(err, journal.ErrTrimmed) {
		t.Fatalf("records before the base: %v", err)
	}
	h, err := p.other.History()
	ok(t, err)
	if h.Base != h.Last || h.Base.Seq == 0 || h.Lineage != p.e.Lineage() {
		t.Fatalf("%+v", h)
	}
}
