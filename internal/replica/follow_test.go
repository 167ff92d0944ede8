package replica

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

func TestFollowsFromNothing(t *testing.T) {
	for _, useTLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", useTLS), func(t *testing.T) {
			src, dest := newFake(testLineage, 1), newEmpty()
			fill(src, 1, 50)
			p := newPair(t, src, dest, useTLS)
			p.run()
			p.untilEqual()
			fill(src, 2, 200)
			src.put(7, bytes.Repeat([]byte("large"), fs.MaxWrite/5))
			p.untilEqual()
			s := p.f.Status()
			if s.Transfer != TransferBootstrap || s.Transferring || !s.Whole || !s.Following || s.Err != nil {
				t.Errorf("status %+v", s)
			}
			if s.TransferBytesWire == 0 || s.BytesWire <= s.TransferBytesWire {
				t.Errorf("%d bytes in all, %d of the transfer", s.BytesWire, s.TransferBytesWire)
			}
			p.until("the checkpoint is released", func() bool { return src.openCheckpoints() == 0 })
		})
	}
}

func TestSourceLearnsWhatTheDestinationHolds(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	fill(src, 3, 20)
	if err := p.server.WaitAcked(t.Context(), testFS, testReplication, src.Durable().Seq); err != nil {
		t.Fatal(err)
	}
	a, ok := p.server.Acked(testFS, testReplication)
	if !ok || a.Pos != src.Durable() {
		t.Errorf("acked %v %v, want %s", a, ok, src.Durable())
	}
}

func TestIdleLagIsZeroAndTimeAdvances(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	p.until("connected and nothing missing", func() bool {
		s := p.f.Status()
		return s.Connected && s.Following && !s.LastReplicated.IsZero() && s.LagRecords == 0 && s.LagBytes == 0 && s.LagSeconds == 0
	})
	first := p.f.Status().LastReplicated
	p.until("LastReplicated advances without records", func() bool { return p.f.Status().LastReplicated.After(first) })
}

func TestLagShowsWhileNothingBecomesDurable(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	p.untilEqual()
	dest.mu.Lock()
	dest.lazy, dest.stuck = true, true
	dest.mu.Unlock()
	fill(src, 4, 5)
	p.until("lag in records, bytes and seconds", func() bool {
		s := p.f.Status()
		return s.LagRecords == 5 && s.LagBytes > 0 && s.LagSeconds > 0
	})
	dest.mu.Lock()
	dest.stuck = false
	dest.mu.Unlock()
	p.until("no lag once it is durable", func() bool {
		if err := dest.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := p.f.Status()
		return s.LagRecords == 0 && s.LagSeconds == 0
	})
}

// A destination that would take its time is asked to sync what was appended.
func TestWhatIsAppendedIsDurableSoon(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	p.untilEqual()
	dest.mu.Lock()
	dest.lazy = true
	dest.mu.Unlock()
	fill(src, 4, 5)
	p.until("all of it is durable", func() bool { return dest.Durable() == src.Durable() })
}

// A follower that is cut anywhere goes on, and ends with the source's tree.
func TestResumesWhereverTheConnectionIsCut(t *testing.T) {
	var cuts []int64
	for n := int64(1); n < 60_000; n += 1 + n/6 {
		cuts = append(cuts, n)
	}
	for _, cut := range cuts {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			t.Parallel()
			src, dest := newFake(testLineage, 1), newEmpty()
			fill(src, 5, 30)
			p := newPair(t, src, dest, false)
			p.net.plan = func(dial int) fault {
				if dial <= 4 {
					return fault{cutAfter: cut}
				}
				return fault{}
			}
			p.run()
			fill(src, 6, 30)
			p.untilEqual()
		})
	}
}

func TestFlippedBytesNeverArrive(t *testing.T) {
	for at := int64(1); at < 20_000; at += 1 + at/4 {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			src, dest := newFake(testLineage, 1), newEmpty()
			fill(src, 7, 20)
			p := newPair(t, src, dest, false)
			p.net.plan = func(dial int) fault {
				if dial <= 3 {
					return fault{flipAt: at}
				}
				return fault{}
			}
			p.run()
			fill(src, 8, 10)
			p.untilEqual()
		})
	}
}

