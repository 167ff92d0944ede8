package test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/efs/types"

	"github.com/holdfast-fs/holdfast/internal/nfsclient"
	"github.com/holdfast-fs/holdfast/test/harness"
)

// slowLink makes transfers last long enough to be disturbed: bytes per second.
const slowLink = 1 << 20

// newSlowStory is two regions whose transfers are slow, and a file system with
// content that has no replica yet.
func newSlowStory(t *testing.T) (*story, map[string][]byte) {
	t.Helper()
	s := &story{Regions: harness.NewStoppedRegions(t), t: t, ctx: t.Context(), scratch: t.TempDir()}
	s.us, s.eu = s.R[0], s.R[1]
	for _, r := range s.R {
		r.Edit(t, "bandwidth_limit: 0", fmt.Sprintf("bandwidth_limit: %d", slowLink))
		r.Start(t)
	}
	s.usFS = s.create("slow")
	c := s.us.Client(t, s.usFS)
	return s, s.populate(c, "/base", 40, 64<<10)
}

// populate writes n files of random bytes into a new directory.
func (s *story) populate(c *nfsclient.Client, dir string, n, size int) map[string][]byte {
	s.t.Helper()
	if err := c.Mkdir(s.t.Context(), dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(uint64(n), uint64(size)))
	all := map[string][]byte{}
	for i := range n {
		b := make([]byte, size)
		for j := range b {
			b[j] = byte(rnd.Uint32())
		}
		name := fmt.Sprintf("%s/%d", dir, i)
		if err := c.WriteFile(s.t.Context(), name, b, 0o644); err != nil {
			s.t.Fatal(err)
		}
		all[name] = b
	}
	return all
}

// begin creates a replication without waiting for its transfer.
func (s *story) begin(from *harness.Region, id string, to *harness.Region, existing string) (string, error) {
	d := types.DestinationToCreate{Region: aws.String(to.Name)}
	if existing != "" {
		d.FileSystemId = aws.String(existing)
	}
	r, err := from.EFS().CreateReplicationConfiguration(s.t.Context(),
		&efs.CreateReplicationConfigurationInput{SourceFileSystemId: aws.String(id), Destinations: []types.DestinationToCreate{d}})
	if err != nil {
		return "", err
	}
	return *r.Destinations[0].FileSystemId, nil
}

func (s *story) unprotect(r *harness.Region, id string) {
	s.t.Helper()
	must[*efs.UpdateFileSystemProtectionOutput](s.t)(r.EFS().UpdateFileSystemProtection(s.t.Context(), &efs.UpdateFileSystemProtectionInput{
		FileSystemId: aws.String(id), ReplicationOverwriteProtection: types.ReplicationOverwriteProtectionDisabled}))
}

