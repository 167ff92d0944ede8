package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Intervals of a worker.
const (
	// idle is how often a worker looks at a file system that needs nothing.
	idle = time.Minute
	// pollQuick is the interval of questions to the other region while an
	// answer is awaited, pollSteady afterwards.
	pollQuick  = 100 * time.Millisecond
	pollSteady = time.Second
	// pollUndecided is the interval while a source does not know whether it
	// was superseded; its clients wait for the answer.
	pollUndecided = 500 * time.Millisecond
	// retryFirst and retryLast bound the waiting after a failed step.
	retryFirst = 200 * time.Millisecond
	retryLast  = 10 * time.Second
	// ServeAfter is how long a source waits for its peer under the policy Serve.
	ServeAfter = 10 * time.Second
	// remindEvery is the interval of the log line about an undecided source.
	remindEvery = 30 * time.Second
)

// again asks for another step at once.
const again = time.Duration(0)

// view is what the catalog says of one file system.
type view struct {
	fs      *FileSystem
	rep     *Replication
	targets []*MountTarget
}

// worker brings one file system into agreement with the catalog: a loop of
// steps, each of which looks at the catalog, does what is next and returns
// when to look again. It alone calls the engine of its file system, so the
// steps of two requests never mix.
type worker struct {
	c     *Control
	id    string
	kicks chan struct{}   // capacity 1
	polls chan pollResult // capacity 1: one poll runs at a time
	asked chan pollResult // answers to questions out of the rhythm

	mu        sync.Mutex
	interrupt context.CancelFunc // ends the call to the other region that runs
	parked    bool               // no goroutine runs: see park

	// All below belongs to the goroutine of run.
	begun  bool
	opened bool
	role   Role
	up     Upstream
	// decided: a source may accept changes, it was not superseded.
	decided    bool
	startedAt  time.Time
	remindedAt time.Time
	listening  map[string]string // mount target -> Admission in force
	targetsErr error             // of the last step; kept apart, as it hinders nothing else
	failures   int
	rep        repMemory
}

// repMemory is what a worker remembers of the current replication.
type repMemory struct {
	id         string
	polling    bool
	pollDue    time.Time
	progress   uint64    // of a drain: the highest durable sequence seen
	progressAt time.Time // and when
	shared     bool      // settings were sent since the last answer to a poll
	shareErr   string    // why that failed, as it was logged
}

func newWorker(c *Control, id string) *worker {
	return &worker{c: c, id: id, kicks: make(chan struct{}, 1), polls: make(chan pollResult, 1),
		asked: make(chan pollResult), listening: map[string]string{}, startedAt: c.cfg.Now()}
}

// kick may be called by anyone; unless the worker itself does, c.mu is held.
func (w *worker) kick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.interrupt != nil {
		w.interrupt()
	}
	select {
	case w.kicks <- struct{}{}:
	default:
	}
	w.unpark()
}

// park ends the goroutine of a worker that has nothing to do, so that a file
// system at rest costs none; a kick starts one again, and so does Control.sweep
// now and then. It reports false when there was a kick meanwhile.
func (w *worker) park() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parked = len(w.kicks) == 0
	return w.parked
}

// unpark needs c.mu, unless it is called by the worker itself, and mu.
func (w *worker) unpark() {
	if w.parked && !w.c.closed {
		w.parked = false
		w.c.tasks.Go(func() { w.run(w.c.ctx) })
	}
}

func (w *worker) view() (v view) {
	w.c.catalog.read(func(s *state) {
		v = view{fs: s.fileSystems[w.id], rep: s.replicationOf(w.id), targets: s.mountTargetsOf(w.id)}
	})
	return v
}

func (w *worker) run(ctx context.Context) {
	if !w.begun {
		v := w.view()
		w.decided = v.rep == nil || v.rep.Side != SideSource || v.rep.Stage == StagePreparing
		w.begun = true
	}
	for ctx.Err() == nil {
		wait, gone := w.look(ctx)
		switch {
		case gone:
			w.c.forget(w.id)
			return
		case wait == again:
			continue
		case wait == idle && w.rep == (repMemory{}) && w.park():
			return
		}
		w.sleep(ctx, wait)
	}
}

func (w *worker) sleep(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-w.kicks:
	case <-timer.C:
	case p := <-w.polls:
		w.rep.polling = false
		w.learn(p)
	case p := <-w.asked:
		w.learn(p)
	}
}

// look takes one step and publishes how it went.
func (w *worker) look(ctx context.Context) (wait time.Duration, gone bool) {
	select { // what was kicked for is in the view
	case <-w.kicks:
	default:
	}
	v := w.view()
	if v.fs == nil {
		return 0, true
	}
	w.remember(v.rep)
	wait, err := w.step(ctx, v)
	if ctx.Err() != nil {
		return again, false
	}
	w.c.publish(w.id, func(l *live) {
		l.tried, l.err = true, err
		l.steps++
		l.role = ""
		if w.opened {
			l.role = w.role
		}
	})
	if err = errors.Join(err, w.targetsErr); err != nil {
		return w.backoff(err), false
	}
	w.failures = 0
	return wait, false
}

