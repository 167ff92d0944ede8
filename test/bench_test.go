package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"golang.org/x/sys/unix"

	"github.com/holdfast-fs/holdfast/internal/nfsclient"
	"github.com/holdfast-fs/holdfast/test/harness"
)

// The benchmarks of docs/performance.md: whole regions as processes, over TCP
// on loopback. Each does a fixed piece of work and reports figures of its own;
// run them with -benchtime 1x (make bench).

const (
	benchSpan      = 5 * time.Second
	sequentialSize = 512 << 20
	manyFiles      = 100_000
	rawSync        = 4096
)

// benchStory is two regions; the replication is made when it is asked for.
func benchStory(b *testing.B, replicated bool) *story {
	b.Helper()
	s := &story{Regions: harness.NewLocalRegions(b), t: b, ctx: b.Context()}
	s.us, s.eu = s.R[0], s.R[1]
	s.usFS = s.create("bench")
	if replicated {
		s.euFS = s.replicate(s.us, s.usFS, s.eu, "")
	}
	return s
}

// rawSyncs measures how often a second the disk below dir makes 4 KiB durable
// in a file that has its size already: what no durable change can beat alone.
func rawSyncs(b *testing.B, dir string) float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const slots = 1024
	if _, err := f.Write(make([]byte, slots*rawSync)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	buf := bytes.Repeat([]byte{1}, rawSync)
	start, n := time.Now(), 0
	for ; time.Since(start) < 2*time.Second; n++ {
		if _, err := f.WriteAt(buf, int64(n%slots)*rawSync); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(start).Seconds()
}

// quantile of durations that are sorted, in milliseconds.
func quantile(l []time.Duration, q float64) float64 {
	return float64(l[int(q*float64(len(l)-1))].Microseconds()) / 1000
}

func BenchmarkDurableCreates(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := benchStory(b, false)
			raw := rawSyncs(b, s.us.DataDir())
			var cs []*nfsclient.Client
			for range clients {
				cs = append(cs, s.us.Client(b, s.usFS))
			}
			b.ResetTimer()
			took, elapsed := createFor(b, cs, benchSpan)
			// Other work on the machine slows one or the other.
			raw = max(raw, rawSyncs(b, s.us.DataDir()))
			rate := float64(len(took)) / elapsed.Seconds()
			slices.Sort(took)
			b.ReportMetric(rate, "creates/s")
			b.ReportMetric(quantile(took, 0.5), "p50-ms")
			b.ReportMetric(quantile(took, 0.99), "p99-ms")
			b.ReportMetric(raw, "raw-fdatasync/s")
			b.ReportMetric(rate/raw, "of-raw")
		})
	}
}

