package region

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// A file system that nobody uses goes to rest: its engine is closed, and what
// others ask of it is answered from what it held. Who needs the engine uses it,
// which wakes the file system when it is at rest; it stays awake as long as
// somebody does. A file system in a replication is never put to rest.

const (
	// restAfter is how long nobody uses an engine before it goes to rest. To wake
	// it takes some tens of milliseconds, so a client that comes back every few
	// minutes does not notice; one that comes more often finds it open.
	restAfter = 5 * time.Minute
	// restCrowd engines may stand idle for so long. With more of them open each
	// goes to rest sooner: an engine takes half a megabyte and eight goroutines.
	restCrowd      = 64
	restCrowdAfter = 10 * time.Second
	// restLook is how often it is looked for engines that nobody uses: more
	// seldom than that, memory would be taken for longer than it need be.
	restLook = 5 * time.Second

	// A file system at rest is woken up for its cleaner, where its journal holds
	// more than its files need, after cleanRested, or on a disk with little room
	// after cleanCrowded; cleanAtOnce of them at each look.
	cleanRested  = 24 * time.Hour
	cleanCrowded = time.Hour
	cleanAtOnce  = 4

	// restedVersion is the version of settings that another process has left. A
	// tree never gives it (tree.settingsPerTree).
	restedVersion = 1
)

// errNotOpen: there is no such file system, or it did not open.
func errNotOpen(id string) error { return fmt.Errorf("file system %s is not open", id) }

