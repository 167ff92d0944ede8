package engine

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

const (
	salvageDir      = "salvage"
	salvageRecords  = "records.bin"
	salvageManifest = "manifest.json"
	salvageFormat   = 1
)

// Salvage describes records that never reached the other side, set aside
// before a resync.
type Salvage struct {
	Format       int    `json:"format"`
	ID           string `json:"id"`
	Lineage      string `json:"lineage"`
	Fork         fs.Pos `json:"fork"`
	Last         fs.Pos `json:"last"`
	FromSeq      uint64 `json:"from_seq"`
	ToSeq        uint64 `json:"to_seq"`
	Records      int    `json:"records"`
	PayloadBytes uint64 `json:"payload_bytes"`
	// PayloadsGone counts records whose bytes were overwritten later, and
	// cleaned away: their frame in records.bin has no payload.
	PayloadsGone int `json:"payloads_gone,omitempty"`
	// PayloadsDamaged counts records whose bytes cannot be read; likewise.
	PayloadsDamaged int `json:"payloads_damaged,omitempty"`
	// Incomplete says what is missing: records since the fork that were not kept,
	// or bytes of them: of a payload that was overwritten in part, all are gone.
	// Then Content holds this side's bytes of every file range that differed.
	Incomplete string           `json:"incomplete,omitempty"`
	Content    []SalvageContent `json:"content,omitempty"`
	Paths      []SalvagePath    `json:"paths"`
}

// SalvagePath is one path that the salvaged records touched and how. Bytes of
// the path that are not UTF-8 are shown as \xNN.
type SalvagePath struct {
	Path       string   `json:"path"`
	Operations []string `json:"operations"`
}

// salvage writes the records after fork into a directory of their own:
// records.bin, and manifest.json, which makes it count. Each record in
// records.bin is: length 4, CRC32C 4 of what follows, record length 4, record,
// payload; big-endian. staged is the tree that comes: where records are missing,
// it tells what will be overwritten.
func (e *Engine) salvage(fork fs.Pos, staged *tree.Tree) error {
	last := e.Durable()
	id := fmt.Sprintf("%016x-%016x-%s", fork.Seq+1, last.Seq, last.Chain.String()[:8])
	dir := filepath.Join(e.o.Dir, salvageDir, id)
	if _, err := disk.ReadFile(e.o.FS, filepath.Join(dir, salvageManifest)); err == nil {
		return nil // a crash came between the salvage and the switch
	}
	if err := e.o.FS.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s := &Salvage{Format: salvageFormat, ID: id, Lineage: e.Lineage().String(), Fork: fork, Last: last, FromSeq: fork.Seq + 1, ToSeq: last.Seq}
	paths := newPathFinder()
	if begin := e.journalNow().Begin(); begin.Seq > fork.Seq {
		s.FromSeq = begin.Seq + 1
		s.Incomplete = fmt.Sprintf("records %d to %d were not kept for so long; content holds what differed", fork.Seq+1, begin.Seq)
		if err := e.salvageContent(dir, staged, s, paths); err != nil {
			return err
		}
	}
	if err := e.salvageRecords(filepath.Join(dir, salvageRecords), s, paths); err != nil {
		return err
	}
	if n := s.PayloadsGone + s.PayloadsDamaged; n > 0 && s.Incomplete == "" {
		s.Incomplete = fmt.Sprintf("the bytes of %d records are not there any more; content holds what differed", n)
		if err := e.salvageContent(dir, staged, s, paths); err != nil {
			return err
		}
	}
	var err error
	if s.Paths, err = paths.resolve(e.t); err != nil {
		return err
	}
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	for _, d := range []string{dir, filepath.Dir(dir), e.o.Dir} {
		if err := disk.SyncDir(e.o.FS, d); err != nil {
			return err
		}
	}
	if err := disk.WriteFileAtomic(e.o.FS, filepath.Join(dir, salvageManifest), b); err != nil {
		return err
	}
	e.log.Warn("records that never reached the other side were set aside", "salvage", dir, "records", s.Records, "paths", len(s.Paths))
	return nil
}

