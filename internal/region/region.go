// Package region composes a region: configuration in, a running region out. It
// is the only package that knows all the others; each of them sees the rest
// through small interfaces of its own.
package region

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/holdfast-fs/holdfast/internal/config"
	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/efsapi"
	"github.com/holdfast-fs/holdfast/internal/control/journallog"
	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/nfs"
	"github.com/holdfast-fs/holdfast/internal/replica"
)

const (
	// treeCacheBytes is shared by the trees of all file systems.
	treeCacheBytes = 64 << 20
	// memoryTarget makes the garbage collector work harder before the process
	// takes more; it is no limit on what is needed.
	memoryTarget = 240 << 20
	// shutdownPatience is how long requests under way may take at a shutdown.
	shutdownPatience = 5 * time.Second
	// headerPatience bounds a client that sends a request's headers slowly.
	headerPatience = 10 * time.Second
)

// Region is a region that is ready to run.
type Region struct {
	cfg      *config.Config
	log      *slog.Logger
	tls      tlsPair
	lock     io.Closer
	registry *prometheus.Registry
	cache    *pebble.Cache
	volumes  *volumes
	peers    *peers
	control  *control.Control
	nfs      *nfs.Server
	access   clientAccess
	replica  *replica.Server
	mounts   *listeners
	ready    readiness
	audit    *auditLog // nil: none
}

// New locks the data directory, opens the catalog and wires the parts.
// Nothing listens before Run; call Close when Run is not called.
func New(cfg *config.Config, log *slog.Logger) (*Region, error) {
	r := &Region{cfg: cfg, log: log, registry: prometheus.NewRegistry()}
	if err := r.wire(); err != nil {
		return nil, errors.Join(err, r.release())
	}
	return r, nil
}

// wire makes the parts; after an error those that were made are to be released.
func (r *Region) wire() (err error) {
	cfg, log := r.cfg, r.log
	r.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	d := disk.Real()
	if err := d.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	if r.lock, err = disk.Lock(d, cfg.DataDir); err != nil {
		return err
	}
	if cfg.API.AuditLog != "" {
		if r.audit, err = openAuditLog(cfg.API.AuditLog, log); err != nil {
			return err
		}
	}
	tlsConf, err := loadTLS(cfg)
	if err != nil {
		return err
	}
	r.tls = tlsConf
	urls := make(map[string]string)
	for _, p := range cfg.Peer.Peers {
		urls[p.Region] = p.URL
	}
	peers := newPeers(urls, tlsConf.client)
	r.peers = peers
	keys, err := OpenKeys(cfg)
	if err != nil {
		return err
	}
	r.cache = pebble.NewCache(treeCacheBytes)
	r.volumes = newVolumes(volumeEnv{fs: d, dir: filepath.Join(cfg.DataDir, "file-systems"), region: cfg.Region, cache: r.cache,
		now: time.Now, rand: rand.Reader, log: log, registry: r.registry, http: peers.client, peerURL: peers.url,
		bandwidth: cfg.Replication.BandwidthLimit, keys: keys,
		replicated: func(id string) bool { return r.control.Replicated(id) },
		kmsKey:     func(id string) string { return r.control.KMSKeyOf(id) },
		clean:      engine.CleanOptions{HistoryAge: cfg.Journal.HistoryAge(), HistoryBytes: cfg.Journal.HistoryBytes}})
	if err := r.newNFS(); err != nil {
		return err
	}
	if err := r.newControl(d, peers); err != nil {
		return err
	}
	r.access.control.Store(r.control)
	r.replica = replica.NewServer(replica.ServerConfig{Lookup: r.lookup, OnAck: r.volumes.acked, Logger: log, Registerer: r.registry})
	r.registerMetrics()
	return nil
}

func (r *Region) newNFS() error {
	security, err := newMountTLS(r.cfg, r.credentials(), r.access.control.Load)
	if err != nil {
		return err
	}
	r.nfs, err = nfs.NewServer(nfs.Config{Exports: r.volumes, Region: r.cfg.Region, Clock: time.Now, Rand: rand.Reader,
		Access: &r.access, Security: security,
		LeaseTime: r.cfg.NFS.Lease(), GraceTime: r.cfg.NFS.Grace(), Logger: r.log, Registry: r.registry})
	if err != nil {
		return err
	}
	r.mounts = &listeners{port: r.cfg.NFS.MountTargetPort, log: r.log, m: make(map[string]*mountListener),
		serve: func(ctx context.Context, l net.Listener, id string, squash *nfs.Squash) error {
			return r.nfs.Serve(ctx, l, nfs.Root{Export: id, Squash: squash})
		}}
	return nil
}

