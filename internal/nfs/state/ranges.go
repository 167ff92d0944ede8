package state

// Range is a locked part of a file: bytes First to Last, both included, so
// that the last byte of the largest file can be named.
type Range struct {
	First, Last uint64
	Write       bool
	Owner       *lockOwner
}

func (r *Range) overlaps(first, last uint64) bool { return r.First <= last && first <= r.Last }

// conflict returns a range that keeps owner from locking first to last, or nil.
func conflict(list []Range, owner *lockOwner, first, last uint64, write bool) *Range {
	for i := range list {
		r := &list[i]
		if r.Owner != owner && r.overlaps(first, last) && (write || r.Write) {
			return r
		}
	}
	return nil
}

// without takes first to last away from what owner holds, splitting ranges
// that reach beyond.
func without(list []Range, owner *lockOwner, first, last uint64) []Range {
	out := make([]Range, 0, len(list)+1)
	for _, r := range list {
		if r.Owner != owner || !r.overlaps(first, last) {
			out = append(out, r)
			continue
		}
		if r.First < first {
			left := r
			left.Last = first - 1
			out = append(out, left)
		}
		if r.Last > last {
			right := r
			right.First = last + 1
			out = append(out, right)
		}
	}
	return out
}

// with adds a range in place of what its owner held there before (a change of
// type is an upgrade or a downgrade) and joins neighbours of the same type.
func with(list []Range, n Range) []Range {
	list = without(list, n.Owner, n.First, n.Last)
	out := list[:0]
	for _, r := range list {
		switch {
		case r.Owner != n.Owner || r.Write != n.Write:
		case r.Last != maxOffset && r.Last+1 == n.First:
			n.First = r.First
			continue
		case n.Last != maxOffset && n.Last+1 == r.First:
			n.Last = r.Last
			continue
		}
		out = append(out, r)
	}
	return append(out, n)
}

const maxOffset = 1<<64 - 1