func TestReconnectsWhenTheSourceFallsSilent(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.net.plan = func(dial int) fault {
		if dial <= 3 {
			return fault{stallRead: 2000}
		}
		return fault{}
	}
	p.run()
	fill(src, 9, 100)
	p.untilEqual()
	if !strings.Contains(p.logs.String(), errSilent.Error()) {
		t.Error("no stream was given up for its silence")
	}
}

func TestDestinationRestartsInTheMiddle(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	dest.lazy = true
	p := newPair(t, src, dest, false)
	for round := range uint64(5) {
		p.run()
		fill(src, 10+round, 20)
		p.until("something arrived", func() bool {
			dest.mu.Lock()
			defer dest.mu.Unlock()
			return dest.last().Seq > 3+20*round
		})
		p.halt()
		dest.crash()
	}
	dest.mu.Lock()
	dest.lazy = false
	dest.mu.Unlock()
	p.run()
	fill(src, 20, 1)
	p.untilEqual()
}

func TestDivergedDestinationIsResynced(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	fill(src, 30, 40)
	p.untilEqual()
	p.halt()

	// A failover with both sides writing: the fork is at the present position.
	fork := src.Durable()
	dest.beginEpoch(2)
	dest.put(99, []byte("only here"))
	dest.put(1, []byte("changed on both sides"))
	fill(dest, 31, 100)
	src.beginEpoch(1)
	src.put(1, []byte("changed on both sides, too"))
	src.put(77, []byte("new at the source"))
	p.run()
	p.untilEqual()
	s := p.f.Status()
	if s.Transfer != TransferResync {
		t.Errorf("transfer %q, want a resync", s.Transfer)
	}
	if len(dest.salvaged) != 103 || dest.salvaged[0] != fork.Seq+1 {
		t.Errorf("salvaged %d records from %v, want the 103 after %d", len(dest.salvaged), dest.salvaged, fork.Seq)
	}
	fill(src, 32, 10)
	p.untilEqual()
}

// A destination that was away for longer than history is kept takes what
// differs, no more.
func TestTrimmedJournalNeedsAComparison(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	fill(src, 40, 10)
	p.untilEqual()
	p.halt()
	src.put(5, []byte("changed"))
	fill(src, 41, 50)
	src.trim(40)
	_, handedOut := watchItems(src, 1000)
	const changed = 51
	p.run()
	p.untilEqual()
	if s := p.f.Status(); s.Transfer != TransferResync {
		t.Errorf("transfer %q, want a resync", s.Transfer)
	}
	if n := int(handedOut.Load()); n == 0 || n > changed {
		t.Errorf("%d items for %d changes", n, changed)
	}
	if len(src.opened) != 2 {
		t.Errorf("checkpoints %v, want two", src.opened)
	}
}

// Trees that differ in nearly everything are not compared key by key.
func TestTooDifferentTreesAreTakenWhole(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	fill(src, 40, 10)
	p.untilEqual()
	p.halt()
	fill(src, 41, 50)
	src.trim(40)
	dest.unlike = true
	p.run()
	p.untilEqual()
	if s := p.f.Status(); s.Transfer != TransferBootstrap || len(src.opened) != 2 {
		t.Errorf("transfer %q, checkpoints %v: want the whole tree from the checkpoint that was compared", s.Transfer, src.opened)
	}
}

