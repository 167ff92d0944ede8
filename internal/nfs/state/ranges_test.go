package state

import (
	"testing"

	"pgregory.net/rapid"
)

// TestRangesAgreeWithAMapOfBytes compares the ranges with the plainest model:
// for every byte, who holds which lock.
func TestRangesAgreeWithAMapOfBytes(t *testing.T) {
	const size = 40
	type key struct {
		owner *lockOwner
		at    uint64
	}
	owners := []*lockOwner{{owner: "a"}, {owner: "b"}, {owner: "c"}}
	rapid.Check(t, func(t *rapid.T) {
		var list []Range
		model := map[key]bool{} // to: is it a write lock
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w := rapid.SampledFrom(owners).Draw(t, "owner")
			first := rapid.Uint64Range(0, size-1).Draw(t, "first")
			last := rapid.Uint64Range(first, size-1).Draw(t, "last")
			write := rapid.Bool().Draw(t, "write")
			if rapid.IntRange(0, 2).Draw(t, "unlock") == 0 {
				list = without(list, w, first, last)
				for at := first; at <= last; at++ {
					delete(model, key{w, at})
				}
				continue
			}
			clash := false
			for _, o := range owners {
				for at := first; at <= last; at++ {
					if x, held := model[key{o, at}]; o != w && held && (write || x) {
						clash = true
					}
				}
			}
			if got := conflict(list, w, first, last, write); (got != nil) != clash {
				t.Fatalf("conflict %v, want %v", got, clash)
			}
			if clash {
				continue
			}
			list = with(list, Range{first, last, write, w})
			for at := first; at <= last; at++ {
				model[key{w, at}] = write
			}
		}
		covered := 0
		for _, r := range list {
			for at := r.First; at <= r.Last; at++ {
				covered++
				if x, held := model[key{r.Owner, at}]; !held || x != r.Write {
					t.Fatalf("byte %d of %v: held %v, write %v", at, r, held, x)
				}
			}
			for _, q := range list {
				if q != r && q.Owner == r.Owner && q.Write == r.Write && r.Last+1 == q.First {
					t.Fatalf("%v and %v are not joined", r, q)
				}
			}
		}
		if covered != len(model) {
			t.Fatalf("%d bytes in ranges, %d in the model", covered, len(model))
		}
	})
}

func TestRangesReachTheLastByte(t *testing.T) {
	w := &lockOwner{}
	list := with(nil, Range{0, 9, true, w})
	list = with(list, Range{10, maxOffset, true, w})
	if len(list) != 1 || list[0] != (Range{0, maxOffset, true, w}) {
		t.Fatalf("%v", list)
	}
	list = without(list, w, maxOffset, maxOffset)
	if len(list) != 1 || list[0].Last != maxOffset-1 {
		t.Fatalf("%v", list)
	}
	if list = without(list, w, 0, maxOffset); len(list) != 0 {
		t.Fatalf("%v", list)
	}
}
