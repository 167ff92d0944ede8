package replica

import (
	"maps"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// TransferKind is a way in which a tree was brought over.
type TransferKind string

// The kinds; "" is none yet.
const (
	TransferBootstrap TransferKind = "bootstrap"
	TransferResync    TransferKind = "resync"
)

// Status is the state of a Follower at one moment.
type Status struct {
	Connected bool // a stream is up and the source was heard within a second
	Whole     bool // the destination holds a complete tree of the lineage
	Following bool // no transfer is needed: records flow, or will after a reconnect

	SourceDurable  fs.Pos    // newest known durable position of the source
	LastReplicated time.Time // the source's clock: all that was durable there then is durable here; zero: never
	LagSeconds     float64   // source's clock now less LastReplicated; 0 when nothing is missing
	LagRecords     uint64
	LagBytes       uint64 // of mutations and payloads, not compressed

	BytesWire         uint64       // received since the follower was made, compressed
	Transfer          TransferKind // the running or last bootstrap or resync
	Transferring      bool
	TransferBytesWire uint64 // received by that one, compressed
	TransferParts     int    // parts of its key space, and how many are complete
	TransferPartsDone int

	// Err says why the stream stands still for good; nil while it does not.
	// Poison stays; a lineage that does not fit heals when the source does.
	Err error
	// Problem is the newest failure, also one that passes; nil while records flow.
	Problem error
}

const (
	// heardWithin: ten missed heartbeats.
	heardWithin = time.Second
	// maxPendingBeats bounds the heartbeats that wait for their records; more
	// are thinned out, which only makes LastReplicated coarser.
	maxPendingBeats = 1024
)

// tracker keeps what Status tells. Safe for concurrent use.
type tracker struct {
	clock Clock

	mu      sync.Mutex
	began   time.Time
	open    int       // streams that are up
	waiting int       // of these, how many wait for bytes of the source
	heard   time.Time // local clock

	newest         heartbeat
	newestAt       time.Time   // local clock
	pending        []heartbeat // oldest first, not durable here yet
	lastReplicated time.Time
	following      bool

	bytes     uint64
	bulk      map[TransferKind]uint64
	kind      TransferKind
	bulkOn    bool
	bulkBytes uint64
	fork      uint64 // what both sides share during a transfer
	parts     int
	partsDone int

	err     error
	problem error
}

func newTracker(c Clock) *tracker {
	return &tracker{clock: c, began: c.Now(), bulk: map[TransferKind]uint64{}}
}

func (t *tracker) streamUp() (down func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open++
	t.heard = t.clock.Now()
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.open--
	}
}

// readBegins and readEnds surround the wait for bytes. A stream whose reader
// does something else (the disk is slow, the bandwidth limited) is not silent.
func (t *tracker) readBegins() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting++
	t.heard = t.clock.Now() // until now it was us who did not listen
}

func (t *tracker) readEnds(n int, bulk bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting--
	if n <= 0 {
		return
	}
	t.heard = t.clock.Now()
	t.bytes += uint64(n)
	if bulk {
		t.bulk[t.kind] += uint64(n)
		t.bulkBytes += uint64(n)
	}
}

// beat takes a heartbeat. Those during a transfer say nothing of what is here.
func (t *tracker) beat(h heartbeat, durableHere uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.newest, t.newestAt = h, t.clock.Now()
	if !t.following {
		return
	}
	if len(t.pending) == maxPendingBeats {
		t.pending = thin(t.pending)
	}
	t.pending = append(t.pending, h)
	t.settle(durableHere)
}

// thin keeps every second heartbeat, the newest among them.
func thin(p []heartbeat) []heartbeat {
	kept := p[:0]
	for i := 1; i < len(p); i += 2 {
		kept = append(kept, p[i])
	}
	return kept
}

// settle moves LastReplicated to the newest heartbeat whose records are all
// durable here.
func (t *tracker) settle(durableHere uint64) {
	n := 0
	for n < len(t.pending) && t.pending[n].Durable.Seq <= durableHere {
		n++
	}
	if n > 0 {
		t.lastReplicated = t.pending[n-1].Time
		t.pending = append(t.pending[:0], t.pending[n:]...)
	}
}

func (t *tracker) follow() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.following, t.err, t.problem, t.bulkOn = true, nil, nil, false
}

// transferBegins counts a transfer anew, unless it is the last one resumed.
func (t *tracker) transferBegins(kind TransferKind, fork uint64, resumed bool, parts, partsDone int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.following, t.pending = false, nil
	t.kind, t.bulkOn, t.fork, t.err = kind, true, fork, nil
	t.parts, t.partsDone = parts, partsDone
	if !resumed {
		t.bulkBytes = 0
	}
}

func (t *tracker) partDone() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.partsDone++
}

func (t *tracker) transferEnds() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bulkOn = false
}

func (t *tracker) transferred() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bulkBytes
}

// fail keeps an error; final ones say that the stream stands still. It reports
// whether that is news.
func (t *tracker) fail(err error, final bool) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	news = t.problem == nil || t.problem.Error() != err.Error() || final != (t.err != nil)
	t.problem = err
	t.err = nil
	if final {
		t.err, t.bulkOn = err, false
	}
	return news
}

func (t *tracker) bulkTotals() map[TransferKind]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.bulk)
}

// status combines what is known of the source with what is here.
func (t *tracker) status(durableHere, bytesHere uint64) Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.following {
		t.settle(durableHere)
	}
	now := t.clock.Now()
	s := Status{
		Connected:     t.connected(now),
		Following:     t.following && t.err == nil,
		SourceDurable: t.newest.Durable, LastReplicated: t.lastReplicated,
		BytesWire: t.bytes, Transfer: t.kind, Transferring: t.bulkOn, TransferBytesWire: t.bulkBytes,
		TransferParts: t.parts, TransferPartsDone: t.partsDone,
		Err: t.err, Problem: t.problem,
	}
	shared := durableHere
	if !t.following {
		shared = min(t.fork, durableHere)
		if t.fork == 0 {
			bytesHere = 0
		}
	}
	s.LagRecords = max(t.newest.Durable.Seq, shared) - shared
	s.LagBytes = max(t.newest.Bytes, bytesHere) - bytesHere
	s.LagSeconds = t.lagSeconds(now, s.Connected && s.Following && s.LagRecords == 0)
	return s
}

// connected: see Status. A stream of which nobody listens is given the benefit
// of the doubt; it fails at the next read if the source is gone.
func (t *tracker) connected(now time.Time) bool {
	return t.open > 0 && (t.waiting < t.open || now.Sub(t.heard) <= heardWithin)
}

// lagSeconds reads the source's clock off the newest heartbeat, so clocks that
// differ do not matter. Before the first success it counts from the start.
func (t *tracker) lagSeconds(now time.Time, nothingMissing bool) float64 {
	if nothingMissing {
		return 0
	}
	if t.lastReplicated.IsZero() {
		return now.Sub(t.began).Seconds()
	}
	sourceNow := t.newest.Time.Add(now.Sub(t.newestAt))
	return max(0, sourceNow.Sub(t.lastReplicated).Seconds())
}
