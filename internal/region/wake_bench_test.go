package region

import (
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// BenchmarkWake is what the first user of a file system at rest waits for, and
// what it takes to put one to rest.
func BenchmarkWake(b *testing.B) {
	c := pebble.NewCache(treeCacheBytes)
	defer c.Unref()
	v := newVolumes(volumeEnv{fs: disk.Real(), dir: b.TempDir(), region: "here", now: time.Now, cache: c,
		rand: &lockedReader{r: rand.NewChaCha8([32]byte{})}, log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry(),
		replicated: func(string) bool { return false }})
	if _, err := v.Create(b.Context(), fsOne, ""); err != nil {
		b.Fatal(err)
	}
	if err := v.Open(b.Context(), fsOne, control.RoleWriter, nil); err != nil {
		b.Fatal(err)
	}
	x := v.get(fsOne)
	var resting, waking time.Duration
	n := 0
	for ; b.Loop(); n++ {
		begin := time.Now()
		for !v.putToRest(x, 0) {
			time.Sleep(time.Millisecond) // its first work is not done yet
		}
		at := time.Now()
		if _, err := x.door.ReadDir(fs.RootIno, 0, func(fs.DirEntry) bool { return true }); err != nil {
			b.Fatal(err)
		}
		resting, waking = resting+at.Sub(begin), waking+time.Since(at)
	}
	b.ReportMetric(resting.Seconds()*1e3/float64(n), "rest-ms")
	b.ReportMetric(waking.Seconds()*1e3/float64(n), "wake-ms")
	if err := v.Close(); err != nil {
		b.Fatal(err)
	}
}
