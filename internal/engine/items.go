package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/engine/writeset"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// Item is one piece of a checkpoint on its way to a destination. The cursor is
// where to go on after it.
type Item struct {
	Cursor  []byte
	Body    []byte
	Payload []byte
}

// What the first byte of a body says.
const (
	itemKeys    = 1 // keys and values as they are, with varint lengths
	itemExtent  = 2 // inode, offset, length, epoch, sequence, from: varints; the bytes are the payload
	itemElement = 3 // element, present or not, value
	itemClear   = 4 // element of kind data: nothing is there but what follows
)

const (
	// itemBytes is how much goes into one item of keys.
	itemBytes = 32 << 10
	// partsWhole: names and attributes beside file data.
	partsWhole = 2
	partKeys   = 0
)

// Parts tells in how many parts a checkpoint is best fetched.
func (c *CheckpointInfo) Parts() int {
	if c.Whole {
		return partsWhole
	}
	return 1
}

// Items calls fn for the items of a part after cursor (nil: from the start).
// What fn gets is valid during the call.
func (e *Engine) Items(name string, part int, cursor []byte, fn func(Item) error) error {
	if err := checkName(name); err != nil {
		return err
	}
	c, err := e.findCheckpoint(name)
	if err != nil {
		return err
	}
	defer e.releaseUser(c)
	s := &sender{t: c.t, j: e.journalNow(), fn: func(it Item) error {
		if e.closed.Load() {
			return ErrNoCheckpoint // soon to be found again, by another engine
		}
		return fn(it)
	}}
	switch {
	case !c.spec.Whole && part == 0:
		return e.noteDamage(s.elements(c.elements, cursor))
	case c.spec.Whole && part == partKeys:
		return e.noteDamage(s.keys(cursor))
	case c.spec.Whole && part == 1:
		return e.noteDamage(s.extents(cursor))
	}
	return &fs.DecodeError{What: "checkpoint part", Detail: fmt.Sprint(part)}
}

type sender struct {
	t   *tree.Tree
	j   *journal.Journal
	fn  func(Item) error
	buf []byte
}

func (s *sender) keys(cursor []byte) error {
	body := []byte{itemKeys}
	var last []byte
	err := s.t.RawRange(cursor, func(k, v []byte) error {
		body = binary.AppendUvarint(body, uint64(len(k)))
		body = append(body, k...)
		body = binary.AppendUvarint(body, uint64(len(v)))
		body = append(body, v...)
		last = append(last[:0], k...)
		if len(body) < itemBytes {
			return nil
		}
		err := s.fn(Item{Cursor: last, Body: body})
		body = body[:1]
		return err
	})
	if err != nil || len(body) == 1 {
		return err
	}
	return s.fn(Item{Cursor: last, Body: body})
}

func (s *sender) extents(cursor []byte) error {
	return s.t.AllExtents(cursor, func(key []byte, ino fs.Ino, x tree.Extent) error {
		return s.extent(key, ino, x)
	})
}

func (s *sender) extent(cursor []byte, ino fs.Ino, x tree.Extent) error {
	if cap(s.buf) < int(x.Length) {
		s.buf = make([]byte, fs.MaxWrite)
	}
	p := s.buf[:x.Length]
	if err := s.j.Read(x.Addr, x.AddrFrom, p); err != nil {
		return fmt.Errorf("read inode %d at %d: %w", ino, x.Offset, err)
	}
	body := []byte{itemExtent}
	for _, v := range [...]uint64{uint64(ino), x.Offset, uint64(x.Length), uint64(x.Epoch), x.Seq, uint64(x.From)} {
		body = binary.AppendUvarint(body, v)
	}
	return s.fn(Item{Cursor: cursor, Body: body, Payload: p})
}

