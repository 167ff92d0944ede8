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
}

type randReader interface{ Read([]byte) (int, error) }

// volume is one file system. mu serialises changes of its role.
type volume struct {
	id string

	mu     sync.Mutex
	eng    *engine.Engine
	follow *following

	stateMu sync.RWMutex // short; for role and follower below
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
	return engine.Options{FS: v.env.fs, Dir: filepath.Join(v.env.dir, id), ID: id, Region: v.env.region,
		Now: v.env.now, Rand: v.env.rand, Logger: v.env.log, Cache: v.env.cache, Clean: v.env.clean, Keys: v.env.keys}
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
		v.m[id] = &volume{id: id}
	}
	return v.m[id]
}

// Create implements control.FileSystems. A file system that a crash left half
// made is finished.
func (v *volumes) Create(ctx context.Context, id, kmsKey string) (fs.Lineage, error) {
	x := v.slot(id)
	x.mu.Lock()
	defer x.mu.Unlock()
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

func (x *volume) opened(e *engine.Engine) {
	x.stateMu.Lock()
	defer x.stateMu.Unlock()
	x.eng = e
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
	if x.eng == nil {
		eng, err := engine.Open(ctx, v.options(id))
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
		return fmt.Errorf("file system %s is not open", id)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.eng == nil {
		return fmt.Errorf("file system %s is not open", id)
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
		Dest: destination{source{x.eng}, up.Lineage}, HTTP: v.env.http(up.Region), BaseURL: url,
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
	if e := x.engine(); e != nil {
		x.opened(nil)
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
	x.stateMu.RLock()
	defer x.stateMu.RUnlock()
	return x.eng
}

// AddMember implements control.FileSystems.
func (v *volumes) AddMember(ctx context.Context, id, memberID, _ string) error {
	x := v.get(id)
	if x == nil || x.engine() == nil {
		return fmt.Errorf("file system %s is not open", id)
	}
	return x.engine().AddMember(ctx, memberID)
}

// Stat implements control.FileSystems.
func (v *volumes) Stat(id string) (st control.Stat, ok bool) {
	x := v.get(id)
	if x == nil {
		return st, false
	}
	x.stateMu.RLock()
	eng, role, status := x.eng, x.role, x.status
	x.stateMu.RUnlock()
	if eng == nil {
		return st, false
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
	for {
		x := v.get(id)
		if x == nil || x.engine() == nil {
			return fmt.Errorf("file system %s is not open", id)
		}
		changed := x.engine().Notify()
		if x.engine().Durable().Seq >= pos.Seq {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close closes all engines.
func (v *volumes) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var errs []error
	for id, x := range v.m {
		x.mu.Lock()
		x.stopFollowing()
		if e := x.engine(); e != nil {
			x.opened(nil)
			if err := e.Close(); err != nil {
				errs = append(errs, fmt.Errorf("close file system %s: %w", id, err))
			}
		}
		x.mu.Unlock()
	}
	clear(v.m)
	return errors.Join(errs...)
}
