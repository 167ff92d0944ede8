package nfs

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
)

// served is a file system that the server has begun to serve, by the name of
// its export. It stays when the export goes.
type served struct {
	begin   sync.Mutex // held while it is begun
	records sync.Mutex // held while its reclaim records are made or removed

	throttle throttle

	mu      sync.Mutex
	fs      FileSystem
	trouble string // why it was not begun when it was tried last, "" if it was
}

// servedAs is the entry of an export name.
func (s *Server) servedAs(name string) *served {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.served[name]
	if v == nil {
		v = &served{}
		s.served[name] = v
	}
	return v
}

// current is the file system, nil before it was begun.
func (v *served) current() FileSystem {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.fs
}

// replace sets the file system and returns the one before.
func (v *served) replace(x FileSystem) (before FileSystem) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before, v.fs = v.fs, x
	return before
}

// observe begins to serve a file system that is new or has a new epoch or
// role: it asks who may reclaim, and starts grace. It is quick otherwise.
func (s *Server) observe(ctx context.Context, e *Export) error {
	v := s.servedAs(e.Name)
	if s.known(v, e) {
		return nil
	}
	v.begin.Lock()
	defer v.begin.Unlock()
	if s.known(v, e) {
		return nil
	}
	epoch, readOnly := e.FS.Epoch(), e.FS.ReadOnly()
	owners, err := e.FS.Clients()
	if err != nil {
		return err
	}
	if before := v.replace(e.FS); before != nil && before != e.FS {
		for _, f := range s.table.OpenFiles(e.Name) {
			e.FS.Hold(f.Ino)
		}
	}
	live, eff := s.table.Begin(e.Name, epoch, readOnly, owners, s.cfg.Clock())
	s.log.Info("nfs file system served", "export", e.Name, "epoch", epoch, "readonly", readOnly, "reclaimers", len(owners), "grace", s.table.InGrace(e.Name))
	for _, id := range live {
		if err := s.record(ctx, id, e); err != nil {
			s.log.Warn("nfs reclaim record not renewed", "export", e.Name, "clientid", id, "err", err)
		}
	}
	s.carryOut(ctx, eff)
	return nil
}

func (s *Server) known(v *served, e *Export) bool {
	return v.current() == e.FS && s.table.Known(e.Name, e.FS.Epoch(), e.FS.ReadOnly())
}

// observeAll observes every export, so that reclaims find their grace begun.
func (s *Server) observeAll(ctx context.Context) {
	for _, e := range s.cfg.Exports.List() {
		if text := s.servedAs(e.Name).news(s.observe(ctx, &e)); text != "" {
			s.log.Warn("nfs file system not served yet", "export", e.Name, "err", text)
		}
	}
}

// observeTarget observes the file system of a mount target before a client is
// named there: one that was handed over and has come back must have forgotten
// its clients by then, or the client takes its old name for a good one.
func (s *Server) observeTarget(ctx context.Context, v *view) {
	if v.root.Export == "" {
		return
	}
	if e, ok := s.cfg.Exports.ByName(v.root.Export); ok {
		if err := s.observe(ctx, &e); err != nil {
			s.log.Debug("nfs file system of a mount target not served yet", "export", e.Name, "err", err)
		}
	}
}

// news is why the file system could not be begun, if that has not been told.
func (v *served) news(err error) string {
	text := ""
	if err != nil {
		text = err.Error()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if text == v.trouble {
		return ""
	}
	v.trouble = text
	return text
}

// carryOut does what the state table asks for.
func (s *Server) carryOut(ctx context.Context, eff state.Effects) {
	for _, f := range eff.Release {
		if x := s.servedAs(f.FS).current(); x != nil {
			x.Release(f.Ino)
		}
	}
	for _, name := range eff.Ended {
		if x := s.servedAs(name).current(); x != nil {
			s.log.Info("nfs grace ended", "export", name)
			x.GraceEnded()
		}
	}
	s.forget(ctx, eff.Forget)
}

// record makes the client's reclaim record on a file system durable, unless it
// is (RFC 8881 §8.4.2.1).
func (s *Server) record(ctx context.Context, clientID uint64, e *Export) error {
	if !s.table.NeedsRecord(clientID, e.Name) {
		return nil
	}
	v := s.servedAs(e.Name)
	v.records.Lock()
	defer v.records.Unlock()
	if !s.table.NeedsRecord(clientID, e.Name) {
		return nil
	}
	owner := []byte(s.table.RecordName(clientID))
	seq, err := e.FS.AddClient(ctx, owner)
	if err != nil {
		return err
	}
	if err := e.FS.WaitCommitted(ctx, seq); err != nil {
		return err
	}
	if !s.table.Recorded(clientID, e.Name) {
		if _, err := e.FS.RemoveClient(ctx, owner); err != nil && !errors.Is(err, fs.ErrROFS) {
			return err
		}
		return fs.ErrDelay
	}
	return nil
}

// forget removes reclaim records that no live client needs, durably. It
// returns false if one could not be removed.
func (s *Server) forget(ctx context.Context, list []state.Record) bool {
	done := true
	for _, r := range list {
		if err := s.forgetOne(ctx, r); err != nil {
			level := slog.LevelWarn
			if errors.Is(err, fs.ErrDelay) {
				level = slog.LevelDebug // it is not decided yet whether it may change
			}
			s.log.Log(ctx, level, "nfs reclaim record not removed", "export", r.FS, "owner", r.Owner, "err", err)
			done = false
		}
	}
	return done
}

func (s *Server) forgetOne(ctx context.Context, r state.Record) error {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	v := s.servedAs(r.FS)
	v.records.Lock()
	defer v.records.Unlock()
	x := v.current()
	if x == nil || s.table.HasRecord(r) {
		return nil
	}
	seq, err := x.RemoveClient(ctx, []byte(r.Owner))
	if err == nil {
		err = x.WaitCommitted(ctx, seq)
	}
	if errors.Is(err, fs.ErrROFS) || errors.Is(err, fs.ErrStale) {
		return nil // nobody reclaims there
	}
	return err
}

// byLineage finds the file system of a handle as a listener shows it.
func (s *Server) byLineage(v *view, l fs.Lineage) (Export, bool) {
	if v.root.Export == "" {
		return s.cfg.Exports.ByLineage(l)
	}
	e, ok := s.cfg.Exports.ByName(v.root.Export)
	return e, ok && e.FS.Lineage() == l
}
