package journal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

func TestWhatWasAppendedIsThereAfterReopening(t *testing.T) {
	for name, d := range map[string]disk.FS{"memory": disk.NewMem(), "real": disk.Real()} {
		t.Run(name, func(t *testing.T) {
			o := tiny(d)
			if name == "real" {
				o.Dir = t.TempDir()
			}
			rng := rand.New(rand.NewPCG(1, 1))
			j, h := mustCreate(t, o), newHistory()
			for range 5 {
				for range 60 {
					p := randomPayload(rng)
					a, err := h.append(j, p)
					if err != nil {
						t.Fatal(err)
					}
					if err := h.compare(j, h.records[len(h.records)-1], a, h.last().Seq); err != nil {
						t.Fatalf("just appended: %v", err)
					}
				}
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				j = mustOpen(t, o, h, fs.Pos{}, h.last().Seq)
			}
			mid := h.posAt(h.last().Seq / 2)
			j.Close()
			j = mustOpen(t, o, h, mid, h.last().Seq)
			if p, err := j.PosAt(mid.Seq); err != nil || p != mid {
				t.Errorf("PosAt(%d) = %s, %v", mid.Seq, p, err)
			}
		})
	}
}

func TestTreeThatDoesNotFitIsRefused(t *testing.T) {
	o := tiny(disk.NewMem())
	j, h := mustCreate(t, o), newHistory()
	for range 10 {
		if _, err := h.append(j, nil); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	foreign := h.posAt(5)
	foreign.Chain[0]++
	ahead := fs.Pos{Epoch: h.epoch, Seq: 11}
	for want, after := range map[error]fs.Pos{ErrTreeForeign: foreign, ErrTreeAhead: ahead} {
		j, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Recover(after, func(*fs.Record, fs.Addr) error { return nil }); !errors.Is(err, want) {
			t.Errorf("tree at %s: %v, want %v", after, err, want)
		}
		j.Close()
	}
}

func TestPartsOfAPayloadCanBeRead(t *testing.T) {
	o := tiny(disk.NewMem())
	j, h := mustCreate(t, o), newHistory()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 1500, unitSize, 3*unitSize + 5, fs.MaxWrite} {
		p := bytes.Repeat([]byte("0123456789abcde"), n/15+1)[:n]
		a, err := h.append(j, p)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			off := rng.IntN(n)
			got := make([]byte, 1+rng.IntN(n-off))
			if err := j.Read(a, uint32(off), got); err != nil || !bytes.Equal(got, p[off:off+len(got)]) {
				t.Fatalf("%d bytes at %d of %d: %v", len(got), off, n, err)
			}
		}
		if err := j.Read(a, uint32(n), make([]byte, 1)); err == nil {
			t.Errorf("read beyond the end of %d bytes succeeded", n)
		}
	}
}
