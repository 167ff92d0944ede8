package region

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/holdfast-fs/holdfast/internal/config"
	"github.com/holdfast-fs/holdfast/internal/control"
)

// BenchmarkManyFileSystems is a region with many file systems, access points and
// tags at rest: what a start takes, what it costs to hold them, and how long a
// page of DescribeFileSystems and of DescribeAccessPoints takes.
//
// HOLDFAST_FILE_SYSTEMS is how many file systems, 100 by default; each has ten
// access points and ten tags. Another process makes them (HOLDFAST_FILL is the
// directory then), so that its memory does not count.
func BenchmarkManyFileSystems(b *testing.B) {
	n := 100
	if s := os.Getenv("HOLDFAST_FILE_SYSTEMS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	dir := os.Getenv("HOLDFAST_FILL")
	filling := dir != ""
	if !filling {
		dir = b.TempDir()
	}
	c, err := config.Parse([]byte("region: us-east-1\naccount_id: \"123456789012\"\ndata_dir: "+dir+"\napi: {listen: 127.0.0.1:0, credentials: [{access_key: AKIAAAAAAAAAAAAAAAAA, secret_key: 0123456789012345}]}\nnfs: {listen: 127.0.0.1:0}\n"), "x.yaml")
	if err != nil {
		b.Fatal(err)
	}
	if filling {
		fill(b, c, n)
		return
	}
	child := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkManyFileSystems$", "-test.benchtime=1x")
	child.Env = append(os.Environ(), "HOLDFAST_FILL="+dir)
	out, err := child.CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	b.Logf("%s", out)
	for b.Loop() {
		begin := time.Now()
		r, err := New(c, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		if err := r.control.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(begin).Seconds(), "start-s")
		measure(b, r, n)
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// fill makes the file systems.
func fill(b *testing.B, c *config.Config, n int) {
	b.Helper()
	r, err := New(c, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if err := r.control.Start(ctx); err != nil {
		b.Fatal(err)
	}
	go func() { _ = r.volumes.run(ctx) }() // as a region does; it ends with ctx
	begin, most := time.Now(), 0
	for i := range n {
		most = max(most, len(r.volumes.awake()))
		var tags []control.Tag
		for j := range 10 {
			tags = append(tags, control.Tag{Key: fmt.Sprintf("key%d", j), Value: fmt.Sprintf("value %d of file system %d", j, i)})
		}
		d, err := r.control.CreateFileSystem(ctx, control.CreateFileSystemRequest{CreationToken: fmt.Sprint(i), Tags: tags})
		if err != nil {
			b.Fatal(err)
		}
		for j := range 10 {
			_, err := r.control.CreateAccessPoint(ctx, control.CreateAccessPointRequest{FileSystemID: d.ID, ClientToken: fmt.Sprint(j), Path: fmt.Sprintf("/app%d", j),
				User: &control.PosixUser{UID: 1000, GID: 1000}, Create: &control.Creation{UID: 1000, GID: 1000, Mode: 0o755}})
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	made := time.Now()
	stop()
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(made.Sub(begin).Seconds(), "fill-s")
	b.ReportMetric(time.Since(made).Seconds(), "stop-s")
	b.ReportMetric(float64(most), "most-awake")
}

func measure(b *testing.B, r *Region, n int) {
	b.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapInuse+m.StackInuse)/(1<<20), "heap-MiB")
	b.ReportMetric(residentMiB(b), "resident-MiB")
	b.ReportMetric(float64(runtime.NumGoroutine())/float64(n), "goroutines/fs")
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(fds))/float64(n), "files/fs")
	begin := time.Now()
	for _, path := range []string{"file-systems", "access-points"} {
		first, worst := pages(b, r, path)
		b.ReportMetric(first.Seconds()*1e3, path+"-first-ms")
		b.ReportMetric(worst.Seconds()*1e3, path+"-worst-ms")
	}
	b.ReportMetric(time.Since(begin).Seconds(), "all-pages-s")
}

func residentMiB(b *testing.B) float64 {
	b.Helper()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(raw))[1])
	if err != nil {
		b.Fatal(err)
	}
	return float64(pages*os.Getpagesize()) / (1 << 20)
}

// pages asks for all pages by the API and gives the times of the first, which
// may read the settings anew, and of the slowest other.
func pages(b *testing.B, r *Region, path string) (first, worst time.Duration) {
	b.Helper()
	h, err := r.apiHandler()
	if err != nil {
		b.Fatal(err)
	}
	next, empty := "", sha256.Sum256(nil)
	for i := 0; ; i++ {
		req := httptest.NewRequest(http.MethodGet, "http://efs/2015-02-01/"+path+next, nil)
		creds := aws.Credentials{AccessKeyID: "AKIAAAAAAAAAAAAAAAAA", SecretAccessKey: "0123456789012345"}
		if err := v4.NewSigner().SignHTTP(b.Context(), creds, req, hex.EncodeToString(empty[:]), "elasticfilesystem", "us-east-1", time.Now()); err != nil {
			b.Fatal(err)
		}
		w := httptest.NewRecorder()
		begin := time.Now()
		h.ServeHTTP(w, req)
		took := time.Since(begin)
		if w.Code != http.StatusOK {
			b.Fatalf("%d: %s", w.Code, w.Body)
		}
		if i == 0 {
			first = took
		} else {
			worst = max(worst, took)
		}
		token := marker(w.Body.String())
		if token == "" {
			return first, worst
		}
		key := "Marker"
		if path == "access-points" {
			key = "NextToken"
		}
		next = "?" + key + "=" + token
	}
}

// marker is the token of the next page, "" on the last.
func marker(body string) string {
	for _, key := range []string{`"NextMarker":"`, `"NextToken":"`} {
		if _, rest, ok := strings.Cut(body, key); ok {
			token, _, _ := strings.Cut(rest, `"`)
			return token
		}
	}
	return ""
}
