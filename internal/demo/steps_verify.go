package demo

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"

	"github.com/zeebo/blake3"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfsclient"
)

// verify compares both regions: history, hash of everything, and what a client
// sees.
func (s *story) verify(ctx context.Context, step *Step) error {
	if err := s.waitEqual(ctx, s.us(), s.eu()); err != nil {
		return err
	}
	if err := s.compareHashes(ctx); err != nil {
		return err
	}
	us, err := s.us().dial(ctx, "")
	if err != nil {
		return err
	}
	defer us.Close()
	eu, err := s.eu().dial(ctx, "")
	if err != nil {
		return err
	}
	defer eu.Close()
	files, read, err := s.compareSides(ctx, us, eu)
	if err != nil {
		return err
	}
	known := append(s.writes.all(), firstWrite)
	missing, err := notWhole(ctx, us, known)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		s.problem("%d of %d acknowledged writes are not there at the end, such as %s", len(missing), len(known), missing[0])
	}
	step.did("hashes, %d names with their attributes, the content of %s of files, and %d writes by their known content", files, size(read), len(known))
	return nil
}

// compareHashes asks both regions for their hash until both answer for one
// position.
func (s *story) compareHashes(ctx context.Context) error {
	var us, eu *hashAnswer
	err := until(ctx, "both regions give a hash at one position", func() (ok bool, err error) {
		if us, err = s.us().hash(ctx); err == nil {
			eu, err = s.eu().hash(ctx)
		}
		return err == nil && us.Position == eu.Position, err
	})
	if err != nil {
		return err
	}
	s.rep.Hashes = &Hashes{Position: us.Position, Primary: us.Hash, Secondary: eu.Hash, Keys: us.Keys}
	s.rep.Equal = us.Hash == eu.Hash && us.Hash != ""
	if !s.rep.Equal {
		s.problem("the hashes differ at position %s: %s has %s, %s has %s", us.Position, primary, us.Hash, secondary, eu.Hash)
	}
	return nil
}

// named is one file that both sides have.
type named struct {
	path string
	size uint64
}

// compareSides compares what clients see: every name with its attributes, and
// the content of a sample. It returns how many names, and how many bytes.
func (s *story) compareSides(ctx context.Context, us, eu *nfsclient.Client) (int, uint64, error) {
	there := map[string]nfsclient.Info{}
	if err := eu.Walk(ctx, "/", collect(there)); err != nil {
		return 0, 0, err
	}
	here := map[string]nfsclient.Info{}
	if err := us.Walk(ctx, "/", collect(here)); err != nil {
		return 0, 0, err
	}
	var files []named
	take := sampler(int64(len(here)))
	for path, a := range here {
		b, ok := there[path]
		if !ok || describe(a) != describe(b) {
			s.problem("%s is not the same in both regions: %s and %s", path, describe(a), describe(b))
			continue
		}
		if a.Type == fs.TypeRegular && take(path) {
			files = append(files, named{path, a.Size})
		}
	}
	if len(there) != len(here) {
		s.problem("there are %d names in %s and %d in %s", len(here), primary, len(there), secondary)
	}
	read, err := s.compareContents(ctx, us, eu, files)
	return len(here), read, err
}

func collect(into map[string]nfsclient.Info) func(string, nfsclient.Info) error {
	return func(path string, i nfsclient.Info) error {
		into[path] = i
		return nil
	}
}

// describe is what must be equal of the attributes that clients see.
func describe(i nfsclient.Info) string {
	return fmt.Sprintf("%s, %d links, %d:%d, %d bytes, modified %v, inode %d", i.FileMode(), i.Nlink, i.UID, i.GID, i.Size, i.Mtime, i.ID)
}

func (s *story) compareContents(ctx context.Context, us, eu *nfsclient.Client, files []named) (uint64, error) {
	var read atomic.Uint64
	differs := make(chan string, len(files))
	err := each(ctx, nfsclient.DefaultWorkers, files, func(ctx context.Context, f named) error {
		a, err := sum(ctx, us, f.path)
		if err != nil {
			return err
		}
		b, err := sum(ctx, eu, f.path)
		if err != nil {
			return err
		}
		read.Add(f.size)
		if !bytes.Equal(a, b) {
			differs <- f.path
		}
		return nil
	})
	close(differs)
	for path := range differs {
		s.problem("%s has another content in %s than in %s", path, primary, secondary)
	}
	return read.Load(), err
}

func sum(ctx context.Context, c *nfsclient.Client, path string) ([]byte, error) {
	f, err := c.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	h := blake3.New()
	_, err = f.CopyTo(ctx, h)
	return h.Sum(nil), err
}
