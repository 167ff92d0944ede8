package replica

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// handClock stands still until it is moved.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func newHandClock() *handClock { return &handClock{now: time.Unix(1_800_000_000, 0)} }

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// AfterFunc is never due: the tests that use this clock do not wait.
func (c *handClock) AfterFunc(time.Duration, func()) func() bool { return func() bool { return true } }

func epochs(firsts ...uint64) (es []fs.EpochStart) {
	for i, first := range firsts {
		es = append(es, fs.EpochStart{ID: fs.EpochID{Counter: uint32(i + 1), Nonce: 1}, First: first})
	}
	return es
}

func TestDecide(t *testing.T) {
	other := fs.Lineage{42}
	history := func(l fs.Lineage, base, last uint64, es ...fs.EpochStart) fs.History {
		return fs.History{Lineage: l, Epochs: es, Base: fs.Pos{Seq: base}, Last: fs.Pos{Seq: last}}
	}
	branch := append(epochs(1), fs.EpochStart{ID: fs.EpochID{Counter: 2, Nonce: 7}, First: 61})
	for _, c := range []struct {
		name      string
		dest, src fs.History
		replace   bool
		fork      uint64
		err       error
	}{
		{"empty destination", fs.History{}, history(testLineage, 0, 10, epochs(1)...), false, 0, nil},
		{"destination ran ahead", history(testLineage, 0, 60, epochs(1)...), history(testLineage, 0, 55, epochs(1)...), false, 55, nil},
		{"both wrote", history(testLineage, 0, 90, epochs(1, 51)...), history(testLineage, 0, 80, branch...), false, 50, nil},
		{"fork at the destination's base", history(testLineage, 50, 90, epochs(1, 51)...), history(testLineage, 0, 80, branch...), false, 50, nil},
		{"destination trimmed past the fork", history(testLineage, 51, 90, epochs(1, 51)...), history(testLineage, 0, 80, branch...), false, 0, nil},
		{"source trimmed past the fork", history(testLineage, 0, 90, epochs(1, 51)...), history(testLineage, 55, 80, branch...), false, 0, nil},
		{"no epoch shared", history(testLineage, 0, 90, branch[1]), history(testLineage, 0, 80, epochs(1)...), false, 0, nil},
		{"other data here", history(other, 0, 90, epochs(1)...), history(testLineage, 0, 80, epochs(1)...), false, 0, ErrOtherLineage},
		{"other data here, to be replaced", history(other, 0, 90, epochs(1)...), history(testLineage, 0, 80, epochs(1)...), true, 0, nil},
		{"other data there", history(testLineage, 0, 90, epochs(1)...), history(other, 0, 80, epochs(1)...), false, 0, ErrOtherLineage},
		{"other data there, even if replacing is fine", history(testLineage, 0, 90, epochs(1)...), history(other, 0, 80, epochs(1)...), true, 0, ErrOtherLineage},
		{"empty source", history(testLineage, 0, 90, epochs(1)...), fs.History{Lineage: testLineage}, true, 0, ErrEmptySource},
		{"empty source, empty destination", fs.History{}, fs.History{}, false, 0, ErrEmptySource},
	} {
		p, err := decide(&c.dest, &c.src, testLineage, c.replace)
		if !errors.Is(err, c.err) || p.fork != c.fork {
			t.Errorf("%s: fork %d, error %v; want %d, %v", c.name, p.fork, err, c.fork, c.err)
		}
		// Of one lineage, and no fork point that both journals know: compare.
		compare := err == nil && c.fork == 0 && c.dest.Lineage == testLineage
		if p.compare != compare {
			t.Errorf("%s: compare %v, want %v", c.name, p.compare, compare)
		}
	}
}

func TestForkPointIsComparedOnBothSides(t *testing.T) {
	at := func(chain byte, err error) func(uint64) (fs.Pos, error) {
		return func(seq uint64) (fs.Pos, error) { return fs.Pos{Seq: seq, Chain: fs.Chain{chain}}, err }
	}
	broken := errors.New("broken")
	for _, c := range []struct {
		name      string
		dest, src func(uint64) (fs.Pos, error)
		same      bool
		err       error
	}{
		{"equal", at(1, nil), at(1, nil), true, nil},
		{"other chain", at(1, nil), at(2, nil), false, nil},
		{"trimmed here", at(1, ErrTrimmed), at(1, nil), false, nil},
		{"trimmed there", at(1, nil), at(1, fmt.Errorf("source: %w", ErrTrimmed)), false, nil},
		{"broken here", at(1, broken), at(1, nil), false, broken},
		{"broken there", at(1, nil), at(1, broken), false, broken},
	} {
		if _, same, err := sameAt(c.dest, c.src, 9); same != c.same || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", c.name, same, err)
		}
	}
}

