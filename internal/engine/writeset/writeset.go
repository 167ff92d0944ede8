// Package writeset tells which parts of a tree a record may change: a pure
// function of its mutation. Resync and salvage stand on it: two histories that
// fork differ only in the union of their write sets.
package writeset

import (
	"encoding/binary"
	"sort"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Kind of an element.
type Kind uint8

// The kinds, in the order in which a resync transfers them.
const (
	Inode   Kind = 1 // an inode's attributes, with its place among orphans and pending
	Entry   Kind = 2 // a directory entry
	Data    Kind = 3 // bytes [From, To) of a file
	Setting Kind = 4
	Client  Kind = 5
	Xattr   Kind = 6
)

// End is the To of data that reaches to the end of the largest file.
const End = uint64(1) << 62

// Element is one part of a tree.
type Element struct {
	Kind Kind
	Ino  fs.Ino // Inode, Entry (the directory), Data
	Name string // Entry, Setting (its key), Client (its owner), Xattr
	From uint64
	To   uint64
}

// Set is a union of elements. The zero Set is empty. Not safe for concurrent use.
type Set struct {
	points map[Element]struct{}
	data   map[fs.Ino][]span
}

type span struct{ from, to uint64 }

// Add adds what the mutation may change.
func (s *Set) Add(m fs.Mutation) {
	switch m := m.(type) {
	case *fs.Genesis:
		s.inode(fs.RootIno)
		s.point(Element{Kind: Setting, Name: "lineage"})
	case *fs.Create:
		s.entry(m.Parent, m.Name)
		s.inode(m.Ino)
	case *fs.Link:
		s.entry(m.Parent, m.Name)
		s.inode(m.Ino)
	case *fs.Unlink:
		s.entry(m.Parent, m.Name)
		s.removed(m.Ino, m.Last)
	case *fs.Rename:
		s.entry(m.From, m.FromName)
		s.entry(m.To, m.ToName)
		s.inode(m.Ino)
		if m.Victim != 0 {
			s.removed(m.Victim, m.Last)
		}
	case *fs.SetAttr:
		s.inode(m.Ino)
		if m.Mask&fs.SetSize != 0 {
			s.span(m.Ino, m.Size, End)
		}
	case *fs.Write:
		s.inode(m.Ino)
		s.span(m.Ino, m.Offset, m.Offset+uint64(m.Length))
	case *fs.Reclaim:
		s.removed(m.Ino, true)
	case *fs.Setting:
		s.point(Element{Kind: Setting, Name: m.Key})
	case *fs.Client:
		s.point(Element{Kind: Client, Name: string(m.Owner)})
	case *fs.Xattr:
		s.inode(m.Ino)
		s.point(Element{Kind: Xattr, Ino: m.Ino, Name: string(m.Name)})
	case *fs.Punch:
		s.inode(m.Ino)
		s.span(m.Ino, m.From, m.To)
	case *fs.Clone:
		s.inode(m.Dst)
		s.span(m.Dst, m.DstOffset, m.DstOffset+m.Length)
	case *fs.Epoch, *fs.Noop:
		// The list of epochs travels with every checkpoint.
	}
}

func (s *Set) point(e Element) {
	if s.points == nil {
		s.points = make(map[Element]struct{})
	}
	s.points[e] = struct{}{}
}

func (s *Set) inode(ino fs.Ino) { s.point(Element{Kind: Inode, Ino: ino}) }

// entry: a name that comes or goes changes its directory too.
func (s *Set) entry(dir fs.Ino, name fs.Name) {
	s.inode(dir)
	s.point(Element{Kind: Entry, Ino: dir, Name: string(name)})
}

func (s *Set) removed(ino fs.Ino, last bool) {
	s.inode(ino)
	if last {
		s.span(ino, 0, End)
		s.point(Element{Kind: Xattr, Ino: ino}) // without a name: all of them
	}
}

func (s *Set) span(ino fs.Ino, from, to uint64) {
	if s.data == nil {
		s.data = make(map[fs.Ino][]span)
	}
	l := append(s.data[ino], span{from, to})
	// Sequential writes, the common case, must not grow the list.
	if n := len(l); n > 1 && l[n-2].to >= from && l[n-2].from <= from {
		l[n-2].to = max(l[n-2].to, to)
		l = l[:n-1]
	}
	s.data[ino] = l
}

// AddElement adds one element.
func (s *Set) AddElement(e Element) {
	if e.Kind == Data {
		s.span(e.Ino, e.From, e.To)
		return
	}
	s.point(e)
}

// Elements gives the set in order (kind, inode, name, offset), data ranges
// merged so that they neither touch nor overlap.
func (s *Set) Elements() []Element {
	l := make([]Element, 0, len(s.points)+len(s.data))
	for e := range s.points {
		l = append(l, e)
	}
	for ino, spans := range s.data {
		for _, p := range merge(spans) {
			l = append(l, Element{Kind: Data, Ino: ino, From: p.from, To: p.to})
		}
	}
	sort.Slice(l, func(i, j int) bool { return l[i].less(&l[j]) })
	return l
}

func merge(l []span) []span {
	l = append([]span(nil), l...)
	sort.Slice(l, func(i, j int) bool { return l[i].from < l[j].from })
	out := l[:0]
	for _, p := range l {
		if n := len(out); n > 0 && p.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, p.to)
			continue
		}
		out = append(out, p)
	}
	return out
}

func (e *Element) less(o *Element) bool {
	switch {
	case e.Kind != o.Kind:
		return e.Kind < o.Kind
	case e.Ino != o.Ino:
		return e.Ino < o.Ino
	case e.Name != o.Name:
		return e.Name < o.Name
	}
	return e.From < o.From
}

const version = 1

// Encode gives the form that crosses the wire.
func (s *Set) Encode() []byte {
	b := []byte{version}
	for _, e := range s.Elements() {
		b = e.Append(b)
	}
	return b
}

// Append appends one element.
func (e *Element) Append(b []byte) []byte {
	b = append(b, byte(e.Kind))
	b = binary.AppendUvarint(b, uint64(e.Ino))
	b = binary.AppendUvarint(b, uint64(len(e.Name)))
	b = append(b, e.Name...)
	b = binary.AppendUvarint(b, e.From)
	return binary.AppendUvarint(b, e.To)
}

// Decode reads what Encode wrote into s.
func (s *Set) Decode(b []byte) error {
	if len(b) == 0 || b[0] != version {
		return &fs.DecodeError{What: "write set", Detail: "unknown version or empty"}
	}
	b = b[1:]
	for len(b) > 0 {
		var e Element
		var err error
		if e, b, err = Parse(b); err != nil {
			return err
		}
		s.AddElement(e)
	}
	return nil
}

// Parse reads one element and gives what follows it.
func Parse(b []byte) (e Element, rest []byte, err error) {
	bad := func(d string) (Element, []byte, error) {
		return Element{}, nil, &fs.DecodeError{What: "write set element", Detail: d}
	}
	if len(b) == 0 {
		return bad("empty")
	}
	e.Kind, b = Kind(b[0]), b[1:]
	if e.Kind < Inode || e.Kind > Xattr {
		return bad("unknown kind")
	}
	ok := true
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	e.Ino = fs.Ino(next())
	n := next()
	if !ok || n > uint64(len(b)) {
		return bad("cut short")
	}
	e.Name, b = string(b[:n]), b[n:]
	e.From, e.To = next(), next()
	if !ok || e.To < e.From || e.To > End {
		return bad("range cut short or reversed")
	}
	if e.Kind != Data && e.To != 0 {
		return bad("a range of what has none")
	}
	return e, b, nil
}
