package disk

import "sync"

// Op is a kind of operation that Faulty counts and can fail.
type Op uint8

// The operations. OpOpen is an open for reading of a file or a directory.
const (
	OpCreate Op = iota // Create, OpenReadWrite, ReuseForWrite
	OpOpen
	OpRead
	OpWrite // Write, WriteAt
	OpSync  // Sync, SyncData, SyncTo; also of directories
	OpPreallocate
	OpRename // Rename, Link
	OpRemove // Remove, RemoveAll
	numOps
)

// Rule decides about an operation before it is carried out: an error fails it
// with nothing done. n counts the operations of this kind, total those of all
// kinds but reads and opens, both from 1. A rule may also look at the disk,
// for instance to clone it. It is called with no lock held.
type Rule func(op Op, name string, n, total int64) error

// Faulty passes everything on to another FS, counts it, and fails what its
// rule says. Safe for concurrent use.
type Faulty struct {
	FS
	mu    sync.Mutex
	rule  Rule
	count [numOps]int64
	total int64
}

// NewFaulty wraps fs. Nothing fails until SetRule.
func NewFaulty(fs FS) *Faulty { return &Faulty{FS: fs} }

// SetRule changes the rule from now on and begins counting anew; nil: nothing
// fails.
func (f *Faulty) SetRule(r Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rule, f.count, f.total = r, [numOps]int64{}, 0
}

// FailNth fails the n-th operation of a kind, from now, once.
func (f *Faulty) FailNth(op Op, n int64, err error) {
	f.SetRule(func(o Op, _ string, i, _ int64) error {
		if o == op && i == n {
			return err
		}
		return nil
	})
}

// FailEvery fails each n-th operation of a kind; 1: all of them.
func (f *Faulty) FailEvery(op Op, n int64, err error) {
	f.SetRule(func(o Op, _ string, i, _ int64) error {
		if o == op && i%n == 0 {
			return err
		}
		return nil
	})
}

// Count tells how many operations of a kind there were since SetRule.
func (f *Faulty) Count(op Op) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count[op]
}

// Total tells how many operations that change the disk there were since SetRule.
func (f *Faulty) Total() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

func (f *Faulty) before(op Op, name string) error {
	f.mu.Lock()
	f.count[op]++
	if op != OpRead && op != OpOpen {
		f.total++
	}
	rule, n, total := f.rule, f.count[op], f.total
	f.mu.Unlock()
	if rule == nil {
		return nil
	}
	return rule(op, name, n, total)
}

func (f *Faulty) wrap(file File, name string, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, fs: f, name: name}, nil
}