func TestContiguous(t *testing.T) {
	have := fs.Pos{Seq: 10, Chain: fs.Chain{10}}
	recs := func(seqs ...uint64) (in []Incoming) {
		for _, s := range seqs {
			in = append(in, Incoming{Record: &fs.Record{Seq: s, Chain: fs.Chain{byte(s)}}})
		}
		return in
	}
	for _, c := range []struct {
		seqs, want []uint64
		ok         bool
	}{
		{[]uint64{11, 12}, []uint64{11, 12}, true},
		{[]uint64{9, 10, 11}, []uint64{11}, true},
		{[]uint64{8, 9}, nil, true},
		{[]uint64{12}, nil, false},
		{[]uint64{11, 13}, nil, false},
		{[]uint64{11, 11}, nil, false},
		{[]uint64{9, 12}, nil, false},
	} {
		got, err := contiguous(recs(c.seqs...), have)
		var seqs []uint64
		for _, in := range got {
			seqs = append(seqs, in.Record.Seq)
		}
		if (err == nil) != c.ok || !slices.Equal(seqs, c.want) {
			t.Errorf("%v: %v, %v", c.seqs, seqs, err)
		}
	}
	forged := recs(10, 11)
	forged[0].Record.Chain = fs.Chain{99}
	if _, err := contiguous(forged, have); err == nil {
		t.Error("our own record came back with another chain and was taken")
	}
}

// beatAt is a heartbeat of a source whose clock is an hour ahead.
func beatAt(c Clock, seq uint64) heartbeat {
	return heartbeat{Durable: fs.Pos{Seq: seq}, Time: c.Now().Add(time.Hour), Bytes: seq * 100}
}

func following() (*handClock, *tracker) {
	c := newHandClock()
	t := newTracker(c)
	t.streamUp()
	t.follow()
	return c, t
}

func TestLagOfAnIdleSourceIsZeroThoughClocksDiffer(t *testing.T) {
	c, tr := following()
	for range 5 {
		c.advance(100 * time.Millisecond)
		tr.readBegins()
		tr.readEnds(10, false)
		tr.beat(beatAt(c, 7), 7)
		s := tr.status(7, 700)
		if s.LagSeconds != 0 || s.LagRecords != 0 || s.LagBytes != 0 || !s.Connected {
			t.Fatalf("status %+v", s)
		}
		if want := c.Now().Add(time.Hour); !s.LastReplicated.Equal(want) {
			t.Fatalf("last replicated %s, want %s", s.LastReplicated, want)
		}
	}
}

func TestLagGrowsWhileTheSourceIsAway(t *testing.T) {
	c, tr := following()
	down := tr.streamUp()
	tr.beat(beatAt(c, 7), 7)
	down()
	tr.open = 0
	c.advance(90 * time.Second)
	s := tr.status(7, 700)
	if s.Connected || s.LagSeconds != 90 || s.LagRecords != 0 {
		t.Errorf("status %+v, want 90 s of lag and no connection", s)
	}
}

func TestLastReplicatedWaitsForItsRecords(t *testing.T) {
	c, tr := following()
	tr.beat(beatAt(c, 5), 5)
	at5 := c.Now().Add(time.Hour)
	c.advance(10 * time.Second)
	tr.beat(beatAt(c, 20), 6)
	s := tr.status(6, 600)
	if !s.LastReplicated.Equal(at5) || s.LagSeconds != 10 || s.LagRecords != 14 || s.LagBytes != 1400 {
		t.Errorf("behind: %+v", s)
	}
	if s = tr.status(20, 2000); !s.LastReplicated.Equal(at5.Add(10*time.Second)) || s.LagRecords != 0 || s.LagBytes != 0 {
		t.Errorf("caught up: %+v", s)
	}
}

// While two histories differ, a higher sequence here means nothing.
func TestDivergedDestinationDoesNotLookCaughtUp(t *testing.T) {
	c, tr := following()
	tr.beat(beatAt(c, 5), 5)
	tr.transferBegins(TransferResync, 40, false, 3, 0)
	c.advance(time.Minute)
	tr.beat(beatAt(c, 60), 0)
	s := tr.status(900, 90_000)
	if s.LagRecords != 20 || s.LagSeconds != 60 || s.Following || !s.Transferring {
		t.Errorf("status %+v, want 20 records and 60 s behind", s)
	}
}

func TestConnectedNeedsToHearTheSource(t *testing.T) {
	c, tr := following()
	tr.readBegins()
	c.advance(900 * time.Millisecond)
	if !tr.status(0, 0).Connected {
		t.Error("not connected 0.9 s after the last heartbeat")
	}
	c.advance(200 * time.Millisecond)
	if tr.status(0, 0).Connected {
		t.Error("connected 1.1 s after the last heartbeat")
	}
	tr.readEnds(54, false)
	c.advance(time.Minute) // a slow disk: nobody listens, so silence says nothing
	if !tr.status(0, 0).Connected {
		t.Error("not connected while this side is busy")
	}
}

