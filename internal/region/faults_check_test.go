package region

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// divergence is what an old primary held beyond the fork when it became a
// destination: all of it must be set aside.
type divergence struct {
	site  *simSite
	fork  fs.Pos
	last  fs.Pos
	lost  []divergedRecord
	acked fs.Pos
}

type divergedRecord struct {
	rec     []byte // encoded
	payload []byte
	m       fs.Mutation
}

// watch is called between steps: the destination is a prefix of its source, or
// has not caught up with its history yet; equal positions have equal trees.
func (w *simWorld) watch() {
	w.t.Helper()
	s, d := w.source(), w.dest()
	if w.repl == nil || s.eng == nil || d.eng == nil || s.impostor != nil {
		return
	}
	pos := d.eng.Durable()
	if h, err := s.eng.History(); err != nil || pos.Seq < h.Base.Seq {
		return // the source has trimmed what would tell
	}
	isPrefix := pos.Seq > 0 && d.eng.Lineage() == s.eng.Lineage() && s.has(pos)
	switch {
	case w.prefix && !isPrefix:
		w.fail("prefix", fmt.Errorf("region %d stands at %s, which region %d does not have", d.n, pos, s.n))
	case !w.prefix && isPrefix:
		w.prefix = true
		w.note("region %d is a prefix of region %d, at %d", d.n, s.n, pos.Seq)
		w.whole()
	}
	w.cover.add(&w.cover.prefixChecks)
	if isPrefix && w.rng.IntN(4) == 0 {
		w.equal(s, d)
	}
}

// equal compares the trees if both sites stand at one position.
func (w *simWorld) equal(s, d *simSite) bool {
	w.t.Helper()
	sp, sh, err := s.eng.Hash()
	w.ok("hash", err)
	dp, dh, err := d.eng.Hash()
	w.ok("hash", err)
	if sp != dp {
		return false
	}
	if sh != dh {
		w.fail("hash", fmt.Errorf("at %s region %d has %v, region %d has %v", sp, s.n, sh, d.n, dh))
	}
	w.cover.add(&w.cover.hashes)
	return true
}

// diverge notes what the old primary holds beyond the fork.
func (w *simWorld) diverge() {
	w.t.Helper()
	n, o := w.source(), w.dest()
	nh, err := n.eng.History()
	w.ok("history", err)
	oh, err := o.eng.History()
	w.ok("history", err)
	if nh.Lineage != oh.Lineage {
		return
	}
	seq, ok := fs.Fork(&nh, &oh)
	if !ok {
		w.fail("fork", fmt.Errorf("the histories share nothing: %+v, %+v", nh, oh))
	}
	fork, err := o.eng.PosAt(seq)
	if w.neglect && (errors.Is(err, journal.ErrTrimmed) || fork.Seq < nh.Base.Seq) {
		w.count(sawTrimmedFork) // what it had is in the salvage as content, if at all
		return
	}
	w.ok("position of the fork", err)
	if !n.has(fork) {
		w.fail("fork", fmt.Errorf("the new primary does not have %s", fork))
	}
	v := &divergence{site: o, fork: fork, last: oh.Last, acked: o.acked}
	r, err := o.eng.Records(seq)
	w.ok("records after the fork", err)
	defer r.Close()
	for {
		en, more, err := r.TryNext()
		w.ok("records after the fork", err)
		if !more {
			break
		}
		p, err := en.Payload(nil)
		if w.neglect && errors.Is(err, journal.ErrCleaned) {
			w.count(sawTrimmedFork)
			return
		}
		w.ok("payload", err)
		m, err := fs.ParseMutation(en.Record.Mutation)
		w.ok("mutation", err)
		v.lost = append(v.lost, divergedRecord{en.Record.Append(nil), slices.Clone(p), m})
	}
	if uint64(len(v.lost)) != v.last.Seq-seq {
		w.fail("records after the fork", fmt.Errorf("%d from %d to %d", len(v.lost), seq, v.last.Seq))
	}
	if v.acked.Seq > v.last.Seq {
		w.fail("acknowledged", fmt.Errorf("the old primary stands at %s, %s was acknowledged there", v.last, v.acked))
	}
	w.diverged = v
	if len(v.lost) > 0 {
		w.count(sawDivergence)
	}
}

