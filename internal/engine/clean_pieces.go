package engine

import (
	"cmp"
	"context"
	"slices"

	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// holder is a tree that may name payloads of the journal.
type holder interface {
	Extents(after []byte, fn func(key []byte, e tree.Extent) error) error
}

// eachExtent calls fn for the extents of all roots, each with its present address.
func eachExtent(ctx context.Context, j *journal.Journal, roots []holder, fn func(e tree.Extent)) error {
	for _, r := range roots {
		err := r.Extents(nil, func(_ []byte, e tree.Extent) error {
			to, from, moved, err := j.Locate(e.Addr, e.AddrFrom, e.Length)
			switch {
			case err != nil:
				return err // what is not known to be needed would be removed
			case moved:
				e.Addr, e.AddrFrom = to, from
			}
			fn(e)
			return ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// measureUse counts what is needed of each segment. What several extents share
// is counted for each, so a segment may seem fuller than it is, never emptier.
func measureUse(ctx context.Context, j *journal.Journal, roots []holder) (map[uint64]usage, error) {
	used := map[uint64]usage{}
	err := eachExtent(ctx, j, roots, func(e tree.Extent) {
		u := used[e.Addr.Segment]
		u.bytes += journal.Stored(e.Length)
		u.pieces++
		used[e.Addr.Segment] = u
	})
	return used, err
}

// gather collects what must be copied out of the victims, in the order in
// which files are read.
func gather(ctx context.Context, j *journal.Journal, roots []holder, victims []journal.Segment) ([]journal.Piece, error) {
	wanted := make(map[uint64]bool, len(victims))
	for _, v := range victims {
		wanted[v.ID] = !v.Stays
	}
	var l []ordered
	err := eachExtent(ctx, j, roots, func(e tree.Extent) {
		if wanted[e.Addr.Segment] {
			l = append(l, ordered{journal.Piece{Addr: e.Addr, From: e.AddrFrom, Length: e.Length}, len(l)})
		}
	})
	return merge(l), err
}

type ordered struct {
	journal.Piece
	at int
}

// merge makes one piece of those that overlap or touch, so that each extent is
// found in one.
func merge(l []ordered) []journal.Piece {
	slices.SortFunc(l, func(a, b ordered) int {
		return cmp.Or(cmp.Compare(a.Addr.Segment, b.Addr.Segment), cmp.Compare(a.Addr.Offset, b.Addr.Offset), cmp.Compare(a.From, b.From))
	})
	n := 0
	for i, p := range l {
		if i > 0 {
			last := &l[n-1]
			if last.Addr.Segment == p.Addr.Segment && last.Addr.Offset == p.Addr.Offset && p.From <= last.From+last.Length {
				last.Length = max(last.Length, p.From+p.Length-last.From)
				last.at = min(last.at, p.at)
				continue
			}
		}
		l[n] = p
		n++
	}
	l = l[:n]
	slices.SortFunc(l, func(a, b ordered) int { return cmp.Compare(a.at, b.at) })
	pieces := make([]journal.Piece, n)
	for i := range l {
		pieces[i] = l[i].Piece
	}
	return pieces
}
