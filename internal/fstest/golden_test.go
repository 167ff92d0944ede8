package fstest

import (
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

var update = flag.Bool("update", false, "write the list of generated operations anew: only ever to add to it")

// goldenOperations is what the generator draws. An operation never leaves the
// list because comparing it is hard.
const goldenOperations = "testdata/operations.txt"

// facets are what an operation does, as far as the model tells it apart.
func facets(o *Op) (l []string) {
	kind := opNames[o.Kind]
	add := func(what string) { l = append(l, kind+" "+what) }
	switch o.Kind {
	case OpCreate:
		add(o.Type.String())
	case OpSetAttr:
		for what, set := range map[string]bool{"mode": o.Set.Mode != nil, "owner": o.Set.UID != nil, "group": o.Set.GID != nil,
			"size": o.Set.Size != nil, "of an open file": o.Opened} {
			if set {
				add(what)
			}
		}
	case OpXattr:
		add([]string{"either", "new", "replaced"}[o.How])
		if o.Delete {
			add("removed")
		}
	case OpClient:
		if o.Delete {
			add("removed")
		} else {
			add("added")
		}
	case OpClone:
		if o.Ino == o.To {
			add("within a file")
		} else {
			add("to another file")
		}
	default:
		l = append(l, kind)
	}
	if o.Cred.UID != 0 {
		l = append(l, "somebody other than root")
	}
	return l
}

func TestNoOperationLeavesTheModel(t *testing.T) {
	clock := NewClock(time.Unix(1_700_000_000, 0))
	ref := NewRef(clock.Now)
	m := NewModel(clock, ref)
	seen := map[string]bool{}
	for seed := range uint64(4) {
		gen := NewGen(seed, m.Ref, clock.Now())
		for range 5000 {
			o := gen.Next()
			for _, f := range facets(o) {
				seen[f] = true
			}
			done, err := m.Do(o)
			if err != nil {
				t.Fatal(err)
			}
			if done.Made != fs.Ino(0) {
				gen.Made(done.Made, done.Type)
			}
		}
	}
	got := strings.Join(slices.Sorted(maps.Keys(seen)), "\n") + "\n"
	if *update {
		if err := os.WriteFile(goldenOperations, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenOperations)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the generator draws\n%s\nthe list has\n%s", got, want)
	}
}
