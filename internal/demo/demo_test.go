package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// binary builds holdfast.
func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "holdfast")
	out, err := exec.Command("go", "build", "-o", path, "github.com/holdfast-fs/holdfast/cmd/holdfast").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

func smallTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	if err := generate(dir, 6, 10); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("part-0", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTheStoryEndsWell runs the command as people do: two real processes, one
// of which is killed.
func TestTheStoryEndsWell(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	scratch := t.TempDir()
	cmd := exec.CommandContext(ctx, binary(t), "demo", "--json", "--from", smallTree(t))
	cmd.Env = append(os.Environ(), "TMPDIR="+scratch)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it stops its regions
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout.String(), stderr.String())
	}
	var r Report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("standard output is not one JSON document: %v\n%s", err, stdout.String())
	}
	checkStory(t, &r)
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func checkStory(t *testing.T, r *Report) {
	t.Helper()
	if !r.Equal || len(r.Problems) > 0 {
		t.Errorf("equal %v, problems %q", r.Equal, r.Problems)
	}
	if r.Tree.Files != 60 || r.Tree.Bytes == 0 || len(r.Steps) != 11 {
		t.Errorf("tree %+v, %d steps", r.Tree, len(r.Steps))
	}
	for _, s := range r.Steps {
		if s.Name == "" || s.Done == "" || s.Seconds <= 0 {
			t.Errorf("step %+v", s)
		}
	}
	f := r.Failover
	if f == nil || f.AckedAtKill == 0 || f.SecondsToWritable <= 0 || f.Lost != f.Salvaged {
		t.Errorf("failover %+v", f)
	}
	if r.Failback == nil || r.Failback.BytesWire == 0 || r.Failback.BytesChanged == 0 {
		t.Errorf("failback %+v", r.Failback)
	}
	if r.Hashes == nil || r.Hashes.Primary != r.Hashes.Secondary || r.Hashes.Keys == 0 {
		t.Errorf("hashes %+v", r.Hashes)
	}
}

func TestADirectoryThatIsNotThereEndsTheStoryWithAProblem(t *testing.T) {
	scratch := t.TempDir()
	t.Setenv("TMPDIR", scratch)
	r, err := Run(t.Context(), Options{From: filepath.Join(scratch, "none"), Out: &bytes.Buffer{}, Now: time.Now, Rand: strings.NewReader("")})
	if err == nil || r.Equal || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "--from") {
		t.Errorf("%v, %+v", err, r)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
