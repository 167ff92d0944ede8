// Package journallog keeps the catalog of a region in a journal: each entry is
// the mutation of one record. It is apart from package control so that the
// control plane knows neither disk nor journal.
//
// The directory holds
//
//	CURRENT     the name of the journal in use, such as 00000003
//	00000003/   that journal
//
// Rewrite fills a journal with the next number, makes it durable, and then
// replaces CURRENT: a crash leaves the old or the new one in use, and the other
// directory is removed when the log is next opened.
package journallog

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"strconv"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

const (
	currentName = "CURRENT"
	nameDigits  = 8
	// segmentBytes of the journal: a catalog has few and small records.
	segmentBytes = 1 << 20
)

// catalogLineage marks the journals of catalogs, so that no file system's
// journal is ever taken for one: "holdfast-catalog" in ASCII.
var catalogLineage = fs.Lineage([]byte("holdfast-catalog"))

// catalogEpoch is the epoch of all records: a catalog has one writer for ever.
var catalogEpoch = fs.EpochID{Counter: 1}

// Log is a control.Log in a directory. One goroutine at a time may call it.
type Log struct {
	disk   disk.FS
	dir    string
	logger *slog.Logger
	name   string // of the journal in use
	j      *journal.Journal
	last   fs.Pos
	failed error
}

// Open opens the log in dir, or makes an empty one. Replay must come first. The
// caller owns dir, has made its parent durable, and keeps other processes away.
func Open(fsys disk.FS, dir string, logger *slog.Logger) (*Log, error) {
	l := &Log{disk: fsys, dir: dir, logger: logger}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the catalog's directory %s: %w", dir, err)
	}
	if err := disk.SyncDir(fsys, fsys.PathDir(dir)); err != nil {
		return nil, fmt.Errorf("make the name of the catalog's directory %s durable: %w", dir, err)
	}
	raw, err := disk.ReadFile(fsys, fsys.PathJoin(dir, currentName))
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		err = l.create()
	case err == nil:
		l.name = strings.TrimSpace(string(raw))
		_, err = number(l.name)
	}
	if err == nil {
		err = l.removeOthers()
	}
	if err != nil {
		return nil, fmt.Errorf("open the catalog in %s: %w", dir, err)
	}
	if l.j, err = journal.Open(l.options(l.name)); err != nil {
		return nil, fmt.Errorf("open the catalog's journal %s: %w", fsys.PathJoin(dir, l.name), err)
	}
	return l, nil
}

func number(name string) (uint64, error) {
	n, err := strconv.ParseUint(name, 10, 32)
	if err != nil || len(name) != nameDigits {
		return 0, fmt.Errorf("%s names %.40q, which is no journal of a catalog; restore it from a backup", currentName, name)
	}
	return n, nil
}

func (l *Log) options(name string) journal.Options {
	return journal.Options{FS: l.disk, Dir: l.disk.PathJoin(l.dir, name), Lineage: catalogLineage,
		RecordSegmentBytes: segmentBytes, Logger: l.logger}
}

func (l *Log) create() error {
	l.name = fmt.Sprintf("%0*d", nameDigits, 1)
	if err := l.fresh(l.name); err != nil {
		return err
	}
	return l.use(l.name)
}

// fresh makes an empty journal, in place of what a crash may have left there.
func (l *Log) fresh(name string) error {
	if err := l.disk.RemoveAll(l.disk.PathJoin(l.dir, name)); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if err := journal.Create(l.options(name)); err != nil {
		return err
	}
	return disk.SyncDir(l.disk, l.dir)
}

func (l *Log) use(name string) error {
	return disk.WriteFileAtomic(l.disk, l.disk.PathJoin(l.dir, currentName), []byte(name+"\n"))
}

// removeOthers removes what an interrupted Rewrite left.
func (l *Log) removeOthers() error {
	names, err := l.disk.List(l.dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if _, err := number(n); err != nil || n == l.name {
			continue
		}
		if err := l.disk.RemoveAll(l.disk.PathJoin(l.dir, n)); err != nil {
			return err
		}
	}
	return nil
}

// Replay implements control.Log.
func (l *Log) Replay(fn func(entry []byte) error) error {
	err := l.j.Recover(fs.Pos{}, func(r *fs.Record, _ fs.Addr) error { return fn(r.Mutation) })
	l.last = l.j.Last()
	return err
}

// Append implements control.Log.
func (l *Log) Append(entry []byte) error {
	if l.failed != nil {
		return l.failed
	}
	err := l.add(entry)
	if err == nil {
		err = l.j.WaitDurable(context.Background(), l.last.Seq)
	}
	l.failed = err
	return err
}

// add appends without waiting.
func (l *Log) add(entry []byte) error {
	r := &fs.Record{Epoch: catalogEpoch, Seq: l.last.Seq + 1, Mutation: entry}
	r.Encode(nil, l.last.Chain)
	if _, err := l.j.Append(r, nil); err != nil {
		return err
	}
	l.last = r.Pos()
	return nil
}

// Rewrite implements control.Log.
func (l *Log) Rewrite(entries [][]byte) error {
	if l.failed != nil {
		return l.failed
	}
	n, err := number(l.name)
	if err != nil {
		return err
	}
	next := &Log{disk: l.disk, dir: l.dir, logger: l.logger, name: fmt.Sprintf("%0*d", nameDigits, n+1)}
	if err := next.fill(entries); err != nil {
		return err
	}
	if err := l.use(next.name); err != nil {
		l.failed = errors.Join(fmt.Errorf("switch to the rewritten catalog: %w", err), next.Close())
		return l.failed
	}
	old, oldName := l.j, l.name
	l.j, l.last, l.name = next.j, next.last, next.name
	err = old.Close()
	return errors.Join(err, l.disk.RemoveAll(l.disk.PathJoin(l.dir, oldName)))
}

// fill makes the journal with the entries and leaves it open.
func (l *Log) fill(entries [][]byte) (err error) {
	if err := l.fresh(l.name); err != nil {
		return err
	}
	if l.j, err = journal.Open(l.options(l.name)); err != nil {
		return err
	}
	err = l.Replay(func([]byte) error { return errors.New("a new journal is not empty") })
	for _, e := range entries {
		if err == nil {
			err = l.add(e)
		}
	}
	if err == nil {
		err = l.j.WaitDurable(context.Background(), l.last.Seq)
	}
	if err != nil {
		return errors.Join(err, l.j.Close())
	}
	return nil
}

// Close implements control.Log.
func (l *Log) Close() error { return l.j.Close() }
