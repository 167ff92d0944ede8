package engine

import (
	"context"
	"errors"
	"fmt"
)

// Repair mends a file system that nobody has open, as far as its tree can be
// told from the rest of it; see tree.Repair. The journal is not changed, but for
// what every start does. did is told each change. An error: it cannot be opened
// as it is, and nothing was changed but what did was told of.
func Repair(ctx context.Context, o Options, did func(string)) (err error) {
	e, err := Open(ctx, o)
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if e.t == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rw.Lock()
	defer e.rw.Unlock()
	return e.t.Repair(did)
}
