package engine

import (
	"cmp"
	"slices"

	"github.com/holdfast-fs/holdfast/internal/journal"
)

// What the cleaner of the journal takes. Pure: figures in, segments out.

// usage is what is still needed of one segment.
type usage struct {
	bytes  int64 // stored
	pieces int
}

// cleanPolicy says what may go and what should.
type cleanPolicy struct {
	flushed      uint64                // records up to here are in the tree on disk
	needRecords  uint64                // a peer may ask for the records after this one
	needPayloads uint64                // and for the payloads of the records after this one
	old          func(seq uint64) bool // the record after seq is older than history is kept for
	historyBytes int64                 // of record segments that are kept though nobody needs them
	peerBytes    int64                 // that are kept only because a peer needs them
	slack        int64                 // dead bytes that are not worth a pass
	pressure     pressure
	budget       int64 // bytes to copy in one pass
	pieces       int   // pieces to copy in one pass
}

// pressure says how full the disk is.
type pressure int

const (
	roomy    pressure = iota
	tight             // history that no peer needs goes at once
	diskFull          // what peers need goes too: they will be resynchronised
)

const (
	// A pass begins when dead bytes are more than a deadTrigger-th of the live
	// ones and ends when they are less than a deadGoal-th.
	deadTrigger, deadGoal = 3, 5
	// worthIt: a segment of which less than this share is dead is not copied.
	worthIt = 8
)

// maxShort bounds the short record segments that are kept though nobody needs
// them: a file system that is restarted over and over must not have to look at
// ever more of them. A pass goes down to shortGoal, so that not each start begins one.
const maxShort, shortGoal = 1024, 768

// choice is what a pass removes.
type choice struct {
	victims []journal.Segment
	dead    int64 // bytes that are given back
	copied  int64 // bytes to copy for that
	pieces  int
	more    bool // the budget ended it
	overran bool // a peer still needed some of it
}

func (c *choice) take(s journal.Segment, u usage) {
	c.victims = append(c.victims, s)
	if s.Stays {
		return
	}
	c.dead += s.Bytes - u.bytes
	c.copied += u.bytes
	c.pieces += u.pieces
}

func (c *choice) exceeds(p *cleanPolicy, u usage) bool {
	return len(c.victims) > 0 && (c.copied+u.bytes > p.budget || c.pieces+u.pieces > p.pieces)
}

func choose(l []journal.Segment, used map[uint64]usage, p *cleanPolicy) *choice {
	c := &choice{}
	c.history(l, used, p)
	c.rest(l, used, p)
	return c
}

// history takes the oldest record segments.
func (c *choice) history(l []journal.Segment, used map[uint64]usage, p *cleanPolicy) {
	total, short := int64(0), 0
	for _, s := range l {
		if s.History {
			total += s.Bytes
			short += shortOne(s)
		}
	}
	shorts := short > maxShort
	for _, s := range l {
		if !s.History {
			continue
		}
		tooMuch := total > p.historyBytes || p.pressure >= tight || shorts && short > shortGoal
		needed := s.End > p.needRecords || s.Last > p.needPayloads
		switch {
		case s.End > p.flushed:
			return
		case needed && total <= p.historyBytes+p.peerBytes && p.pressure < diskFull:
			return
		case !needed && !tooMuch && !p.old(s.End):
			return
		case c.exceeds(p, used[s.ID]):
			c.more = true
			return
		}
		c.overran = c.overran || needed
		c.take(s, used[s.ID])
		total -= s.Bytes
		short -= shortOne(s)
	}
}

func shortOne(s journal.Segment) int {
	if s.Bytes < journal.ShortSegment {
		return 1
	}
	return 0
}

// rest takes segments that hold nothing but payloads, those with the most
// garbage first.
func (c *choice) rest(l []journal.Segment, used map[uint64]usage, p *cleanPolicy) {
	live, dead, pinned := int64(0), int64(0), int64(0)
	var free, held []journal.Segment
	for _, s := range l {
		live += used[s.ID].bytes
		switch {
		case s.History || s.Stays || s.Last > p.flushed:
		case s.Last > p.needPayloads:
			held = append(held, s)
			pinned += s.Bytes - used[s.ID].bytes
		default:
			free = append(free, s)
			dead += s.Bytes - used[s.ID].bytes
		}
	}
	if pinned > p.peerBytes || p.pressure == diskFull {
		free = append(free, held...)
		dead += pinned
		c.overran = c.overran || len(held) > 0
	}
	share := func(s journal.Segment) float64 { return float64(used[s.ID].bytes) / float64(s.Bytes) }
	slices.SortStableFunc(free, func(a, b journal.Segment) int { return cmp.Compare(share(a), share(b)) })
	goal := p.slack/2 + live/deadGoal
	if p.pressure != roomy {
		goal = 0
	}
	for _, s := range free {
		u := used[s.ID]
		gain := s.Bytes - u.bytes
		switch {
		case u.pieces == 0: // costs nothing
		case dead <= goal || gain < s.Bytes/worthIt:
			return
		case c.exceeds(p, u):
			c.more = true
			return
		}
		c.take(s, u)
		dead -= gain
	}
}
