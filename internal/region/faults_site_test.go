package region

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/replica"
)

// simDisk is a region's disk: it can fill up, and a copy of it can be taken as
// a crash leaves it.
type simDisk struct {
	*disk.Faulty
	mem *disk.Mem
	// gone is called just before the copy is taken: nothing that the machine
	// does after its death may be seen by others.
	gone func()

	mu   sync.Mutex
	rng  *rand.Rand
	copy *disk.Mem
	full bool
	at   int64 // take the copy at this operation; 0: not
	seen int64
}

func newSimDisk(m *disk.Mem, seed uint64, gone func()) *simDisk {
	d := &simDisk{Faulty: disk.NewFaulty(m), mem: m, gone: gone, rng: rand.New(rand.NewPCG(seed, 3))}
	d.SetRule(d.rule)
	return d
}

type diskFull struct{ name string }

func (e *diskFull) Error() string { return "write " + e.name + ": no space left on device" }
func (e *diskFull) Unwrap() error { return syscall.ENOSPC }

func (d *simDisk) rule(op disk.Op, name string, _, _ int64) error {
	d.mu.Lock()
	full := d.full
	take := false
	if op != disk.OpRead && op != disk.OpOpen && d.at > 0 {
		d.seen++
		take = d.seen == d.at
	}
	d.mu.Unlock()
	if take {
		d.take()
	}
	// What lies in a file already can be overwritten on a full disk.
	if full && (op == disk.OpCreate || op == disk.OpPreallocate || op == disk.OpWrite && !strings.HasSuffix(name, ".rec")) {
		return &diskFull{name}
	}
	return nil
}

// arm takes the copy at the n-th operation from now that changes the disk.
func (d *simDisk) arm(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at, d.seen = int64(n), 0
}

// take takes the copy now, unless there is one.
func (d *simDisk) take() *disk.Mem {
	d.gone()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.copy == nil {
		percent := []int{0, 0, 20, 50, 80, 100, 100}[d.rng.IntN(7)]
		d.copy = d.mem.Crash(d.rng, percent)
	}
	return d.copy
}

// dead reports whether the copy was taken: what happens now never was.
func (d *simDisk) dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.copy != nil
}

func (d *simDisk) setFull(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

func (d *simDisk) isFull() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.full
}

// simSite is one region: an engine, what serves it to the other region, and
// what follows the other one.
type simSite struct {
	w      *simWorld
	n      int
	id     string       // of the file system; a replacement gets another
	offset atomic.Int64 // how far its clock is off, a time.Duration
	disk   *simDisk
	o      engine.Options

	eng      *engine.Engine // nil: the region is down
	impostor *engine.Engine // served in its place
	served   sync.Mutex     // for the two above against the server's look-ups
	web      *http.Server
	server   *replica.Server
	follower *replica.Follower
	halt     func()

	writer bool   // it believes that it may write
	acked  fs.Pos // newest position that a client of it was told is durable
	kept   fs.Pos // what it held durably as a destination when it crashed
}

func (s *simSite) now() time.Time { return s.w.clock.Now().Add(s.off()) }

func (s *simSite) off() time.Duration { return time.Duration(s.offset.Load()) }

// format gives the site an empty disk and a file system id of its own.
func (s *simSite) format() {
	s.w.ids++
	s.id = fmt.Sprintf("fs-%d", s.w.ids)
	s.use(disk.NewMem())
}

func (s *simSite) use(m *disk.Mem) {
	s.disk = newSimDisk(m, s.w.rng.Uint64(), func() { s.w.net.isolate(s.n) })
	var key [32]byte
	for i := range 8 {
		key[i] = byte(s.w.rng.Uint32())
	}
	s.o = engine.Options{FS: s.disk, Dir: "/" + s.id, ID: s.id, Region: fmt.Sprintf("region-%d", s.n), Now: s.now,
		Rand: &lockedReader{r: rand.NewChaCha8(key)}, Logger: slog.New(slog.DiscardHandler),
		RecordSegmentBytes: 64 << 10, PayloadSegmentBytes: 1 << 20,
		Clean: engine.CleanOptions{Off: true, HistoryAge: time.Nanosecond, HistoryBytes: 1, PeerBytes: 1 << 40, SlackBytes: 1}}
	if s.w.neglect {
		s.o.Clean.PeerBytes = 1
	}
	if s.w.encrypted(s.n) {
		s.o.Keys, s.o.KMSKey = testKeys(), testKMSKey
	}
}

// lockedReader makes a reader safe for concurrent use.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

// setEngine makes e what the site serves.
func (s *simSite) setEngine(e *engine.Engine) {
	s.served.Lock()
	defer s.served.Unlock()
	s.eng = e
}

