package fs

// EpochStart is one stretch of a history: the epoch and its first sequence.
type EpochStart struct {
	ID    EpochID
	First uint64
}

// History tells which history a replica holds: its epochs in order, where its
// journal begins (records up to Base are absent; their effect is in the tree)
// and how far it reaches.
type History struct {
	Lineage Lineage
	Epochs  []EpochStart
	Base    Pos
	Last    Pos
}

// Fork is the last sequence that both histories share, judged by their epochs:
// an epoch has one writer, so within it histories are prefixes of one stretch.
// ok is false when they share nothing. The caller compares the chains there.
func Fork(a, b *History) (seq uint64, ok bool) {
	if a.Lineage != b.Lineage {
		return 0, false
	}
	i := 0
	for i < len(a.Epochs) && i < len(b.Epochs) && a.Epochs[i] == b.Epochs[i] {
		i++
	}
	if i == 0 {
		return 0, false
	}
	return min(a.end(i), b.end(i)), true
}

// end is the last sequence before the i-th epoch begins.
func (h *History) end(i int) uint64 {
	if i < len(h.Epochs) {
		return h.Epochs[i].First - 1
	}
	return h.Last.Seq
}
