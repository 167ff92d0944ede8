package region

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/control/efsapi"
)

// lines reads a log of whole lines of JSON and returns the request ids.
func lines(t *testing.T, path string) (ids []string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(raw)) {
		var r efsapi.AuditRecord
		if err := json.Unmarshal([]byte(l), &r); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		ids = append(ids, r.RequestID)
	}
	return ids
}

func TestAuditLogLosesNothingWhenItIsRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	a, err := openAuditLog(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 4, 50
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				a.write(efsapi.AuditRecord{RequestID: "r", Path: "/a\n\"b"})
			}
		})
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := a.reopen(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	a.write(efsapi.AuditRecord{RequestID: "last"})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	old, fresh := lines(t, path+".1"), lines(t, path)
	if len(old)+len(fresh) != writers*each+1 || fresh[len(fresh)-1] != "last" {
		t.Errorf("%d lines before and %d after the rotation", len(old), len(fresh))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != auditMode {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAuditLogThatCannotBeOpenedAnewGoesOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "audit.log")
	a, err := openAuditLog(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := a.reopen(); err == nil {
		t.Error("a file in a directory that is gone was opened")
	}
	a.write(efsapi.AuditRecord{RequestID: "kept"})
	if got := lines(t, filepath.Join(dir+".old", "audit.log")); len(got) != 1 || got[0] != "kept" {
		t.Errorf("lines %q", got)
	}
}
