package replica

import (
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Reasons to stand still.
var (
	// ErrOtherLineage: the two sides do not hold the same data.
	ErrOtherLineage = errors.New("the lineages differ")
	// ErrEmptySource: the source has no history, so there is nothing to follow.
	ErrEmptySource = errors.New("the source has no history")
	// ErrSourceWentBack: the destination holds records that its source sent,
	// and the source does not have them any more.
	ErrSourceWentBack = errors.New("the source has lost records that it sent")
)

// plan says how a destination whose position the source does not have comes
// to follow it.
type plan struct {
	// fork is the sequence to resync from, if both journals still know it and
	// agree on it; 0 asks for the whole tree, or, with compare, for what differs.
	fork uint64
	// compare: both trees are of one lineage, and little may differ. forked is
	// the last sequence that the histories share by their epochs; 0: none.
	compare bool
	forked  uint64
	why     string
}

// decide compares the histories. An error means that nothing may be taken from
// this source: one that is empty, or holds other data, is never read as "all
// was deleted".
func decide(dest, src *fs.History, want fs.Lineage, allowReplace bool) (plan, error) {
	switch {
	case len(src.Epochs) == 0 || src.Last.Seq == 0:
		return plan{}, fmt.Errorf("%w: was it made anew? What is here is kept as it is", ErrEmptySource)
	case src.Lineage != want:
		return plan{}, fmt.Errorf("%w: the source holds %s, this replication is of %s; what is here is kept as it is", ErrOtherLineage, src.Lineage, want)
	case isEmpty(dest):
		return plan{why: "the destination is empty"}, nil
	}
	if err := checkOwn(dest, want, allowReplace); err != nil {
		return plan{}, err
	}
	if dest.Lineage != want {
		return plan{why: "the destination held other data, which is to be replaced"}, nil
	}
	seq, ok := fs.Fork(dest, src)
	switch {
	case !ok || seq == 0:
		return plan{compare: true, why: "the histories share no epoch"}, nil
	case seq < dest.Base.Seq:
		return plan{compare: true, forked: seq, why: fmt.Sprintf("the destination's journal begins after record %d, the histories fork at %d", dest.Base.Seq, seq)}, nil
	case seq < src.Base.Seq:
		return plan{compare: true, forked: seq, why: fmt.Sprintf("the source's journal begins after record %d, the histories fork at %d", src.Base.Seq, seq)}, nil
	}
	return plan{fork: seq, why: fmt.Sprintf("the histories fork at record %d", seq)}, nil
}

// checkNotBack refuses a source that no longer has what it sent. Only durable
// records are ever sent, so its disk lost them, or its data was put back from an
// older copy: to follow would take the newest changes away on this side too.
func checkNotBack(dest, src *fs.History) error {
	if seq, ok := fs.Fork(dest, src); ok && seq >= dest.Last.Seq {
		return nil
	} else if ok {
		return fmt.Errorf("%w: this side holds records to %d, the histories fork at %d. Was the source put back from an older copy? What is here is kept as it is: delete the replication, decide which side is right, and make the other one its destination",
			ErrSourceWentBack, dest.Last.Seq, seq)
	}
	return fmt.Errorf("%w: the histories share no epoch. What is here is kept as it is", ErrSourceWentBack)
}

// isEmpty reports whether a replica never received anything.
func isEmpty(h *fs.History) bool { return len(h.Epochs) == 0 && h.Last.Seq == 0 }

// checkOwn refuses to replace other data unless the control plane said so.
func checkOwn(dest *fs.History, want fs.Lineage, allowReplace bool) error {
	if isEmpty(dest) || dest.Lineage == want || allowReplace {
		return nil
	}
	return fmt.Errorf("%w: the destination holds %s, this replication is of %s; it is not overwritten unless that is asked for",
		ErrOtherLineage, dest.Lineage, want)
}

// sameAt compares what both sides say of a fork point. A side whose journal
// was trimmed since the histories were read cannot tell: then the position is
// zero, and they are not the same.
func sameAt(dest, src func(seq uint64) (fs.Pos, error), seq uint64) (fs.Pos, bool, error) {
	a, err := dest(seq)
	if errors.Is(err, ErrTrimmed) {
		return fs.Pos{}, false, nil
	}
	if err != nil {
		return fs.Pos{}, false, fmt.Errorf("position of record %d at the destination: %w", seq, err)
	}
	b, err := src(seq)
	if errors.Is(err, ErrTrimmed) {
		return fs.Pos{}, false, nil
	}
	if err != nil {
		return fs.Pos{}, false, fmt.Errorf("position of record %d at the source: %w", seq, err)
	}
	return a, a == b, nil
}

// contiguous drops what the destination has already and refuses a gap. The
// chain is checked by Append.
func contiguous(recs []Incoming, have fs.Pos) ([]Incoming, error) {
	for len(recs) > 0 && recs[0].Record.Seq <= have.Seq {
		if r := recs[0].Record; r.Seq == have.Seq && r.Pos() != have {
			return nil, badFrame("record %d came again with another chain", r.Seq)
		}
		recs = recs[1:]
	}
	next := have.Seq + 1
	for _, in := range recs {
		if in.Record.Seq != next {
			return nil, badFrame("record %d came, %d is next", in.Record.Seq, next)
		}
		next++
	}
	return recs, nil
}
