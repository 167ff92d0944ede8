package fstest

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestReferenceConforms(t *testing.T) {
	c := NewClock(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	Conform(t, FilesOf(NewRef(c.Now), c))
}

// TestDirectoryConforms tests the suite: on a file system of this machine,
// which is ext4 nearly everywhere. With HOLDFAST_POSIX_DIR it is the test of
// that directory: test/ runs it in a guest, on a mount.
func TestDirectoryConforms(t *testing.T) {
	dir := os.Getenv("HOLDFAST_POSIX_DIR")
	if dir == "" {
		if os.Geteuid() != 0 {
			t.Skip("needs root, to call as others")
		}
		dir = t.TempDir()
		for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	Conform(t, FilesIn(dir))
}
