package engine

import (
	"testing"

	"github.com/holdfast-fs/holdfast/internal/journal"
)

// TestRestartsDoNotPileUpSegments: of the short segments that restarts of an
// encrypted file system leave, the oldest go once there are very many, though
// they are young and take no space; what a replica needs stays.
func TestRestartsDoNotPileUpSegments(t *testing.T) {
	segments := func(n int) (l []journal.Segment) {
		for i := range uint64(n) {
			l = append(l, journal.Segment{ID: i + 1, Bytes: 12 << 10, History: true, Start: i, End: i + 1, Last: i + 1})
		}
		return l
	}
	policy := func(last, needed uint64) *cleanPolicy {
		return &cleanPolicy{flushed: last, needRecords: needed, needPayloads: needed, old: func(uint64) bool { return false },
			historyBytes: 1 << 30, peerBytes: 1 << 30, slack: defaultSlack, budget: cleanBudget, pieces: cleanPieces}
	}
	for _, c := range []struct {
		segments int
		needed   uint64
		want     int
	}{
		{maxShort, maxShort, 0},
		{maxShort + 1, maxShort + 1, maxShort + 1 - shortGoal},
		{5000, 5000, 5000 - shortGoal},
		{5000, 100, 100},
	} {
		l := segments(c.segments)
		got := choose(l, nil, policy(uint64(c.segments), c.needed))
		if len(got.victims) != c.want || got.overran {
			t.Errorf("of %d, a replica has %d: %d go, want %d (overran %v)", c.segments, c.needed, len(got.victims), c.want, got.overran)
		}
		if due := worthAnHour(0, defaultSlack, int64(c.segments)); due != (c.segments > maxShort) {
			t.Errorf("%d short segments: a pass is due: %v", c.segments, due)
		}
	}
	long := segments(5000)
	for i := range long {
		long[i].Bytes = journal.ShortSegment
	}
	if got := choose(long, nil, policy(5000, 5000)); len(got.victims) != 0 {
		t.Errorf("%d segments of the usual kind go", len(got.victims))
	}
}
