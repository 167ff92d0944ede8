package journal

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
)

func TestReadersFollowWhileRecordsAreAppended(t *testing.T) {
	o := tiny(disk.NewMem())
	o.SyncInterval = time.Millisecond
	j, h := mustCreate(t, o), newHistory()
	const n = 400
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	type seen struct {
		seq  uint64
		data []byte
	}
	var wg sync.WaitGroup
	got := make([][]seen, 3)
	for i := range got {
		r, err := j.Reader(0)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer r.Close()
			for range n {
				e, err := r.Next(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				if d := j.Durable().Seq; d < e.Record.Seq {
					t.Errorf("record %d was given, durable is %d", e.Record.Seq, d)
				}
				p, err := e.Payload(nil)
				if err != nil {
					t.Error(err)
					return
				}
				got[i] = append(got[i], seen{e.Record.Seq, p})
			}
		})
	}
	rng := rand.New(rand.NewPCG(6, 6))
	for range n {
		if _, err := h.append(j, randomPayload(rng)); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	for i := range got {
		for k, s := range got[i] {
			if s.seq != uint64(k+1) || !bytes.Equal(s.data, h.data[k]) {
				t.Fatalf("reader %d: record %d at place %d, or another payload", i, s.seq, k+1)
			}
		}
	}
}

func TestReaderStartsAnywhere(t *testing.T) {
	j, h := mustCreate(t, tiny(disk.NewMem())), newHistory()
	for i := range 200 {
		if _, err := h.append(j, nil); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			wait(t, j, h.last().Seq)
		}
	}
	wait(t, j, 200)
	for after := range uint64(200) {
		r, err := j.Reader(after)
		if err != nil {
			t.Fatal(err)
		}
		e, ok, err := r.TryNext()
		if err != nil || !ok || e.Record.Pos() != h.posAt(after+1) {
			t.Fatalf("after %d: %v %v", after, ok, err)
		}
		if p, err := j.PosAt(after); err != nil || p != h.posAt(after) {
			t.Fatalf("PosAt(%d) = %s, %v", after, p, err)
		}
		r.Close()
	}
	if _, err := j.Reader(201); !errors.Is(err, ErrNotWritten) {
		t.Errorf("reader after the end: %v", err)
	}
	if _, err := j.PosAt(201); !errors.Is(err, ErrNotWritten) {
		t.Errorf("position after the end: %v", err)
	}
}

func TestReaderEndsWithItsHistory(t *testing.T) {
	j, h := mustCreate(t, tiny(disk.NewMem())), newHistory()
	if _, err := h.append(j, nil); err != nil {
		t.Fatal(err)
	}
	wait(t, j, 1)
	r, err := j.Reader(1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, ok, err := r.TryNext(); ok || err != nil {
		t.Fatalf("there is no record 2: %v", err)
	}
	result := make(chan error, 1)
	go func() { _, err := r.Next(t.Context()); result <- err }()
	if err := j.Rebase(basePos(1), nil); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, ErrTrimmed) {
		t.Errorf("after a rebase: %v", err)
	}
	r2, err := j.Reader(1)
	if err != nil {
		t.Fatal(err)
	}
	defer r2.Close()
	go func() { _, err := r2.Next(t.Context()); result <- err }()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}
