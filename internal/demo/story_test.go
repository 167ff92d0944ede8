package demo

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func told() *story {
	s := &story{rep: &Report{Failover: &Failover{}}, writes: &writes{}}
	for _, p := range []string{"/written/0/1", "/written/0/2", "/written/1/1"} {
		s.writes.ack(p)
	}
	return s
}

func TestALostWriteThatWasNotSalvagedIsAProblem(t *testing.T) {
	s := told()
	s.writes.settle([]string{"/written/0/2", "/written/1/1"})
	var sal salvageAnswer
	if err := json.Unmarshal([]byte(`{"salvages":[{"id":"x","records":3,"payload_bytes":40,"paths":[{"path":"/written/0/2","operations":["write"]}]}]}`), &sal); err != nil {
		t.Fatal(err)
	}
	if n := s.judgeSalvage(&sal); n != 40 {
		t.Errorf("%d bytes", n)
	}
	if d := cmp.Diff(&Failover{Salvaged: 1, SalvageRecords: 3}, s.rep.Failover); d != "" {
		t.Error(d)
	}
	want := []string{"/written/1/1 was acknowledged, lost, and is not in the salvage"}
	if d := cmp.Diff(want, s.rep.Problems); d != "" {
		t.Error(d)
	}
}

func TestWritesBeforeAndAfterTheFailoverAreKeptApart(t *testing.T) {
	s := told()
	s.writes.settle([]string{"/written/0/1"})
	s.writes.ack("/after")
	if d := cmp.Diff([]string{"/written/0/2", "/written/1/1"}, s.writes.beforeFailover()); d != "" {
		t.Error(d)
	}
	if got, want := s.writtenSince(), uint64(len(contentOf("/after"))); got != want {
		t.Errorf("%d bytes written since, want %d", got, want)
	}
}

func TestACopyOfTheTreeIsNoResync(t *testing.T) {
	const tree, changed = 100e6, 400e3
	if limit := resyncLimit(changed, tree); limit < changed || limit > tree/5 {
		t.Errorf("limit %d", limit)
	}
}

func TestArrivedMeansEverythingIsThere(t *testing.T) {
	at := func(pos string, r *replicationInfo) *status { return &status{Position: pos, Replication: r} }
	src := at("p2", nil)
	for _, c := range []struct {
		name   string
		dst    *status
		ok     bool
		notYet bool
	}{
		{"all there", at("p2", &replicationInfo{Whole: true, Following: true}), true, false},
		{"behind", at("p1", &replicationInfo{Whole: true, Following: true}), false, true},
		{"in its first transfer", at("p2", &replicationInfo{}), false, true},
		{"no destination yet", at("p2", nil), false, true},
		{"poisoned", at("p1", &replicationInfo{Whole: true, Following: true, Error: "record 7"}), false, false},
	} {
		ok, err := arrived(src, c.dst)
		if ok != c.ok || errors.Is(err, errNotYet) != c.notYet || !ok && err == nil {
			t.Errorf("%s: %v, %v", c.name, ok, err)
		}
	}
}

func TestAGeneratedTreeIsAlwaysTheSame(t *testing.T) {
	var first []byte
	for i := range 2 {
		dir := filepath.Join(t.TempDir(), "in")
		if err := generate(dir, 2, 2); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "part-0", "dir-01", "file-01.txt"))
		if err != nil || len(b) == 0 {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		if i == 0 {
			first = b
		} else if string(b) != string(first) {
			t.Error("the second tree is another one")
		}
	}
}

func TestTheInputIsCountedAndItsFilesAreSpread(t *testing.T) {
	in, err := chooseInput(smallTree(t), "")
	if err != nil {
		t.Fatal(err)
	}
	if in.count != 60 || len(in.files) != 60 || in.bytes == 0 {
		t.Errorf("%d files, %d bytes", in.count, in.bytes)
	}
	if dir, n := in.bigDir(); dir != "part-0" || n != 60 {
		t.Errorf("largest directory %q with %d files", dir, n)
	}
	over, gone := (&story{input: in}).pick()
	seen := map[string]bool{}
	for _, f := range append(over, gone...) {
		if seen[f] {
			t.Errorf("%s is chosen twice", f)
		}
		seen[f] = true
	}
	if len(seen) != 2*fewFiles {
		t.Errorf("%d files chosen", len(seen))
	}
	if take := sampler(1); !take("anything") {
		t.Error("of one file, all are to be compared")
	}
}

func TestEachStopsAtTheFirstError(t *testing.T) {
	boom := errors.New("boom")
	var done atomic.Int32
	err := each(t.Context(), 2, numbers(1000), func(ctx context.Context, n int) error {
		if n == 3 {
			return boom
		}
		done.Add(1)
		return nil
	})
	if !errors.Is(err, boom) || done.Load() == 999 {
		t.Errorf("%v after %d", err, done.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := each(ctx, 2, numbers(1000), func(context.Context, int) error { return nil }); err == nil {
		t.Error("a context that has ended must end it with an error")
	}
}

func TestTheTextHasEveryNumber(t *testing.T) {
	r := &Report{Steps: []Step{{Name: "copy", Done: "3 files", Seconds: 0.25, BytesWire: 1500}},
		Tree: Tree{From: "/src", Files: 3, Bytes: 1e6}, Lag: &Lag{0.5, 12, 3000},
		Failover: &Failover{SecondsToWritable: 0.006, AckedAtKill: 900, Lost: 3, Salvaged: 2, SalvageRecords: 8},
		Failback: &Failback{BytesChanged: 5000, BytesWire: 700, Transfer: "resync"},
		Hashes:   &Hashes{Position: "p", Primary: "aa", Secondary: "bb", Keys: 9},
		Problems: []string{"one is missing"},
		Kept:     &Kept{Dir: "/d", Regions: []KeptRegion{{Region: primary, PID: 7, FileSystemID: "fs-1", NFS: "127.0.0.1:5", Exports: []string{"export A=b"}}}}}
	var b strings.Builder
	r.Text(&b)
	for _, want := range []string{"copy                  250 ms       1.5 kB  3 files", "3 files, 1.0 MB, from /src", "500 ms, 12 records, 3.0 kB",
		"writable 6 ms after the call; 900 writes acknowledged at the kill, 3 lost, 2 of them salvaged (8 records)",
		"5.0 kB changed, 700 B over the wire (resync)", "aa  us-east-1", "bb  eu-west-1", "PROBLEM    one is missing",
		"port=5 127.0.0.1:/fs-1 /mnt", "export A=b", "kill 7 && rm -r /d"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "are equal") {
		t.Error("a report with problems must not say that all is well")
	}
}
