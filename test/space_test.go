package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"

	"github.com/holdfast-fs/holdfast/internal/nfsclient"
	"github.com/holdfast-fs/holdfast/test/harness"
)

// smallDisk puts the data of a region that is stopped on a disk of its own.
func smallDisk(t *testing.T, r *harness.Region, mib int) {
	t.Helper()
	harness.Need(t, true, nil)
	if err := os.MkdirAll(r.DataDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", r.DataDir(), "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Skipf("needs leave to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(r.DataDir(), syscall.MNT_DETACH) })
}

// fill writes files until the file system refuses, and gives what was
// acknowledged.
func (s *story) fill(c *nfsclient.Client, dir string) map[string][]byte {
	s.t.Helper()
	if err := c.Mkdir(s.t.Context(), dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	all := map[string][]byte{}
	for i := 0; ; i++ {
		size := 2 << 20
		if i%2 == 0 {
			size = 5000
		}
		b := []byte(strings.Repeat(fmt.Sprintf("%s %d. ", dir, i), size/10))
		name := fmt.Sprintf("%s/%d", dir, i)
		err := c.WriteFile(s.t.Context(), name, b, 0o644)
		if errors.Is(err, syscall.ENOSPC) {
			return all
		}
		if err != nil {
			s.t.Fatalf("%s: %v, want ENOSPC once the disk is full", name, err)
		}
		all[name] = b
		if i > 10_000 {
			s.t.Fatal("the disk does not become full")
		}
	}
}

// TestFullDiskRefusesAndGoesOn: ENOSPC to clients, nothing that was
// acknowledged is lost, files can be removed, a restart works, and there is
// room again when another file system is deleted.
func TestFullDiskRefusesAndGoesOn(t *testing.T) {
	s := &story{Regions: harness.NewStoppedRegions(t), t: t, ctx: t.Context(), scratch: t.TempDir()}
	s.us, s.eu = s.R[0], s.R[1]
	smallDisk(t, s.us, 200)
	s.us.Start(t)
	ballast := s.create("ballast")
	s.usFS = s.create("main")
	b := s.us.Client(t, ballast)
	if err := b.WriteFile(t.Context(), "/big", make([]byte, 60<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	c := s.us.Client(t, s.usFS)
	want := s.fill(c, "/f")
	t.Logf("%d files fit", len(want))
	s.holds(c, want)
	if err := c.Remove(t.Context(), "/f/0"); err != nil {
		t.Fatalf("a file cannot be removed from a full disk: %v", err)
	}
	delete(want, "/f/0")

	s.us.Kill(t)
	s.us.Start(t)
	s.holds(c, want)
	if err := c.Remove(t.Context(), "/f/2"); err != nil {
		t.Fatalf("a file cannot be removed from a full disk after a restart: %v", err)
	}
	delete(want, "/f/2")

	must[*efs.DeleteFileSystemOutput](t)(s.us.EFS().DeleteFileSystem(t.Context(), &efs.DeleteFileSystemInput{FileSystemId: aws.String(ballast)}))
	harness.Eventually(t, 30*time.Second, "there is room again", func() error {
		return c.WriteFile(t.Context(), "/after", []byte("room"), 0o644)
	})
	want["/after"] = []byte("room")
	s.us.Stop(t)
	s.us.Start(t)
	s.holds(c, want)
	if status, text, err := s.us.Ready(); status != 200 {
		t.Errorf("not ready: %d %s %v", status, text, err)
	}
}

// TestFullDestinationCatchesUp: the destination's disk fills up; the source
// does not care; what the destination has stays a prefix, and once there is
// room it goes on.
func TestFullDestinationCatchesUp(t *testing.T) {
	s := &story{Regions: harness.NewStoppedRegions(t), t: t, ctx: t.Context(), scratch: t.TempDir()}
	s.us, s.eu = s.R[0], s.R[1]
	smallDisk(t, s.eu, 150)
	s.us.Start(t)
	s.eu.Start(t)
	s.usFS = s.create("main")
	s.euFS = s.replicate(s.us, s.usFS, s.eu, "")
	ballast := filepath.Join(s.eu.DataDir(), "ballast")
	if err := os.WriteFile(ballast, make([]byte, 70<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	c := s.us.Client(t, s.usFS)
	want := s.populate(c, "/much", 60, 1<<20)
	var st status
	harness.Eventually(t, 30*time.Second, "the destination says that it is full", func() error {
		var st status
		s.eu.Get(t, "file-systems/"+s.euFS, &st)
		if p := st.Replication.Problem + st.Replication.Error; !strings.Contains(p, "space") {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	s.eu.Get(t, "file-systems/"+s.euFS, &st)
	t.Logf("%+v", st)
	s.eu.Kill(t)
	s.eu.Start(t)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	s.holds(s.eu.Client(t, s.euFS), want)
}
