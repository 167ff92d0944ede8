package nfsclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// noise is content that does not repeat.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesComeBackAsTheyWereWritten(t *testing.T) {
	l := newLab(t)
	c, ctx := l.dial(Options{}), l.ctx()
	for _, size := range []int{0, 1, 4095, smallFile, smallFile + 1, 1 << 20, 3<<20 + 17} {
		data, name := noise(size), fmt.Sprintf("/file-%d", size)
		must(t, c.WriteFile(ctx, name, []byte("what was there before"), 0o640))
		must(t, c.WriteFile(ctx, name, data, 0o600))
		got, err := c.ReadFile(ctx, name)
		must(t, err)
		if !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes came back, or other ones", name, len(got))
		}
		f, err := c.Open(ctx, name)
		must(t, err)
		var out bytes.Buffer
		if _, err := f.CopyTo(ctx, &out); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Errorf("%s: CopyTo gave %d bytes, %v", name, out.Len(), err)
		}
		if f.Info.Mode != 0o640 || f.Info.Size != uint64(size) || f.Info.Type != fs.TypeRegular {
			t.Errorf("%s: %+v", name, f.Info)
		}
	}
}

func TestWriteAtChangesOnlyItsRange(t *testing.T) {
	l := newLab(t)
	c, ctx := l.dial(Options{}), l.ctx()
	want := noise(2 << 20)
	must(t, c.WriteFile(ctx, "f", want, 0o644))
	patch := noise(1<<20 + 5)
	must(t, c.WriteAt(ctx, "f", patch, 4097))
	copy(want[4097:], patch)
	got, err := c.ReadFile(ctx, "f")
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("the file is not what it should be")
	}
}

func TestNamesAndAttributes(t *testing.T) {
	l := newLab(t)
	c, ctx := l.dial(Options{}), l.ctx()
	must(t, c.MkdirAll(ctx, "/a/b/c", 0o755))
	must(t, c.MkdirAll(ctx, "/a/b/c", 0o755))
	must(t, c.WriteFile(ctx, "/a/b/f", []byte("x"), 0o644))
	must(t, c.Link(ctx, "/a/b/f", "/a/g"))
	must(t, c.Symlink(ctx, "b/f", "/a/s"))
	must(t, c.Rename(ctx, "/a/b", "/a/moved"))
	mode, size, mtime := uint32(0o600), uint64(3), fs.Time{Sec: 86400, Nsec: 5}
	must(t, c.SetAttr(ctx, "/a/g", Change{Mode: &mode, Size: &size, Mtime: &mtime}))
	info, err := c.Stat(ctx, "/a/moved/f")
	must(t, err)
	if info.Nlink != 2 || info.Mode != mode || info.Size != size || info.Mtime != mtime {
		t.Errorf("after link and setattr: %+v", info)
	}
	link, err := c.Readlink(ctx, "/a/s")
	must(t, err)
	if link != "b/f" {
		t.Errorf("link to %q", link)
	}
	var seen []string
	must(t, c.Walk(ctx, "/", func(path string, i Info) error {
		seen = append(seen, path+" "+i.FileMode().String())
		return nil
	}))
	want := []string{"/ drwxr-xr-x", "/a drwxr-xr-x", "/a/g -rw-------", "/a/moved drwxr-xr-x",
		"/a/moved/c drwxr-xr-x", "/a/moved/f -rw-------", "/a/s Lrwxrwxrwx"}
	if d := cmp.Diff(want, seen); d != "" {
		t.Error(d)
	}
	must(t, c.RemoveAll(ctx, "/a"))
	if _, err := c.Stat(ctx, "/a"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("after RemoveAll: %v", err)
	}
}

func TestErrorsSayWhatTheyAre(t *testing.T) {
	l := newLab(t)
	c, ctx := l.dial(Options{}), l.ctx()
	must(t, c.Mkdir(ctx, "/d", 0o700))
	must(t, c.WriteFile(ctx, "/d/f", nil, 0o600))
	check := func(err error, targets ...error) {
		t.Helper()
		for _, target := range targets {
			if !errors.Is(err, target) {
				t.Errorf("%v is not %v", err, target)
			}
		}
	}
	_, err := c.Stat(ctx, "/none")
	check(err, iofs.ErrNotExist, syscall.ENOENT, fs.ErrNoEnt, xdr.ErrNoEnt)
	check(c.Mkdir(ctx, "/d", 0o700), iofs.ErrExist, fs.ErrExist)
	check(c.Create(ctx, "/d/f", 0o600), iofs.ErrExist)
	check(c.Remove(ctx, "/d"), fs.ErrNotEmpty, syscall.ENOTEMPTY)
	other := l.dial(Options{UID: 1000, GID: 1000})
	check(other.WriteFile(ctx, "/d/g", nil, 0o600), iofs.ErrPermission, fs.ErrAccess)
	l.ref.SetReadOnly(true)
	check(c.WriteFile(ctx, "/new", []byte("x"), 0o600), fs.ErrROFS, syscall.EROFS)
	if got := c.Remove(ctx, "/d/f").Error(); got != "remove /d/f: read-only file system (NFS4ERR_ROFS of REMOVE)" {
		t.Error(got)
	}
}

