package region

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/replica"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// volumes are the engines of a region with their followers: what the control
// plane steers and the NFS server exports.
type volumes struct {
	env volumeEnv

	mu sync.RWMutex
	m  map[string]*volume

	lineages sync.Map // fs.Lineage -> id, a cache for ByLineage
}

// volumeEnv is what every volume is made with.
type volumeEnv struct {
	fs        disk.FS
	dir       string
	region    string
	cache     *pebble.Cache
	now       func() time.Time
	rand      randReader
	log       *slog.Logger
	registry  prometheus.Registerer
	http      func(region string) *http.Client
	peerURL   func(region string) (string, bool)
	bandwidth int64
	clean     engine.CleanOptions
	keys      seal.Keeper
	// kmsKey tells what a file system is encrypted with, "" for nothing; nil: it is
	// not known. It asks the control plane, so Open alone may call it.
	kmsKey func(id string) string
	// recordSegmentBytes is the size of record segments; 0: the journal's default.
	recordSegmentBytes int64
	// replicated tells whether a file system is in a replication; nil: all may be.
	replicated func(id string) bool
}

type randReader interface{ Read([]byte) (int, error) }

// volume is one file system. mu serialises changes of its role, going to rest
// and waking; eng and rest are changed with both locks. Before mu no lock is
// held, after stateMu none is taken.
type volume struct {
	id   string
	v    *volumes
	door *door

	mu     sync.Mutex
	follow *following

	stateMu sync.Mutex      // short; for all below
	eng     *engine.Engine  // nil: not open
	rest    *engine.Resting // not nil: at rest
	users   int             // of eng, who must not find it closed
	uses    uint64          // that there ever were
	used    time.Time       // when the last one went; at rest, since when
	trouble error           // why it does not wake up
	gone    bool            // it was deleted
	freed   uint64          // what the cleaners of earlier engines gave back, bytes,
	copied  uint64          // and copied for that
	role    control.Role
	status  func() replica.Status // nil: no follower
}

// following is a running follower.
type following struct {
	up   control.Upstream
	stop context.CancelFunc
	done chan struct{}
}

// follows reports whether up is what is followed already. That records flow
// the follower knows by itself.
func (f *following) follows(up control.Upstream) bool {
	up.Followed = f.up.Followed
	return f.up == up
}

func newVolumes(env volumeEnv) *volumes {
	return &volumes{env: env, m: make(map[string]*volume)}
}

func (v *volumes) options(id string) engine.Options {
	clean := v.env.clean
	clean.Alone = func() bool { return !v.replicated(id) }
	return engine.Options{FS: v.env.fs, Dir: filepath.Join(v.env.dir, id), ID: id, Region: v.env.region,
		Now: v.env.now, Rand: v.env.rand, Logger: v.env.log, Cache: v.env.cache, Clean: clean, Keys: v.env.keys,
		RecordSegmentBytes: v.env.recordSegmentBytes}
}

func (v *volumes) get(id string) *volume {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.m[id]
}

// slot gives the volume's place, making it when needed.
func (v *volumes) slot(id string) *volume {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.m[id] == nil {
		x := &volume{id: id, v: v}
		x.door = &door{x}
		v.m[id] = x
	}
	return v.m[id]
}

// Create implements control.FileSystems. A file system that a crash left half
// made is finished.
func (v *volumes) Create(ctx context.Context, id, kmsKey string) (fs.Lineage, error) {
	x := v.slot(id)
	x.mu.Lock()
	defer x.mu.Unlock()
	if r := x.rest; r != nil {
		return r.Lineage, nil // made long ago
	}
	if x.eng == nil {
		o := v.options(id)
		o.KMSKey = kmsKey
		eng, err := engine.OpenOrCreate(ctx, o)
		if err != nil {
			return fs.Lineage{}, err
		}
		x.opened(eng)
	}
	if x.eng.LastApplied() == 0 {
		if err := x.eng.BeginWriting(ctx); err != nil {
			return fs.Lineage{}, err
		}
	}
	return x.eng.Lineage(), nil
}

// opened makes e the engine. Needs mu.
func (x *volume) opened(e *engine.Engine) {
	now := x.v.env.now()
	x.stateMu.Lock()
	defer x.stateMu.Unlock()
	x.eng, x.rest, x.trouble, x.used = e, nil, nil, now
}

