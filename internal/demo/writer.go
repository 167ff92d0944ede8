package demo

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/nfsclient"
)

// writtenDir holds the files of the writers, one directory each.
const writtenDir = "/written"

const (
	writers = 4
	// writtenBytes is about the size of a small source file or a mail.
	writtenBytes = 2000
)

// writes is what the writers did: who knows a path knows its content.
type writes struct {
	mu    sync.Mutex
	acked []string
	// lost are those that were acknowledged and are not there after the
	// failover; they are not among acked any more. before is how many of acked
	// are older than the failover. Both are set once, by failover.
	lost   []string
	before int
}

func (w *writes) ack(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked = append(w.acked, path)
}

// all are the paths whose writing was acknowledged.
func (w *writes) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.acked...)
}

// settle takes the lost ones out.
func (w *writes) settle(lost []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked, w.lost = without(w.acked, lost), lost
	w.before = len(w.acked)
}

// beforeFailover are those that are older than the failover and not lost.
func (w *writes) beforeFailover() []string { return w.all()[:w.before] }

func without(all, some []string) []string {
	drop := make(map[string]bool, len(some))
	for _, x := range some {
		drop[x] = true
	}
	var rest []string
	for _, x := range all {
		if !drop[x] {
			rest = append(rest, x)
		}
	}
	return rest
}

// contentOf is the content of the file at a path.
func contentOf(path string) []byte {
	return bytes.Repeat([]byte(path+" was written here.\n"), writtenBytes/(len(path)+19)+1)
}

// writeOn writes one new file after the other until ctx ends. A file counts
// once its writing was acknowledged. The error is nil when ctx ended it.
func (w *writes) writeOn(ctx context.Context, c *nfsclient.Client) error {
	return each(ctx, writers, numbers(writers), func(ctx context.Context, i int) error {
		for n := 0; ; n++ {
			path := fmt.Sprintf("%s/%d/%06d", writtenDir, i, n)
			if err := c.WriteFile(ctx, path, contentOf(path), 0o644); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			w.ack(path)
		}
	})
}

func makeWrittenDirs(ctx context.Context, c *nfsclient.Client) error {
	for i := range writers {
		if err := c.MkdirAll(ctx, fmt.Sprintf("%s/%d", writtenDir, i), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func numbers(n int) []int {
	l := make([]int, n)
	for i := range l {
		l[i] = i
	}
	return l
}

// each calls fn for all items, so many at a time; the first error ends it.
func each[T any](ctx context.Context, workers int, items []T, fn func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan T)
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	for range workers {
		wg.Go(func() {
			for item := range queue {
				if err := fn(ctx, item); err != nil {
					once.Do(func() { first = err })
					cancel(err)
				}
			}
		})
	}
	for _, item := range items {
		select {
		case queue <- item:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(queue)
	wg.Wait()
	if first == nil && len(items) > 0 && ctx.Err() != nil && workers < len(items) {
		first = context.Cause(ctx)
	}
	return first
}

// notWhole are the paths that are not there with their whole content.
func notWhole(ctx context.Context, c *nfsclient.Client, paths []string) ([]string, error) {
	var mu sync.Mutex
	var missing []string
	err := each(ctx, nfsclient.DefaultWorkers, paths, func(ctx context.Context, path string) error {
		got, err := c.ReadFile(ctx, path)
		if err != nil && !isNotExist(err) {
			return err
		}
		if err != nil || !bytes.Equal(got, contentOf(path)) {
			mu.Lock()
			defer mu.Unlock()
			missing = append(missing, path)
		}
		return nil
	})
	return missing, err
}