func (w *worker) backoff(err error) time.Duration {
	wait := retryLast
	if w.failures < 6 {
		wait = min(retryFirst<<w.failures, retryLast)
	}
	w.failures++
	w.c.log.Error("file system is not as wanted; trying again", "file_system", w.id, "attempt", w.failures, "wait", wait, "error", err)
	return wait
}

// remember starts with an empty memory when the replication is another one.
func (w *worker) remember(r *Replication) {
	id := ""
	if r != nil {
		id = r.ID
	}
	if w.rep.id == id {
		return
	}
	w.rep = repMemory{id: id, polling: w.rep.polling}
	w.c.publish(w.id, func(l *live) {
		l.replication, l.attempts, l.peer, l.peerErr = id, 0, nil, nil
	})
}

// step does what is next for the file system. An error is tried again later.
func (w *worker) step(ctx context.Context, v view) (time.Duration, error) {
	w.targetsErr = nil
	switch v.fs.State {
	case Deleting:
		return again, w.remove(ctx, v)
	case Creating:
		return again, w.create(ctx, v)
	}
	w.targetsErr = w.closeTargets(ctx, v)
	roleErr := w.ensureRole(ctx, v)
	w.c.publish(w.id, func(l *live) { l.tried = true }) // the rest may wait for another region
	if errors.Is(roleErr, ErrNotWhole) && v.rep != nil && v.rep.Stage == StagePromoting {
		return again, w.finishPromotion(v, OutcomeDiscarded)
	}
	if w.opened {
		w.targetsErr = errors.Join(w.targetsErr, w.openTargets(ctx, v))
	}
	wait, repErr := w.replicate(ctx, v)
	return wait, errors.Join(roleErr, repErr)
}

func (w *worker) create(ctx context.Context, v view) error {
	var err error
	if v.fs.MadeFor != "" {
		err = w.c.cfg.FileSystems.CreateDestination(ctx, w.id, v.fs.KMSKey)
	} else {
		_, err = w.c.cfg.FileSystems.Create(ctx, w.id, v.fs.KMSKey)
	}
	if err != nil {
		return fmt.Errorf("create the file system: %w", err)
	}
	return w.c.update(func(t *tx) error {
		f := t.fileSystems[w.id]
		if f == nil || f.State != Creating {
			return nil
		}
		made := *f
		made.State = Available
		t.putFileSystem(made)
		return nil
	})
}

// remove deletes the mount targets, the data and then the record.
func (w *worker) remove(ctx context.Context, v view) error {
	for _, t := range v.targets {
		if err := w.closeTarget(ctx, t.ID); err != nil {
			return err
		}
	}
	if err := w.c.cfg.FileSystems.Delete(ctx, w.id); err != nil {
		return fmt.Errorf("delete the file system: %w", err)
	}
	w.opened = false
	return w.c.update(func(t *tx) error {
		for _, m := range t.mountTargetsOf(w.id) {
			t.drop(kindMountTarget, m.ID)
		}
		t.drop(kindFileSystem, w.id)
		return nil
	})
}

// wantRole is the role that the catalog, and for a source the answer of the
// other region, ask for.
func (w *worker) wantRole(v view) (Role, *Upstream, error) {
	r := v.rep
	switch {
	case r == nil:
		w.decided = true
		return RoleWriter, nil, nil
	case r.Side == SideSource && r.Fault == FaultSuperseded:
		return RoleSuperseded, nil, nil
	case r.Side == SideSource && !w.decided:
		return RoleUndecided, nil, nil
	case r.Side == SideSource, r.Stage == StagePromoting:
		return RoleWriter, nil, nil
	}
	up, err := upstreamOf(r)
	return RoleDestination, up, err
}

func (w *worker) ensureRole(ctx context.Context, v view) error {
	if v.fs.State == Failed {
		return nil
	}
	role, up, err := w.wantRole(v)
	if err != nil {
		return err
	}
	if w.opened && w.role == role && (up == nil || up.sameAs(w.up)) {
		return nil
	}
	if w.opened {
		err = w.c.cfg.FileSystems.SetRole(ctx, w.id, role, up)
	} else {
		err = w.c.cfg.FileSystems.Open(ctx, w.id, role, up)
	}
	if err != nil {
		return fmt.Errorf("make file system %s a %s: %w", w.id, role, err)
	}
	w.opened, w.role, w.up = true, role, Upstream{}
	if up != nil {
		w.up = *up
	}
	w.c.publish(w.id, func(l *live) { l.role = role })
	w.c.log.Info("file system has its role", "file_system", w.id, "role", role)
	return nil
}
