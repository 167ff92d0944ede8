package nfs

import (
	"context"
	"errors"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
)

// served is a file system that the server has begun to serve.
type served struct{ fs FileSystem }

// observe begins to serve a file system that is new or has a new epoch or
// role: it asks who may reclaim, and starts grace. It is quick otherwise.
func (s *Server) observe(ctx context.Context, e *Export) error {
	if s.known(e) {
		return nil
	}
	s.observing.Lock()
	defer s.observing.Unlock()
	if s.known(e) {
		return nil
	}
	epoch, readOnly := e.FS.Epoch(), e.FS.ReadOnly()
	owners, err := e.FS.Clients()
	if err != nil {
		return err
	}
	s.mu.Lock()
	before := s.served[e.Name].fs
	s.served[e.Name] = served{e.FS}
	s.mu.Unlock()
	if before != nil && before != e.FS {
		for _, f := range s.table.OpenFiles(e.Name) {
			e.FS.Hold(f.Ino)
		}
	}
	live, eff := s.table.Begin(e.Name, epoch, readOnly, owners, s.cfg.Clock())
	for _, id := range live {
		if err := s.record(ctx, id, e); err != nil {
			s.log.Warn("nfs reclaim record not renewed", "export", e.Name, "clientid", id, "err", err)
		}
	}
	s.log.Info("nfs file system served", "export", e.Name, "epoch", epoch, "readonly", readOnly, "reclaimers", len(owners), "grace", s.table.InGrace(e.Name))
	s.carryOut(ctx, eff)
	return nil
}

func (s *Server) known(e *Export) bool {
	s.mu.Lock()
	same := s.served[e.Name].fs == e.FS
	s.mu.Unlock()
	return same && s.table.Known(e.Name, e.FS.Epoch(), e.FS.ReadOnly())
}

// observeAll observes every export, so that reclaims find their grace begun.
func (s *Server) observeAll(ctx context.Context) {
	for _, e := range s.cfg.Exports.List() {
		if err := s.observe(ctx, &e); err != nil {
			s.log.Warn("nfs file system not served yet", "export", e.Name, "err", err)
		}
	}
}

// fsOf is the file system that was begun under an export name, or nil.
func (s *Server) fsOf(name string) FileSystem {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served[name].fs
}

// carryOut does what the state table asks for.
func (s *Server) carryOut(ctx context.Context, eff state.Effects) {
	for _, f := range eff.Release {
		if x := s.fsOf(f.FS); x != nil {
			x.Release(f.Ino)
		}
	}
	for _, name := range eff.Ended {
		if x := s.fsOf(name); x != nil {
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
	s.records.Lock()
	defer s.records.Unlock()
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
	if len(list) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	s.records.Lock()
	defer s.records.Unlock()
	done := true
	for _, r := range list {
		x := s.fsOf(r.FS)
		if x == nil || s.table.HasRecord(r) {
			continue
		}
		seq, err := x.RemoveClient(ctx, []byte(r.Owner))
		if err == nil {
			err = x.WaitCommitted(ctx, seq)
		}
		if err != nil && !errors.Is(err, fs.ErrROFS) && !errors.Is(err, fs.ErrStale) {
			s.log.Warn("nfs reclaim record not removed", "export", r.FS, "owner", r.Owner, "err", err)
			done = false
		}
	}
	return done
}

// byLineage finds the file system of a handle as a listener shows it.
func (s *Server) byLineage(v *view, l fs.Lineage) (Export, bool) {
	if v.root.Export == "" {
		return s.cfg.Exports.ByLineage(l)
	}
	e, ok := s.cfg.Exports.ByName(v.root.Export)
	return e, ok && e.FS.Lineage() == l
}