func (e *Engine) salvageRecords(path string, s *Salvage, paths *pathFinder) (err error) {
	f, err := e.o.FS.Create(path, disk.Category)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var buf, payload []byte
	err = e.eachRecord(s.FromSeq-1, s.Last.Seq, func(r *fs.Record, m fs.Mutation, en *journal.Entry) error {
		payload, err = en.Payload(payload[:0])
		var damage *fs.CorruptionError
		switch {
		case errors.Is(err, journal.ErrCleaned):
			s.PayloadsGone++
		case errors.As(err, &damage):
			e.log.Error("damaged bytes of a record are not in the salvage", "sequence", r.Seq, "error", e.noteDamage(err))
			s.PayloadsDamaged++
			payload = payload[:0]
		case err != nil:
			return err
		}
		buf = appendSalvaged(buf[:0], r, payload)
		if _, err := f.Write(buf); err != nil {
			return err
		}
		s.Records++
		s.PayloadBytes += uint64(len(payload))
		paths.add(m)
		return nil
	})
	if err != nil {
		return err
	}
	return f.Sync()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendSalvaged(b []byte, r *fs.Record, payload []byte) []byte {
	b = append(b, make([]byte, 12)...)
	b = r.Append(b)
	n := len(b) - 12
	b = append(b, payload...)
	binary.BigEndian.PutUint32(b[8:], uint32(n))
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	binary.BigEndian.PutUint32(b, uint32(len(b)-8))
	return b
}

// Salvages lists what was set aside, oldest first.
func (e *Engine) Salvages() ([]Salvage, error) {
	names, err := e.o.FS.List(filepath.Join(e.o.Dir, salvageDir))
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	var l []Salvage
	for _, n := range names {
		b, err := disk.ReadFile(e.o.FS, filepath.Join(e.o.Dir, salvageDir, n, salvageManifest))
		if isNotExist(err) {
			continue // never finished
		}
		if err != nil {
			return nil, err
		}
		var s Salvage
		if err := json.Unmarshal(b, &s); err != nil {
			return nil, &fs.CorruptionError{File: n, Detail: "the salvage's manifest cannot be read"}
		}
		l = append(l, s)
	}
	return l, nil
}

// pathFinder gathers which names and inodes records touched, and finds their
// paths in the tree that the records led to.
type pathFinder struct {
	names map[fs.Ino]map[nameIn]struct{} // by the inode that the name led to
	ops   map[fs.Ino]map[string]struct{}
}

type nameIn struct {
	dir  fs.Ino
	name fs.Name
}

func newPathFinder() *pathFinder {
	return &pathFinder{names: make(map[fs.Ino]map[nameIn]struct{}), ops: make(map[fs.Ino]map[string]struct{})}
}

func (p *pathFinder) add(m fs.Mutation) {
	switch m := m.(type) {
	case *fs.Create:
		p.name(m.Parent, m.Name, m.Ino, "create")
	case *fs.Link:
		p.name(m.Parent, m.Name, m.Ino, "link")
	case *fs.Unlink:
		p.name(m.Parent, m.Name, m.Ino, "remove")
	case *fs.Rename:
		p.name(m.From, m.FromName, m.Ino, "rename")
		p.name(m.To, m.ToName, m.Ino, "rename")
		if m.Victim != 0 {
			p.name(m.To, m.ToName, m.Victim, "replace")
		}
	case *fs.SetAttr:
		p.op(m.Ino, "set attributes")
	case *fs.Write:
		p.op(m.Ino, "write")
	case *fs.Punch:
		p.op(m.Ino, "punch")
	case *fs.Clone:
		p.op(m.Dst, "clone")
	case *fs.Xattr:
		p.op(m.Ino, "set extended attributes")
	}
}

func (p *pathFinder) op(ino fs.Ino, op string) {
	if p.ops[ino] == nil {
		p.ops[ino] = make(map[string]struct{})
	}
	p.ops[ino][op] = struct{}{}
}

func (p *pathFinder) name(dir fs.Ino, name fs.Name, ino fs.Ino, op string) {
	p.op(ino, op)
	if p.names[ino] == nil {
		p.names[ino] = make(map[nameIn]struct{})
	}
	p.names[ino][nameIn{dir, name}] = struct{}{}
}

// resolve gives the paths, sorted. Inodes that are older than the fork are
// looked for among all entries, once.
func (p *pathFinder) resolve(t *tree.Tree) ([]SalvagePath, error) {
	dirs := make(map[fs.Ino]nameIn)
	err := t.AllEntries(func(dir fs.Ino, name fs.Name, ino fs.Ino) error {
		if a, err := t.Inode(ino); err == nil && a.Type == fs.TypeDir {
			dirs[ino] = nameIn{dir, name}
		}
		if p.ops[ino] != nil {
			if p.names[ino] == nil {
				p.names[ino] = make(map[nameIn]struct{})
			}
			p.names[ino][nameIn{dir, name}] = struct{}{}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var l []SalvagePath
	for ino, ops := range p.ops {
		names := make([]string, 0, len(ops))
		for op := range ops {
			names = append(names, op)
		}
		sort.Strings(names)
		if len(p.names[ino]) == 0 {
			l = append(l, SalvagePath{fmt.Sprintf("(inode %d, without a name)", ino), names})
		}
		for n := range p.names[ino] {
			l = append(l, SalvagePath{printable(pathOf(dirs, n)), names})
		}
	}
	sort.Slice(l, func(i, j int) bool { return l[i].Path < l[j].Path })
	return l, nil
}

func printable(path string) string {
	if utf8.ValidString(path) {
		return path
	}
	var b strings.Builder
	for i, r := range path {
		if _, n := utf8.DecodeRuneInString(path[i:]); r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, "\\x%02x", path[i])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// maxDepth ends the walk up in a damaged tree.
const maxDepth = 1 << 16

func pathOf(dirs map[fs.Ino]nameIn, n nameIn) string {
	path := "/" + string(n.name)
	for depth := 0; n.dir != fs.RootIno; depth++ {
		up, ok := dirs[n.dir]
		if !ok || depth > maxDepth {
			return fmt.Sprintf("(removed directory %d)%s", n.dir, path)
		}
		n = up
		path = "/" + string(n.name) + path
	}
	return path
}