func TestDialSaysThatThereIsNoSuchFileSystem(t *testing.T) {
	l := newLab(t)
	_, err := Dial(l.ctx(), l.addr, Options{Prefix: "/fs-00000000000000000"})
	if !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestDeepPathsNeedSeveralCompounds(t *testing.T) {
	l := newLab(t)
	c, ctx := l.dial(Options{}), l.ctx()
	path := ""
	for i := range 150 {
		path += fmt.Sprintf("/%d", i)
		must(t, c.Mkdir(ctx, path, 0o755))
	}
	must(t, c.WriteFile(ctx, path+"/f", []byte("deep"), 0o644))
	got, err := c.ReadFile(ctx, path+"/f")
	must(t, err)
	if string(got) != "deep" {
		t.Errorf("got %q", got)
	}
}

func TestReadDirTakesAllPages(t *testing.T) {
	l := newLab(t)
	c, ctx := l.dial(Options{}), l.ctx()
	var want, got []string
	for i := range 3000 {
		want = append(want, fmt.Sprintf("a-name-that-takes-some-room-%05d", i))
	}
	must(t, runPool(ctx, 16, func(_ context.Context, p *pool) error {
		for _, n := range want {
			p.add(func(ctx context.Context) error { return c.WriteFile(ctx, n, nil, 0o644) })
		}
		return nil
	}))
	entries, err := c.ReadDir(ctx, "/")
	must(t, err)
	for _, e := range entries {
		got = append(got, e.Name)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDelayIsWaitedOutUntilTheContextEnds(t *testing.T) {
	l := newLab(t)
	c := l.dial(Options{})
	l.ref.FailCommits(fs.ErrDelay)
	ctx, cancel := context.WithTimeout(l.ctx(), 200*time.Millisecond)
	defer cancel()
	if err := c.WriteFile(ctx, "f", []byte("x"), 0o644); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	l.ref.FailCommits(nil)
	must(t, c.WriteFile(l.ctx(), "f", []byte("x"), 0o644))
}

// TestEveryChangeHappensOnceAcrossCuts cuts connections under many workers:
// each exclusive create, link and remove must be answered as if nothing had
// happened, which needs the server's reply cache.
func TestEveryChangeHappensOnceAcrossCuts(t *testing.T) {
	l := newLab(t)
	l.wire.cutAfter = 60
	c, ctx := l.dial(Options{}), l.ctx()
	err := runPool(ctx, 8, func(_ context.Context, p *pool) error {
		for i := range 300 {
			p.add(func(ctx context.Context) error {
				name := fmt.Sprintf("/d%d", i)
				if err := c.Mkdir(ctx, name, 0o755); err != nil {
					return err
				}
				if err := c.Create(ctx, name+"/f", 0o644); err != nil {
					return err
				}
				if err := c.Rename(ctx, name+"/f", name+"/g"); err != nil {
					return err
				}
				return c.Remove(ctx, name+"/g")
			})
		}
		return nil
	})
	must(t, err)
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	if l.wire.dials < 3 {
		t.Errorf("only %d connections: nothing was cut", l.wire.dials)
	}
}

func TestWorkGoesOnAcrossRestartsOfTheServer(t *testing.T) {
	l := newLab(t)
	c, ctx := l.dial(Options{}), l.ctx()
	done := make(chan struct{})
	var wg sync.WaitGroup
	var counts [4]int
	for w := range counts {
		wg.Go(func() {
			for ; ; counts[w]++ {
				select {
				case <-done:
					return
				default:
				}
				name := fmt.Sprintf("f-%d-%d", w, counts[w])
				if err := c.WriteFile(ctx, name, noise(counts[w]+w), 0o644); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
			}
		})
	}
	for range 3 {
		time.Sleep(100 * time.Millisecond)
		l.restart()
		must(t, c.WriteFile(ctx, "after", noise(2<<20), 0o644))
	}
	close(done)
	wg.Wait()
	for w, n := range counts {
		for i := range n {
			got, err := c.ReadFile(ctx, fmt.Sprintf("f-%d-%d", w, i))
			if err != nil || !bytes.Equal(got, noise(i+w)) {
				t.Fatalf("file %d of writer %d: %d bytes, %v", i, w, len(got), err)
			}
		}
	}
}

func TestALargeFileSurvivesARestartInItsMiddle(t *testing.T) {
	l := newLab(t)
	c, ctx := l.dial(Options{}), l.ctx()
	data := noise(24 << 20)
	restarted := make(chan struct{})
	src := &pausing{r: bytes.NewReader(data), at: 12 << 20, do: func() { go func() { l.restart(); close(restarted) }() }}
	must(t, c.WriteFrom(ctx, "big", src, int64(len(data)), FileSpec{Mode: 0o644}))
	<-restarted
	got, err := c.ReadFile(ctx, "big")
	must(t, err)
	if !bytes.Equal(got, data) {
		t.Error("the file is not what was written")
	}
}

// pausing calls do once, when the byte at an offset is first read.
type pausing struct {
	r    *bytes.Reader
	at   int64
	once sync.Once
	do   func()
}

func (p *pausing) ReadAt(b []byte, offset int64) (int, error) {
	if offset <= p.at && p.at < offset+int64(len(b)) {
		p.once.Do(p.do)
	}
	return p.r.ReadAt(b, offset)
}

func TestACallEndsWithItsContextAndTheSlotIsNotLost(t *testing.T) {
	l := newLab(t)
	c := l.dial(Options{})
	l.stop()
	for range 2 * maxSlots {
		ctx, cancel := context.WithTimeout(l.ctx(), time.Millisecond)
		if err := c.WriteFile(ctx, "f", []byte("x"), 0o644); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		cancel()
	}
	l.ref.Restart()
	l.start()
	must(t, c.WriteFile(l.ctx(), "f", []byte("y"), 0o644))
}

func TestAClosedClientAnswersAndLeavesNothing(t *testing.T) {
	l := newLab(t)
	c := l.dial(Options{})
	must(t, c.WriteFile(l.ctx(), "f", []byte("x"), 0o644))
	c.Close()
	if err := c.WriteFile(l.ctx(), "f", []byte("x"), 0o644); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	owners, err := l.ref.Clients()
	if err != nil || len(owners) != 0 {
		t.Errorf("reclaim records left: %q, %v", owners, err)
	}
}
