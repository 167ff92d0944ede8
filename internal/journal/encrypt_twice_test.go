package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// TestNoPlaceIsSealedTwice: through crashes at any moment, writes that fail or are
// done in part, a full disk, restarts, cleaning and rebases, finished or not,
// whatever stands at one place under one key is always the same.
func TestNoPlaceIsSealedTwice(t *testing.T) {
	w := &sealWatch{t: t, seen: map[string][]byte{}, again: map[string]int{}}
	for seed := range fewer(uint64(60), 6) {
		l := &sealedLife{t: t, w: w, rng: rand.New(rand.NewPCG(seed, 5)), mem: disk.NewMem(), h: newHistory()}
		if err := Create(l.options()); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			l.stretch(seed)
		}
		w.fails = nil
		for what, n := range l.did {
			w.again[what] += n
		}
	}
	if len(w.seen) < fewer(1000, 100) {
		t.Errorf("only %d places were seen", len(w.seen))
	}
	for _, what := range []string{"entry", "payload", "cleaned", "rebased", "rebase cut short", "failed", "full"} {
		if w.again[what] == 0 {
			t.Errorf("it never came to: %s", what)
		}
	}
}

// sealedLife is that of one journal.
type sealedLife struct {
	t   *testing.T
	w   *sealWatch
	rng *rand.Rand
	mem *disk.Mem
	h   *history
	// next is the history if the rebase that was cut short counts.
	next *history
	did  map[string]int
}

func (l *sealedLife) options() Options { return encryptedTiny(l.w.over(l.mem)) }

// stretch is what comes between two starts.
func (l *sealedLife) stretch(seed uint64) {
	l.w.fails = nil
	j, err := Open(l.options())
	if err != nil {
		l.t.Fatalf("seed %d: %v", seed, err)
	}
	if base, _ := j.Base(); l.next != nil && base == l.next.base {
		l.h = l.next
	}
	l.next = nil
	end, err := l.h.check(j, l.h.base, l.h.base.Seq)
	if err != nil {
		l.t.Fatalf("seed %d: %v", seed, err)
	}
	l.h.cutTo(end)
	if l.rng.IntN(2) == 0 {
		l.w.failLater(l.rng)
	}
	l.use(j)
	switch l.rng.IntN(4) {
	case 0:
		if err := j.Close(); err != nil && l.w.fails == nil {
			l.t.Fatal(err)
		}
	case 1:
		j.kill() // what was written stays
	default:
		j.mu.Lock()
		j.kick()
		j.mu.Unlock()
		l.mem = l.mem.Crash(l.rng, []int{0, 30, 60, 100}[l.rng.IntN(4)])
		j.kill()
	}
}

func (l *sealedLife) note(what string) {
	if l.did == nil {
		l.did = map[string]int{}
	}
	l.did[what]++
}

// use does something with the journal until it is enough, or fails.
func (l *sealedLife) use(j *Journal) {
	if l.w.fails == nil && l.rng.IntN(4) == 0 {
		cleanAll(l.t, j, l.h)
		l.note("cleaned")
	}
	for range l.rng.IntN(12) {
		_, err := l.h.append(j, randomPayload(l.rng))
		if err == nil && l.rng.IntN(3) == 0 {
			err = j.WaitDurable(noDeadline, l.h.last().Seq)
		}
		if err == nil && l.rng.IntN(8) == 0 && len(l.h.records) > 0 {
			err = l.rebase(j)
		}
		switch {
		case errors.Is(err, fs.ErrNoSpace):
			l.note("full")
		case err != nil && l.w.fails != nil:
			l.note("failed")
			return
		case err != nil:
			l.t.Fatal(err)
		}
	}
}

func (l *sealedLife) rebase(j *Journal) error {
	l.next = &history{base: l.h.last(), epoch: l.h.epoch}
	err := j.Rebase(l.next.base, []byte{byte(l.rng.Uint32())})
	switch {
	case err == nil:
		l.h, l.next = l.next, nil
		l.note("rebased")
	case j.Err() == nil:
		l.next = nil // nothing has changed
	default:
		l.note("rebase cut short")
	}
	return err
}

// sealWatch sees everything that is written to segments, also what is then
// reported as not written: it may be there.
type sealWatch struct {
	t     *testing.T
	mu    sync.Mutex
	seen  map[string][]byte // by salt and place
	again map[string]int    // written once more, with the same bytes
	fails func() (part int, err error)
}

// failLater makes a write, and all after it, fail, or be done in part.
func (w *sealWatch) failLater(rng *rand.Rand) {
	left, part, errs := rng.IntN(12), rng.IntN(101), []error{syscall.EIO, syscall.ENOSPC}[rng.IntN(2)]
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fails = func() (int, error) {
		if left--; left >= 0 {
			return 0, nil
		}
		return part, errs
	}
}

func (w *sealWatch) outcome() (part int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fails == nil {
		return 0, nil
	}
	return w.fails()
}

func (w *sealWatch) over(d disk.FS) disk.FS { return &watchedFS{d, w} }

type watchedFS struct {
	disk.FS
	w *sealWatch
}

func (f *watchedFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, c, o...)
	if err != nil {
		return nil, err
	}
	return &watchedFile{file, f.w}, nil
}

type watchedFile struct {
	vfs.File
	w *sealWatch
}

func (f *watchedFile) WriteAt(p []byte, off int64) (int, error) {
	f.look(p, off)
	if part, err := f.w.outcome(); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)*part/100], off)
		return n, err
	}
	return f.File.WriteAt(p, off)
}

func (f *watchedFile) look(p []byte, off int64) {
	if off == 0 || len(bytes.Trim(p, "\x00")) == 0 {
		return
	}
	b, err := readHeaderBlock(f.File)
	h, state, _ := decodeHeader(b)
	if err != nil || state != headerValid || !h.encrypted() {
		f.w.t.Errorf("%d bytes at %d before there is a header of an encrypted segment", len(p), off)
		return
	}
	if h.class == classPayload {
		f.w.note(h.keySalt, off, "payload", p)
		return
	}
	bh, err := decodeBatchHeader(p)
	if err != nil {
		f.w.t.Error(err)
		return
	}
	f.w.note(h.keySalt, off+batchHeaderSize, "entry", p[batchHeaderSize:batchHeaderSize+int(bh.bodyLen)])
}

// note compares block by block: what overlaps need not begin at one place.
func (w *sealWatch) note(salt [seal.SaltSize]byte, at int64, what string, sealed []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(sealed) > 0 {
		n := min(int64(len(sealed)), blockSize-at%blockSize)
		place := fmt.Sprintf("%x at %d", salt, at)
		was, ok := w.seen[place]
		common := min(int64(len(was)), n)
		switch {
		case !ok:
			w.seen[place] = bytes.Clone(sealed[:n])
		case !bytes.Equal(was[:common], sealed[:common]):
			w.t.Errorf("%s %s was sealed twice, with two contents", what, place)
		default:
			w.again[what]++
		}
		sealed, at = sealed[n:], at+n
	}
}
