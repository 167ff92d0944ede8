package demo

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/efs/types"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfsclient"
)

// treeDir is where the tree goes.
const treeDir = "/tree"

func isNotExist(err error) bool { return errors.Is(err, iofs.ErrNotExist) }

// dial connects to the region's file system as root. Clients of one owner are
// one client to the server, which moves from region to region.
func (r *region) dial(ctx context.Context, owner string) (*nfsclient.Client, error) {
	return nfsclient.Dial(ctx, r.NFS, nfsclient.Options{Prefix: "/" + r.fsID, ClientOwner: owner})
}

func (s *story) us() *region { return s.regions[primary] }
func (s *story) eu() *region { return s.regions[secondary] }

func (s *story) start(ctx context.Context, step *Step) error {
	if err := s.makeRegions(); err != nil {
		return err
	}
	for _, r := range []*region{s.us(), s.eu()} {
		if err := r.serve(ctx); err != nil {
			return err
		}
	}
	step.did("two processes serve, with their files in %s", s.dir)
	return nil
}

func (s *story) replicate(ctx context.Context, step *Step) error {
	us, eu := s.us(), s.eu()
	made, err := us.api.efs.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: aws.String("holdfast-demo"),
		Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("demo")}}})
	if err != nil {
		return err
	}
	us.fsID = aws.ToString(made.FileSystemId)
	err = until(ctx, "the file system is available", func() (bool, error) {
		out, err := us.api.efs.DescribeFileSystems(ctx, &efs.DescribeFileSystemsInput{FileSystemId: &us.fsID})
		return err == nil && out.FileSystems[0].LifeCycleState == types.LifeCycleStateAvailable, err
	})
	if err != nil {
		return err
	}
	if err := us.replicateTo(ctx, eu); err != nil {
		return err
	}
	s.dest = eu
	step.did("%s in %s replicates to %s in %s", us.fsID, primary, eu.fsID, secondary)
	return nil
}

func (s *story) copyIn(ctx context.Context, step *Step) error {
	c, err := s.us().dial(ctx, "")
	if err != nil {
		return err
	}
	defer c.Close()
	tally, done := s.out.bar(s.input.bytes)
	t, err := c.CopyTree(ctx, s.input.dir, treeDir, nfsclient.DefaultWorkers, tally)
	done()
	if err != nil {
		return err
	}
	step.did("%d files, %d directories, %s; every file was durable when it was acknowledged", t.Files+t.Links, t.Dirs, size(uint64(t.Bytes)))
	return nil
}

// catchUp waits for the destination, compares a sample there with the tree
// that was copied, and tries to write there.
func (s *story) catchUp(ctx context.Context, step *Step) error {
	if err := s.waitEqual(ctx, s.us(), s.eu()); err != nil {
		return err
	}
	c, err := s.eu().dial(ctx, "")
	if err != nil {
		return err
	}
	defer c.Close()
	cmp, err := s.compareTree(ctx, c)
	if err != nil {
		return err
	}
	s.differences("the copy in "+secondary, cmp)
	if err := c.WriteFile(ctx, "/write-at-the-destination", []byte("x"), 0o644); !errors.Is(err, fs.ErrROFS) {
		s.problem("a write at the destination must answer EROFS; it answered: %v", err)
	}
	step.did("%d files compared by size and mode, the content of %s of them by BLAKE3; a write there answers EROFS",
		cmp.Tally.Files, size(uint64(cmp.Tally.Bytes)))
	return nil
}

func (s *story) compareTree(ctx context.Context, c *nfsclient.Client) (*nfsclient.Comparison, error) {
	tally, done := s.out.bar(-1)
	defer done()
	return c.CompareTree(ctx, s.input.dir, treeDir, nfsclient.CompareOptions{Content: sampler(s.input.count), Progress: tally})
}

func (s *story) differences(what string, cmp *nfsclient.Comparison) {
	const shown = 5
	for _, d := range cmp.Differences[:min(shown, len(cmp.Differences))] {
		s.problem("%s differs: %s", what, d)
	}
	if cmp.Total > shown {
		s.problem("%s differs in %d more places", what, cmp.Total-shown)
	}
}

// waitEqual waits until the destination has the source's whole history.
func (s *story) waitEqual(ctx context.Context, from, to *region) error {
	return until(ctx, to.Region+" has everything that "+from.Region+" has", func() (bool, error) {
		src, err := from.status(ctx)
		if err != nil {
			return false, err
		}
		dst, err := to.status(ctx)
		if err != nil {
			return false, notYet("%v", err)
		}
		return arrived(src, dst)
	})
}

func arrived(src, dst *status) (bool, error) {
	r := dst.Replication
	switch {
	case r == nil:
		return false, notYet("it has role %s", dst.Role)
	case r.Error != "":
		return false, fmt.Errorf("the replication stands still: %s", r.Error)
	case !r.Whole || !r.Following:
		return false, notYet("its first transfer is not complete (%s)", r.Problem)
	case dst.Position != src.Position || dst.DurableSeq != src.DurableSeq:
		return false, notYet("it is at record %d of %d", dst.DurableSeq, src.DurableSeq)
	}
	return true, nil
}

// kill lets writers write, and kills the primary under them.
func (s *story) kill(ctx context.Context, step *Step) error {
	c, err := s.us().dial(ctx, writerOwner)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := makeWrittenDirs(ctx, c); err != nil {
		return err
	}
	s.writes = &writes{}
	writing, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.writes.writeOn(writing, c) }()
	lag, err := s.watchLag(ctx, ended)
	if err != nil {
		return err
	}
	if err := s.us().kill(); err != nil {
		return err
	}
	// What was acknowledged may still be on its way to the writers.
	time.Sleep(pollEvery)
	stop()
	if err := <-ended; err != nil {
		return fmt.Errorf("a writer failed: %w", err)
	}
	s.rep.Lag = lag
	step.did("%s was killed under %d writers; %d writes were acknowledged", primary, writers, len(s.writes.all()))
	return nil
}

// writerOwner names the writers' client in both regions: to the servers it is
// one client whose address moves.
const writerOwner = "holdfast demo writer"

// watchLag watches the destination while the writers write, and returns what
// it saw last.
func (s *story) watchLag(ctx context.Context, ended <-chan error) (*Lag, error) {
	const every = 50 * time.Millisecond
	var lag *Lag
	for end := time.After(s.opt.WriteFor); ; {
		select {
		case <-end:
			return lag, nil
		case err := <-ended:
			return nil, fmt.Errorf("the writers ended before the kill: %w", errors.Join(err, context.Cause(ctx)))
		case <-time.After(every):
		}
		st, err := s.eu().status(ctx)
		if err != nil {
			return nil, err
		}
		if r := st.Replication; r != nil {
			lag = &Lag{Seconds: r.LagSeconds, Records: r.LagRecords, Bytes: r.LagBytes}
		}
	}
}