// closed takes the engine out of use, if there is one, for its caller to close.
// alone: nobody uses it just now. Needs mu.
func (x *volume) closed() (e *engine.Engine, alone bool) {
	x.stateMu.Lock()
	defer x.stateMu.Unlock()
	e = x.eng
	x.eng, x.rest = nil, nil
	return e, x.users == 0
}

func (x *volume) isGone() bool {
	x.stateMu.Lock()
	defer x.stateMu.Unlock()
	return x.gone
}

// CreateDestination implements control.FileSystems.
func (v *volumes) CreateDestination(_ context.Context, id, kmsKey string) error {
	o := v.options(id)
	o.KMSKey = kmsKey
	return engine.CreateEmpty(o)
}

// Open implements control.FileSystems.
func (v *volumes) Open(ctx context.Context, id string, role control.Role, up *control.Upstream) error {
	x := v.slot(id)
	x.mu.Lock()
	if x.eng == nil && x.rest == nil && !v.atRest(x, role) {
		o := v.options(id)
		if v.env.kmsKey != nil {
			o.KMSKey = v.env.kmsKey(id)
		}
		eng, err := engine.Open(ctx, o)
		if err != nil {
			x.mu.Unlock()
			return err
		}
		x.opened(eng)
	}
	x.mu.Unlock()
	return v.SetRole(ctx, id, role, up)
}

