package nfsclient

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// localTree makes a small tree with everything a tree can have.
func localTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, d := range []string{"a/b", "a/empty", "locked"} {
		must(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	for name, size := range map[string]int{"a/one": 1, "a/b/big": 2<<20 + 3, "zero": 0, "locked/f": 9, "a/b/mid": 300 << 10} {
		must(t, os.WriteFile(filepath.Join(root, name), noise(size), 0o640))
	}
	must(t, os.Chmod(filepath.Join(root, "a/one"), 0o4711|os.ModeSetuid))
	must(t, os.Link(filepath.Join(root, "a/one"), filepath.Join(root, "a/b/other-name")))
	must(t, os.Symlink("../a/one", filepath.Join(root, "a/link")))
	must(t, os.Symlink("nowhere", filepath.Join(root, "dangling")))
	must(t, syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600))
	must(t, os.Chmod(filepath.Join(root, "locked"), 0o555))
	t.Cleanup(func() { os.Chmod(filepath.Join(root, "locked"), 0o755) })
	return root
}

func TestATreeGoesOverAndComesBackTheSame(t *testing.T) {
	l := newLab(t)
	c, ctx := l.dial(Options{}), l.ctx()
	root := localTree(t)
	want := Tally{Files: 5, Dirs: 5, Symlinks: 2, Links: 1, Others: 1, Bytes: 1 + 2<<20 + 3 + 9 + 300<<10}
	for range 2 { // the second time everything is there already
		got, err := c.CopyTree(ctx, root, "/in/here", 8, nil)
		must(t, err)
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		same, err := c.CompareTree(ctx, root, "/in/here", CompareOptions{})
		must(t, err)
		if !same.Equal() || same.Tally.Files != 6 {
			t.Errorf("after the copy: %+v", same)
		}
	}
	info, err := c.Stat(ctx, "/in/here/a/one")
	must(t, err)
	if info.Nlink != 2 {
		t.Errorf("%d links", info.Nlink)
	}
	back := filepath.Join(t.TempDir(), "back")
	got, err := c.FetchTree(ctx, "/in/here", back, 8, nil)
	must(t, err)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	same, err := c.CompareTree(ctx, back, "/in/here", CompareOptions{})
	must(t, err)
	if !same.Equal() {
		t.Errorf("after fetching: %+v", same)
	}
	here, err := os.Stat(filepath.Join(root, "a/b/big"))
	must(t, err)
	there, err := os.Stat(filepath.Join(back, "a/b/big"))
	must(t, err)
	if !here.ModTime().Equal(there.ModTime()) {
		t.Errorf("modified %v, came back as %v", here.ModTime(), there.ModTime())
	}
	os.Chmod(filepath.Join(back, "locked"), 0o755)
}

func TestCompareFindsEveryKindOfDifference(t *testing.T) {
	l := newLab(t)
	c, ctx := l.dial(Options{}), l.ctx()
	root := localTree(t)
	_, err := c.CopyTree(ctx, root, "/t", 8, nil)
	must(t, err)
	data := noise(300 << 10)
	data[1000]++
	must(t, c.WriteFile(ctx, "/t/a/b/mid", data, 0))
	must(t, c.WriteFile(ctx, "/t/zero", []byte("no more"), 0))
	must(t, c.WriteFile(ctx, "/t/new", nil, 0))
	must(t, c.Remove(ctx, "/t/a/empty"))
	must(t, c.Remove(ctx, "/t/dangling"))
	must(t, c.Symlink(ctx, "somewhere", "/t/dangling"))
	must(t, c.Remove(ctx, "/t/pipe"))
	must(t, c.Mkdir(ctx, "/t/pipe", 0o600))
	mode := uint32(0o600)
	must(t, c.SetAttr(ctx, "/t/a/b/big", Change{Mode: &mode}))
	got, err := c.CompareTree(ctx, root, "/t", CompareOptions{})
	must(t, err)
	var lines []string
	for _, d := range got.Differences {
		lines = append(lines, d.String())
	}
	want := []string{
		"a/b/big: mode 0640 here and 0600 there",
		"a/b/mid: same size, other content",
		"a/empty: is not there",
		`dangling: links to "nowhere" here and to "somewhere" there`,
		"new: is only there",
		"pipe: is a fifo here and a directory there",
		"zero: 0 bytes here and 7 there",
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Error(d)
	}
}

func TestACopyThatCannotGoOnSaysWhere(t *testing.T) {
	l := newLab(t)
	c, ctx := l.dial(Options{}), l.ctx()
	root := localTree(t)
	must(t, c.MkdirAll(ctx, "/t/zero", 0o755))
	_, err := c.CopyTree(ctx, root, "/t", 4, nil)
	if err == nil || !strings.Contains(err.Error(), "/t/zero") {
		t.Errorf("got %v", err)
	}
}

func TestAFileThatShrinksWhileItIsCopiedIsAnError(t *testing.T) {
	l := newLab(t)
	c := l.dial(Options{})
	for _, size := range []int64{100, 3 << 20} {
		err := c.WriteFrom(l.ctx(), "f", bytes.NewReader(noise(10)), size, FileSpec{Mode: 0o644})
		if err == nil || !strings.Contains(err.Error(), ErrChanged.Error()) {
			t.Errorf("%d bytes: got %v", size, err)
		}
	}
}
