package engine

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// BenchmarkOverwrite overwrites blocks of 64 KiB of a file of 512 MiB at random,
// on the disk of this machine, six times as many bytes as it has, while the
// cleaner works as it does by default, but for smaller segments. It reports how
// many bytes were written to payload segments for each byte of the client, and
// the most disk that the journal took for each live byte.
func BenchmarkOverwrite(b *testing.B) {
	const live, block, times = 512 << 20, 64 << 10, 6
	for range b.N {
		o := Options{FS: disk.Real(), Dir: b.TempDir() + "/fs-1", ID: "fs-1", Region: "here", Now: time.Now, Rand: seeded(1), Logger: slog.New(slog.DiscardHandler),
			PayloadSegmentBytes: 32 << 20, Clean: CleanOptions{SlackBytes: 16 << 20, HistoryBytes: 64 << 20}}
		e := newWriter(b, o)
		f := create(b, e, fs.RootIno, "f", fs.TypeRegular)
		rng := rand.New(rand.NewPCG(1, 1))
		data := make([]byte, block)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		for at := uint64(0); at < live; at += block {
			write(b, e, f.Ino, at, data)
		}
		ok(b, e.Sync(ctx))
		start, most := time.Now(), int64(0)
		for i := range live / block * times {
			data[i%block]++
			write(b, e, f.Ino, uint64(rng.IntN(live/block))*block, data)
			if i%64 == 0 {
				most = max(most, e.JournalBytes())
			}
		}
		ok(b, e.Sync(ctx))
		took := time.Since(start)
		s := e.CleanStats()
		b.ReportMetric(1+float64(s.Copied)/(live*times), "written/byte")
		b.ReportMetric(float64(most)/live, "disk/live")
		b.ReportMetric(float64(live*times)/(1<<20)/took.Seconds(), "MB/s")
		b.ReportMetric(float64(s.Passes), "passes")
		if got := read(b, e, f.Ino, 0, block); len(got) != block {
			b.Fatal(fmt.Sprint(len(got)))
		}
		ok(b, e.Close())
	}
}