// elements sends what changed. A cursor is the index of an element and a step
// within it: 0 nothing, 1 the range was cleared, else 2 + the offset of the
// newest extent sent.
func (s *sender) elements(l []writeset.Element, cursor []byte) error {
	at, step := uint64(0), uint64(0)
	if len(cursor) == 16 {
		at, step = binary.BigEndian.Uint64(cursor), binary.BigEndian.Uint64(cursor[8:])
	}
	for ; at < uint64(len(l)); at, step = at+1, 0 {
		el := l[at]
		var err error
		switch {
		case el.Kind == writeset.Data:
			err = s.data(el, at, step)
		case el.Kind == writeset.Xattr && el.Name == "":
			err = s.xattrs(el, at)
		default:
			err = s.element(el, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func elementCursor(at, step uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, at), step)
}

func (s *sender) element(el writeset.Element, at uint64) error {
	v, err := s.t.Value(el)
	if err != nil {
		return err
	}
	body := el.Append([]byte{itemElement})
	if v == nil {
		body = append(body, 0)
	} else {
		body = append(append(body, 1), v...)
	}
	return s.fn(Item{Cursor: elementCursor(at+1, 0), Body: body})
}

// xattrs sends that there are none, then those that there are. After a cut all
// of it is sent again: it is little, and setting twice is setting once.
func (s *sender) xattrs(el writeset.Element, at uint64) error {
	if err := s.fn(Item{Cursor: elementCursor(at, 1), Body: append(el.Append([]byte{itemElement}), 0)}); err != nil {
		return err
	}
	l, err := s.t.Xattrs(el.Ino)
	if err != nil {
		return err
	}
	for _, name := range l {
		v, err := s.t.Value(writeset.Element{Kind: writeset.Xattr, Ino: el.Ino, Name: string(name)})
		if err != nil {
			return err
		}
		one := writeset.Element{Kind: writeset.Xattr, Ino: el.Ino, Name: string(name)}
		if err := s.fn(Item{Cursor: elementCursor(at, 1), Body: append(append(one.Append([]byte{itemElement}), 1), v...)}); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) data(el writeset.Element, at, step uint64) error {
	from := el.From
	switch {
	case step == 0:
		if err := s.fn(Item{Cursor: elementCursor(at, 1), Body: el.Append([]byte{itemClear})}); err != nil {
			return err
		}
	case step >= 2:
		from = step - 2 + 1
	}
	return s.t.Extents(el.Ino, from, el.To, func(x tree.Extent) error {
		if step >= 2 && x.Offset < from {
			return nil // it was sent before the cut
		}
		x = x.Clip(el.From, el.To)
		return s.extent(elementCursor(at, 2+x.Offset), el.Ino, x)
	})
}

// incomingItem is a decoded body.
type incomingItem struct {
	kind    byte
	keys    [][2][]byte
	ino     fs.Ino
	extent  tree.Extent
	element writeset.Element
	present bool
	value   []byte
}

var errItem = errors.New("an item of the checkpoint is malformed")

func parseItem(b []byte) (it incomingItem, err error) {
	if len(b) == 0 {
		return it, errItem
	}
	it.kind, b = b[0], b[1:]
	switch it.kind {
	case itemKeys:
		it.keys, err = parseKeys(b)
	case itemExtent:
		err = it.parseExtent(b)
	case itemElement, itemClear:
		if it.element, b, err = writeset.Parse(b); err != nil {
			return it, err
		}
		if it.kind == itemElement {
			if len(b) == 0 || b[0] > 1 {
				return it, errItem
			}
			it.present, it.value = b[0] == 1, b[1:]
		} else if len(b) != 0 || it.element.Kind != writeset.Data {
			return it, errItem
		}
	default:
		err = errItem
	}
	return it, err
}

func parseKeys(b []byte) (l [][2][]byte, err error) {
	take := func() []byte {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			err = errItem
			return nil
		}
		s := b[w : w+int(n)]
		b = b[w+int(n):]
		return s
	}
	for len(b) > 0 && err == nil {
		k := take()
		l = append(l, [2][]byte{k, take()})
	}
	return l, err
}

func (it *incomingItem) parseExtent(b []byte) error {
	var v [6]uint64
	for i := range v {
		n, w := binary.Uvarint(b)
		if w <= 0 {
			return errItem
		}
		v[i], b = n, b[w:]
	}
	if len(b) != 0 || v[2] == 0 || v[2] > fs.MaxWrite || v[1] > fs.MaxFileSize || v[3] >= 1<<32 || v[5] >= fs.MaxWrite {
		return errItem
	}
	it.ino = fs.Ino(v[0])
	it.extent = tree.Extent{Offset: v[1], Length: uint32(v[2]), Epoch: uint32(v[3]), Seq: v[4], From: uint32(v[5])}
	return nil
}
