package main

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/config"
	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
	"github.com/holdfast-fs/holdfast/internal/region"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// sealedPlace makes the directory of an encrypted file system with a journal and
// a salvage, and gives the configuration with its key.
func sealedPlace(t *testing.T) (dir, cfg string) {
	t.Helper()
	made, err := config.Init(filepath.Join(t.TempDir(), "hf"), []string{"us-east-1"}, config.Options{Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	cfg = made.Regions[0].Config
	c, err := config.Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := region.OpenKeys(c)
	if err != nil {
		t.Fatal(err)
	}
	d := disk.Real()
	dir = filepath.Join(t.TempDir(), "fs-1")
	if err := os.MkdirAll(filepath.Join(dir, "salvage", "one", "content"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := seal.Create(d, dir, c.Encryption.Keys[0].ARN(c.Region, c.AccountID), keys, rand.Reader); err != nil {
		t.Fatal(err)
	}
	k, err := seal.Open(d, dir, keys)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"manifest.json": "{}", "records.bin": strings.Repeat("r", 3<<20), "content/7": "bytes"} {
		if err := disk.WriteFileAtomic(seal.Files(d, k, rand.Reader), filepath.Join(dir, "salvage", "one", name), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := journal.Create(journal.Options{FS: d, Dir: filepath.Join(dir, "journal-000001"), Lineage: fs.Lineage{1}, Key: k}); err != nil {
		t.Fatal(err)
	}
	return dir, cfg
}

func run(args ...string) (string, error) {
	root, out := newRootCommand(), &bytes.Buffer{}
	root.SetArgs(args)
	root.SetOut(out)
	err := root.Execute()
	return out.String(), err
}

// TestOfflineToolsFindTheKey: also for who stands in the directory; and encrypted
// bytes never pass for those of the files.
func TestOfflineToolsFindTheKey(t *testing.T) {
	dir, cfg := sealedPlace(t)
	t.Chdir(filepath.Join(dir, "journal-000001"))
	for _, path := range []string{".", "../journal-000001/", filepath.Join(dir, "journal-000001")} {
		for _, what := range []string{"verify", "dump"} {
			if out, err := run("journal", what, "--config", cfg, path); err != nil {
				t.Errorf("%s %s: %s%v", what, path, out, err)
			}
		}
	}
	t.Chdir(filepath.Join(dir, "salvage", "one"))
	for i, path := range []string{".", "../one", filepath.Join(dir, "salvage", "one")} {
		to := filepath.Join(t.TempDir(), "copy")
		if out, err := run("salvage-copy", "--config", cfg, path, to); err != nil || !strings.Contains(out, "3 files") {
			t.Errorf("%d: %s%v", i, out, err)
		}
		b, err := os.ReadFile(filepath.Join(to, "records.bin"))
		if err != nil || string(b) != strings.Repeat("r", 3<<20) {
			t.Errorf("%d: %d bytes, %v", i, len(b), err)
		}
	}
	// A copy of the salvage alone, as somebody has put it into a backup.
	away, to := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(away, os.DirFS(filepath.Join(dir, "salvage", "one"))); err != nil {
		t.Fatal(err)
	}
	if _, err := run("salvage-copy", "--config", cfg, away, to); err == nil || !strings.Contains(err.Error(), seal.EnvelopeName) {
		t.Errorf("a salvage without its key: %v", err)
	}
	if _, err := run("salvage-copy", filepath.Join(away, "nowhere"), to); err == nil || !strings.Contains(err.Error(), "no salvage") {
		t.Errorf("no salvage: %v", err)
	}
	if _, err := os.Stat(to); err == nil {
		t.Error("a copy was begun all the same")
	}
}

// TestCheckWithoutAKeyTellsOfNoDamage: what cannot be looked at is not damaged.
func TestCheckWithoutAKeyTellsOfNoDamage(t *testing.T) {
	dir, cfg := sealedPlace(t)
	data := t.TempDir()
	if err := os.MkdirAll(filepath.Join(data, "file-systems"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, filepath.Join(data, "file-systems", "fs-1")); err != nil {
		t.Fatal(err)
	}
	current := `{"format":1,"journal":"journal-000001","lineage":"` + fs.Lineage{1}.String() + `"}`
	if err := os.WriteFile(filepath.Join(data, "file-systems", "fs-1", "current.json"), []byte(current), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", data}, {"check", "--repair", data}} {
		out, err := run(args...)
		if err == nil || !strings.Contains(err.Error(), "not looked at") || strings.Contains(out+err.Error(), "amaged") || strings.Contains(out, "DAMAGED") || !strings.Contains(out, "encryption.keys") {
			t.Errorf("%v: %s%v", args, out, err)
		}
	}
	// With the key it is looked at: its tree is not there.
	if out, err := run("check", "--config", cfg, data); err == nil || !strings.Contains(out, "DAMAGED: tree") {
		t.Errorf("with the key: %s%v", out, err)
	}
}