// halfway waits until a transfer runs and has moved something.
func (s *story) halfway(to *harness.Region, dest string, least uint64) {
	s.t.Helper()
	harness.Eventually(s.t, 30*time.Second, "a transfer is under way", func() error {
		var st status
		if err := to.TryGet("file-systems/"+dest, &st); err != nil {
			return err
		}
		if st.Replication.Following {
			s.t.Fatalf("the transfer ended before it could be disturbed: %+v", st)
		}
		if st.Replication.LastTransfer.BytesWire < least {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
}

func (s *story) follows(to *harness.Region, dest string) {
	s.t.Helper()
	harness.Eventually(s.t, time.Minute, "the destination follows", func() error {
		var st status
		if err := to.TryGet("file-systems/"+dest, &st); err != nil {
			return err
		}
		if !st.Replication.Following {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
}

// forgotten waits until a region has no replication any more.
func (s *story) forgotten(r *harness.Region) {
	s.t.Helper()
	harness.Eventually(s.t, 30*time.Second, "no replication is left in "+r.Name, func() error {
		l, err := r.EFS().DescribeReplicationConfigurations(s.t.Context(), &efs.DescribeReplicationConfigurationsInput{})
		if err != nil || len(l.Replications) > 0 {
			return fmt.Errorf("%v %+v", err, l)
		}
		return nil
	})
}

func (s *story) becomes(r *harness.Region, id, role string) {
	s.t.Helper()
	harness.Eventually(s.t, 30*time.Second, id+" is a "+role, func() error {
		var st status
		if err := r.TryGet("file-systems/"+id, &st); err != nil {
			return err
		}
		if st.Role != role {
			return errors.New(st.Role)
		}
		return nil
	})
}

// holds checks files through a client.
func (s *story) holds(c *nfsclient.Client, want map[string][]byte) {
	s.t.Helper()
	for name, b := range want {
		got, err := c.ReadFile(s.t.Context(), name)
		if err != nil || string(got) != string(b) {
			s.t.Fatalf("%s: %d bytes, %v; want %d bytes", name, len(got), err, len(b))
		}
	}
}

func TestBootstrapSurvivesKillsOfBothSides(t *testing.T) {
	s, want := newSlowStory(t)
	dest := must[string](t)(s.begin(s.us, s.usFS, s.eu, ""))
	for _, victim := range []*harness.Region{s.eu, s.us, s.eu} {
		s.halfway(s.eu, dest, 200<<10)
		victim.Kill(t)
		victim.Start(t)
	}
	s.follows(s.eu, dest)
	s.equal(s.us, s.usFS, s.eu, dest)
	s.holds(s.eu.Client(t, dest), want)
}

// TestNoReplicaIsLeftHalf: the replication is deleted, in either region and
// with the source dead, before its destination is whole. The source is as it
// was, and a new replication works.
func TestNoReplicaIsLeftHalf(t *testing.T) {
	s, want := newSlowStory(t)
	for _, by := range []string{"us", "eu", "eu with us dead"} {
		dest := must[string](t)(s.begin(s.us, s.usFS, s.eu, ""))
		s.halfway(s.eu, dest, 100<<10)
		r := s.eu
		if by == "us" {
			r = s.us
		}
		if by == "eu with us dead" {
			s.us.Kill(t)
		}
		_, err := r.EFS().DeleteReplicationConfiguration(t.Context(), &efs.DeleteReplicationConfigurationInput{SourceFileSystemId: aws.String(s.usFS)})
		t.Logf("deleted by %s: %v", by, err)
		if s.us.Pid() == 0 {
			s.us.Start(t)
		}
		s.forgotten(s.us)
		s.forgotten(s.eu)
		d, err := s.eu.EFS().DescribeFileSystems(t.Context(), &efs.DescribeFileSystemsInput{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range d.FileSystems {
			if f.LifeCycleState != types.LifeCycleStateError {
				t.Errorf("%s, which never was whole, is %s", *f.FileSystemId, f.LifeCycleState)
			}
			must[*efs.DeleteFileSystemOutput](t)(s.eu.EFS().DeleteFileSystem(t.Context(), &efs.DeleteFileSystemInput{FileSystemId: f.FileSystemId}))
		}
		s.becomes(s.us, s.usFS, "writer")
	}
	if err := s.us.Client(t, s.usFS).WriteFile(t.Context(), "/more", []byte("more"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.euFS = must[string](t)(s.begin(s.us, s.usFS, s.eu, ""))
	s.follows(s.eu, s.euFS)
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	s.holds(s.eu.Client(t, s.euFS), want)
}

// TestResyncSurvivesKillsOfBothSides: both sides changed; the old primary
// becomes the destination, and is killed, as is the new primary, during that.
func TestResyncSurvivesKillsOfBothSides(t *testing.T) {
	s, _ := newSlowStory(t)
	s.euFS = must[string](t)(s.begin(s.us, s.usFS, s.eu, ""))
	s.follows(s.eu, s.euFS)
	s.eu.Kill(t)
	s.populate(s.us.Client(t, s.usFS), "/lost", 10, 1000)
	s.us.Kill(t)
	s.eu.Start(t)
	s.deleteReplication(s.eu, s.usFS)
	want := s.populate(s.eu.Client(t, s.euFS), "/new", 40, 64<<10)
	s.us.Start(t)
	s.becomes(s.us, s.usFS, "superseded")
	s.unprotect(s.us, s.usFS)
	must[string](t)(s.begin(s.eu, s.euFS, s.us, s.usFS))
	for _, victim := range []*harness.Region{s.us, s.eu, s.us} {
		s.halfway(s.us, s.usFS, 200<<10)
		victim.Kill(t)
		victim.Start(t)
	}
	s.follows(s.us, s.usFS)
	s.equal(s.eu, s.euFS, s.us, s.usFS)
	s.holds(s.us.Client(t, s.usFS), want)
}

// TestBothSidesDiverge: the superseded primary decides for itself, both regions
// go their own way, and are joined again, in each direction.
func TestBothSidesDiverge(t *testing.T) {
	for _, winner := range []int{0, 1} {
		t.Run(fmt.Sprintf("the winner is %d", winner), func(t *testing.T) {
			s := newLocalStory(t)
			s.populate(s.us.Client(t, s.usFS), "/base", 5, 9000)
			s.equal(s.us, s.usFS, s.eu, s.euFS)
			s.us.Kill(t)
			s.deleteReplication(s.eu, s.usFS)
			wantEU := s.populate(s.eu.Client(t, s.euFS), "/in-eu", 20, 50_000)
			s.us.Start(t)
			s.becomes(s.us, s.usFS, "superseded")
			must[*efs.DeleteReplicationConfigurationOutput](t)(s.us.EFS().DeleteReplicationConfiguration(t.Context(),
				&efs.DeleteReplicationConfigurationInput{SourceFileSystemId: aws.String(s.usFS), DeletionMode: types.DeletionModeLocalConfigurationOnly}))
			s.becomes(s.us, s.usFS, "writer")
			wantUS := s.populate(s.us.Client(t, s.usFS), "/in-us", 20, 50_000)

			from, fromFS, to, toFS, want, lost := s.us, s.usFS, s.eu, s.euFS, wantUS, wantEU
			if winner == 1 {
				from, fromFS, to, toFS, want, lost = s.eu, s.euFS, s.us, s.usFS, wantEU, wantUS
			}
			if _, err := s.begin(from, fromFS, to, toFS); err == nil {
				t.Fatal("a protected file system was taken over")
			}
			s.replicate(from, fromFS, to, toFS)
			s.equal(from, fromFS, to, toFS)
			s.holds(to.Client(t, toFS), want)
			have := s.salvaged(to, toFS)
			for name := range lost {
				if !have[name] {
					t.Errorf("%s is not in the salvage (%d paths)", name, len(have))
				}
			}
		})
	}
}

// salvaged is the paths of all salvages of a file system.
func (s *story) salvaged(r *harness.Region, id string) map[string]bool {
	s.t.Helper()
	var a struct {
		Salvages []struct {
			Paths []struct {
				Path string `json:"path"`
			} `json:"paths"`
		} `json:"salvages"`
	}
	r.Get(s.t, "file-systems/"+id+"/salvage", &a)
	have := make(map[string]bool)
	for _, x := range a.Salvages {
		for _, p := range x.Paths {
			have[p.Path] = true
		}
	}
	return have
}

// TestAnotherLineageIsTakenOverOnlyUnprotected: replication to a file system
// with content of its own.
func TestAnotherLineageIsTakenOverOnlyUnprotected(t *testing.T) {
	s := newLocalStory(t)
	want := s.populate(s.us.Client(t, s.usFS), "/base", 20, 20_000)
	other := must[*efs.CreateFileSystemOutput](t)(s.eu.EFS().CreateFileSystem(t.Context(), &efs.CreateFileSystemInput{CreationToken: aws.String("other")}))
	s.becomes(s.eu, *other.FileSystemId, "writer")
	kept := s.populate(s.eu.Client(t, *other.FileSystemId), "/other", 20, 40_000)
	third := s.create("third")
	wantThird := s.populate(s.us.Client(t, third), "/third", 20, 40_000)

	if _, err := s.begin(s.us, third, s.eu, *other.FileSystemId); err == nil {
		t.Fatal("a protected file system was taken over")
	}
	s.holds(s.eu.Client(t, *other.FileSystemId), kept)
	if _, err := s.begin(s.us, s.usFS, s.eu, ""); err == nil {
		t.Fatal("a second replication of one source was accepted")
	}
	if _, err := s.begin(s.eu, s.euFS, s.us, ""); err == nil {
		t.Fatal("a chain of replications was accepted")
	}
	if _, err := s.begin(s.us, third, s.eu, s.euFS); err == nil {
		t.Fatal("a destination was given a second source")
	}
	s.replicate(s.us, third, s.eu, *other.FileSystemId)
	s.equal(s.us, third, s.eu, *other.FileSystemId)
	s.holds(s.eu.Client(t, *other.FileSystemId), wantThird)
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	s.holds(s.eu.Client(t, s.euFS), want)
}

// TestMetricsOfADestinationNameIt: an operator's alerts join the metrics of a
// file system by its own id, and lag grows while nothing is heard.
func TestMetricsOfADestinationNameIt(t *testing.T) {
	s := newLocalStory(t)
	own := `file_system="` + s.euFS + `"`
	if up := s.eu.Metric(t, "holdfast_replication_connected", `{`+own, `source_file_system="`+s.usFS+`"`); up != 1 {
		t.Errorf("connected: %v", up)
	}
	s.us.Kill(t)
	harness.Eventually(t, 20*time.Second, "the lag grows while the source is away", func() error {
		up, lag := s.eu.Metric(t, "holdfast_replication_connected", own), s.eu.Metric(t, "holdfast_replication_lag_seconds", own)
		if up != 0 || lag < 2 {
			return fmt.Errorf("connected %v, lag %v", up, lag)
		}
		return nil
	})
}

// TestARestoredPrimaryDoesNotTakeItsDestinationBack: a primary whose data was
// put back from an older copy knows less than its destination. It must not
// accept changes as if nothing had happened, nor make the destination forget.
func TestARestoredPrimaryDoesNotTakeItsDestinationBack(t *testing.T) {
	s := newLocalStory(t)
	c := s.us.Client(t, s.usFS)
	s.populate(c, "/before", 5, 3000)
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	s.us.Stop(t)
	backup := filepath.Join(t.TempDir(), "backup")
	harness.Run(t, "cp", "-a", s.us.DataDir(), backup)
	s.us.Start(t)
	want := s.populate(c, "/after", 20, 3000)
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	c.Close()
	s.us.Kill(t)
	if err := os.RemoveAll(s.us.DataDir()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(backup, s.us.DataDir()); err != nil {
		t.Fatal(err)
	}
	s.us.StartUnready(t)
	harness.Eventually(t, 20*time.Second, "the destination says that its source went back", func() error {
		var st status
		s.eu.Get(t, "file-systems/"+s.euFS, &st)
		if !strings.Contains(st.Replication.Error+st.Replication.Problem, "lost records") {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	s.eu.Kill(t)
	s.eu.StartUnready(t)
	s.holds(s.eu.Client(t, s.euFS), want)

	// The way on: the side that knows more becomes the source.
	s.deleteReplication(s.eu, s.usFS)
	s.becomes(s.eu, s.euFS, "writer")
	// Whether the old source took part or was superseded is a matter of luck.
	harness.Eventually(t, 30*time.Second, "the old source knows that the replication has ended", func() error {
		var st status
		s.us.Get(t, "file-systems/"+s.usFS, &st)
		l, err := s.us.EFS().DescribeReplicationConfigurations(t.Context(), &efs.DescribeReplicationConfigurationsInput{})
		if err != nil || len(l.Replications) > 0 && st.Role != "superseded" {
			return fmt.Errorf("%v %+v %+v", err, l, st)
		}
		return nil
	})
	s.replicate(s.eu, s.euFS, s.us, s.usFS)
	s.equal(s.eu, s.euFS, s.us, s.usFS)
	s.holds(s.us.Client(t, s.usFS), want)
}
