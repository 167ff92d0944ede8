package region

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// situation is something rare that a simulation should have met.
type situation string

// The situations. A nightly run fails if one of them was never met.
const (
	sawCrashSource       situation = "the source crashed"
	sawCrashDest         situation = "the destination crashed"
	sawCrashBoth         situation = "both regions were down at once"
	sawCrashInRecovery   situation = "a crash during recovery"
	sawCrashInBootstrap  situation = "a crash during a bootstrap"
	sawCrashInResync     situation = "a crash during a resync"
	sawCrashInPromotion  situation = "a crash during a promotion"
	sawCut               situation = "the line was cut"
	sawCutInTransfer     situation = "the line was cut during a transfer"
	sawOneWay            situation = "the line was cut one way"
	sawSlow              situation = "the line was slow"
	sawBrittle           situation = "connections broke within frames"
	sawFullSource        situation = "the source's disk was full"
	sawFullDest          situation = "the destination's disk was full"
	sawStopped           situation = "a full disk stopped the destination until its restart"
	sawFailover          situation = "a failover"
	sawFailoverLost      situation = "a failover lost changes"
	sawFailoverNoLoss    situation = "a failover lost nothing"
	sawSourceDead        situation = "a failover with the old primary dead"
	sawZombie            situation = "an old primary went on writing"
	sawZombieRestart     situation = "an old primary restarted and went on in an epoch of its own"
	sawLearned           situation = "an old primary learnt that it was superseded"
	sawDivergence        situation = "an old primary came back with changes of its own"
	sawSalvage           situation = "a resync salvaged changes"
	sawSwitchover        situation = "a planned switchover"
	sawStageResumed      situation = "a transfer went on after a restart of its destination"
	sawReplacedDest      situation = "the destination was replaced by an empty one"
	sawReplacedOld       situation = "the old primary was replaced by an empty one"
	sawEmptySource       situation = "the source answered as an empty one"
	sawOtherSource       situation = "the source answered with other data"
	sawClockBehind       situation = "the other region's clock was minutes behind"
	sawClockJump         situation = "a region's clock jumped"
	sawFailoverBack      situation = "a failover back to a region that was resynchronised"
	sawCleaned           situation = "a journal was cleaned"
	sawCleanedInTransfer situation = "a journal was cleaned during a transfer"
	sawTwice             situation = "a request was delivered twice"
	sawCompared          situation = "a replica came back by comparing trees"
	sawTrimmedFork       situation = "an old primary came back when the history of the fork was trimmed"
	sawCrashOldInFailove situation = "the old primary crashed after the failover"
	sawRest              situation = "a writer went to rest and woke up"
	sawOldRest           situation = "an old primary that had not learnt went to rest and woke up"
	sawCrashInRest       situation = "a crash while a writer went to rest or woke up"
	sawCrashAtRest       situation = "a crash left a writer at rest"
)

var allSituations = []situation{sawCrashSource, sawCrashDest, sawCrashBoth, sawCrashInRecovery, sawCrashInBootstrap, sawCrashInResync,
	sawCrashInPromotion, sawCut, sawCutInTransfer, sawOneWay, sawSlow, sawBrittle, sawFullSource, sawFullDest, sawStopped, sawFailover, sawFailoverLost,
	sawFailoverNoLoss, sawSourceDead, sawZombie, sawZombieRestart, sawLearned, sawDivergence, sawSalvage, sawSwitchover, sawStageResumed,
	sawReplacedDest, sawReplacedOld, sawEmptySource, sawOtherSource, sawClockBehind, sawClockJump, sawFailoverBack, sawCrashOldInFailove,
	sawCleaned, sawCleanedInTransfer, sawCompared, sawTrimmedFork, sawTwice,
	sawRest, sawOldRest, sawCrashInRest, sawCrashAtRest}

// coverage counts what the simulations of one run met. Safe for concurrent use.
type coverage struct {
	mu   sync.Mutex
	seen map[situation]int

	seeds, steps, operations, comparisons, prefixChecks, hashes, salvaged, checks atomic.Int64
}

func newCoverage() *coverage { return &coverage{seen: make(map[situation]int)} }

func (c *coverage) add(n *atomic.Int64)           { n.Add(1) }
func (c *coverage) addN(n *atomic.Int64, k int64) { n.Add(k) }

func (w *simWorld) count(s situation) {
	w.cover.mu.Lock()
	defer w.cover.mu.Unlock()
	w.cover.seen[s]++
}

// report prints the table. With HOLDFAST_NIGHTLY set, a situation that was
// never met fails the test: then the simulation no longer tests what it says.
func (c *coverage) report(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := append([]situation(nil), allSituations...)
	sort.Slice(l, func(i, j int) bool { return c.seen[l[i]] > c.seen[l[j]] })
	var b strings.Builder
	fmt.Fprintf(&b, "%d seeds, %d steps, %d operations, %d comparisons with the reference, %d prefix checks, %d equal hashes, %d records salvaged, %d offline checks\n",
		c.seeds.Load(), c.steps.Load(), c.operations.Load(), c.comparisons.Load(), c.prefixChecks.Load(), c.hashes.Load(), c.salvaged.Load(), c.checks.Load())
	for _, s := range l {
		fmt.Fprintf(&b, "%7d  %s\n", c.seen[s], s)
	}
	t.Log(b.String())
	if os.Getenv("HOLDFAST_NIGHTLY") == "" {
		return
	}
	for _, s := range l {
		if c.seen[s] == 0 && s != sawStopped {
			t.Errorf("never met: %s", s)
		}
	}
}