func TestPendingHeartbeatsAreBounded(t *testing.T) {
	c, tr := following()
	for seq := range uint64(10 * maxPendingBeats) {
		tr.beat(beatAt(c, seq+1), 0)
	}
	if n := len(tr.pending); n > maxPendingBeats {
		t.Errorf("%d heartbeats wait, at most %d may", n, maxPendingBeats)
	}
	last := uint64(10 * maxPendingBeats)
	if s := tr.status(last, 0); !s.LastReplicated.Equal(c.Now().Add(time.Hour)) || s.LagRecords != 0 {
		t.Errorf("the newest heartbeat was thinned out: %+v", s)
	}
}

func TestLimiterKeepsTheRate(t *testing.T) {
	c := newHandClock()
	l := newLimiter(c, 1_000_000)
	began := c.Now()
	total := 0
	for total < 10_000_000 {
		n := l.chunk(1 << 20)
		total += n
		if wait := l.reserve(n); wait > 0 {
			c.advance(wait)
		}
	}
	if took := c.Now().Sub(began); took < 9800*time.Millisecond || took > 10*time.Second {
		t.Errorf("10 MB at 1 MB/s took %s of the clock's time", took)
	}
	c.advance(time.Hour)
	if wait := l.reserve(200_000); wait < 90*time.Millisecond {
		t.Errorf("an idle hour saved up for 200 kB: wait of %s", wait)
	}
	if newLimiter(c, 0).chunk(77) != 77 {
		t.Error("no limit limits")
	}
}

func TestVerdicts(t *testing.T) {
	own := func(err error) error { return &appendError{fs.Pos{Seq: 5}, err} }
	for _, c := range []struct {
		err  error
		want verdict
	}{
		{own(fmt.Errorf("record 6: %w", ErrPoison)), verdictPoison},
		{own(errDiskFull), verdictRetry},
		{ErrEmptySource, verdictStanding},
		{fmt.Errorf("x: %w", ErrOtherLineage), verdictStanding},
		{&refusal{Code: codeLineage}, verdictStanding},
		{&refusal{Code: codeLevel}, verdictStanding},
		{&refusal{Code: codeUnknownReplication}, verdictRetry},
		{&refusal{Code: codeInternal}, verdictRetry},
		{errSilent, verdictRetry},
	} {
		if got := new(tries).judge(c.err, false); got != c.want {
			t.Errorf("%v: verdict %d, want %d", c.err, got, c.want)
		}
	}
	var s tries
	for range stubborn - 1 {
		s.judge(own(errDiskFull), false)
	}
	if s.judge(own(errDiskFull), false) != verdictStanding {
		t.Error("a failure that repeats at one position is not told")
	}
	if s.judge(own(errDiskFull), true) != verdictRetry {
		t.Error("progress does not count")
	}
}

func TestBackoffIsQuickAndBounded(t *testing.T) {
	var s tries
	for _, want := range []time.Duration{50, 100, 200, 400, 800, 1000, 1000} {
		s.judge(errSilent, false)
		want *= time.Millisecond
		if lo, hi := s.wait(verdictRetry, 0), s.wait(verdictRetry, 1); lo != want/2 || hi != want {
			t.Errorf("failure %d: %s to %s, want %s to %s", s.failures, lo, hi, want/2, want)
		}
	}
	for range 100 {
		s.judge(errSilent, false)
	}
	if d := s.wait(verdictRetry, 1); d != lastRetry {
		t.Errorf("after 107 failures: %s", d)
	}
}

func TestHistorySurvivesJSON(t *testing.T) {
	h := fs.History{Lineage: testLineage, Base: fs.Pos{Seq: 3}, Last: sampleHeartbeat().Durable, Epochs: epochs(1, 9)}
	h.Epochs[1].ID.Nonce = 1<<64 - 1
	back, err := toWire(h).history()
	if err != nil || !slices.Equal(back.Epochs, h.Epochs) || back.Lineage != h.Lineage || back.Base != h.Base || back.Last != h.Last {
		t.Errorf("%+v became %+v, %v", h, back, err)
	}
	for name, spoil := range map[string]func(*wireHistory){
		"lineage":     func(w *wireHistory) { w.Lineage = "zz" },
		"nonce":       func(w *wireHistory) { w.Epochs[0].Nonce = "-1" },
		"epoch order": func(w *wireHistory) { w.Epochs[1].First = 1 },
		"epoch at 0":  func(w *wireHistory) { w.Epochs[0].First = 0 },
	} {
		w := toWire(h)
		spoil(w)
		if _, err := w.history(); err == nil {
			t.Errorf("a bad %s was taken", name)
		}
	}
}
