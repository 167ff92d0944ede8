package journal

import "errors"

// Errors that callers tell apart. Damage is *fs.CorruptionError; a full disk
// is fs.ErrNoSpace.
var (
	// ErrTreeAhead: the tree holds changes that the journal does not (any more).
	ErrTreeAhead = errors.New("the tree is ahead of its journal")
	// ErrTreeForeign: the tree's position is not in this journal's history.
	ErrTreeForeign = errors.New("the tree is of another history than its journal")
	// ErrTrimmed: the position is before the journal's base, or a new base made
	// an end of the history that was read.
	ErrTrimmed = errors.New("the journal's history does not reach back to this position")
	// ErrCleaned: the record is there, its payload is not: it was overwritten or
	// removed, and the cleaner gave its space back.
	ErrCleaned = errors.New("the payload was cleaned away")
	// ErrNotWritten: no record has this sequence yet.
	ErrNotWritten = errors.New("the journal has no record with this sequence yet")
	// ErrClosed: the journal or reader was closed.
	ErrClosed = errors.New("the journal is closed")
	// ErrNotRecovered: Recover must succeed before anything is appended.
	ErrNotRecovered = errors.New("the journal is not recovered yet")
	// ErrSequence: the record appended is not the next one.
	ErrSequence = errors.New("the record is not the next in the journal")
)