func (r *Region) newControl(d disk.FS, p *peers) error {
	catalog, err := journallog.Open(d, filepath.Join(r.cfg.DataDir, "catalog"), r.log)
	if err != nil {
		return fmt.Errorf("open the catalog: %w", err)
	}
	r.control, err = control.New(control.Config{Region: r.cfg.Region, AccountID: r.cfg.AccountID, Now: time.Now, Rand: rand.Reader,
		Log: catalog, FileSystems: r.volumes, Settings: r.volumes, Peers: p, Listeners: r.mounts, Subnets: subnets(r.cfg), SecurityGroups: securityGroups(r.cfg), Logger: r.log,
		RootSquash:        r.cfg.NFS.RootSquash,
		KMSKeys:           kmsKeys(r.cfg),
		KeepSettings:      r.cfg.Replication.CopySettings != nil && !*r.cfg.Replication.CopySettings,
		OnPeerUnreachable: control.UnreachablePolicy(r.cfg.Replication.OnPeerUnreachable)})
	if err != nil {
		return errors.Join(fmt.Errorf("open the catalog: %w", err), catalog.Close())
	}
	return nil
}

// lookup finds what another region wants to follow.
func (r *Region) lookup(fileSystemID, replicationID string) (replica.Source, error) {
	if !r.control.IsSource(fileSystemID, replicationID) {
		return nil, replica.ErrUnknownReplication
	}
	return r.volumes.source(fileSystemID)
}

