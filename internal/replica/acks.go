package replica

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Ack is what a destination last said it holds durably, and when that was
// heard on this side's clock.
type Ack struct {
	Pos fs.Pos
	At  time.Time
}

type ackKey struct{ fileSystem, replication string }

// ackBook keeps the newest Ack of each replication. It is memory only: after a
// restart the destination's next stream or ack fills it again.
type ackBook struct {
	mu      sync.Mutex
	byKey   map[ackKey]Ack
	changed chan struct{} // closed at the next change
}

func newAckBook() *ackBook {
	return &ackBook{byKey: map[ackKey]Ack{}, changed: make(chan struct{})}
}

// note keeps an ack. A position may go back: that of a destination which was
// replaced, or which forked and was resynchronised.
func (b *ackBook) note(k ackKey, a Ack) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byKey[k] = a
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *ackBook) forget(k ackKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byKey, k)
}

func (b *ackBook) get(k ackKey) (a Ack, ok bool, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok = b.byKey[k]
	return a, ok, b.changed
}

// Acked tells what the destination of a replication last reported; ok is false
// when it has not reported since this server started.
func (s *Server) Acked(fileSystemID, replicationID string) (a Ack, ok bool) {
	a, ok, _ = s.acks.get(ackKey{fileSystemID, replicationID})
	return a, ok
}

// WaitAcked waits until the destination reported that it holds record seq
// durably. It gives up when ctx ends.
func (s *Server) WaitAcked(ctx context.Context, fileSystemID, replicationID string, seq uint64) error {
	for {
		a, ok, changed := s.acks.get(ackKey{fileSystemID, replicationID})
		if ok && a.Pos.Seq >= seq {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the destination to hold record %d (it holds %d): %w", seq, a.Pos.Seq, ctx.Err())
		}
	}
}

// serveAck takes the destination's durable position. One that this history
// does not have is refused: it would count records that the other side lacks.
func (s *Server) serveAck(r *request, text []byte) (any, error) {
	var pos fs.Pos
	if err := pos.UnmarshalText(text); err != nil {
		return nil, badRequest(err)
	}
	has, err := r.src.Has(pos)
	if err != nil {
		return nil, err
	}
	if !has {
		return nil, &refusal{Code: codeDiverged, Message: fmt.Sprintf("the source does not have position %s", pos)}
	}
	s.noteAck(r.key, pos)
	return struct{}{}, nil
}

func (s *Server) noteAck(k ackKey, pos fs.Pos) {
	s.acks.note(k, Ack{Pos: pos, At: s.clock.Now()})
	s.metrics.acked(k.fileSystem, pos.Seq)
	if s.cfg.OnAck != nil {
		s.cfg.OnAck(k.fileSystem, k.replication, pos)
	}
}
