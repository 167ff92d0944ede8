package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// UnreachablePolicy says what a source does after a restart while its
// destination's region does not answer.
type UnreachablePolicy string

// The policies.
const (
	// Wait keeps the source undecided: it might have been superseded.
	Wait UnreachablePolicy = "wait"
	// Serve accepts changes after ServeAfter. Should the destination have been
	// promoted meanwhile, both sides have changed.
	Serve UnreachablePolicy = "serve"
)

// Config is what a control plane is made of. All but Peers, Listeners and
// Logger are needed.
type Config struct {
	Region    string // e.g. "us-east-1"
	AccountID string // 12 digits
	Now       func() time.Time
	Rand      io.Reader // for ids
	Log       Log       // closed by Close
	// FileSystems are the engines. They are not closed by Close.
	FileSystems FileSystems
	// Settings are what is in the journals of the same file systems; nil: there
	// are no access points and no policies.
	Settings  Settings
	Peers     Peers     // nil: no other regions
	Listeners Listeners // nil: mount targets have no listeners of their own
	Subnets   []Subnet
	// SecurityGroups are what mount targets may name.
	SecurityGroups []SecurityGroup
	// KMSKeys are what file systems can be encrypted with; the first is the default.
	KMSKeys []KMSKey
	// RootSquash is for mount targets that have no setting of their own.
	RootSquash bool
	Logger     *slog.Logger // nil: discard

	OnPeerUnreachable UnreachablePolicy // "" is Wait
	// KeepSettings: the settings of sources are not copied to their destinations.
	KeepSettings bool
}

// Control is the control plane of a region. Decisions go through the catalog;
// one worker per file system brings engine, listeners and the other region
// into agreement with it, live and after a restart alike. All methods may be
// called concurrently.
//
// Lock order: catalog.writing, catalog.mu, mu.
type Control struct {
	cfg     Config
	log     *slog.Logger
	catalog *catalog

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	workers map[string]*worker
	live    map[string]*live
	changed chan struct{} // closed and replaced when catalog or live change
	cleaner chan struct{} // kick, capacity 1
	// outcomes holds why a creation was undone, for the request that waits for it.
	outcomes map[string]error

	copies settingsCopies
}

// New opens the catalog. Nothing runs before Start.
func New(cfg Config) (*Control, error) {
	switch {
	case cfg.Region == "" || cfg.AccountID == "":
		return nil, errors.New("control: Region and AccountID are needed")
	case cfg.Now == nil || cfg.Rand == nil || cfg.Log == nil || cfg.FileSystems == nil:
		return nil, errors.New("control: Now, Rand, Log and FileSystems are needed")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Peers == nil {
		cfg.Peers = noPeers{}
	}
	if cfg.Listeners == nil {
		cfg.Listeners = noListeners{}
	}
	catalog, err := openCatalog(cfg.Log)
	if err != nil {
		return nil, err
	}
	c := &Control{cfg: cfg, log: cfg.Logger, catalog: catalog, workers: map[string]*worker{},
		live: map[string]*live{}, changed: make(chan struct{}), cleaner: make(chan struct{}, 1),
		outcomes: map[string]error{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Start starts the workers and waits until each has tried to open its file
// system, or ctx ends. A file system that does not open keeps nobody else from
// starting: see Problems.
func (c *Control) Start(ctx context.Context) error {
	var ids []string
	c.catalog.read(func(s *state) {
		for id := range s.fileSystems {
			ids = append(ids, id)
		}
	})
	for _, id := range ids {
		c.startWorker(id)
	}
	c.spawn(c.runCleaner)
	c.spawn(c.sweep)
	for _, id := range ids {
		if err := c.await(ctx, func() bool { return c.tried(id) }); err != nil {
			return fmt.Errorf("start file system %s: %w", id, err)
		}
	}
	c.spawn(func(ctx context.Context) { c.readAhead(ctx, ids) })
	return nil
}

// Close ends all that runs and closes the log. What was half done is finished
// or undone after the next Start.
func (c *Control) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.tasks.Wait()
	return c.cfg.Log.Close()
}

// Problems lists the file systems that are not as the catalog wants them, with
// the reason. It is empty in good health.
func (c *Control) Problems() map[string]error {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]error{}
	for id, l := range c.live {
		errs := []error{l.err}
		for _, id := range slices.Sorted(maps.Keys(l.targets)) {
			errs = append(errs, l.targets[id])
		}
		if err := errors.Join(errs...); err != nil {
			all[id] = err
		}
	}
	return all
}

// spawn runs fn until it returns by itself; its context ends with Close.
func (c *Control) spawn(fn func(context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.tasks.Go(func() { fn(c.ctx) })
}

// sweep lets the workers that are parked look at their file systems now and then,
// as those that run do.
func (c *Control) sweep(ctx context.Context) {
	t := time.NewTicker(idle)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			c.unparkAll()
		}
	}
}

func (c *Control) unparkAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.workers {
		w.mu.Lock()
		w.unpark()
		w.mu.Unlock()
	}
}

func (c *Control) startWorker(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.workers[id] != nil {
		return
	}
	w := newWorker(c, id)
	c.workers[id] = w
	c.tasks.Go(func() { w.run(c.ctx) })
}

// kick makes the worker of a file system look at the catalog at once, giving
// up a call to the other region that it may be waiting for.
func (c *Control) kick(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.workers[id]; w != nil {
		w.kick()
	}
}

// update changes the catalog and wakes who waits for a change.
func (c *Control) update(decide func(*tx) error) error {
	err := c.catalog.update(decide)
	c.wake()
	return err
}

func (c *Control) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
}

// await returns when ok holds, ctx ends or the control plane closes.
func (c *Control) await(ctx context.Context, ok func() bool) error {
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		if ok() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.ctx.Done():
			return errors.New("the control plane is closing")
		}
	}
}

// settle waits up to bound for ok. Whether it held in time is for the caller
// to see in what it reports: the work goes on without it.
func (c *Control) settle(ctx context.Context, bound time.Duration, ok func() bool) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	_ = c.await(ctx, ok)
}

func (c *Control) fileSystem(id string) (f *FileSystem) {
	c.catalog.read(func(s *state) { f = s.fileSystems[id] })
	return f
}

func (c *Control) replication(id string) (r *Replication) {
	c.catalog.read(func(s *state) { r = s.replications[id] })
	return r
}

type noPeers struct{}

func (noPeers) Call(_ context.Context, region, _ string, _, _ any) error {
	return fmt.Errorf("region %s is not configured", region)
}
func (noPeers) Regions() []string { return nil }

type noListeners struct{}

func (noListeners) Listen(context.Context, string, string, []string, Admission) error { return nil }
func (noListeners) Close(context.Context, string) error                               { return nil }
