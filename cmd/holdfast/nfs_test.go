package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/fstest"
	"github.com/holdfast-fs/holdfast/internal/nfs"
)

const testFS = "fs-0123456789abcdef0"

// oneExport is a region with the reference file system.
type oneExport struct{ ref *fstest.Ref }

func (o oneExport) List() []nfs.Export { return []nfs.Export{{Name: testFS, FS: o.ref}} }

func (o oneExport) ByName(name string) (nfs.Export, bool) { return o.List()[0], name == testFS }

func (o oneExport) ByLineage(l fs.Lineage) (nfs.Export, bool) {
	return o.List()[0], l == o.ref.Lineage()
}

// serveRef serves a file system; the URL is its root.
func serveRef(t *testing.T) (ref *fstest.Ref, url string) {
	t.Helper()
	ref = fstest.NewRef(time.Now)
	s, err := nfs.NewServer(nfs.Config{Exports: oneExport{ref}, Region: "test", Clock: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	wg.Go(func() { _ = s.Serve(ctx, ln, nfs.PseudoRoot()) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return ref, "nfs://" + ln.Addr().String() + "/" + testFS
}

func holdfast(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	c := newRootCommand()
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&bytes.Buffer{})
	err = c.ExecuteContext(t.Context())
	return out.String(), err
}

func TestFilesAndTreesGoInAndOut(t *testing.T) {
	_, url := serveRef(t)
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	if err := os.MkdirAll(filepath.Join(in, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"a": "first", "sub/b": "second"} {
		if err := os.WriteFile(filepath.Join(in, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	ok := func(want string, args ...string) {
		t.Helper()
		got, err := holdfast(t, append(args, "--uid=0", "--gid=0")...)
		if err != nil || got != want {
			t.Errorf("holdfast %s: %q, %v; want %q", strings.Join(args, " "), got, err, want)
		}
	}
	ok("", "put", "-r", in, url+"/tree")
	ok("", "put", filepath.Join(in, "a"), url+"/tree/sub/")
	ok("", "put", filepath.Join(in, "a"), url+"/tree/named")
	ok("a\nnamed\nsub\n", "ls", url+"/tree")
	ok("a\nnamed\nsub\nsub/a\nsub/b\n", "ls", "-R", url+"/tree")
	ok(testFS+"\n", "ls", strings.TrimSuffix(url, testFS))
	ok("second", "cat", url+"/tree/sub/b")
	ok("", "get", url+"/tree/named", dir)
	ok("", "get", "-r", url+"/tree", filepath.Join(dir, "out"))
	for name, want := range map[string]string{"named": "first", "out/sub/b": "second", "out/sub/a": "first"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	long, err := holdfast(t, "ls", "-l", url+"/tree/named")
	if err != nil || !strings.HasPrefix(long, "-rw-r-----   1     0     0            5 ") || !strings.HasSuffix(long, "named\n") {
		t.Errorf("ls -l: %q, %v", long, err)
	}
}

func TestFailuresSayWhatToDo(t *testing.T) {
	ref, url := serveRef(t)
	local := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(local, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	fails := func(code int, want string, args ...string) {
		t.Helper()
		_, err := holdfast(t, args...)
		var e exitError
		switch {
		case err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("holdfast %s: %v; want %q", strings.Join(args, " "), err, want)
		case errors.As(err, &e) != (code != 1) || code != 1 && e.code != code:
			t.Errorf("holdfast %s: exit status %d; want %d", strings.Join(args, " "), e.code, code)
		}
	}
	fails(2, "nfs://HOST:PORT", "ls", "http://example.com/")
	fails(2, "give -r", "put", filepath.Dir(local), url)
	fails(2, "give -r", "get", url, filepath.Dir(local))
	fails(1, "no such file", "cat", url+"/none")
	fails(1, "not a file", "cat", url)
	fails(1, "--uid and --gid", "put", "--uid=7", local, url+"/f")
	fails(1, "is the region serving", "ls", "nfs://127.0.0.1:1/")
	ref.SetReadOnly(true)
	fails(1, "the region that is the primary now", "put", "--uid=0", local, url+"/f")
}
