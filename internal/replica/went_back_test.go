package replica

import (
	"errors"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// TestASourceThatLostWhatItSentIsNotFollowed: after records have flowed, a
// destination goes on only with a source that still has all of them.
func TestASourceThatLostWhatItSentIsNotFollowed(t *testing.T) {
	epoch := func(n uint32) fs.EpochID { return fs.EpochID{Counter: n, Member: 1} }
	history := func(last uint64, firsts ...uint64) *fs.History {
		h := &fs.History{Lineage: testLineage, Last: fs.Pos{Seq: last}}
		for i, first := range firsts {
			h.Epochs = append(h.Epochs, fs.EpochStart{ID: epoch(uint32(i + 1)), First: first})
		}
		return h
	}
	other := history(30, 1)
	other.Epochs[0].ID = epoch(9)
	for name, x := range map[string]struct {
		dest, src *fs.History
		back      bool
	}{
		"ahead":                           {history(10, 1), history(20, 1), false},
		"ahead in a new epoch":            {history(10, 1), history(20, 1, 11), false},
		"level":                           {history(10, 1), history(10, 1), false},
		"shorter":                         {history(10, 1), history(9, 1), true},
		"shorter, with a new epoch since": {history(10, 1), history(20, 1, 9), true},
		"nothing shared":                  {history(10, 1), other, true},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkNotBack(x.dest, x.src)
			if errors.Is(err, ErrSourceWentBack) != x.back {
				t.Errorf("got %v", err)
			}
		})
	}
}
