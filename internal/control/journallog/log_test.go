package journallog_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/journallog"
	"github.com/holdfast-fs/holdfast/internal/disk"
)

var _ control.Log = (*journallog.Log)(nil)

func open(t *testing.T, d disk.FS) (*journallog.Log, []string) {
	t.Helper()
	l, err := journallog.Open(d, "catalog", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := l.Replay(func(e []byte) error { got = append(got, string(e)); return nil }); err != nil {
		t.Fatal(err)
	}
	return l, got
}

func appendAll(t *testing.T, l *journallog.Log, entries ...string) {
	t.Helper()
	for _, e := range entries {
		if err := l.Append([]byte(e)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAcknowledgedEntriesSurviveACrash(t *testing.T) {
	for seed := range uint64(10) {
		d := disk.NewMem()
		l, got := open(t, d)
		if len(got) != 0 {
			t.Fatalf("a new log has %q", got)
		}
		appendAll(t, l, "a", "b", string(make([]byte, control.MaxEntry)))
		after := d.Crash(rand.New(rand.NewPCG(seed, 0)), int(seed)*10)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l, got = open(t, after)
		if len(got) != 3 || got[0] != "a" || got[1] != "b" || len(got[2]) != control.MaxEntry {
			t.Errorf("seed %d: %d entries after the crash", seed, len(got))
		}
		appendAll(t, l, "c")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRewriteIsAtomic(t *testing.T) {
	long := []string{"1", "2", "3", "4"}
	for n := int64(1); ; n++ {
		d := disk.NewMem()
		faulty := disk.NewFaulty(d)
		l, _ := open(t, faulty)
		appendAll(t, l, long...)
		var crashed atomic.Pointer[disk.Mem]
		faulty.SetRule(func(_ disk.Op, _ string, _, total int64) error {
			if total == n && crashed.Load() == nil {
				crashed.Store(d.Crash(rand.New(rand.NewPCG(uint64(n), 0)), 50))
			}
			return nil
		})
		if err := l.Rewrite([][]byte{[]byte("x"), []byte("y")}); err != nil {
			t.Fatal(err)
		}
		appendAll(t, l, "z")
		faulty.SetRule(nil)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		after := crashed.Load()
		if after == nil {
			if n < 5 {
				t.Fatalf("only %d operations", n)
			}
			return
		}
		l, got := open(t, after)
		if fmt.Sprint(got) != fmt.Sprint(long) && !slices.Equal(got, []string{"x", "y"}) && !slices.Equal(got, []string{"x", "y", "z"}) {
			t.Fatalf("crash at operation %d: %q", n, got)
		}
		appendAll(t, l, "on")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRewrittenLogIsUsed(t *testing.T) {
	d := disk.NewMem()
	l, _ := open(t, d)
	appendAll(t, l, "a", "b")
	if err := l.Rewrite([][]byte{[]byte("ab")}); err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, "c")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, got := open(t, d)
	if !slices.Equal(got, []string{"ab", "c"}) {
		t.Errorf("%q", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
