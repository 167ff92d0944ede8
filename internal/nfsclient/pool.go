package nfsclient

import (
	"context"
	"sync"
)

// pool carries out tasks with a fixed number of goroutines. Tasks may add
// tasks; the newest is taken first, so that a tree is worked off in depth and
// few tasks wait. The first error cancels the rest.
type pool struct {
	mu      sync.Mutex
	wake    *sync.Cond
	tasks   []func(ctx context.Context) error
	running int
	stopped bool
}

// runPool carries out first and everything it adds.
func runPool(ctx context.Context, workers int, first func(ctx context.Context, p *pool) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &pool{}
	p.wake = sync.NewCond(&p.mu)
	stop := context.AfterFunc(ctx, p.stop)
	defer stop()
	p.add(func(ctx context.Context) error { return first(ctx, p) })
	var wg sync.WaitGroup
	for range max(workers, 1) {
		wg.Go(func() {
			for task := p.next(); task != nil; task = p.next() {
				if err := task(ctx); err != nil {
					cancel(err)
				}
				p.finished()
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (p *pool) add(task func(ctx context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tasks = append(p.tasks, task)
	p.wake.Signal()
}

// next waits for a task; nil means that there will be none.
func (p *pool) next() func(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.tasks) == 0 && p.running > 0 && !p.stopped {
		p.wake.Wait()
	}
	if p.stopped || len(p.tasks) == 0 {
		p.wake.Broadcast()
		return nil
	}
	task := p.tasks[len(p.tasks)-1]
	p.tasks = p.tasks[:len(p.tasks)-1]
	p.running++
	return task
}

func (p *pool) finished() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	p.wake.Broadcast()
}

func (p *pool) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.wake.Broadcast()
}