func TestPoisonStopsLoudlyAndForGood(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	fill(src, 50, 10)
	p.untilEqual()
	last := src.Durable()
	dest.mu.Lock()
	dest.poisonAt = last.Seq + 3
	dest.mu.Unlock()
	src.put(1, []byte("fine"))
	src.put(1, []byte("fine"))
	src.put(1, []byte("poison"))
	p.until("the follower stands still", func() bool { return p.f.Status().Err != nil })
	s := p.f.Status()
	if !errors.Is(s.Err, ErrPoison) || s.Following || s.Connected {
		t.Errorf("status %+v", s)
	}
	if want := fmt.Sprintf("record %d", last.Seq+3); !strings.Contains(s.Err.Error(), want) {
		t.Errorf("error %q does not name %s", s.Err, want)
	}
	p.until("the log is loud", func() bool { return strings.Contains(p.logs.String(), "level=ERROR") })
	dials := p.net.dialled()
	fill(src, 51, 5)
	dest.mu.Lock()
	dest.poisonAt = 0
	dest.mu.Unlock()
	if got := p.net.dialled(); got != dials || dest.Durable().Seq > last.Seq+2 {
		t.Errorf("it went on after poison: %d dials, then %d; now at %s", dials, got, dest.Durable())
	}
}

func TestPassingAppendErrorIsRetried(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	p.untilEqual()
	dest.mu.Lock()
	dest.appendErr = errDiskFull
	dest.mu.Unlock()
	fill(src, 52, 5)
	p.untilEqual()
	p.until("the problem is forgotten", func() bool { s := p.f.Status(); return s.Problem == nil && s.Following })
}

func TestSourceOfAnotherLineageChangesNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		src  *fakeFS
		want string
	}{
		{"made anew", newFake(fs.Lineage{9}, 1), "lineage"},
		{"empty", newEmpty(), "history"},
	} {
		t.Run(c.name, func(t *testing.T) {
			good, dest := newFake(testLineage, 1), newEmpty()
			p := newPair(t, good, dest, false)
			p.run()
			fill(good, 60, 10)
			p.untilEqual()
			before := dest.contents()
			p.lookup.Store(&lookupAnswer{src: c.src})
			p.net.cut()
			p.until("the follower stands still", func() bool { return p.f.Status().Err != nil })
			if err := p.f.Status().Err; !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not speak of the %s", err, c.want)
			}
			if err := sameTrees(before, dest.contents()); err != nil {
				t.Errorf("the destination changed: %v", err)
			}
			// The right disk is put back.
			p.lookup.Store(&lookupAnswer{src: good})
			fill(good, 61, 5)
			p.untilEqual()
			p.until("the error is gone", func() bool { return p.f.Status().Err == nil })
		})
	}
}

func TestEmptySourceOfTheSameLineageChangesNothing(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	fill(src, 62, 10)
	p.untilEqual()
	hollow := newEmpty()
	hollow.lineage = testLineage
	p.lookup.Store(&lookupAnswer{src: hollow})
	p.net.cut()
	p.until("the follower stands still", func() bool { return errors.Is(p.f.Status().Err, ErrEmptySource) })
	if err := sameTrees(src.contents(), dest.contents()); err != nil {
		t.Errorf("the destination changed: %v", err)
	}
}

func TestOtherDataIsReplacedOnlyWhenAskedFor(t *testing.T) {
	src, dest := newFake(testLineage, 1), newFake(fs.Lineage{8}, 2)
	fill(src, 63, 10)
	fill(dest, 64, 10)
	before := dest.contents()
	p := newPair(t, src, dest, false)
	p.run()
	p.until("the follower stands still", func() bool { return errors.Is(p.f.Status().Err, ErrOtherLineage) })
	if err := sameTrees(before, dest.contents()); err != nil {
		t.Errorf("the destination changed: %v", err)
	}
	if p.f.Status().Whole {
		t.Error("other data counts as whole")
	}
	p.halt()
	p.cfg.AllowReplace = true
	p.run()
	p.untilEqual()
}

func TestLookupAnswersReachTheStatus(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	p.untilEqual()
	for _, want := range []error{ErrUnknownReplication, ErrNotSource, ErrNotReady} {
		// The stream that runs is ended, too, at the next heartbeat.
		p.lookup.Store(&lookupAnswer{err: fmt.Errorf("region: %w", want)})
		p.until(want.Error(), func() bool { s := p.f.Status(); return errors.Is(s.Problem, want) && !s.Connected && s.Err == nil })
		p.lookup.Store(&lookupAnswer{src: src})
		p.until("following again", func() bool { s := p.f.Status(); return s.Problem == nil && s.Connected })
	}
}

