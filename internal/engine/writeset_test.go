package engine

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/engine/writeset"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/fstest"
)

// content is what a tree holds, by logical keys: file data as the extents cut
// at their borders.
func contentOf(t *testing.T, e *Engine) (keys map[string]string, data map[fs.Ino][]tree.Extent) {
	keys, data = map[string]string{}, map[fs.Ino][]tree.Extent{}
	ok(t, e.view(func(tr *tree.Tree) error {
		if err := tr.RawRange(nil, func(k, v []byte) error { keys[string(k)] = string(v); return nil }); err != nil {
			return err
		}
		return tr.AllExtents(nil, func(_ []byte, ino fs.Ino, x tree.Extent) error {
			data[ino] = append(data[ino], x)
			return nil
		})
	}))
	return keys, data
}

// TestAWriteSetHoldsAllThatARecordChanged compares the tree before and after
// each record with the record's write set.
func TestAWriteSetHoldsAllThatARecordChanged(t *testing.T) {
	eachSeed(t, 4, func(t *testing.T, seed uint64) {
		p := newPair(t, seed)
		defer p.close()
		p.transfer(nil)
		keys, data := contentOf(t, p.other)
		for range 25 {
			p.steps(12)
			if p.rng.IntN(5) == 0 {
				p.restart()
			}
			settle(t, p.e)
			ok(t, p.e.Sync(ctx))
			from := p.other.LastApplied()
			for pull(t, p.e, p.other, 1) > 0 {
				ok(t, p.other.Sync(ctx))
				set, err := p.other.WriteSet(from)
				ok(t, err)
				from++
				newKeys, newData := contentOf(t, p.other)
				c := &covered{set: set.Elements()}
				c.keys(keys, newKeys)
				c.data(data, newData)
				if c.missed != "" {
					p.fail(fmt.Sprintf("record %d changed what is not in its write set %+v", from, c.set), fmt.Errorf("%s", c.missed))
				}
				keys, data = newKeys, newData
			}
		}
	})
}

type covered struct {
	set    []writeset.Element
	missed string
}

func (c *covered) keys(before, after map[string]string) {
	for k, v := range before {
		if w, there := after[k]; !there || w != v {
			c.key(k)
		}
	}
	for k := range after {
		if _, there := before[k]; !there {
			c.key(k)
		}
	}
}

// key checks that an element covers a stored key. Letters are those of
// tree/keys.go; orphan and pending keys follow from the inode, the form by
// cookie from the entry.
func (c *covered) key(k string) {
	id := func() fs.Ino { return fs.Ino(binary.BigEndian.Uint64([]byte(k[1:9]))) }
	switch k[0] {
	case 'i', 'o', 'p':
		c.want(writeset.Element{Kind: writeset.Inode, Ino: id()}, k)
	case 'd':
		c.want(writeset.Element{Kind: writeset.Entry, Ino: id(), Name: k[9:]}, k)
	case 's':
		c.want(writeset.Element{Kind: writeset.Setting, Name: k[1:]}, k)
	case 'r':
		c.want(writeset.Element{Kind: writeset.Client, Name: k[1:]}, k)
	case 'x':
		for _, e := range c.set {
			if e.Kind == writeset.Xattr && e.Ino == id() && (e.Name == "" || e.Name == k[9:]) {
				return
			}
		}
		c.missed = fmt.Sprintf("extended attribute %q", k)
	case 'c', 'h', 'z':
	default:
		c.missed = fmt.Sprintf("a key of a kind that this test does not know: %q", k)
	}
}

func (c *covered) want(w writeset.Element, k string) {
	for _, e := range c.set {
		if e == w {
			return
		}
	}
	c.missed = fmt.Sprintf("key %q", k)
}

// data checks bytes: each run of them that leads elsewhere than before must be
// in an element.
func (c *covered) data(before, after map[fs.Ino][]tree.Extent) {
	inos := map[fs.Ino]bool{}
	for ino := range before {
		inos[ino] = true
	}
	for ino := range after {
		inos[ino] = true
	}
	for ino := range inos {
		borders := map[uint64]bool{}
		for _, l := range [][]tree.Extent{before[ino], after[ino]} {
			for _, x := range l {
				borders[x.Offset], borders[x.End()] = true, true
			}
		}
		for at := range borders {
			if identityAt(before[ino], at) != identityAt(after[ino], at) && !c.hasByte(ino, at) {
				c.missed = fmt.Sprintf("inode %d at %d", ino, at)
			}
		}
	}
}

// identityAt names the byte at an offset: which record brought it and where in
// its payload it is.
func identityAt(l []tree.Extent, at uint64) [3]uint64 {
	for _, x := range l {
		if x.Offset <= at && at < x.End() {
			return [3]uint64{uint64(x.Epoch), x.Seq, uint64(x.From) + at - x.Offset}
		}
	}
	return [3]uint64{}
}

func (c *covered) hasByte(ino fs.Ino, at uint64) bool {
	for _, e := range c.set {
		if e.Kind == writeset.Data && e.Ino == ino && e.From <= at && at < e.To {
			return true
		}
	}
	return false
}

var _ fstest.Subject = (*Engine)(nil)