// createFor makes empty files, each client its own, one after the other.
func createFor(b *testing.B, cs []*nfsclient.Client, d time.Duration) (took []time.Duration, elapsed time.Duration) {
	b.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	for i, c := range cs {
		wg.Go(func() {
			var mine []time.Duration
			for n := 0; time.Since(start) < d; n++ {
				at := time.Now()
				if err := c.Create(b.Context(), fmt.Sprintf("/c%d-%d", i, n), 0o644); err != nil {
					b.Error(err)
					return
				}
				mine = append(mine, time.Since(at))
			}
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	return took, time.Since(start)
}

func mbPerSecond(n int64, d time.Duration) float64 { return float64(n) / 1e6 / d.Seconds() }

// noise cannot be compressed, and is made once.
var noise = sync.OnceValue(func() []byte {
	l := make([]byte, sequentialSize)
	var seed [32]byte
	_, _ = rand.NewChaCha8(seed).Read(l)
	return l
})

func BenchmarkSequential(b *testing.B) {
	s := benchStory(b, false)
	data := noise()
	rawW, rawR := rawSequential(b, s.us.DataDir(), data)
	c := s.us.Client(b, s.usFS)
	b.ResetTimer()
	start := time.Now()
	if err := c.WriteFrom(b.Context(), "/big", bytes.NewReader(data), int64(len(data)), nfsclient.FileSpec{Mode: 0o644}); err != nil {
		b.Fatal(err)
	}
	write := mbPerSecond(sequentialSize, time.Since(start))
	f, err := c.Open(b.Context(), "/big")
	if err != nil {
		b.Fatal(err)
	}
	start = time.Now()
	if n, err := f.CopyTo(b.Context(), io.Discard); err != nil || n != sequentialSize {
		b.Fatal(n, err)
	}
	read := mbPerSecond(sequentialSize, time.Since(start))
	b.ReportMetric(write, "write-MB/s")
	b.ReportMetric(rawW, "raw-write-MB/s")
	b.ReportMetric(write/rawW, "write-of-raw")
	b.ReportMetric(read, "read-MB/s")
	b.ReportMetric(rawR, "raw-cached-read-MB/s")
	b.ReportMetric(read/rawR, "read-of-raw")
}

// rawSequential writes and syncs a file, and reads it from the cache.
func rawSequential(b *testing.B, dir string, data []byte) (write, read float64) {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	start := time.Now()
	for off := 0; off < len(data); off += 1 << 20 {
		if _, err := f.Write(data[off : off+1<<20]); err != nil {
			b.Fatal(err)
		}
	}
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		b.Fatal(err)
	}
	write = mbPerSecond(sequentialSize, time.Since(start))
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		b.Fatal(err)
	}
	start = time.Now()
	buf := make([]byte, 1<<20)
	for {
		if _, err := f.Read(buf); err == io.EOF {
			break
		} else if err != nil {
			b.Fatal(err)
		}
	}
	return write, mbPerSecond(sequentialSize, time.Since(start))
}

// BenchmarkLinuxClient is sequential work and small files through a kernel
// mount. The client is a User-Mode Linux, whose system calls cost ten times
// those of a machine: it bounds the figures from below.
func BenchmarkLinuxClient(b *testing.B) {
	harness.Need(b, true, harness.LinuxTools)
	g := harness.NewRegions(b)
	g.CopyLogs(b)
	us := g.R[0]
	f := must[*efs.CreateFileSystemOutput](b)(us.EFS().CreateFileSystem(b.Context(), &efs.CreateFileSystemInput{CreationToken: aws.String("bench")}))
	out := us.Guest(b, "bench").Run(b, guestLimit, `set -e
`+mount(us, *f.FileSystemId)+`cd /mnt/n
now() { date +%s%N; }
a=$(now); dd if=/dev/zero of=big bs=1M count=256 conv=fsync status=none; z=$(now); echo "write-ns $((z-a))"
echo 3 >/proc/sys/vm/drop_caches
a=$(now); dd if=big of=/dev/null bs=1M status=none; z=$(now); echo "read-ns $((z-a))"
mkdir small; a=$(now); for i in $(seq 1000); do : >small/$i; done; z=$(now); echo "create-ns $((z-a))"
cp -r /usr/local/go/src/net /run/net; n=$(find /run/net | wc -l)
a=$(now); cp -a /run/net copy; sync; z=$(now); echo "copy-ns $(((z-a)/n))"`)
	b.ReportMetric(256<<20/1e6/ns(b, out, "write")*1e9, "write-MB/s")
	b.ReportMetric(256<<20/1e6/ns(b, out, "read")*1e9, "read-MB/s")
	b.ReportMetric(1000/ns(b, out, "create")*1e9, "creates/s")
	b.ReportMetric(ns(b, out, "copy")/1e6, "cp-a-ms/file")
}

// ns finds a figure in what a guest has printed.
func ns(b *testing.B, out, what string) float64 {
	b.Helper()
	m := regexp.MustCompile(what + `-ns (\d+)`).FindStringSubmatch(out)
	if m == nil {
		b.Fatalf("no %s in %s", what, out)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// BenchmarkVisible measures from the start of a durable write at the source,
// and from its acknowledgement, until a client of the destination sees it.
func BenchmarkVisible(b *testing.B) {
	s := benchStory(b, true)
	w, r := s.us.Client(b, s.usFS), s.eu.Client(b, s.euFS)
	b.ResetTimer()
	var whole, after []time.Duration
	for i := range 300 {
		name := fmt.Sprintf("/v%d", i)
		start := time.Now()
		seen := make(chan time.Time, 1)
		go func() {
			for b.Context().Err() == nil {
				if _, err := r.Stat(b.Context(), name); err == nil {
					seen <- time.Now()
					return
				}
				time.Sleep(200 * time.Microsecond) // leaves the processors to the regions
			}
		}()
		if err := w.Create(b.Context(), name, 0o644); err != nil {
			b.Fatal(err)
		}
		acked := time.Now()
		at := <-seen
		whole = append(whole, at.Sub(start))
		after = append(after, max(0, at.Sub(acked)))
	}
	slices.Sort(whole)
	slices.Sort(after)
	b.ReportMetric(quantile(whole, 0.5), "p50-ms")
	b.ReportMetric(quantile(whole, 0.99), "p99-ms")
	b.ReportMetric(quantile(after, 0.5), "after-ack-p50-ms")
	b.ReportMetric(quantile(after, 0.99), "after-ack-p99-ms")
}

// BenchmarkManyFiles fills a replicated file system with small files, and
// measures memory, the restart of both sides, and the failover.
func BenchmarkManyFiles(b *testing.B) {
	s := benchStory(b, true)
	start := time.Now()
	makeMany(b, s.us, s.usFS)
	b.ReportMetric(manyFiles/time.Since(start).Seconds(), "files/s")
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	b.ReportMetric(float64(s.us.RSS(b))/1e6, "source-rss-MB")
	b.ReportMetric(float64(s.eu.RSS(b))/1e6, "destination-rss-MB")

	s.eu.Kill(b)
	start = time.Now()
	s.eu.Start(b)
	b.ReportMetric(time.Since(start).Seconds(), "restart-after-kill-s")
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	b.ReportMetric(float64(s.eu.RSS(b))/1e6, "restarted-rss-MB")

	c := s.eu.Client(b, s.euFS)
	s.us.Kill(b)
	start = time.Now()
	_, err := s.eu.EFS().DeleteReplicationConfiguration(b.Context(), &efs.DeleteReplicationConfigurationInput{SourceFileSystemId: aws.String(s.usFS)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "promote-ms")
	if err := c.Create(b.Context(), "/first", 0o644); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "writable-ms")
}

// makeMany makes manyFiles of 1 KiB in directories of 1,000, from 64 tasks.
func makeMany(b *testing.B, r *harness.Region, fsID string) {
	b.Helper()
	c := r.Client(b, fsID)
	body := noise()[:1024]
	for d := range manyFiles / 1000 {
		if err := c.Mkdir(b.Context(), fmt.Sprintf("/d%d", d), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	for range 64 {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= manyFiles || ctx.Err() != nil {
					return
				}
				if err := c.WriteFile(ctx, fmt.Sprintf("/d%d/f%d", i/1000, i), body, 0o644); err != nil {
					b.Error(err)
					stop()
				}
			}
		})
	}
	wg.Wait()
	// Nobody has anything to reclaim: the figure is that of the service.
	if err := c.Close(); err != nil {
		b.Error(err)
	}
}