// whole is called when a destination has become a prefix of its source: what
// only it had must be set aside.
func (w *simWorld) whole() {
	w.t.Helper()
	v := w.diverged
	w.diverged = nil
	if v == nil || v.site.disk.dead() || len(v.lost) == 0 {
		return
	}
	l, err := v.site.eng.Salvages()
	w.ok("salvages", err)
	i := slices.IndexFunc(l, func(s engine.Salvage) bool { return s.Fork.Seq == v.fork.Seq && s.Last == v.last })
	if i < 0 {
		w.fail("salvage", fmt.Errorf("none from %s to %s among %d", v.fork, v.last, len(l)))
	}
	if w.neglect && (l[i].Incomplete != "" || l[i].PayloadsGone > 0) {
		w.count(sawTrimmedFork) // it says what it does not hold
		return
	}
	if l[i].Records != len(v.lost) {
		w.fail("salvage", fmt.Errorf("%d records, %d were lost", l[i].Records, len(v.lost)))
	}
	w.salvagedRecords(v, l[i].ID)
	for _, r := range v.lost {
		for _, name := range namesOf(r.m) {
			if !slices.ContainsFunc(l[i].Paths, func(p engine.SalvagePath) bool { return strings.HasSuffix(p.Path, "/"+name) }) {
				w.fail("salvage", fmt.Errorf("it does not tell of %q: %v", name, l[i].Paths))
			}
		}
	}
	w.count(sawSalvage)
	w.cover.addN(&w.cover.salvaged, int64(len(v.lost)))
}

// namesOf are the names that a lost record gave or took, as far as they are
// plain text.
func namesOf(m fs.Mutation) (l []string) {
	var names []fs.Name
	switch m := m.(type) {
	case *fs.Create:
		names = append(names, m.Name)
	case *fs.Link:
		names = append(names, m.Name)
	case *fs.Unlink:
		names = append(names, m.Name)
	case *fs.Rename:
		names = append(names, m.FromName, m.ToName)
	}
	for _, n := range names {
		if n[0] < 0x80 {
			l = append(l, string(n))
		}
	}
	return l
}

var errSalvage = errors.New("records.bin does not hold what was lost")

// salvagedRecords reads records.bin with a decoder of its own.
func (w *simWorld) salvagedRecords(v *divergence, id string) {
	w.t.Helper()
	b, err := disk.ReadFile(v.site.plain(), v.site.o.Dir+"/salvage/"+id+"/records.bin")
	w.ok("salvage", err)
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	for i, r := range v.lost {
		if len(b) < 12 {
			w.fail("salvage", fmt.Errorf("%w: it ends before record %d of %d", errSalvage, i, len(v.lost)))
		}
		n, sum, rn := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		body := b[8:][:n]
		b = b[8+n:]
		if crc32.Checksum(body, castagnoli) != sum || !bytes.Equal(body[4:4+rn], r.rec) || !bytes.Equal(body[4+rn:], r.payload) {
			w.fail("salvage", fmt.Errorf("%w: record %d of %d", errSalvage, i, len(v.lost)))
		}
	}
	if len(b) > 0 {
		w.fail("salvage", fmt.Errorf("%w: %d bytes too many", errSalvage, len(b)))
	}
}

// converge ends all faults; then everything must become one.
func (w *simWorld) converge() {
	w.t.Helper()
	w.note("all faults end")
	w.healAll()
	if w.repl == nil {
		w.failback()
	}
	w.compare()
	s, d := w.source(), w.dest()
	w.ok("sync", s.eng.Sync(ctx))
	w.await("the destination stands where its source stands", func() bool {
		return d.eng.Durable() == s.eng.Durable() && s.eng.LastApplied() == s.eng.Durable().Seq
	})
	w.watch()
	// Removed files may go in the background yet, one record each.
	w.await("both trees stand at one position", func() bool { return w.equal(s, d) })
	if !w.prefix {
		w.fail("converge", errors.New("equal positions, but the destination is no prefix"))
	}
	// The destination holds the same tree: it takes over without a loss.
	w.switchover()
	w.await("both regions are equal", func() bool { return w.equal(w.source(), w.dest()) })
	for _, s := range w.site {
		w.check(s)
	}
}

// check verifies a region's data offline.
func (w *simWorld) check(s *simSite) {
	w.t.Helper()
	s.shut()
	r, err := engine.Check(s.o, true)
	w.ok("check", err)
	if len(r.Problems) > 0 {
		w.fail("check", fmt.Errorf("region %d: %s", s.n, strings.Join(r.Problems, "; ")))
	}
	w.cover.add(&w.cover.checks)
}
