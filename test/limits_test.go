package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfsclient"
	"github.com/holdfast-fs/holdfast/test/harness"
)

// largeDir is how many entries the large directory has. Set HOLDFAST_ENTRIES to
// 1000000 for the size that docs/conformance.md tells of.
func largeDir(t *testing.T) int {
	if s := os.Getenv("HOLDFAST_ENTRIES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 20_000
}

// maxServerBytes is more memory than a server with one busy file system may
// take, however many files that has.
const maxServerBytes = 1 << 30

// TestLargeDirectoryIsListedWhileItChanges: whatever is in the directory all
// the time is listed exactly once, while other names come and go.
func TestLargeDirectoryIsListedWhileItChanges(t *testing.T) {
	s := &story{Regions: harness.NewLocalRegions(t), t: t, ctx: t.Context()}
	s.us = s.R[0]
	s.usFS = s.create("large")
	c := s.us.Client(t, s.usFS)
	if err := c.Mkdir(s.ctx, "/d", 0o755); err != nil {
		t.Fatal(err)
	}
	n := largeDir(t)
	empty := s.us.RSS(t)
	many(t, 64, n, func(i int) error { return c.Create(s.ctx, fmt.Sprintf("/d/stays-%d", i), 0o644) })

	ctx, stop := context.WithCancel(s.ctx)
	var changes sync.WaitGroup
	for w := range 4 {
		changes.Go(func() { comeAndGo(t, ctx, c, w) })
	}
	for range 3 {
		list, err := c.ReadDir(s.ctx, "/d")
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]int, len(list))
		for i := range list {
			seen[list[i].Name]++
		}
		for i := range n {
			if k := seen[fmt.Sprintf("stays-%d", i)]; k != 1 {
				t.Fatalf("entry %d is listed %d times, of %d entries in all", i, k, len(list))
			}
		}
	}
	stop()
	changes.Wait()
	full := s.us.RSS(t)
	t.Logf("%d entries; the server's resident memory: %d MiB empty, %d MiB now", n, empty>>20, full>>20)
	if full > maxServerBytes {
		t.Errorf("the server takes %d MiB", full>>20)
	}
	s.us.Kill(t)
	s.us.Start(t)
	list, err := c.ReadDir(s.ctx, "/d")
	if err != nil || len(list) < n {
		t.Errorf("after a restart: %d entries, %v", len(list), err)
	}
}

// many calls fn for 0..n-1 from several goroutines.
func many(t *testing.T, workers, n int, fn func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = fn(i)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// comeAndGo makes, renames and removes files until ctx ends.
func comeAndGo(t *testing.T, ctx context.Context, c *nfsclient.Client, w int) {
	call := context.WithoutCancel(ctx)
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("/d/goes-%d-%d", w, i%50)
		err := c.Create(call, name, 0o644)
		if err == nil {
			err = c.Rename(call, name, name+"-renamed")
		}
		if err == nil {
			err = c.Remove(call, name+"-renamed")
		}
		if err != nil {
			t.Errorf("change %d: %v", i, err)
			return
		}
	}
}

// TestManyLinksAndTheLargestFile: links far beyond EFS's 177, and a file of
// EFS's 47.9 TiB, of which hardly anything is there.
func TestManyLinksAndTheLargestFile(t *testing.T) {
	s := &story{Regions: harness.NewLocalRegions(t), t: t, ctx: t.Context()}
	s.us = s.R[0]
	s.usFS = s.create("limits")
	c := s.us.Client(t, s.usFS)
	const links = 10_500
	if err := errors.Join(c.Mkdir(s.ctx, "/l", 0o755), c.WriteFile(s.ctx, "/one", []byte("one"), 0o644)); err != nil {
		t.Fatal(err)
	}
	many(t, 32, links, func(i int) error { return c.Link(s.ctx, "/one", fmt.Sprintf("/l/%d", i)) })
	if st, err := c.Stat(s.ctx, "/l/17"); err != nil || st.Nlink != links+1 {
		t.Errorf("%d links, %v", st.Nlink, err)
	}
	if err := errors.Join(c.Create(s.ctx, "/large", 0o644), c.WriteAt(s.ctx, "/large", []byte("end"), fs.MaxFileSize-3)); err != nil {
		t.Fatal(err)
	}
	st, err := c.Stat(s.ctx, "/large")
	if err != nil || st.Size != fs.MaxFileSize || st.Used > 1<<20 {
		t.Errorf("size %d, used %d, %v", st.Size, st.Used, err)
	}
	if err := c.WriteAt(s.ctx, "/large", []byte("x"), fs.MaxFileSize); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("a byte more: %v", err)
	}
	f, err := c.Open(s.ctx, "/large")
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 6)
	if _, err := f.ReadAt(s.ctx, b, fs.MaxFileSize-6); err != nil || string(b) != "\x00\x00\x00end" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestLimitsOnALinuxMount: the same through a kernel.
func TestLimitsOnALinuxMount(t *testing.T) {
	harness.Need(t, true, harness.LinuxTools)
	g := harness.NewRegions(t)
	g.CopyLogs(t)
	us := g.R[0]
	f := must[*efs.CreateFileSystemOutput](t)(us.EFS().CreateFileSystem(t.Context(), &efs.CreateFileSystemInput{CreationToken: aws.String("limits")}))
	us.Guest(t, "limits").Run(t, guestLimit, `set -ex
`+mount(us, *f.FileSystemId)+`cd /mnt/n
max=`+strconv.FormatUint(fs.MaxFileSize, 10)+`
truncate -s $((max - 3)) large; printf end >>large; [ "$(stat -c %s large)" = $max ]
[ "$(tail -c 6 large | od -An -tx1 | tr -d ' ')" = 000000656e64 ]; [ "$(du -k large | cut -f1)" -lt 1024 ]
if truncate -s $((max + 1)) large 2>/run/err; then exit 1; fi; grep -qi 'too large' /run/err
truncate -s 5 large; truncate -s $max large; [ "$(tail -c 3 large | od -An -tx1 | tr -d ' ')" = 000000 ]
mkdir l; echo one >one
perl -e 'for (1..3000) { link("one", "l/$_") or die "link $_: $!" }'
[ "$(stat -c %h one)" = 3001 ]; [ "$(ls l | wc -l)" = 3000 ]
perl -e 'chdir "/mnt/n"; for (1..1500) { mkdir "deeper" or die "mkdir $_: $!"; chdir "deeper" or die "chdir $_: $!" } open(F, ">f") or die; print F "x"; close F; for (1..1500) { chdir ".." or die "up $_: $!" } -d "deeper" or die; -e "large" or die "not at the top"'
rm -rf deeper l one large
cd /; umount /mnt/n`)
}
