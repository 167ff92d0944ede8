package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Piece is a part of a payload that somebody still needs: its plain bytes
// [From, From+Length).
type Piece struct {
	Addr   fs.Addr
	From   uint32
	Length uint32
}

// Clean removes the segments victims, which Closed listed, and gives their
// space back. The pieces, all that anybody may still read of their payloads,
// are copied first, in the order given, and are found under their old
// addresses afterwards (see Locate). History goes with its segments: those of
// it among the victims must be its oldest. pause is called with the number of
// bytes that were copied; its error ends the cleaning.
//
// Crash order: the victims' records are claimed durable, the copies synced, the
// maps that lead to them made durable, then TRIM, and only then files removed.
// After an error the victims are whole and in use as before, unless the journal
// failed; copies are lost space that a later cleaning finds. A damaged piece
// ends it with *DamagedError.
//
// Only one Clean at a time; everything else may run beside it.
func (j *Journal) Clean(ctx context.Context, victims []Segment, pieces []Piece, pause func(ctx context.Context, bytes int) error) error {
	c := &cleaning{j: j, victims: victims, maps: map[uint64]*segmentMap{}}
	for _, v := range victims {
		if !v.Stays {
			c.maps[v.ID] = &segmentMap{segment: v.ID}
		}
	}
	if err := c.run(ctx, pieces, pause); err != nil {
		return fmt.Errorf("clean the journal %s: %w", j.o.Dir, err)
	}
	return nil
}

// DamagedError: a piece cannot be read, so its segment cannot be cleaned. It
// wraps the *fs.CorruptionError.
type DamagedError struct {
	Segment uint64
	Err     error
}

func (e *DamagedError) Error() string { return e.Err.Error() }
func (e *DamagedError) Unwrap() error { return e.Err }

type cleaning struct {
	j          *Journal
	generation uint64 // whose history the victims are part of
	victims    []Segment
	maps       map[uint64]*segmentMap
	buf        []byte
	plain      []byte
}

func (c *cleaning) run(ctx context.Context, pieces []Piece, pause func(context.Context, int) error) error {
	begin, err := c.newBegin()
	if err != nil {
		return err
	}
	if err := c.j.claim(); err != nil {
		return err
	}
	for len(pieces) > 0 {
		n, bytes, err := c.copyRun(pieces)
		if err != nil {
			return err
		}
		pieces = pieces[n:]
		if err := pause(ctx, bytes); err != nil {
			return err
		}
	}
	if err := c.j.SyncPayloads(); err != nil {
		return err
	}
	if err := c.writeMaps(); err != nil {
		return err
	}
	if err := c.writeTrim(begin); err != nil {
		return err
	}
	return c.remove(begin)
}

// newBegin is where the history will begin: the victims that are part of it
// are its oldest. A Rebase may come at any time after it: then the history that
// begins there is no longer the journal's, and TRIM is of an older generation.
func (c *cleaning) newBegin() (segmentStart, error) {
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	if err := c.j.usable(); err != nil {
		return segmentStart{}, err
	}
	c.generation = c.j.generation
	n := 0
	for _, v := range c.victims {
		if v.History {
			n++
		}
	}
	if n >= len(c.j.segs) {
		return segmentStart{}, errors.New("the segment that is written to cannot be removed")
	}
	for _, s := range c.j.segs[:n] {
		if !slices.ContainsFunc(c.victims, func(v Segment) bool { return v.History && v.ID == s.id }) {
			return segmentStart{}, fmt.Errorf("segment %016x is not among the oldest of the history", s.id)
		}
	}
	return c.j.segs[n], nil
}

// claim makes the journal itself say that everything durable is. Recovery
// compares payloads with their records only where nothing claims them, and
// would take cleaned ones for a torn tail.
func (j *Journal) claim() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.roundLocked(); err != nil {
		return err
	}
	if j.claimed >= j.durable.Seq {
		return nil
	}
	want := j.durable.Seq
	j.markDue = true
	if err := j.roundLocked(); err != nil {
		return err
	}
	if j.claimed < want {
		return fs.ErrNoSpace // there was no room for a mark
	}
	return nil
}

// copyRun copies as many pieces as make a large write. They are packed: one
// sync covers them all, so none can be torn by a later write.
func (c *cleaning) copyRun(pieces []Piece) (n, bytes int, err error) {
	stored := 0
	for n < len(pieces) && (n == 0 || stored+storedLen(int(pieces[n].Length)) <= maxStored) {
		stored += storedLen(int(pieces[n].Length))
		n++
	}
	if err := c.j.awaitRoom(); err != nil {
		return 0, 0, err
	}
	sf, at, err := c.j.reservePayload(stored)
	if err != nil {
		return 0, 0, err
	}
	c.buf = c.buf[:0]
	for _, p := range pieces[:n] {
		if err := c.take(p, sf.id, uint64(at), sf.sealing.with); err != nil {
			c.j.files.release(sf)
			return 0, 0, err
		}
	}
	return n, stored, c.j.writePayload(sf, at, c.buf)
}

// take appends one piece as units of segment, where the run begins at offset.
func (c *cleaning) take(p Piece, segment, offset uint64, with *sealer) error {
	m := c.maps[p.Addr.Segment]
	if m == nil || p.Length == 0 || uint64(p.From)+uint64(p.Length) > uint64(p.Addr.Length) {
		return fmt.Errorf("piece %+v is not of a segment that is cleaned", p)
	}
	c.plain = slices.Grow(c.plain[:0], int(p.Length))[:p.Length]
	if err := c.j.Read(p.Addr, p.From, c.plain); err != nil {
		var damage *fs.CorruptionError
		if errors.As(err, &damage) {
			err = &DamagedError{p.Addr.Segment, err}
		}
		return err
	}
	to := fs.Addr{Segment: segment, Offset: offset + uint64(len(c.buf)), Length: p.Length}
	c.buf = appendUnits(c.buf, c.plain, to.Segment, to.Offset, with)
	m.pieces = append(m.pieces, moved{p.Addr.Offset, p.From, to})
	return nil
}

func (c *cleaning) writeMaps() error {
	j := c.j
	for id, m := range c.maps {
		if len(m.pieces) == 0 {
			continue
		}
		slices.SortFunc(m.pieces, func(a, b moved) int { return a.compare(&b) })
		if err := disk.WriteFileAtomic(j.o.FS, j.files.path(mapName(id)), m.encode(j.salt)); err != nil {
			return err
		}
	}
	return nil
}

func (c *cleaning) writeTrim(begin segmentStart) error {
	j := c.j
	j.mu.Lock()
	t := trimmed{generation: c.generation, segment: begin.id, start: begin.start, nextID: j.nextID}
	j.mu.Unlock()
	return disk.WriteFileAtomic(j.o.FS, j.files.path(trimName), t.encode(j.salt))
}

// remove makes the maps count and removes the files. What is left behind by a
// failure is outside the history, and cleaned again later.
func (c *cleaning) remove(begin segmentStart) error {
	j := c.j
	j.mu.Lock()
	if i := slices.Index(j.segs, begin); i > 0 {
		j.segs = j.segs[i:]
	}
	j.mu.Unlock()
	for _, v := range c.victims {
		if v.Stays {
			continue
		}
		if m := c.maps[v.ID]; len(m.pieces) > 0 {
			j.files.addMap(m)
		}
		if err := j.files.remove(v.ID); err != nil {
			return err
		}
	}
	return disk.SyncDir(j.o.FS, j.o.Dir)
}
