package region

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
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

// mountListener is a mount target: a gate for each of its addresses.
type mountListener struct {
	addrs []string
	fsID  string
	gates []*gate
	root  *nfs.Squash
	stop  context.CancelFunc
	done  sync.WaitGroup
}

var _ control.Listeners = (*listeners)(nil)

// Listen implements control.Listeners.
func (s *listeners) Listen(_ context.Context, mountTargetID, fileSystemID string, ips []string, admit control.Admission) error {
	var addrs []string
	for _, ip := range ips {
		addrs = append(addrs, net.JoinHostPort(ip, strconv.Itoa(s.port)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.m[mountTargetID]; m != nil {
		if slices.Equal(m.addrs, addrs) && m.fsID == fileSystemID {
			for _, g := range m.gates {
				g.set(admit)
			}
			m.root.Set(anonymous(admit.Squash))
			return nil
		}
		s.stop(mountTargetID)
	}
	m := &mountListener{addrs: addrs, fsID: fileSystemID, root: new(nfs.Squash)}
	m.root.Set(anonymous(admit.Squash))
	log := s.log.With("mount_target", mountTargetID)
	for _, addr := range addrs {
		l, err := listenTCP(addr)
		if err != nil {
			m.close()
			return fmt.Errorf("listen on the mount target's address: %w", err)
		}
		m.gates = append(m.gates, newGate(l, admit, log))
	}
	s.m[mountTargetID] = m
	var ctx context.Context
	ctx, m.stop = context.WithCancel(context.Background())
	for i, g := range m.gates {
		m.done.Go(func() {
			if err := s.serve(ctx, g, fileSystemID, m.root); err != nil && ctx.Err() == nil {
				log.Error("a mount target ended", "address", m.addrs[i], "error", err)
			}
		})
	}
	log.Info("mount target is up", "file_system", fileSystemID, "addresses", addrs)
	return nil
}

func listenTCP(addr string) (*net.TCPListener, error) {
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	return net.ListenTCP("tcp", at)
}

func (m *mountListener) close() {
	for _, g := range m.gates {
		_ = g.TCPListener.Close() // nobody is told of what has ended
	}
}

// stop needs mu.
func (s *listeners) stop(id string) {
	m := s.m[id]
	delete(s.m, id)
	m.stop()
	m.close()
	m.done.Wait()
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
