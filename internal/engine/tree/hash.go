package tree

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/blake3"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// RangeHash is the hash of the logical content of a range of keys: two
// replicas at one position have equal hashes, wherever their payloads lie and
// however their extents are split.
type RangeHash struct {
	Sum  [16]byte
	Keys uint64 // logical keys: extents that continue each other count as one
}

func (h RangeHash) String() string { return hex.EncodeToString(h.Sum[:]) }

// Snapshot is the tree at one position, for reading beside Apply. Close it.
type Snapshot struct {
	s    *pebble.Snapshot
	meta Meta
}

// Snapshot pins the present state. Like a reader it must not run beside Apply;
// what it returns may.
func (t *Tree) Snapshot() *Snapshot { return &Snapshot{t.db.NewSnapshot(), t.meta} }

// Meta tells the snapshot's position and counters.
func (s *Snapshot) Meta() Meta { return s.meta }

// Close lets go of the snapshot.
func (s *Snapshot) Close() error { return s.s.Close() }

// Hash hashes the keys in [lo, hi); nil bounds stand for the whole tree. The
// position and counters (key m) are not part of it. A bound must not lie
// within the extents of one file.
func (s *Snapshot) Hash(lo, hi []byte) (RangeHash, error) {
	h := hasher{h: blake3.New()}
	err := scan(s.s, lo, hi, h.add)
	if err != nil {
		return RangeHash{}, err
	}
	h.flushExtent()
	var sum [32]byte
	return RangeHash{[16]byte(h.h.Sum(sum[:0])[:16]), h.keys}, nil
}

type hasher struct {
	h    *blake3.Hasher
	keys uint64
	buf  []byte

	open    bool // an extent that the next one may continue
	ino     uint64
	pending Extent
}

func (h *hasher) add(k, v []byte) error {
	if k[0] != prefixExtent {
		h.flushExtent()
		if k[0] != prefixMeta && k[0] != prefixStage {
			h.put(k, v)
		}
		return nil
	}
	if len(k) != 17 {
		return &fs.DecodeError{What: "extent key", Detail: fmt.Sprintf("%d bytes", len(k))}
	}
	ino, off := binary.BigEndian.Uint64(k[1:]), binary.BigEndian.Uint64(k[9:])
	e, err := decodeExtent(off, v)
	if err != nil {
		return err
	}
	if h.open && h.ino == ino && e.continues(&h.pending) {
		h.pending.Length += e.Length
		return nil
	}
	h.flushExtent()
	h.open, h.ino, h.pending = true, ino, e
	return nil
}

// flushExtent hashes identities only, never local addresses.
func (h *hasher) flushExtent() {
	if !h.open {
		return
	}
	h.open = false
	p := &h.pending
	v := binary.BigEndian.AppendUint32(nil, p.Length)
	v = binary.BigEndian.AppendUint32(v, p.Epoch)
	v = binary.BigEndian.AppendUint64(v, p.Seq)
	v = binary.BigEndian.AppendUint32(v, p.From)
	h.put(extentKey(fs.Ino(h.ino), p.Offset), v)
}

func (h *hasher) put(k, v []byte) {
	h.keys++
	h.buf = binary.BigEndian.AppendUint32(h.buf[:0], uint32(len(k)))
	h.buf = append(h.buf, k...)
	h.buf = binary.BigEndian.AppendUint32(h.buf, uint32(len(v)))
	h.buf = append(h.buf, v...)
	h.h.Write(h.buf)
}
