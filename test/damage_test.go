package test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"

	"github.com/holdfast-fs/holdfast/internal/nfsclient"
	"github.com/holdfast-fs/holdfast/test/harness"
)

// newDamageStory is one region, stopped, with two file systems that have
// content.
func newDamageStory(t *testing.T) (s *story, other string, want, wantOther map[string][]byte) {
	t.Helper()
	s = &story{Regions: harness.NewStoppedRegions(t), t: t, ctx: t.Context(), scratch: t.TempDir()}
	s.us, s.eu = s.R[0], s.R[1]
	s.us.Start(t)
	s.usFS, other = s.create("damaged"), s.create("sound")
	put := func(id string) map[string][]byte {
		c := s.us.Client(t, id)
		defer c.Close()
		all := s.populate(c, "/small", 50, 3000)
		for name, b := range s.populate(c, "/large", 10, 300<<10) {
			all[name] = b
		}
		return all
	}
	want, wantOther = put(s.usFS), put(other)
	s.us.Stop(t)
	return s, other, want, wantOther
}

// flip damages one byte of a stopped region: where content stands in a file
// below dir. It gives the file.
func flip(t *testing.T, dir string, content []byte) string {
	t.Helper()
	var hit string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || hit != "" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if i := bytes.Index(b, content); i >= 0 {
			hit = path
			b[i+len(content)/2] ^= 0x40
			return os.WriteFile(path, b, 0o600)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if hit == "" {
		t.Fatal("the content is in no file below " + dir)
	}
	return hit
}

// noWrongData reads all files; each is right or an error. It gives the number
// of errors.
func noWrongData(t *testing.T, c *nfsclient.Client, want map[string][]byte) (failed int) {
	t.Helper()
	for name, b := range want {
		got, err := c.ReadFile(t.Context(), name)
		if err != nil {
			failed++
		} else if !bytes.Equal(got, b) {
			t.Errorf("%s was read with wrong content", name)
		}
	}
	return failed
}

// verify runs `holdfast journal verify` on the journal of a file.
func verify(t *testing.T, journalDir string) (string, error) {
	t.Helper()
	out, err := exec.Command(harness.Binary(t), "journal", "verify", journalDir).CombinedOutput()
	return string(out), err
}

// TestDamagedPayloadIsReportedNeverServed: a flipped bit in a large file's
// bytes.
func TestDamagedPayloadIsReportedNeverServed(t *testing.T) {
	s, other, want, wantOther := newDamageStory(t)
	file := flip(t, filepath.Join(s.us.DataDir(), "file-systems", s.usFS), want["/large/3"][100_000:100_064])
	if out, err := verify(t, filepath.Dir(file)); err == nil || !strings.Contains(out, filepath.Base(file)) {
		t.Errorf("verify found nothing in %s: %v\n%s", file, err, out)
	}
	s.us.Start(t)
	c := s.us.Client(t, s.usFS)
	_, err := c.ReadFile(t.Context(), "/large/3")
	t.Logf("read: %v", err)
	if err == nil {
		t.Error("a damaged file was read")
	}
	if n := noWrongData(t, c, want); n != 1 {
		t.Errorf("%d files cannot be read, one is damaged", n)
	}
	if n := noWrongData(t, s.us.Client(t, other), wantOther); n != 0 {
		t.Errorf("%d files of a sound file system cannot be read", n)
	}
	harness.Eventually(t, 10*time.Second, "/readyz tells of the damage", func() error {
		status, text, err := s.us.Ready()
		if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(text, s.usFS) || strings.Contains(text, other) {
			return fmt.Errorf("%d %q %v", status, text, err)
		}
		return nil
	})
}

// TestDamagedRecordStopsItsFileSystemOnly: a flipped bit in a record that was
// durable. The tree is thrown away first, so that recovery reads all records.
func TestDamagedRecordStopsItsFileSystemOnly(t *testing.T) {
	s, other, want, wantOther := newDamageStory(t)
	dir := filepath.Join(s.us.DataDir(), "file-systems", s.usFS)
	file := flip(t, dir, want["/small/7"][1000:1064])
	out, err := verify(t, filepath.Dir(file))
	if err == nil || !strings.Contains(out, filepath.Base(file)) {
		t.Errorf("verify found nothing in %s: %v\n%s", file, err, out)
	}
	t.Logf("verify: %s", out)
	s.us.StartUnready(t)
	harness.Eventually(t, 20*time.Second, "the sound file system is served", func() error {
		c, err := s.us.TryClient(t.Context(), other)
		if err != nil {
			return err
		}
		defer c.Close()
		if n := noWrongData(t, c, wantOther); n != 0 {
			t.Errorf("%d files of a sound file system cannot be read", n)
		}
		return nil
	})
	if c, err := s.us.TryClient(t.Context(), s.usFS); err == nil {
		t.Logf("the damaged one is open, %d files cannot be read", noWrongData(t, c, want))
		c.Close()
	}
	harness.Eventually(t, 10*time.Second, "/readyz tells of the damage", func() error {
		status, text, err := s.us.Ready()
		t.Logf("%d %s", status, text)
		if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(text, filepath.Base(file)) {
			return fmt.Errorf("%d %q %v", status, text, err)
		}
		return nil
	})
}

// TestDamagedTreeIsNamed: a flipped bit in a table of the tree.
func TestDamagedTreeIsNamed(t *testing.T) {
	s, other, want, wantOther := newDamageStory(t)
	dir := filepath.Join(s.us.DataDir(), "file-systems", s.usFS)
	tables, err := filepath.Glob(filepath.Join(dir, "tree*", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables below %s: %v", dir, err)
	}
	for _, f := range tables {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/3] ^= 0x10
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.us.StartUnready(t)
	if n := noWrongData(t, s.us.Client(t, other), wantOther); n != 0 {
		t.Errorf("%d files of a sound file system cannot be read", n)
	}
	if c, err := s.us.TryClient(t.Context(), s.usFS); err == nil {
		t.Logf("the damaged one is open, %d files cannot be read", noWrongData(t, c, want))
		if err := c.WriteFile(t.Context(), "/new", nil, 0o644); err == nil {
			t.Error("a damaged tree takes changes")
		}
		c.Close()
	}
	status, text, err := s.us.Ready()
	t.Logf("%d %s %v", status, text, err)
	if status != http.StatusServiceUnavailable || !strings.Contains(text, s.usFS) {
		t.Errorf("/readyz does not tell of the damaged tree: %d %s", status, text)
	}
	must[*efs.DeleteFileSystemOutput](t)(s.us.EFS().DeleteFileSystem(t.Context(), &efs.DeleteFileSystemInput{FileSystemId: aws.String(s.usFS)}))
	harness.Eventually(t, 20*time.Second, "the region is ready without the damaged file system", func() error {
		status, text, err := s.us.Ready()
		if err == nil && status != http.StatusOK {
			err = errors.New(text)
		}
		return err
	})
}

// TestDamageIsRepairedFromTheOtherRegion: a destination meets damage, gets the
// bytes from its source, says so, and is ready again; and so does the source.
func TestDamageIsRepairedFromTheOtherRegion(t *testing.T) {
	s := newLocalStory(t)
	c := s.us.Client(t, s.usFS)
	want := s.populate(c, "/large", 6, 300<<10)
	c.Close()
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	for i, side := range []struct {
		r  *harness.Region
		id string
	}{{s.eu, s.euFS}, {s.us, s.usFS}} {
		name := fmt.Sprintf("/large/%d", i+1)
		side.r.Stop(t)
		flip(t, filepath.Join(side.r.DataDir(), "file-systems", side.id), want[name][100_000:100_064])
		side.r.Start(t)
		harness.Eventually(t, 90*time.Second, "the damage is repaired", func() error {
			if n := side.r.Metric(t, "holdfast_scrub_repaired_total", side.id); n != 1 {
				return fmt.Errorf("%v extents were repaired", n)
			}
			status, text, err := side.r.Ready()
			if err == nil && status != http.StatusOK {
				err = errors.New(text)
			}
			return err
		})
		c := side.r.Client(t, side.id)
		if n := noWrongData(t, c, want); n != 0 {
			t.Errorf("%s: %d files cannot be read after the repair", side.r.Name, n)
		}
		c.Close()
		s.equal(s.us, s.usFS, s.eu, s.euFS)
	}
}
