package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// Run names bytes for ever: bytes [From, From+Length) of the payload of record
// Seq in an epoch, which are those at Offset of a file. Every replica that has
// them has the same.
type Run struct {
	Ino    fs.Ino `json:"ino"`
	Offset uint64 `json:"offset"`
	Length uint32 `json:"length"`
	Epoch  uint32 `json:"epoch"` // fs.EpochID.Short
	Seq    uint64 `json:"seq"`
	From   uint32 `json:"from"`
}

// ErrNoRun: this replica does not have these bytes (any more).
var ErrNoRun = errors.New("this replica does not have the bytes")

// FetchRun gives the bytes of a run, verified against their checksums.
// ErrNoRun, or *fs.CorruptionError when they are damaged here too.
func (e *Engine) FetchRun(ctx context.Context, r Run) ([]byte, error) {
	if r.Length == 0 || r.Length > fs.MaxWrite || uint64(r.From)+uint64(r.Length) > fs.MaxWrite || r.Offset > fs.MaxFileSize {
		return nil, &fs.DecodeError{What: "run", Detail: fmt.Sprintf("%+v", r)}
	}
	p := make([]byte, r.Length)
	err := e.readRun(r, p)
	if errors.Is(err, ErrNoRun) || errors.Is(err, journal.ErrAbsent) {
		return e.runOfRecord(r)
	}
	return p, e.noteDamage(err)
}

// readRun reads it from the file, if it is still there.
func (e *Engine) readRun(r Run, p []byte) error {
	var pieces []piece
	var j *journal.Journal
	err := e.view(func(t *tree.Tree) error {
		j = e.j
		at := r.Offset
		err := t.Extents(r.Ino, r.Offset, r.Offset+uint64(r.Length), func(x tree.Extent) error {
			x = x.Clip(r.Offset, r.Offset+uint64(r.Length))
			if x.Offset != at || !r.holds(&x) {
				return ErrNoRun
			}
			pieces = append(pieces, piece{p[x.Offset-r.Offset:][:x.Length], x.Addr, x.AddrFrom})
			at = x.End()
			return nil
		})
		if err == nil && at != r.Offset+uint64(r.Length) {
			err = ErrNoRun
		}
		return err
	})
	for _, x := range pieces {
		if err == nil {
			err = j.Read(x.addr, x.from, x.p)
		}
	}
	return err
}

// holds reports whether x is a part of the run.
func (r *Run) holds(x *tree.Extent) bool {
	return x.Epoch == r.Epoch && x.Seq == r.Seq && uint64(x.From) == uint64(r.From)+x.Offset-r.Offset
}

// runOfRecord reads it from the history.
func (e *Engine) runOfRecord(r Run) ([]byte, error) {
	if r.Seq == 0 {
		return nil, ErrNoRun
	}
	rd, err := e.Records(r.Seq - 1)
	if err != nil {
		return nil, ErrNoRun
	}
	defer rd.Close()
	en, ok, err := rd.TryNext()
	if err != nil || !ok || en.Record.Epoch.Short() != r.Epoch {
		return nil, errors.Join(err, ErrNoRun)
	}
	p, err := en.Payload(nil)
	switch {
	case errors.Is(err, journal.ErrCleaned) || err == nil && uint64(len(p)) < uint64(r.From)+uint64(r.Length):
		return nil, ErrNoRun
	case err != nil:
		return nil, e.noteDamage(err)
	}
	return p[r.From:][:r.Length], nil
}

// replaceDamaged stores the bytes of a damaged extent anew and makes the tree
// find them there. The history is not changed, and neither is what a replica
// or a hash sees. changed is false when the extent is no longer what it was.
func (e *Engine) replaceDamaged(ino fs.Ino, old tree.Extent, data []byte) (changed bool, err error) {
	if len(data) != int(old.Length) {
		return false, fmt.Errorf("%d bytes came for a damaged extent of %d", len(data), old.Length)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.j == nil || e.t == nil || e.Err() != nil {
		return false, e.Err()
	}
	if err := e.t.WaitRoom(); err != nil {
		return false, err
	}
	a, err := e.j.PutPayload(data)
	if err != nil {
		return false, err
	}
	// The address must not become durable before the bytes.
	if err := e.j.SyncPayloads(); err != nil {
		return false, err
	}
	e.rw.Lock()
	defer e.rw.Unlock()
	changed, err = e.t.Replace(ino, old, a)
	if changed {
		e.tryDamaged()
	}
	return changed, err
}
