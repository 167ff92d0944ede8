package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/efs/types"
	"github.com/aws/smithy-go"

	"github.com/holdfast-fs/holdfast/test/harness"
)

// TestControlOperationsSurviveKills: ten file systems are created, replicated,
// promoted and deleted at the same time, while regions are killed at random
// moments. Callers repeat what failed, as an operator's tool does. Everything
// comes to its end, and nothing is left behind.
func TestControlOperationsSurviveKills(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := &story{Regions: harness.NewLocalRegions(t), t: t, ctx: t.Context()}
	s.us, s.eu = s.R[0], s.R[1]
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, 10)
	for i := range errs {
		wg.Go(func() { errs[i] = s.life(ctx, fmt.Sprintf("token-%d", i)) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	kills := 0
	for kills < 12 && ctx.Err() == nil {
		time.Sleep(time.Duration(rnd.IntN(800)) * time.Millisecond)
		r := s.R[rnd.IntN(2)]
		r.Kill(t)
		kills++
		r.StartUnready(t)
	}
	<-done
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, r := range s.R {
		harness.Eventually(t, 30*time.Second, "nothing is left in "+r.Name, func() error {
			l, err := r.EFS().DescribeFileSystems(t.Context(), &efs.DescribeFileSystemsInput{})
			if err != nil || len(l.FileSystems) > 0 {
				return fmt.Errorf("%d file systems, %v", len(l.FileSystems), err)
			}
			left, err := os.ReadDir(filepath.Join(r.DataDir(), "file-systems"))
			if err != nil || len(left) > 0 {
				return fmt.Errorf("data of %v, %v", left, err)
			}
			status, text, err := r.Ready()
			if status != 200 {
				return fmt.Errorf("%d %s %v", status, text, err)
			}
			return nil
		})
	}
}

// patiently repeats a call until it succeeds or is refused with one of the
// codes that mean that an earlier attempt was carried out.
func patiently(ctx context.Context, what string, call func() error, done ...string) error {
	for {
		err := call()
		var refused smithy.APIError
		if err == nil || errors.As(err, &refused) && slices.Contains(done, refused.ErrorCode()) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// life takes one file system from its creation to its end.
func (s *story) life(ctx context.Context, token string) error {
	us, eu := s.us.EFS(), s.eu.EFS()
	var id, dest *string
	available := func(c *efs.Client, id func() *string) func() error {
		return func() error {
			d, err := c.DescribeFileSystems(ctx, &efs.DescribeFileSystemsInput{FileSystemId: id()})
			if err != nil {
				return err
			}
			if st := d.FileSystems[0].LifeCycleState; st != types.LifeCycleStateAvailable {
				return fmt.Errorf("it is %s", st)
			}
			return nil
		}
	}
	replicate := func() (*efs.CreateReplicationConfigurationOutput, error) {
		return us.CreateReplicationConfiguration(ctx, &efs.CreateReplicationConfigurationInput{SourceFileSystemId: id,
			Destinations: []types.DestinationToCreate{{Region: aws.String(s.eu.Name)}}})
	}
	steps := []struct {
		what string
		call func() error
		done []string
	}{
		{"create", func() error {
			f, err := us.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: &token})
			if err == nil {
				id = f.FileSystemId
			}
			var there *types.FileSystemAlreadyExists
			if errors.As(err, &there) {
				id, err = there.FileSystemId, nil
			}
			return err
		}, nil},
		{"available", available(us, func() *string { return id }), nil},
		{"replicate", func() error {
			_, err := replicate()
			return err
		}, []string{"ConflictException"}},
		{"enabled", func() error {
			d, err := us.DescribeReplicationConfigurations(ctx, &efs.DescribeReplicationConfigurationsInput{FileSystemId: id})
			var gone *types.ReplicationNotFound
			if errors.As(err, &gone) { // an attempt was undone after all
				_, again := replicate()
				return errors.Join(err, again)
			}
			if err != nil {
				return err
			}
			x := d.Replications[0].Destinations[0]
			dest = x.FileSystemId
			if x.Status != types.ReplicationStatusEnabled {
				return fmt.Errorf("it is %s", x.Status)
			}
			return nil
		}, nil},
		{"whole", func() error {
			var st status
			if err := s.eu.TryGet("file-systems/"+*dest, &st); err != nil {
				return err
			}
			if !st.Replication.Following {
				return fmt.Errorf("%+v", st)
			}
			return nil
		}, nil},
		{"promote", func() error {
			_, err := eu.DeleteReplicationConfiguration(ctx, &efs.DeleteReplicationConfigurationInput{SourceFileSystemId: id})
			return err
		}, []string{"ReplicationNotFound", "FileSystemNotFound"}},
		{"forget", func() error {
			_, err := us.DeleteReplicationConfiguration(ctx, &efs.DeleteReplicationConfigurationInput{SourceFileSystemId: id})
			return err
		}, []string{"ReplicationNotFound"}},
		{"delete the source", func() error {
			_, err := us.DeleteFileSystem(ctx, &efs.DeleteFileSystemInput{FileSystemId: id})
			return err
		}, []string{"FileSystemNotFound"}},
		{"delete the replica", func() error {
			_, err := eu.DeleteFileSystem(ctx, &efs.DeleteFileSystemInput{FileSystemId: dest})
			return err
		}, []string{"FileSystemNotFound"}},
	}
	for _, x := range steps {
		if err := patiently(ctx, token+": "+x.what, x.call, x.done...); err != nil {
			return err
		}
	}
	return nil
}