// Run serves until ctx ends, then shuts down cleanly.
func (r *Region) Run(ctx context.Context) error {
	debug.SetMemoryLimit(memoryTarget)
	run, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	failed := make(chan error, 8)
	spawn := func(name string, fn func(context.Context) error) {
		wg.Go(func() {
			if err := fn(run); err != nil && run.Err() == nil {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	// Streams to other regions never end by themselves.
	context.AfterFunc(run, r.replica.Close)
	err := r.start(run, spawn)
	if err == nil {
		r.ready.set()
		r.log.Info("region is up", "region", r.cfg.Region, "api", r.cfg.API.Listen, "nfs", r.cfg.NFS.Listen, "peer", r.cfg.Peer.Listen, "metrics", r.cfg.Metrics.Listen)
		select {
		case <-ctx.Done():
			r.log.Info("region is shutting down", "region", r.cfg.Region)
		case err = <-failed:
			r.log.Error("region stops: a part of it failed", "error", err)
		}
	}
	r.ready.clear()
	stop()
	wg.Wait()
	err = errors.Join(err, r.Close())
	r.log.Info("region is down", "region", r.cfg.Region)
	return err
}

// start opens the listeners before anything is opened that takes time, so that
// a port in use is told at once; then the file systems; then it serves.
func (r *Region) start(ctx context.Context, spawn func(string, func(context.Context) error)) error {
	api, err := r.apiHandler()
	if err != nil {
		return err
	}
	ls, err := r.listen()
	if err != nil {
		return err
	}
	if l := ls[keyMetrics]; l != nil {
		spawn(keyMetrics, serveHTTP(l, &http.Server{Handler: r.metricsHandler(), ErrorLog: quiet(r.log)}))
	}
	if l := ls[keyPeer]; l != nil {
		spawn(keyPeer, serveHTTP(l, &http.Server{Handler: r.peerHandler(), TLSConfig: r.tls.server, ErrorLog: quiet(r.log)}))
	}
	spawn("nfs clock", func(ctx context.Context) error { r.nfs.Run(ctx); return nil })
	if err := r.control.Start(ctx); err != nil {
		return err
	}
	spawn("rest", r.volumes.run)
	spawn("scrub", newScrubber(r.volumes, r.peers.fetchRun, *r.cfg.Scrub.BytesPerSecond, r.log, r.registry).run)
	spawn(keyAPI, serveHTTP(ls[keyAPI], apiServer(api, r.log)))
	spawn(keyNFS, func(ctx context.Context) error { return r.nfs.Serve(ctx, ls[keyNFS], r.sharedRoot()) })
	return nil
}

// The listeners, named by their keys in the configuration.
const (
	keyMetrics = "metrics.listen"
	keyPeer    = "peer.listen"
	keyAPI     = "api.listen"
	keyNFS     = "nfs.listen"
)

// listen opens all listeners that are configured, or none.
func (r *Region) listen() (map[string]net.Listener, error) {
	ls := make(map[string]net.Listener)
	for _, w := range []struct{ key, addr string }{
		{keyMetrics, r.cfg.Metrics.Listen}, {keyPeer, r.cfg.Peer.Listen}, {keyAPI, r.cfg.API.Listen}, {keyNFS, r.cfg.NFS.Listen},
	} {
		if w.addr == "" {
			continue
		}
		l, err := net.Listen("tcp", w.addr)
		if err != nil {
			for _, l := range ls {
				l.Close()
			}
			return nil, fmt.Errorf("%s: %w: choose a free address in the configuration, or end what uses this one", w.key, err)
		}
		ls[w.key] = l
	}
	return ls, nil
}

func subnets(cfg *config.Config) []control.Subnet {
	l := make([]control.Subnet, 0, len(cfg.Subnets))
	for _, s := range cfg.Subnets {
		l = append(l, control.Subnet{ID: s.ID, CIDR: s.Prefix(), IPv6CIDR: s.IPv6Prefix(), AvailabilityZone: s.AvailabilityZone, AvailabilityZoneID: s.AvailabilityZoneID, VPCID: s.VPCID})
	}
	return l
}

func securityGroups(cfg *config.Config) []control.SecurityGroup {
	l := make([]control.SecurityGroup, 0, len(cfg.SecurityGroups))
	for _, g := range cfg.SecurityGroups {
		l = append(l, control.SecurityGroup{ID: g.ID, Name: g.Name, Description: g.Description, VPCID: g.VPCID, Allow: g.Prefixes()})
	}
	return l
}

func quiet(log *slog.Logger) *stdlog.Logger { return slog.NewLogLogger(log.Handler(), slog.LevelDebug) }

func (r *Region) credentials() []efsapi.Credential {
	creds := make([]efsapi.Credential, 0, len(r.cfg.API.Credentials))
	for _, c := range r.cfg.API.Credentials {
		creds = append(creds, efsapi.Credential{AccessKey: c.AccessKey, SecretKey: c.SecretKey, SessionToken: c.SessionToken, Role: efsapi.Role(c.Role), Principal: c.Principal})
	}
	return creds
}

func (r *Region) apiHandler() (http.Handler, error) {
	conf := efsapi.Config{Control: r.control, Region: r.cfg.Region, Credentials: r.credentials(), Now: time.Now, Rand: rand.Reader,
		Logger: r.log, Extensions: r.extension(), ExtensionPrefix: extensionPrefix}
	if r.audit != nil {
		conf.Audit = r.audit.write
	}
	return efsapi.New(conf)
}

func (r *Region) peerHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(replica.PathPrefix, r.replica)
	mux.Handle(controlPrefix, controlHandler{r.control, r.log})
	mux.Handle(runPath, runHandler{r.volumes, r.log})
	return mux
}

// serveHTTP runs srv on l, with TLS when it is configured, until ctx ends.
func serveHTTP(l net.Listener, srv *http.Server) func(context.Context) error {
	srv.ReadHeaderTimeout = headerPatience
	return func(ctx context.Context) error {
		stopped := context.AfterFunc(ctx, func() {
			end, cancel := context.WithTimeout(context.Background(), shutdownPatience)
			defer cancel()
			if srv.Shutdown(end) != nil {
				srv.Close()
			}
		})
		defer stopped()
		var err error
		if srv.TLSConfig != nil {
			err = srv.ServeTLS(l, "", "")
		} else {
			err = srv.Serve(l)
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	}
}

// Close lets go of everything; what is half done goes on at the next start.
func (r *Region) Close() error {
	r.replica.Close()
	err := r.control.Close()
	r.mounts.closeAll()
	return errors.Join(err, r.release())
}

func (r *Region) release() error {
	var err error
	if r.volumes != nil {
		err = r.volumes.Close()
	}
	if r.cache != nil {
		r.cache.Unref()
	}
	if r.audit != nil {
		err = errors.Join(err, r.audit.Close())
	}
	if r.lock != nil {
		err = errors.Join(err, r.lock.Close())
	}
	return err
}
