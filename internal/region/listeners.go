package region

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/nfs"
)

// listeners are the addresses of mount targets: each exports one file system
// at "/".
type listeners struct {
	port  int
	serve func(ctx context.Context, l net.Listener, fileSystemID string, squash *nfs.Squash) error
	log   *slog.Logger

	mu sync.Mutex
	m  map[string]*mountListener
}

type mountListener struct {
	addr string
	fsID string
	gate *gate
	root *nfs.Squash
	stop context.CancelFunc
	l    net.Listener
	done chan struct{}
}

var _ control.Listeners = (*listeners)(nil)

// Listen implements control.Listeners.
func (s *listeners) Listen(_ context.Context, mountTargetID, fileSystemID, ip string, admit control.Admission) error {
	addr := net.JoinHostPort(ip, strconv.Itoa(s.port))
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.m[mountTargetID]; m != nil {
		if m.addr == addr && m.fsID == fileSystemID {
			m.gate.set(admit)
			m.root.Set(anonymous(admit.Squash))
			return nil
		}
		s.stop(mountTargetID)
	}
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on the mount target's address: %w", err)
	}
	l, err := net.ListenTCP("tcp", at)
	if err != nil {
		return fmt.Errorf("listen on the mount target's address: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	g := newGate(l, admit, s.log.With("mount_target", mountTargetID))
	m := &mountListener{addr: addr, fsID: fileSystemID, gate: g, root: new(nfs.Squash), stop: stop, l: g, done: make(chan struct{})}
	m.root.Set(anonymous(admit.Squash))
	s.m[mountTargetID] = m
	go func() {
		defer close(m.done)
		if err := s.serve(ctx, g, fileSystemID, m.root); err != nil && ctx.Err() == nil {
			s.log.Error("a mount target ended", "mount_target", mountTargetID, "address", addr, "error", err)
		}
	}()
	s.log.Info("mount target is up", "mount_target", mountTargetID, "file_system", fileSystemID, "address", addr)
	return nil
}

// stop needs mu.
func (s *listeners) stop(id string) {
	m := s.m[id]
	delete(s.m, id)
	m.stop()
	m.l.Close()
	<-m.done
}

// Close implements control.Listeners.
func (s *listeners) Close(_ context.Context, mountTargetID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[mountTargetID] != nil {
		s.stop(mountTargetID)
	}
	return nil
}

func (s *listeners) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.m {
		s.stop(id)
	}
}
