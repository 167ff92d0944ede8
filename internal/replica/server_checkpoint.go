package replica

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// serveOpen opens a checkpoint, or finds it again. The body is the write set.
func (s *Server) serveOpen(r *request, writeSet []byte) (any, error) {
	q := r.URL.Query()
	name := q.Get(keyName)
	if !validName(name) {
		return nil, badRequest(fmt.Errorf("checkpoint name %.80q: want 1 to %d of a-z, 0-9 and -", name, maxCheckpointName))
	}
	fork, err := s.parseFork(r.src, q.Get(keyFork))
	if err != nil {
		return nil, err
	}
	c, err := r.src.OpenCheckpoint(r.Context(), name, fork, writeSet)
	if err != nil {
		return nil, err
	}
	r.log.Info("checkpoint opened", "name", name, "pos", c.Pos, "fork", fork, "write_set_bytes", len(writeSet))
	return onWire(c), nil
}

func onWire(c Checkpoint) wireCheckpoint {
	return wireCheckpoint{Name: c.Name, Pos: c.Pos, Parts: min(max(c.Parts, 1), maxParts), Meta: c.Meta, Narrowed: c.Narrowed}
}

// maxQuery bounds a query of a comparison, in bytes: two keys.
const maxQuery = 256 << 10

// serveCompare answers one query of a comparison.
func (s *Server) serveCompare(r *request, query []byte) (any, error) {
	name := r.URL.Query().Get(keyName)
	if !validName(name) {
		return nil, badRequest(fmt.Errorf("checkpoint name %.80q", name))
	}
	answer, err := r.src.Compare(r.Context(), name, query)
	return wireAnswer{answer}, err
}

// serveNarrow takes what a comparison found. The body is a write set.
func (s *Server) serveNarrow(r *request, writeSet []byte) (any, error) {
	name := r.URL.Query().Get(keyName)
	if !validName(name) {
		return nil, badRequest(fmt.Errorf("checkpoint name %.80q", name))
	}
	c, err := r.src.Narrow(r.Context(), name, writeSet)
	if err != nil {
		return nil, err
	}
	r.log.Info("checkpoint narrowed to what differs", "name", name, "pos", c.Pos, "write_set_bytes", len(writeSet))
	return onWire(c), nil
}

// parseFork reads a fork point, which must be a position of the source: what
// changed since a point that it never passed is not defined.
func (s *Server) parseFork(src Source, text string) (*fs.Pos, error) {
	if text == "" {
		return nil, nil
	}
	fork := new(fs.Pos)
	if err := fork.UnmarshalText([]byte(text)); err != nil {
		return nil, badRequest(err)
	}
	has, err := src.Has(*fork)
	if err != nil {
		return nil, err
	}
	if !has {
		return nil, badRequest(fmt.Errorf("fork point %s is no position of the source", fork))
	}
	return fork, nil
}

// serveItems sends one part of a checkpoint after a cursor.
func (s *Server) serveItems(w http.ResponseWriter, hr *http.Request) {
	r, err := s.admit(hr)
	if err != nil {
		writeRefusal(w, refuse(err))
		return
	}
	a, err := parseItemsArgs(hr)
	if err != nil {
		writeRefusal(w, refuse(badRequest(err)))
		return
	}
	leave, err := s.enter()
	if err != nil {
		writeRefusal(w, refuse(err))
		return
	}
	defer leave()
	err = s.runStream(hr.Context(), w, r, func(ctx context.Context, f *frameSender) error {
		return sendItems(ctx, f, r.src, a)
	})
	r.log.Debug("checkpoint part ended", "name", a.name, "part", a.part, "reason", err)
}

type itemsArgs struct {
	name        string
	part, parts int
	cursor      []byte
}

func parseItemsArgs(r *http.Request) (itemsArgs, error) {
	q := r.URL.Query()
	a := itemsArgs{name: q.Get(keyName)}
	var err error
	if a.parts, err = strconv.Atoi(q.Get(keyParts)); err != nil {
		return a, err
	}
	if a.part, err = strconv.Atoi(q.Get(keyPart)); err != nil {
		return a, err
	}
	if a.parts < 1 || a.parts > maxParts || a.part < 0 || a.part >= a.parts || !validName(a.name) {
		return a, fmt.Errorf("part %d of %d of checkpoint %.80q does not exist", a.part, a.parts, a.name)
	}
	if q.Has(keyCursor) {
		a.cursor, err = hex.DecodeString(q.Get(keyCursor))
	}
	return a, err
}

// sendItems batches the items that the source has; the last batch and the
// verdict come when it has no more.
func sendItems(ctx context.Context, f *frameSender, src Source, a itemsArgs) error {
	var b itemBatch
	b.reset()
	flush := func() error {
		if b.count == 0 {
			return nil
		}
		err := f.send(frameItems, b.body())
		b.reset()
		return err
	}
	err := src.Items(ctx, a.name, a.part, a.parts, a.cursor, func(it Item) error {
		if err := b.add(it); err != nil {
			return err
		}
		if !b.full() {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	return errComplete
}

// serveRelease drops a checkpoint that the destination has finished with.
func (s *Server) serveRelease(r *request, _ []byte) (any, error) {
	name := r.URL.Query().Get(keyName)
	if !validName(name) {
		return nil, badRequest(fmt.Errorf("checkpoint name %.80q", name))
	}
	if err := r.src.ReleaseCheckpoint(name); err != nil {
		return nil, err
	}
	return struct{}{}, nil
}
