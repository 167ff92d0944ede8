package engine

import (
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
)

const (
	// spaceCheckEvery bounds how stale the figure of free space may be.
	spaceCheckEvery = 200 * time.Millisecond
	// spaceCheckBytes: after so many written bytes it is asked anew.
	spaceCheckBytes = 8 << 20
	maxReserve      = 1 << 30
	reserveShare    = 20
)

// space knows whether the disk has room for more. A reserve is kept for what
// must work when it has not: removing files, flushing the tree, system records.
type space struct {
	fs      disk.FS
	dir     string
	now     func() time.Time
	reserve uint64

	mu      sync.Mutex
	checked time.Time
	bytes   int
	known   bool
	free    uint64
	total   uint64
}

func (s *space) init(o *Options) {
	s.fs, s.dir, s.now, s.reserve = o.FS, o.Dir, o.Now, o.ReserveBytes
}

// ok reports whether there is room beyond the reserve.
func (s *space) ok() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	return !s.known || s.free > s.keep()
}

func (s *space) keep() uint64 {
	if s.reserve != 0 {
		return s.reserve
	}
	return min(s.total/reserveShare, maxReserve)
}

func (s *space) used(n int) {
	s.mu.Lock()
	s.bytes += n
	s.mu.Unlock()
}

// refresh asks the disk when the figure is old. Needs mu.
func (s *space) refresh() {
	now := s.now()
	if d := now.Sub(s.checked); d >= 0 && d < spaceCheckEvery && s.bytes < spaceCheckBytes && !s.checked.IsZero() {
		return
	}
	s.checked, s.bytes = now, 0
	u, err := s.fs.GetDiskUsage(s.dir)
	s.known = err == nil
	s.free, s.total = u.AvailBytes, u.TotalBytes
}

// pressure tells how full the disk is.
func (s *space) pressure() pressure {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	switch {
	case !s.known || s.free > 2*s.keep():
		return roomy
	case s.free > s.keep():
		return tight
	}
	return diskFull
}

// size of the disk in bytes.
func (s *space) size() (total uint64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	return s.total, s.known
}

// report gives the total and what is free for users, in bytes.
func (s *space) report() (total, free uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	if !s.known {
		return elastic, elastic
	}
	if k := s.keep(); s.free > k {
		free = s.free - k
	}
	return s.total, free
}

// elastic is shown where the disk does not tell its size: 8 EiB, as EFS shows.
const elastic = 1 << 63
