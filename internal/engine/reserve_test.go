package engine

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// TestAFullDestinationKeepsItsReserve: it takes nothing that grows, neither
// records nor a checkpoint, is in good health, can be promoted, and goes on
// when there is room.
func TestAFullDestinationKeepsItsReserve(t *testing.T) {
	p := newPair(t, 9)
	ok(t, p.other.Close())
	d := &sized{disk.NewMem(), 50 << 20}
	p.otherO.FS, p.otherO.ReserveBytes = d, 10<<20
	ok(t, CreateEmpty(p.otherO))
	p.other = must[*Engine](t)(Open(ctx, p.otherO))
	p.steps(100)
	room := func(free uint64) {
		d.free = free
		p.clock.Add(time.Minute)
	}

	room(9 << 20)
	if err := p.transferOnce("c", nil, false); !errors.Is(err, fs.ErrNoSpace) {
		t.Fatalf("a checkpoint into the reserve: %v", err)
	}
	room(50 << 20)
	p.transfer(nil)

	room(9 << 20)
	if _, err := p.other.OpenCheckpoint("full", nil, nil); !errors.Is(err, fs.ErrNoSpace) {
		t.Errorf("a checkpoint of a full file system: %v", err)
	}

	f := create(t, p.e, fs.RootIno, "reserve", fs.TypeRegular)
	write(t, p.e, f.Ino, 0, []byte("x"))
	ok(t, p.e.Sync(ctx))
	room(9 << 20)
	if err := pullOnce(t, p.e, p.other); !errors.Is(err, fs.ErrNoSpace) || errors.Is(err, ErrPoison) {
		t.Fatalf("records into the reserve: %v", err)
	}
	ok(t, p.other.Err())
	room(50 << 20)
	ok(t, pullOnce(t, p.e, p.other))
	catchUp(t, p.e, p.other)

	room(9 << 20)
	ok(t, p.other.BeginWriting(ctx))
	if _, err := p.other.Remove(ctx, &fs.RemoveRequest{Parent: fs.RootIno, Name: "reserve"}); err != nil {
		t.Errorf("remove after the promotion of a full destination: %v", err)
	}
	p.close()
}

// pullOnce gives dst all records that it lacks, in one batch.
func pullOnce(t *testing.T, src, dst *Engine) error {
	t.Helper()
	r := must[*journal.Reader](t)(src.Records(dst.LastApplied()))
	defer r.Close()
	var batch []Incoming
	for {
		en, more, err := r.TryNext()
		ok(t, err)
		if !more {
			return dst.Receive(batch)
		}
		batch = append(batch, Incoming{en.Record, must[[]byte](t)(en.Payload(nil))})
	}
}
