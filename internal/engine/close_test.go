package engine

import (
	"errors"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// TestCloseWhileServed: a file system is deleted, or a region stops, while
// another region reads a checkpoint and clients read files: all get an answer.
func TestCloseWhileServed(t *testing.T) {
	p := newPair(t, 5)
	p.steps(200)
	ok(t, p.e.Sync(ctx))
	info := must[CheckpointInfo](t)(p.e.OpenCheckpoint("c", nil, nil))
	begun, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		n := 0
		done <- p.e.Items("c", 0, nil, func(Item) error {
			if n++; n == 1 {
				close(begun)
				<-goOn
			}
			return nil
		})
	}()
	<-begun
	ok(t, p.e.Close())
	close(goOn)
	if err := <-done; err != nil && !errors.Is(err, ErrNoCheckpoint) {
		t.Fatal(err)
	}
	if _, err := p.e.OpenCheckpoint("d", nil, nil); err == nil {
		t.Error("a checkpoint of a closed file system")
	}
	if err := p.e.Items("c", 0, nil, func(Item) error { return nil }); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("items after the end: %v", err)
	}
	if _, err := p.e.History(); err == nil {
		t.Error("a closed file system passes for an empty one")
	}
	if _, err := p.e.GetAttr(fs.RootIno); err != fs.ErrDelay {
		t.Errorf("attributes after the end: %v", err)
	}
	if _, _, err := p.e.Hash(); err != fs.ErrDelay {
		t.Errorf("hash after the end: %v", err)
	}
	if err := p.e.BeginWriting(ctx); err == nil {
		t.Error("a closed file system begins to write")
	}
	if err := p.e.AddMember(ctx, "fs-x"); err == nil {
		t.Error("a closed file system takes a member")
	}
	// Opened again, it answers from the same checkpoint.
	p.e = reopen(t, p.o)
	if again := must[CheckpointInfo](t)(p.e.OpenCheckpoint("c", nil, nil)); again.Pos != info.Pos {
		t.Errorf("another checkpoint: %v, %v", again.Pos, info.Pos)
	}
	p.close()
}