// use gives the engine, waking the file system if it is at rest. done must be
// called when the engine is needed no more. Who comes while the file system goes
// to rest or wakes up waits for that, and it is woken up once.
func (x *volume) use(ctx context.Context) (*engine.Engine, error) {
	if e := x.pin(); e != nil {
		return e, nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.wake(ctx, true); err != nil {
		return nil, err
	}
	return x.pin(), nil
}

// pin gives the open engine with one user more; nil while it is not open.
func (x *volume) pin() *engine.Engine {
	x.stateMu.Lock()
	defer x.stateMu.Unlock()
	if x.eng != nil {
		x.users++
		x.uses++
	}
	return x.eng
}

// done ends what use or pin began.
func (x *volume) done() {
	now := x.v.env.now()
	x.stateMu.Lock()
	defer x.stateMu.Unlock()
	x.users--
	x.used = now
}

// look gives the open engine, or what is known of the file system at rest, or
// neither. It is no use of the file system, so it wakes nothing and keeps
// nothing awake; but what it gives stays so until looked is called, which must
// be soon.
func (x *volume) look() (*engine.Engine, *engine.Resting) {
	x.stateMu.Lock()
	defer x.stateMu.Unlock()
	if x.eng != nil {
		x.users++
	}
	return x.eng, x.rest
}

func (x *volume) looked(e *engine.Engine) {
	if e == nil {
		return
	}
	x.stateMu.Lock()
	defer x.stateMu.Unlock()
	x.users--
}

// resting is what is known of the file system if it has come to rest, nil if it
// is open. Who asks waits while it is on its way.
func (x *volume) resting() *engine.Resting {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.rest
}

// wake opens the engine of a file system at rest; with enter it becomes the
// writer again. Needs mu.
func (x *volume) wake(ctx context.Context, enter bool) error {
	switch {
	case x.engine() != nil:
		return nil
	case x.rest == nil:
		return errNotOpen(x.id)
	}
	ctx = context.WithoutCancel(ctx) // it is for others too
	e, err := engine.Open(ctx, x.v.options(x.id))
	if err == nil && enter && !e.Resume(x.rest) {
		if err = e.BeginWriting(ctx); err != nil {
			err = errors.Join(err, e.Close())
		}
	}
	if err != nil {
		err = fmt.Errorf("wake file system %s: %w", x.id, err)
		x.noteTrouble(err)
		return err
	}
	x.opened(e)
	return nil
}

// noteTrouble keeps why a file system does not wake up, and logs it once.
func (x *volume) noteTrouble(err error) {
	x.stateMu.Lock()
	known := x.trouble != nil && x.trouble.Error() == err.Error()
	x.trouble = err
	x.stateMu.Unlock()
	if !known {
		x.v.env.log.Error("a file system at rest does not open; it is tried again when it is used next", "file_system", x.id, "error", err)
	}
}

// rested makes the volume one at rest. Needs mu.
func (x *volume) rested(r *engine.Resting) {
	now := x.v.env.now()
	x.stateMu.Lock()
	defer x.stateMu.Unlock()
	x.eng, x.rest, x.used = nil, r, now
}

// putToRest closes the engine if nobody has used it for a time and nothing is
// left to do. It reports whether it did.
func (v *volumes) putToRest(x *volume, idle time.Duration) bool {
	if !x.mu.TryLock() {
		return false // something is about to happen
	}
	defer x.mu.Unlock()
	e, uses, quiet := x.quiet(v.env.now(), idle)
	if !quiet || x.follow != nil || v.replicated(x.id) || e.Idle() != nil {
		return false
	}
	r, err := e.Resting()
	if err != nil {
		return false
	}
	// From here on whoever comes waits for mu, and wakes it again.
	x.stateMu.Lock()
	if x.users > 0 || x.uses != uses {
		x.stateMu.Unlock()
		return false
	}
	x.eng, x.rest = nil, r
	x.stateMu.Unlock()
	return x.finishRest(e)
}

// quiet tells whether nobody uses the engine of a writer, and has not for a time.
func (x *volume) quiet(now time.Time, idle time.Duration) (e *engine.Engine, uses uint64, ok bool) {
	x.stateMu.Lock()
	defer x.stateMu.Unlock()
	unused := x.unusedFor(now)
	return x.eng, x.uses, x.eng != nil && x.role == control.RoleWriter && x.users == 0 && unused >= idle
}

// unusedFor is how long nobody has used the file system, open or at rest. Needs stateMu.
func (x *volume) unusedFor(now time.Time) time.Duration {
	if now.Before(x.used) {
		x.used = now // the clock was put back
	}
	return now.Sub(x.used)
}

// finishRest needs mu, and that nobody can get at e any more.
func (x *volume) finishRest(e *engine.Engine) bool {
	r, err := e.Rest()
	if errors.Is(err, engine.ErrInUse) {
		x.stateMu.Lock()
		defer x.stateMu.Unlock()
		x.eng, x.rest = e, nil
		return false
	}
	x.rested(r)
	c := e.CleanStats()
	x.stateMu.Lock()
	x.freed, x.copied = x.freed+c.Freed, x.copied+c.Copied
	x.stateMu.Unlock()
	if err != nil {
		x.v.env.log.Warn("a file system went to rest and could not write down what it holds; the next start opens it", "file_system", x.id, "error", err)
	} else {
		x.v.env.log.Info("file system went to rest", "file_system", x.id, "position", r.Pos.String())
	}
	return true
}

// tend puts to rest what nobody uses: the ones that were used longest ago first.
func (v *volumes) tend() {
	open := v.awake()
	left := len(open)
	for _, x := range open {
		after := restAfter
		if left > restCrowd {
			after = restCrowdAfter
		}
		if v.putToRest(x, after) {
			left--
		}
	}
}

// clean wakes file systems at rest whose journals should be cleaned. Before they
// go back to rest, that is done.
func (v *volumes) clean(ctx context.Context) {
	now, woken := v.env.now(), 0
	for _, x := range v.all() {
		e, r := x.look()
		x.looked(e)
		if r == nil || !r.Garbage(v.options(x.id)) {
			continue
		}
		x.stateMu.Lock()
		rested := x.unusedFor(now)
		x.stateMu.Unlock()
		if rested < cleanCrowded || rested < cleanRested && !engine.Crowded(v.options(x.id)) {
			continue
		}
		if _, err := x.use(ctx); err == nil {
			x.done()
		}
		if woken++; woken == cleanAtOnce {
			return
		}
	}
}

// awake are the volumes with an open engine, those that were used longest ago first.
func (v *volumes) awake() []*volume {
	type at struct {
		x    *volume
		used time.Time
	}
	var l []at
	for _, x := range v.all() {
		x.stateMu.Lock()
		if x.eng != nil {
			l = append(l, at{x, x.used})
		}
		x.stateMu.Unlock()
	}
	sort.Slice(l, func(i, j int) bool {
		if !l[i].used.Equal(l[j].used) {
			return l[i].used.Before(l[j].used)
		}
		return l[i].x.id < l[j].x.id
	})
	open := make([]*volume, len(l))
	for i := range l {
		open[i] = l[i].x
	}
	return open
}

// all are the volumes in the order of their ids.
func (v *volumes) all() []*volume {
	v.mu.RLock()
	defer v.mu.RUnlock()
	l := make([]*volume, 0, len(v.m))
	for _, x := range v.m {
		l = append(l, x)
	}
	sort.Slice(l, func(i, j int) bool { return l[i].id < l[j].id })
	return l
}

// run tends until ctx ends.
func (v *volumes) run(ctx context.Context) error {
	for sleepFor(ctx, restLook) == nil {
		v.tend()
		v.clean(ctx)
	}
	return nil
}

// replicated reports whether the file system is in a replication, or may be.
func (v *volumes) replicated(id string) bool {
	return v.env.replicated == nil || v.env.replicated(id)
}

// atRest takes a writer over that says on disk that it is at rest, so that it
// need not be opened. Needs mu.
func (v *volumes) atRest(x *volume, role control.Role) bool {
	if role != control.RoleWriter || v.replicated(x.id) {
		return false
	}
	r := engine.ReadResting(v.options(x.id))
	if r == nil {
		return false
	}
	r.SettingsVersion = restedVersion
	x.rested(r)
	x.setRole(role)
	return true
}

// statAtRest is Stat of a file system at rest.
func statAtRest(r *engine.Resting, role control.Role, trouble error) control.Stat {
	st := control.Stat{Lineage: r.Lineage, Role: role, Durable: r.Pos, BytesUsed: r.BytesUsed, Files: r.Files, Whole: true}
	if trouble != nil {
		st.Err = trouble.Error()
	}
	return st
}

// refusal of a client's request for a file system that does not wake up: it is
// to come again, unless the operator has to do something first.
func wakeRefusal(err error) error {
	var damage *fs.CorruptionError
	if errors.As(err, &damage) {
		return fmt.Errorf("%w: %w", fs.ErrIO, err)
	}
	return fmt.Errorf("%w: %w", fs.ErrDelay, err)
}
