package engine

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// CheckReport is what Check found in one file system.
type CheckReport struct {
	Empty    bool // a replica that has received nothing yet
	Journal  journal.Report
	Flushed  fs.Pos // where the tree on disk stands; the journal leads it on
	Tree     tree.CheckStats
	Problems []string
}

// Check looks at a file system that nobody has open and changes nothing:
// every segment, chain and payload of the journal, the tree against itself,
// and both against each other. With payloads, every extent's bytes are read,
// also those that came before the journal's base. The error says that it could
// not be looked at; what is damaged stands in Problems.
func Check(o Options, payloads bool) (r CheckReport, err error) {
	c, err := readCurrent(&o)
	if err != nil {
		return r, err
	}
	if c == nil {
		r.Empty = true
		return r, nil
	}
	if err := o.unlock(); err != nil {
		return r, err
	}
	bad := func(s string) { r.Problems = append(r.Problems, s) }
	dir := filepath.Join(o.Dir, c.Journal)
	if r.Journal, err = journal.Verify(o.plain(), dir, o.encryption.key); err != nil {
		return r, fmt.Errorf("look at the journal: %w", err)
	}
	for _, p := range r.Journal.Problems {
		bad("journal: " + p.Error())
	}
	j, err := journal.Open(o.journal(c.Journal, c.Lineage))
	if err != nil {
		return r, fmt.Errorf("open the journal: %w", err)
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	_, meta := j.Base()
	base, err := parseBase(meta)
	if err != nil {
		return r, err
	}
	return r, checkTree(&o, base.Tree, j, &r, payloads, bad)
}

func checkTree(o *Options, name string, j *journal.Journal, r *CheckReport, payloads bool, bad func(string)) (err error) {
	t, err := tree.Open(tree.Options{FS: o.FS, Dir: filepath.Join(o.Dir, name), Cache: o.Cache, Logger: o.Logger, ReadOnly: true})
	if isNotExist(err) || errors.Is(err, fs.ErrNoEnt) {
		bad("the tree " + name + " is missing")
		return nil
	}
	if err != nil {
		bad("tree: " + err.Error())
		return nil
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	r.Flushed = t.Meta().Applied
	switch {
	case r.Flushed.Seq == 0:
		return nil // nothing is flushed yet: the journal holds it all
	case r.Flushed.Seq > r.Journal.Last.Seq:
		bad(fmt.Sprintf("the tree stands at %d, the journal ends at %d", r.Flushed.Seq, r.Journal.Last.Seq))
	case r.Flushed.Seq < r.Journal.Base.Seq:
		bad(fmt.Sprintf("the tree stands at %d, the journal begins at %d", r.Flushed.Seq, r.Journal.Base.Seq))
	}
	var read func(tree.Extent) error
	if payloads {
		buf := make([]byte, fs.MaxWrite)
		read = func(e tree.Extent) error { return j.Read(e.Addr, e.AddrFrom, buf[:e.Length]) }
	}
	r.Tree, err = t.Check(read, func(s string) { bad("tree: " + s) })
	if err != nil {
		bad("tree: " + err.Error())
	}
	return nil
}