func (s *simSite) setImpostor(e *engine.Engine) {
	s.served.Lock()
	defer s.served.Unlock()
	s.impostor = e
}

// lookup is what the region's server asks.
func (s *simSite) lookup(fileSystem, replication string) (replica.Source, error) {
	if !s.w.isSource(s.n, fileSystem, replication) {
		return nil, replica.ErrUnknownReplication
	}
	s.served.Lock()
	defer s.served.Unlock()
	switch {
	case s.impostor != nil:
		return source{Engine: s.impostor}, nil
	case s.eng == nil:
		return nil, replica.ErrNotReady
	}
	return source{Engine: s.eng}, nil
}

// open starts the region's process: the engine and its server.
func (s *simSite) open() {
	e, err := engine.Open(ctx, s.o)
	if err != nil {
		s.w.fail(fmt.Sprintf("open region %d", s.n), err)
	}
	s.setEngine(e)
	s.server = replica.NewServer(replica.ServerConfig{Lookup: s.lookup, OnAck: s.noteAck, Clock: s.w.quick(s), Logger: slog.New(slog.DiscardHandler)})
	s.web = &http.Server{Handler: s.server, ErrorLog: quiet(slog.New(slog.DiscardHandler))}
	l, web := s.w.net.listen(s.n), s.web
	go func() { _ = web.Serve(l) }()
}

// noteAck tells the engine what the other region holds, as a region does.
func (s *simSite) noteAck(_, replication string, pos fs.Pos) {
	s.served.Lock()
	e, impostor := s.eng, s.impostor
	s.served.Unlock()
	if impostor == nil && e != nil {
		e.PeerHolds(replication, pos.Seq)
	}
}

// twice delivers every few requests two times, as a network may that lost the
// first answer. Streams are not repeated: a second one takes over from the first.
type twice struct {
	http.RoundTripper
	w *simWorld
	n atomic.Int64
}

func (t *twice) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost && r.GetBody != nil && t.n.Add(1)%4 == 0 {
		again := r.Clone(r.Context())
		var err error
		if again.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
		if resp, err := t.RoundTripper.RoundTrip(again); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body) // its answer is lost
			_ = resp.Body.Close()
			t.w.count(sawTwice)
		}
	}
	return t.RoundTripper.RoundTrip(r)
}

// follow starts a follower of the other region.
func (s *simSite) follow(lineage fs.Lineage, other *simSite, replication string) {
	tr := replica.NewHTTPClient(nil).Transport.(*http.Transport)
	tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return s.w.net.dial(ctx, s.n) }
	f, err := replica.NewFollower(replica.FollowerConfig{Dest: destination{source{Engine: s.eng}, lineage}, HTTP: &http.Client{Transport: &twice{tr, s.w, atomic.Int64{}}},
		BaseURL: "http://peer", FileSystemID: other.id, ReplicationID: replication, Lineage: lineage, AllowReplace: true,
		Clock: s.w.quick(s), Rand: s.o.Rand, Parallel: 2, Logger: s.w.logger(s), BandwidthLimit: []int64{0, 64 << 10}[s.w.rng.IntN(2)]})
	if err != nil {
		s.w.fail("follow", err)
	}
	run, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.Run(run) // ends with the context
	}()
	s.follower = f
	s.halt = func() {
		cancel()
		<-done
		tr.CloseIdleConnections()
	}
}

func (s *simSite) stopFollowing() {
	if s.halt != nil {
		s.halt()
	}
	s.halt, s.follower = nil, nil
}

// shut ends the process; what the disk holds then is another matter.
func (s *simSite) shut() {
	s.w.net.isolate(s.n)
	s.disk.setFull(false)
	s.stopFollowing()
	s.server.Close()
	_ = s.web.Close()
	e := s.eng
	s.setEngine(nil)
	if err := e.Close(); err != nil && !s.disk.dead() && !s.disk.isFull() {
		s.w.fail("close", err)
	}
}

// crash ends the process and leaves the disk as a power cut leaves it.
func (s *simSite) crash() {
	m := s.disk.take()
	s.disk.setFull(false) // of the dead machine: its threads wait for room
	s.shut()
	s.use(m)
}

// ack waits for durability as a reply to a client does. Only what was promised
// before a crash must be there after it.
func (s *simSite) ack() {
	seq := s.eng.LastApplied()
	if err := s.eng.WaitCommitted(ctx, seq); err != nil {
		s.w.fail("wait for durability", err)
	}
	pos, err := s.eng.PosAt(seq)
	if err != nil {
		s.w.fail("position of an acknowledged change", err)
	}
	if !s.disk.dead() {
		s.acked = pos
	}
}

