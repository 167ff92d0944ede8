package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfsclient"
)

// failover calls DeleteReplicationConfiguration in the secondary region and
// writes there as soon as that works; then it looks for what was lost.
func (s *story) failover(ctx context.Context, step *Step) error {
	began := s.opt.Now()
	called := make(chan error, 1)
	go func() { called <- s.eu().endReplication(ctx, s.us().fsID) }()
	c, err := s.writeAsSoonAsPossible(ctx)
	if err != nil {
		return errors.Join(err, <-called)
	}
	writable := s.opt.Now().Sub(began)
	s.dest, s.writer = nil, c
	if err := <-called; err != nil {
		return err
	}
	acked := s.writes.all()
	lost, err := notWhole(ctx, c, acked)
	if err != nil {
		return fmt.Errorf("look for the acknowledged files: %w", err)
	}
	s.rep.Failover = &Failover{SecondsToWritable: writable.Seconds(), AckedAtKill: len(acked), Lost: len(lost)}
	s.writes.settle(lost)
	step.did("%s accepted a write %s after the call; of %d acknowledged writes %d are not there", secondary, seconds(writable.Seconds()), len(acked), len(lost))
	return nil
}

// firstWrite is the file that is written first after the failover.
const firstWrite = "/first-write-after-the-failover"

// writeAsSoonAsPossible is what a client does whose address has moved: it
// connects, says that it reclaims nothing, and writes; again until that works.
func (s *story) writeAsSoonAsPossible(ctx context.Context) (*nfsclient.Client, error) {
	for patience := shortAttempt; ; patience = min(patience*3/2, longAttempt) {
		c, err := s.tryToWrite(ctx, patience)
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s accepted no write: %w (last: %w)", secondary, context.Cause(ctx), err)
		case <-time.After(time.Millisecond):
		}
	}
}

// An attempt that the server answers with "later" ends soon, so that the next
// one finds out in time; but a slow disk gets the time it needs.
const (
	shortAttempt = 20 * time.Millisecond
	longAttempt  = 2 * time.Second
)

func (s *story) tryToWrite(ctx context.Context, patience time.Duration) (*nfsclient.Client, error) {
	attempt, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := s.eu().dial(attempt, writerOwner)
	if err != nil {
		return nil, err
	}
	if err := c.WriteFile(attempt, firstWrite, contentOf(firstWrite), 0o644); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

const (
	newFiles   = 200 // written after the failover
	fewFiles   = 5   // overwritten, and removed, of the tree
	afterwards = "/after-the-failover"
)

// goOn changes things in the secondary region in all the ways there are.
func (s *story) goOn(ctx context.Context, step *Step) error {
	c := s.writer
	if err := c.MkdirAll(ctx, afterwards, 0o755); err != nil {
		return err
	}
	err := each(ctx, nfsclient.DefaultWorkers, numbers(newFiles), func(ctx context.Context, n int) error {
		return s.writeKnown(ctx, fmt.Sprintf("%s/%03d", afterwards, n))
	})
	if err != nil {
		return err
	}
	overwrite, remove := s.pick()
	for _, f := range overwrite {
		text := bytes.Repeat([]byte("overwritten after the failover\n"), 50)
		if err := c.WriteFile(ctx, treeDir+"/"+f, text, 0o644); err != nil {
			return err
		}
		s.changed += uint64(len(text))
	}
	for _, f := range remove {
		if err := c.Remove(ctx, treeDir+"/"+f); err != nil {
			return err
		}
	}
	moved, files, err := s.moveDir(ctx)
	if err != nil {
		return err
	}
	s.changed += uint64(len(contentOf(firstWrite)))
	step.did("%d files written, %d overwritten, %d removed, %s with %d files renamed", newFiles, len(overwrite), len(remove), moved, files)
	return nil
}

func (s *story) writeKnown(ctx context.Context, path string) error {
	if err := s.writer.WriteFile(ctx, path, contentOf(path), 0o644); err != nil {
		return err
	}
	s.writes.ack(path)
	return nil
}

// pick chooses files of the tree, spread over it.
func (s *story) pick() (overwrite, remove []string) {
	n := len(s.input.files)
	few := min(fewFiles, n/2)
	for i := range few {
		overwrite = append(overwrite, s.input.files[2*i*n/(2*few)])
		remove = append(remove, s.input.files[(2*i+1)*n/(2*few)])
	}
	return overwrite, remove
}

// moveDir renames the largest directory of the tree, or the tree.
func (s *story) moveDir(ctx context.Context) (name string, files int, err error) {
	dir, files := s.input.bigDir()
	name = treeDir + "/" + dir
	if dir == "" {
		name, files = treeDir, int(s.input.count)
	}
	return name, files, s.writer.Rename(ctx, name, name+"-renamed")
}

// comeBack starts the old primary again. It must find out that it was
// superseded, let read and refuse to write.
func (s *story) comeBack(ctx context.Context, step *Step) error {
	us := s.us()
	if err := us.serve(ctx); err != nil {
		return err
	}
	err := until(ctx, primary+" knows that it was superseded", func() (bool, error) {
		st, err := us.status(ctx)
		if err != nil {
			return false, notYet("%v", err)
		}
		if st.Role == "writer" {
			return false, errors.New("the old primary accepts writes although the secondary was promoted")
		}
		return st.Role == "superseded", notYet("it has role %s", st.Role)
	})
	if err != nil {
		return err
	}
	c, err := us.dial(ctx, "")
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.WriteFile(ctx, "/write-at-the-old-primary", []byte("x"), 0o644); !errors.Is(err, fs.ErrROFS) {
		s.problem("a write at the old primary must answer EROFS; it answered: %v", err)
	}
	all := append(s.writes.beforeFailover(), s.writes.lost...)
	missing, err := notWhole(ctx, c, all)
	if err != nil {
		return fmt.Errorf("read at the old primary: %w", err)
	}
	if len(missing) > 0 {
		s.problem("the old primary lost %d of %d writes that it had acknowledged, such as %s", len(missing), len(all), missing[0])
	}
	step.did("it knows that it was superseded: all %d acknowledged writes can be read, new ones answer EROFS", len(all))
	return nil
}
