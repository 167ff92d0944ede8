package control

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// memLog is a log that cannot fail.
type memLog struct{ entries [][]byte }

func (l *memLog) Replay(fn func([]byte) error) error {
	for _, e := range l.entries {
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}
func (l *memLog) Append(e []byte) error      { l.entries = append(l.entries, e); return nil }
func (l *memLog) Rewrite(all [][]byte) error { l.entries = all; return nil }
func (l *memLog) Close() error               { return nil }

// everyKind is one record of each kind, every member set.
func everyKind(t *tx) error {
	at := time.Date(2026, 11, 23, 8, 30, 0, 5, time.UTC)
	pos := fs.Pos{Epoch: fs.EpochID{Counter: 1, Member: 2, Nonce: 3}, Seq: 4, Chain: fs.Chain{5}}
	t.putFileSystem(FileSystem{ID: "fs-00000001", CreationToken: "t", CreationTime: at, State: Failed, Message: "m", PerformanceMode: "maxIO",
		ThroughputMode: "bursting", Protection: ProtectionReplicating, Tags: []Tag{{"k", "v"}}, MadeFor: "r"})
	t.putMountTarget(MountTarget{ID: "fsmt-00000001", FileSystemID: "fs-00000001", SubnetID: "subnet-00000001", IPAddress: "127.0.0.1",
		InterfaceID: "eni-1", State: Available, CreationTime: at})
	t.putReplication(Replication{ID: "r", Side: SideDestination, Stage: StageDeleting, Fault: FaultUnknown, FileSystemID: "fs-00000001",
		PeerRegion: "us-west-2", PeerID: "fs-00000002", Existing: true, Lineage: strings.Repeat("0", 32), CreationTime: at, DeletingSince: at,
		Target: &pos, SourceAlive: true, TookPart: true, BySource: true, Abandoned: true})
	t.putTombstone(&Tombstone{ID: "x", Outcome: OutcomePromoted, SourceID: "a", DestinationID: "b", PeerRegion: "c", PromotedAt: pos, TookPart: true, Time: at})
	t.putCleanup(Cleanup{ID: "y", PeerRegion: "us-west-2", Time: at})
	return nil
}

// TestEntriesAreFrozen: a catalog that this release wrote must be readable, and
// mean the same, for ever. The golden file is never changed, only added to.
func TestEntriesAreFrozen(t *testing.T) {
	log := &memLog{}
	c, err := openCatalog(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.update(everyKind); err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/entry-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := append(log.entries[0], '\n'); !bytes.Equal(got, golden) {
		t.Errorf("the entry is written as\n%s\nthe golden one is\n%s", got, golden)
	}
	again, err := openCatalog(&memLog{entries: [][]byte{golden}})
	if err != nil {
		t.Fatal(err)
	}
	a, errA := c.state.snapshot()
	b, errB := again.state.snapshot()
	if errA != nil || errB != nil || !bytes.Equal(bytes.Join(a, nil), bytes.Join(b, nil)) {
		t.Errorf("the golden entry means\n%s\nnot\n%s", b, a)
	}
}

func TestTombstonesAreBounded(t *testing.T) {
	c, err := openCatalog(&memLog{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxTombstones + 10 {
		err := c.update(func(t *tx) error {
			t.putTombstone(&Tombstone{ID: string(rune('a' + i)), Time: time.Unix(int64(i), 0)})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.state.tombstones); n != maxTombstones {
		t.Errorf("%d tombstones", n)
	}
	if c.state.tombstones[string(rune('a'+9))] != nil || c.state.tombstones[string(rune('a'+10))] == nil {
		t.Error("it is not the oldest that go")
	}
}

// FuzzEntry: whatever is on the disk, applying it either fails or gives a state
// that can be written and read back.
func FuzzEntry(f *testing.F) {
	golden, err := os.ReadFile("testdata/entry-v1.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add([]byte(`{"v":1,"changes":[{"kind":"mount-target","id":"a"},{"kind":"replication","id":"b","value":null}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := newState()
		if s.apply(raw) != nil {
			return
		}
		entries, err := s.snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := openCatalog(&memLog{entries: entries}); err != nil {
			t.Errorf("%s leads to a state that cannot be read back: %v", raw, err)
		}
	})
}