// shifted gives out records from another point than asked for.
type shifted struct {
	*fakeFS
	by int
}

func (s shifted) Records(after uint64) (Records, error) {
	return s.fakeFS.Records(uint64(max(int(after)+s.by, int(s.base.Seq))))
}

func TestRecordsThatComeTwiceAreAppendedOnce(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.lookup.Store(&lookupAnswer{src: shifted{src, -7}})
	for round := range uint64(4) {
		p.run()
		fill(src, 90+round, 10)
		p.untilEqual()
		p.halt()
	}
}

func TestGapIsRefused(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	fill(src, 95, 10)
	p.untilEqual()
	p.halt()
	before := dest.Durable()
	p.lookup.Store(&lookupAnswer{src: shifted{src, 1}})
	p.run()
	fill(src, 97, 10)
	p.until("the gap is told", func() bool {
		s := p.f.Status()
		return s.Problem != nil && strings.Contains(s.Problem.Error(), "is next") || dest.Durable() != before
	})
	if err := p.f.Status().Problem; err == nil || dest.Durable() != before {
		t.Fatalf("destination at %s, was at %s; problem %v", dest.Durable(), before, err)
	}
	p.lookup.Store(&lookupAnswer{src: src})
	p.untilEqual()
}

// A source that skips the only record it has shows no gap; its heartbeats do.
func TestStreamThatStallsIsGivenUp(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	p.untilEqual()
	p.halt()
	src.put(1, []byte("skipped"))
	p.lookup.Store(&lookupAnswer{src: shifted{src, 1}})
	p.run()
	p.until("the stall is told", func() bool {
		s := p.f.Status()
		return s.Problem != nil && strings.Contains(s.Problem.Error(), "but sent none")
	})
	p.lookup.Store(&lookupAnswer{src: src})
	p.untilEqual()
}

func TestOneWayCutToTheSourceDoesNotStopTheStream(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	p.untilEqual()
	p.until("following", func() bool { s := p.f.Status(); return s.Following && s.Connected })
	p.net.deafSource.Store(true)
	fill(src, 100, 50)
	p.untilEqual()
	p.net.deafSource.Store(false)
	if err := p.server.WaitAcked(t.Context(), testFS, testReplication, src.Durable().Seq); err != nil {
		t.Fatal(err)
	}
}

func TestBandwidthLimitIsKept(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	const rate = 1 << 20
	p.cfg.BandwidthLimit = rate
	began := p.cfg.Clock.Now()
	p.run()
	fill(src, 110, 3000)
	p.untilEqual()
	took := p.cfg.Clock.Now().Sub(began)
	// What is in flight when the test looks is counted, but not waited for yet.
	inFlight := float64(2 * rate / 10)
	if n := float64(p.f.Status().BytesWire); n-inFlight > rate*took.Seconds() {
		t.Errorf("%.0f bytes in %s at a limit of %d bytes a second", n, took, rate)
	}
}

// What was appended, but is not durable yet, is neither lost nor asked for again.
func TestReconnectGoesOnBehindWhatIsNotDurableYet(t *testing.T) {
	src, dest := newFake(testLineage, 1), newEmpty()
	p := newPair(t, src, dest, false)
	p.run()
	p.untilEqual()
	dest.mu.Lock()
	dest.lazy = true
	dest.mu.Unlock()
	fill(src, 120, 10)
	p.until("all is appended", func() bool {
		dest.mu.Lock()
		defer dest.mu.Unlock()
		return dest.last() == src.Durable()
	})
	p.net.cut()
	p.untilEqual()
	if logs := p.logs.String(); strings.Contains(logs, "cannot go on") {
		t.Error("records came that the destination had already")
	}
}
