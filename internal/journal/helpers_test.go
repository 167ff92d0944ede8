package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

const testDir = "journal"

var testLineage = fs.Lineage{1, 2, 3}

// tiny makes segments so small that few records cross many of them.
func tiny(d disk.FS) Options {
	return Options{FS: d, Dir: testDir, Lineage: testLineage,
		RecordSegmentBytes: 32 << 10, PayloadSegmentBytes: 256 << 10, InlineMax: 2000,
		SyncInterval: time.Hour, Random: testRandom, Key: testKey}
}

// history makes records and remembers what they must look like.
type history struct {
	base    fs.Pos
	records []*fs.Record
	data    [][]byte
	epoch   fs.EpochID
}

func newHistory() *history { return &history{epoch: fs.EpochID{Counter: 1, Nonce: 7}} }

func (h *history) last() fs.Pos {
	if n := len(h.records); n > 0 {
		return h.records[n-1].Pos()
	}
	return h.base
}

func (h *history) posAt(seq uint64) fs.Pos {
	if seq == h.base.Seq {
		return h.base
	}
	return h.records[seq-h.base.Seq-1].Pos()
}

// make builds the next record without adding it.
func (h *history) make(payload []byte) *fs.Record {
	prev := h.last()
	r := &fs.Record{Epoch: h.epoch, Seq: prev.Seq + 1, Stamp: fs.Stamp{Time: prev.Seq << 16}, PayloadLen: uint32(len(payload))}
	if len(payload) > 0 {
		r.PayloadDigest = fs.Digest(payload)
		r.Mutation = fs.AppendMutation(nil, &fs.Write{Ino: 2, Offset: prev.Seq, Length: uint32(len(payload))})
	} else {
		r.Mutation = fs.AppendMutation(nil, &fs.Setting{Key: "k", Value: bytes.Repeat([]byte{byte(prev.Seq)}, int(prev.Seq%97))})
	}
	r.Encode(nil, prev.Chain)
	return r
}

func (h *history) add(r *fs.Record, payload []byte) {
	h.records = append(h.records, r)
	h.data = append(h.data, bytes.Clone(payload))
}

func (h *history) append(j *Journal, payload []byte) (fs.Addr, error) {
	r := h.make(payload)
	a, err := j.Append(r, payload)
	if err == nil {
		h.add(r, payload)
	}
	return a, err
}

// cutTo forgets what comes after seq: a crash took it.
func (h *history) cutTo(seq uint64) {
	n := seq - h.base.Seq
	h.records, h.data = h.records[:n], h.data[:n]
	h.epoch.Counter++
}

// check compares a recovered journal with the history: it must be a prefix
// that holds everything up to acked, with the right payloads. It returns where
// the prefix ends.
func (h *history) check(j *Journal, after fs.Pos, acked uint64) (uint64, error) {
	seq := after.Seq
	err := j.Recover(after, func(r *fs.Record, a fs.Addr) error {
		seq++
		return h.compare(j, r, a, seq)
	})
	if err != nil {
		return 0, err
	}
	if seq < acked {
		return 0, fmt.Errorf("history ends at %d, but %d was acknowledged", seq, acked)
	}
	if j.Durable().Seq != seq || j.Last() != h.posAt(seq) {
		return 0, fmt.Errorf("recovered %d records, durable %s, last %s", seq, j.Durable(), j.Last())
	}
	return seq, nil
}

func (h *history) compare(j *Journal, r *fs.Record, a fs.Addr, seq uint64) error {
	if seq > h.last().Seq {
		return fmt.Errorf("record %d was never written", seq)
	}
	i := seq - h.base.Seq - 1
	if r.Pos() != h.records[i].Pos() {
		return fmt.Errorf("record %s, want %s", r.Pos(), h.records[i].Pos())
	}
	if a.IsZero() != (len(h.data[i]) == 0) || int(a.Length) != len(h.data[i]) {
		return fmt.Errorf("record %d: address %+v of %d bytes", seq, a, len(h.data[i]))
	}
	got := make([]byte, len(h.data[i]))
	if err := j.Read(a, 0, got); err != nil {
		return fmt.Errorf("payload of %d: %w", seq, err)
	}
	if !bytes.Equal(got, h.data[i]) {
		return fmt.Errorf("payload of %d differs", seq)
	}
	return nil
}

func randomPayload(rng *rand.Rand) []byte {
	sizes := []int{0, 0, 0, 1, 100, 1999, 2001, 5000, unitSize, unitSize + 1, 40000}
	b := make([]byte, sizes[rng.IntN(len(sizes))])
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

var noDeadline = context.Background()

// kill ends a journal as the death of its process would: nothing more is
// written, what was written stays in the page cache.
func (j *Journal) kill() {
	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		return
	}
	j.closing = true
	j.err = errors.New("killed")
	j.broadcast()
	j.mu.Unlock()
	close(j.quit)
	j.wg.Wait()
	if err := j.releaseAll(); err != nil {
		panic(err)
	}
}

func mustOpen(t testing.TB, o Options, h *history, after fs.Pos, acked uint64) *Journal {
	t.Helper()
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.kill)
	if _, err := h.check(j, after, acked); err != nil {
		t.Fatal(err)
	}
	return j
}

func mustCreate(t testing.TB, o Options) *Journal {
	t.Helper()
	if err := Create(o); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, o, newHistory(), fs.Pos{}, 0)
}

func wait(t testing.TB, j *Journal, seq uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := j.WaitDurable(ctx, seq); err != nil {
		t.Fatal(err)
	}
}
