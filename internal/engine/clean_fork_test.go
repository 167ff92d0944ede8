package engine

import (
	"bytes"
	"errors"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// TestOverwrittenBytesSinceTheForkAreKept: after a promotion, until the replica
// that comes back was heard of, it may be promoted itself, and what is here goes
// to salvage: the bytes that were overwritten, too. A file system in no
// replication keeps none.
func TestOverwrittenBytesSinceTheForkAreKept(t *testing.T) {
	for _, alone := range []bool{false, true} {
		d, clock := disk.NewMem(), newClock()
		a := newWriter(t, testOptions(d, clock, "fs-a", 1))
		f := create(t, a, fs.RootIno, "f", fs.TypeRegular)
		ob := testOptions(d, clock, "fs-b", 2)
		ob.Clean.Alone = func() bool { return alone }
		ok(t, CreateEmpty(ob))
		b := must[*Engine](t)(Open(ctx, ob))
		ok(t, a.AddMember(ctx, ob.ID))
		bootstrap(t, a, b)
		ok(t, a.Close())
		fork := b.Durable().Seq
		ok(t, b.BeginWriting(ctx))
		for i := range 40 {
			write(t, b, f.Ino, 0, bytes.Repeat([]byte{byte(i)}, 100<<10))
		}
		settle(t, b)
		ok(t, b.Clean(ctx))
		gone, records := 0, 0
		ok(t, b.eachRecord(fork, b.Durable().Seq, func(_ *fs.Record, _ fs.Mutation, en *journal.Entry) error {
			records++
			_, err := en.Payload(nil)
			if errors.Is(err, journal.ErrCleaned) {
				gone++
				err = nil
			}
			return err
		}))
		if records < 40 || (gone > 0) != alone {
			t.Errorf("alone %v: the bytes of %d of %d records since the fork are gone", alone, gone, records)
		}
		ok(t, b.Close())
	}
}