// SetRole implements control.FileSystems.
func (v *volumes) SetRole(ctx context.Context, id string, role control.Role, up *control.Upstream) error {
	x := v.get(id)
	if x == nil {
		return errNotOpen(id)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.rest != nil && role == control.RoleWriter {
		return nil // it is one, at rest
	}
	if err := x.wake(ctx, false); err != nil {
		return err
	}
	if role != control.RoleDestination || x.follow != nil && up != nil && !x.follow.follows(*up) {
		x.stopFollowing()
	}
	err := v.enter(ctx, x, role, up)
	if err == nil {
		x.setRole(role)
	}
	return err
}

func (x *volume) setRole(r control.Role) {
	x.stateMu.Lock()
	defer x.stateMu.Unlock()
	x.role = r
}

func (v *volumes) enter(ctx context.Context, x *volume, role control.Role, up *control.Upstream) error {
	switch role {
	case control.RoleWriter:
		err := x.eng.BeginWriting(ctx)
		if errors.Is(err, engine.ErrNotWhole) {
			return control.ErrNotWhole
		}
		return err
	case control.RoleUndecided:
		return x.eng.StopWriting(ctx, engine.Waiting)
	case control.RoleSuperseded:
		return x.eng.StopWriting(ctx, engine.ReadOnly)
	case control.RoleDestination:
		if err := x.eng.StopWriting(ctx, engine.ReadOnly); err != nil {
			return err
		}
		return v.startFollowing(x, up)
	}
	return fmt.Errorf("role %q is not known", role)
}

func (v *volumes) startFollowing(x *volume, up *control.Upstream) error {
	if x.follow != nil {
		return nil
	}
	if up == nil {
		return errors.New("a destination needs to know its source")
	}
	url, ok := v.env.peerURL(up.Region)
	if !ok {
		return fmt.Errorf("region %s is not among the peers of the configuration: add it to peer.peers and restart", up.Region)
	}
	f, err := replica.NewFollower(replica.FollowerConfig{
		Dest: destination{source{Engine: x.eng}, up.Lineage}, HTTP: v.env.http(up.Region), BaseURL: url,
		FileSystemID: up.FileSystemID, ReplicationID: up.Replication, Lineage: up.Lineage,
		// The control plane took the file system over only because its
		// protection was disabled: that is the operator's word.
		AllowReplace:   true,
		Followed:       up.Followed,
		BandwidthLimit: v.env.bandwidth, Rand: v.env.rand, Logger: v.env.log.With("file_system", x.id),
		Registerer: prometheus.WrapRegistererWith(prometheus.Labels{labels[0]: x.id}, v.env.registry),
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	x.follow = &following{up: *up, stop: stop, done: make(chan struct{})}
	x.stateMu.Lock()
	x.status = f.Status
	x.stateMu.Unlock()
	go func(done chan struct{}) {
		defer close(done)
		if err := f.Run(ctx); err != nil && ctx.Err() == nil {
			v.env.log.Error("the follower ended", "file_system", x.id, "error", err)
		}
	}(x.follow.done)
	return nil
}

// stopFollowing needs x.mu.
func (x *volume) stopFollowing() {
	if x.follow == nil {
		return
	}
	x.follow.stop()
	<-x.follow.done
	x.follow = nil
	x.stateMu.Lock()
	x.status = nil
	x.stateMu.Unlock()
}

// Delete implements control.FileSystems.
func (v *volumes) Delete(_ context.Context, id string) error {
	x := v.slot(id)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stopFollowing()
	x.stateMu.Lock()
	x.gone = true
	x.stateMu.Unlock()
	if e, _ := x.closed(); e != nil {
		if err := e.Close(); err != nil {
			v.env.log.Warn("closing a file system that is to be deleted", "file_system", id, "error", err)
		}
	}
	v.mu.Lock()
	delete(v.m, id)
	v.mu.Unlock()
	dir := filepath.Join(v.env.dir, id)
	if err := v.env.fs.RemoveAll(dir); err != nil && !disk.IsNotExist(err) {
		return fmt.Errorf("remove the data of file system %s: %w", id, err)
	}
	return nil
}

func (x *volume) engine() *engine.Engine {
	x.stateMu.Lock()
	defer x.stateMu.Unlock()
	return x.eng
}

// AddMember implements control.FileSystems.
func (v *volumes) AddMember(ctx context.Context, id, memberID, _ string) error {
	x := v.get(id)
	if x == nil {
		return errNotOpen(id)
	}
	e, err := x.use(ctx)
	if err != nil {
		return err
	}
	defer x.done()
	return e.AddMember(ctx, memberID)
}

// Stat implements control.FileSystems.
func (v *volumes) Stat(id string) (st control.Stat, ok bool) {
	x := v.get(id)
	if x == nil {
		return st, false
	}
	eng, rest := x.look()
	defer x.looked(eng)
	x.stateMu.Lock()
	role, status, trouble := x.role, x.status, x.trouble
	x.stateMu.Unlock()
	switch {
	case eng == nil && rest == nil:
		return st, false
	case eng == nil:
		return statAtRest(rest, role, trouble), true
	}
	m := eng.Meta()
	st = control.Stat{Lineage: eng.Lineage(), Role: role, Durable: eng.Durable(), BytesUsed: m.BytesUsed, Files: m.Files, Whole: eng.Whole()}
	if err := eng.Err(); err != nil {
		st.Err = err.Error()
	}
	if status == nil {
		return st, true
	}
	s := status()
	st.Whole, st.Connected, st.Following = s.Whole, s.Connected, s.Following
	st.SourceDurable, st.LastReplicated = s.SourceDurable.Seq, s.LastReplicated
	if s.Err != nil {
		st.Err = s.Err.Error()
	}
	return st, true
}

// WaitReplicated implements control.FileSystems.
func (v *volumes) WaitReplicated(ctx context.Context, id string, pos fs.Pos) error {
	x := v.get(id)
	if x == nil {
		return errNotOpen(id)
	}
	e, err := x.use(ctx)
	if err != nil {
		return err
	}
	defer x.done()
	for {
		changed := e.Notify()
		if e.Durable().Seq >= pos.Seq {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// closeAtOnce engines are closed at the same time: to close one is to wait for
// the disk.
const closeAtOnce = 8

// Close closes all engines; those that could be at rest say so on disk, and the
// next start need not open them.
func (v *volumes) Close() error {
	all := v.all()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	room := make(chan struct{}, closeAtOnce)
	for i, x := range all {
		room <- struct{}{}
		wg.Go(func() {
			errs[i] = v.shut(x)
			<-room
		})
	}
	wg.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.m)
	return errors.Join(errs...)
}

// shut closes one for good.
func (v *volumes) shut(x *volume) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stopFollowing()
	e, alone := x.closed()
	if e == nil {
		return nil
	}
	if alone && x.role == control.RoleWriter && !v.replicated(x.id) {
		_, err := e.Rest()
		if err == nil {
			return nil
		}
		if !errors.Is(err, engine.ErrInUse) {
			return fmt.Errorf("close file system %s: %w", x.id, err)
		}
	}
	if err := e.Close(); err != nil {
		return fmt.Errorf("close file system %s: %w", x.id, err)
	}
	return nil
}
