package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// ScrubStats is what one pass of Scrub has read.
type ScrubStats struct {
	Extents uint64
	Bytes   uint64
	Damaged uint64 // extents whose bytes do not match their checksums
	// Repaired of them have their bytes again, from another replica.
	Repaired uint64
}

// Fetch gets the bytes of a run from another replica. Its error says why that
// did not work.
type Fetch func(ctx context.Context, r Run) ([]byte, error)

// scrubBatch extents are looked up at a time: readers and the switch of a
// stage wait no longer for it than for a listing.
const scrubBatch = 64

// Scrub reads the bytes of every extent and so verifies their checksums.
// pause is called with the number of bytes before each is read; its error ends
// the pass. Damage is remembered and logged as when a client meets it (see
// Damage), and the pass goes on. With fetch it is mended, when another replica
// has the bytes; when all of a pass was, or nothing is damaged any more, Damage
// is nil again, unless it was met elsewhere than in file data. Files that change
// meanwhile may be read in part. An engine that has received nothing has nothing to scrub.
func (e *Engine) Scrub(ctx context.Context, pause func(ctx context.Context, bytes int) error, fetch Fetch) (s ScrubStats, err error) {
	before := e.damage.Load()
	var cursor []byte
	var buf []byte
	for {
		j, batch, err := e.scrubBatch(&cursor)
		if err == nil && len(batch) == 0 && (s.Damaged > 0 || before != nil) && s.Repaired == s.Damaged {
			e.damageMended(before)
		}
		if err != nil || len(batch) == 0 {
			return s, err
		}
		for _, x := range batch {
			if err := pause(ctx, int(x.Length)); err != nil {
				return s, err
			}
			buf = slices.Grow(buf[:0], int(x.Length))[:x.Length]
			err := j.Read(x.Addr, x.AddrFrom, buf)
			if errors.Is(err, journal.ErrAbsent) {
				// It may have been overwritten, or moved, since it was looked up.
				_, _, err = e.Read(ctx, x.ino, x.Offset, buf)
				if errors.Is(err, fs.ErrStale) {
					continue
				}
			}
			var damage *fs.CorruptionError
			switch {
			case errors.As(err, &damage):
				s.Damaged++
				e.log.Error("the scrub found damaged data", "inode", uint64(x.ino), "offset", x.Offset, "error", e.noteDamage(err))
				if e.mend(ctx, x, fetch) {
					s.Repaired++
				}
			case err != nil:
				return s, err
			}
			s.Extents++
			s.Bytes += uint64(x.Length)
		}
	}
}

// errBatchFull ends the search for extents.
var errBatchFull = errors.New("the batch is full")

// scrubbed is an extent of a file.
type scrubbed struct {
	tree.Extent
	ino fs.Ino
}

func (e *Engine) scrubBatch(cursor *[]byte) (j *journal.Journal, l []scrubbed, err error) {
	if !e.Whole() {
		return nil, nil, nil
	}
	err = e.view(func(t *tree.Tree) error {
		j = e.j
		err := t.AllExtents(*cursor, func(key []byte, ino fs.Ino, x tree.Extent) error {
			*cursor = append((*cursor)[:0], key...)
			if l = append(l, scrubbed{x, ino}); len(l) == scrubBatch {
				return errBatchFull
			}
			return nil
		})
		if errors.Is(err, errBatchFull) {
			return nil
		}
		return err
	})
	return j, l, err
}

// mend gets the bytes of a damaged extent from another replica.
func (e *Engine) mend(ctx context.Context, x scrubbed, fetch Fetch) bool {
	if fetch == nil {
		return false
	}
	data, err := fetch(ctx, Run{Ino: x.ino, Offset: x.Offset, Length: x.Length, Epoch: x.Epoch, Seq: x.Seq, From: x.From})
	mended := false
	if err == nil {
		mended, err = e.replaceDamaged(x.ino, x.Extent, data)
	}
	if err != nil || !mended {
		e.log.Error("damaged data could not be repaired from another replica; it stays unreadable here", "inode", uint64(x.ino), "offset", x.Offset, "error", err)
		return false
	}
	e.log.Warn("damaged data was repaired from another replica", "inode", uint64(x.ino), "offset", x.Offset, "bytes", x.Length)
	return true
}

// damageMended forgets the damage that was known when a pass began or that it
// met: all of it was repaired, or nobody names it any more. What a client met elsewhere meanwhile, the next
// pass finds.
func (e *Engine) damageMended(before *error) {
	if now := e.damage.Load(); before == nil || now == before {
		e.damage.CompareAndSwap(now, nil)
	}
}
