package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// benchOptions are those of an engine of the usual sizes on the real disk.
func benchOptions(b *testing.B) Options {
	o := testOptions(disk.Real(), newClock(), "fs-1", 1)
	o.Dir = filepath.Join(b.TempDir(), "fs-1")
	o.RecordSegmentBytes, o.PayloadSegmentBytes, o.Now = 0, 0, time.Now
	return o
}

// BenchmarkCreate makes files as NFS does: each is durable before the reply.
func BenchmarkCreate(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			e := newWriter(b, benchOptions(b))
			var dirs []fs.Ino
			for i := range clients {
				dirs = append(dirs, create(b, e, fs.RootIno, fmt.Sprintf("dir-%d", i), fs.TypeDir).Ino)
			}
			var n, g atomic.Int64
			b.SetParallelism((clients + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.ReportAllocs()
			b.ResetTimer()
			work := func() {
				name := fs.Name("file-" + strconv.FormatInt(n.Add(1), 10))
				res, err := e.Create(ctx, &fs.CreateRequest{Parent: dirs[g.Add(1)%int64(clients)], Name: name, Type: fs.TypeRegular, Attrs: mode(0o644)})
				if err == nil {
					err = e.WaitCommitted(ctx, res.Seq)
				}
				if err != nil {
					b.Error(err)
				}
			}
			if clients == 1 {
				for b.Loop() {
					work()
				}
			} else {
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						work()
					}
				})
			}
			b.StopTimer()
			ok(b, e.Close())
		})
	}
}

// BenchmarkWrite1MiB writes a file from its start to its end, once over, and
// commits after every 64 MiB as a client does.
func BenchmarkWrite1MiB(b *testing.B) {
	e := newWriter(b, benchOptions(b))
	f := create(b, e, fs.RootIno, "f", fs.TypeRegular)
	data := make([]byte, fs.MaxWrite)
	b.SetBytes(fs.MaxWrite)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		write(b, e, f.Ino, uint64(n%1024)<<20, data)
		if n++; n%64 == 0 {
			ok(b, e.Sync(ctx))
		}
	}
	ok(b, e.Sync(ctx))
	b.StopTimer()
	ok(b, e.Close())
}

// BenchmarkWrite4KiB overwrites places of one file, without waiting.
func BenchmarkWrite4KiB(b *testing.B) {
	e := newWriter(b, benchOptions(b))
	f := create(b, e, fs.RootIno, "f", fs.TypeRegular)
	data := make([]byte, 4096)
	b.SetBytes(4096)
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		write(b, e, f.Ino, n*7919%65536<<12, data)
		n++
	}
	b.StopTimer()
	ok(b, e.Close())
}

func BenchmarkRead1MiB(b *testing.B) {
	e := newWriter(b, benchOptions(b))
	f := create(b, e, fs.RootIno, "f", fs.TypeRegular)
	data := make([]byte, fs.MaxWrite)
	for i := range 64 {
		write(b, e, f.Ino, uint64(i)<<20, data)
	}
	b.SetBytes(fs.MaxWrite)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if got, _, err := e.Read(ctx, f.Ino, uint64(n%64)<<20, data); err != nil || got != len(data) {
			b.Fatal(got, err)
		}
		n++
	}
	b.StopTimer()
	ok(b, e.Close())
}

// BenchmarkPromote100kFiles measures what stands between the decision and the
// first accepted change, and what so many files cost in memory.
func BenchmarkPromote100kFiles(b *testing.B) {
	const files = 100_000
	before := residentMiB(b)
	o := benchOptions(b)
	e := newWriter(b, o)
	for i := range files {
		create(b, e, fs.RootIno, strconv.Itoa(i), fs.TypeRegular)
	}
	ok(b, e.Sync(ctx))
	runtime.GC()
	created := residentMiB(b) - before
	ok(b, e.Close())
	e = must[*Engine](b)(Open(ctx, o))
	for i := range 1000 {
		_, err := e.Lookup(&root, fs.RootIno, fs.Name(strconv.Itoa(i*97)))
		ok(b, err)
	}
	runtime.GC()
	restarted := residentMiB(b) - before
	n := 0
	for b.Loop() {
		ok(b, e.BeginWriting(ctx))
		res, err := e.Create(ctx, &fs.CreateRequest{Parent: fs.RootIno, Name: fs.Name(fmt.Sprintf("new-%d", n)), Type: fs.TypeRegular})
		ok(b, err)
		ok(b, e.WaitCommitted(ctx, res.Seq))
		ok(b, e.StopWriting(ctx, ReadOnly))
		n++
	}
	b.StopTimer()
	b.ReportMetric(created, "MiB-after-creating")
	b.ReportMetric(restarted, "MiB-after-restart")
	ok(b, e.Close())
}

// residentMiB is what the process has in memory, in MiB.
func residentMiB(b *testing.B) float64 {
	s, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("no /proc here")
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(s))[1], 64)
	ok(b, err)
	return pages * float64(os.Getpagesize()) / (1 << 20)
}
