// Package controltest has what control planes need around them in tests: a log
// in memory that crashes, engines that only count, and a network that can be
// cut. No disk, no socket.
package controltest

import (
	"errors"
	"slices"
	"sync"
)

// ErrCrashed is the error of everything that a crashed process still tries.
var ErrCrashed = errors.New("controltest: the process has crashed")

// Log is a control.Log in memory, which outlives the control planes that are
// opened on it. It may be told to crash.
type Log struct {
	mu      sync.Mutex
	entries [][]byte
	appends int
	crashAt int  // the append that crashes, counted from 1; 0: none
	keep    bool // whether that append is kept
	crashed bool
	onCrash func()
}

// CrashAt makes the n-th append from now fail, and everything after it; keep
// tells whether its entry is there after the restart. fn is called then.
func (l *Log) CrashAt(n int, keep bool, fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appends, l.crashAt, l.keep, l.onCrash = 0, n, keep, fn
}

// Crash makes everything fail from now on.
func (l *Log) Crash() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.crashed = true
}

// Restart lets a new control plane use the log.
func (l *Log) Restart() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.crashed, l.crashAt, l.onCrash = false, 0, nil
}

// Crashed reports whether the crash has happened.
func (l *Log) Crashed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.crashed
}

// Len is the number of entries.
func (l *Log) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

// Replay implements control.Log.
func (l *Log) Replay(fn func([]byte) error) error {
	l.mu.Lock()
	entries := slices.Clone(l.entries)
	l.mu.Unlock()
	for _, e := range entries {
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// Append implements control.Log.
func (l *Log) Append(entry []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.crashed {
		return ErrCrashed
	}
	l.appends++
	crash := l.crashAt > 0 && l.appends == l.crashAt
	if !crash || l.keep {
		l.entries = append(l.entries, slices.Clone(entry))
	}
	if !crash {
		return nil
	}
	l.crashed = true
	if l.onCrash != nil {
		l.onCrash()
	}
	return ErrCrashed
}

// Rewrite implements control.Log.
func (l *Log) Rewrite(entries [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.crashed {
		return ErrCrashed
	}
	l.entries = slices.Clone(entries)
	return nil
}

// Close implements control.Log.
func (l *Log) Close() error { return nil }