// beginWriting makes the site a writer and checks that its epoch is nobody's.
func (s *simSite) beginWriting() {
	if err := s.eng.BeginWriting(ctx); err != nil {
		s.w.fail(fmt.Sprintf("region %d begins to write", s.n), err)
	}
	s.writer = true
	id := s.eng.Epoch()
	if s.disk.dead() {
		return
	}
	key := epochKey{s.eng.Lineage(), id.Short()}
	if by, ok := s.w.epochs[key]; ok {
		s.w.fail("one writer per epoch", fmt.Errorf("region %d begins epoch %s, which is region %d's %s", s.n, id, by.site, by.id))
	}
	s.w.epochs[key] = epochOwner{s.n, id}
}

type epochKey struct {
	lineage fs.Lineage
	short   uint32
}

type epochOwner struct {
	site int
	id   fs.EpochID
}

// has reports whether a position is in the site's history, or before all that
// its journal can tell of.
func (s *simSite) has(p fs.Pos) bool {
	h, err := s.eng.History()
	if err != nil {
		s.w.fail("history", err)
	}
	if p.Seq == 0 || p.Seq < h.Base.Seq {
		return true
	}
	ok, err := s.eng.Has(p)
	if err != nil && s.disk.isFull() {
		return true // it cannot tell now
	}
	if err != nil {
		s.w.fail("look for a position", err)
	}
	return ok
}

// roomy is the engine as a client sees it whose operator makes room when the
// disk is full: the client tries again.
type roomy struct {
	*engine.Engine
	s *simSite
}

const roomPatience = 10 * time.Second

func again[T any](r roomy, fn func() (T, error)) (T, error) {
	v, err := fn()
	if !errors.Is(err, fs.ErrNoSpace) || !r.s.disk.isFull() {
		return v, err
	}
	r.s.w.count(sawFullSource)
	r.s.w.note("region %d is full; room is made", r.s.n)
	r.s.disk.setFull(false)
	for end := time.Now().Add(roomPatience); errors.Is(err, fs.ErrNoSpace) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		v, err = fn()
	}
	return v, err
}

func (r roomy) Create(c context.Context, q *fs.CreateRequest) (fs.CreateResult, error) {
	return again(r, func() (fs.CreateResult, error) { return r.Engine.Create(c, q) })
}

func (r roomy) Link(c context.Context, q *fs.LinkRequest) (fs.DirResult, error) {
	return again(r, func() (fs.DirResult, error) { return r.Engine.Link(c, q) })
}

func (r roomy) Remove(c context.Context, q *fs.RemoveRequest) (fs.DirResult, error) {
	return again(r, func() (fs.DirResult, error) { return r.Engine.Remove(c, q) })
}

func (r roomy) Rename(c context.Context, q *fs.RenameRequest) (fs.RenameResult, error) {
	return again(r, func() (fs.RenameResult, error) { return r.Engine.Rename(c, q) })
}

func (r roomy) SetAttr(c context.Context, q *fs.SetAttrRequest) (fs.Result, error) {
	return again(r, func() (fs.Result, error) { return r.Engine.SetAttr(c, q) })
}

func (r roomy) Write(c context.Context, q *fs.WriteRequest) (fs.WriteResult, error) {
	return again(r, func() (fs.WriteResult, error) { return r.Engine.Write(c, q) })
}

func (r roomy) ChangeXattr(c context.Context, q *fs.XattrRequest) (fs.XattrResult, error) {
	return again(r, func() (fs.XattrResult, error) { return r.Engine.ChangeXattr(c, q) })
}

func (r roomy) Allocate(c context.Context, q *fs.RangeRequest) (fs.Result, error) {
	return again(r, func() (fs.Result, error) { return r.Engine.Allocate(c, q) })
}

func (r roomy) Deallocate(c context.Context, q *fs.RangeRequest) (fs.Result, error) {
	return again(r, func() (fs.Result, error) { return r.Engine.Deallocate(c, q) })
}

func (r roomy) Clone(c context.Context, q *fs.CloneRequest) (fs.CloneResult, error) {
	return again(r, func() (fs.CloneResult, error) { return r.Engine.Clone(c, q) })
}

func (r roomy) AddClient(c context.Context, owner []byte) (uint64, error) {
	return again(r, func() (uint64, error) { return r.Engine.AddClient(c, owner) })
}

func (r roomy) RemoveClient(c context.Context, owner []byte) (uint64, error) {
	return again(r, func() (uint64, error) { return r.Engine.RemoveClient(c, owner) })
}
