package nfs

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/prometheus/client_golang/prometheus"
)

// Config is what a Server needs. Exports, Region, Clock and Rand are required.
type Config struct {
	Exports Exports
	// Region is part of the server owner, so that no client takes two regions
	// for one server, and the server scope of the shared address.
	Region string
	Clock  func() time.Time
	// Rand makes the boot id, eight bytes of it once.
	Rand io.Reader
	// LeaseTime is how long a client's state lives without a sign of life;
	// GraceTime how long reclaims are waited for. Zero means 90 s.
	LeaseTime time.Duration
	GraceTime time.Duration
	// Access says who comes in and may do what; nil: everybody, and everything.
	Access Access
	// Security lets listeners speak TLS beside plain RPC; nil: they do not.
	Security Security
	Logger   *slog.Logger          // nil: silent
	Registry prometheus.Registerer // nil: no metrics
}

// NewServer makes a server; it serves when Serve is called, and Run keeps time
// for it.
func NewServer(cfg Config) (*Server, error) {
	if cfg.LeaseTime == 0 {
		cfg.LeaseTime = defaultLease
	}
	if cfg.GraceTime == 0 {
		cfg.GraceTime = defaultGrace
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var nonce [4]byte
	if _, err := io.ReadFull(cfg.Rand, nonce[:]); err != nil {
		return nil, fmt.Errorf("nfs server: no randomness for the boot id: %w", err)
	}
	boot := cfg.Clock()
	s := &Server{
		cfg: cfg, log: cfg.Logger, booted: boot,
		boot:   uint64(boot.Unix())<<32 | uint64(binary.BigEndian.Uint32(nonce[:])),
		served: map[string]*served{}, seed: maphash.MakeSeed(), rooms: oncrpc.NewRooms(), retries: retries{byKey: map[retryKey]*retry{}},
	}
	s.table = state.NewTable(state.Config{Boot: s.boot, Lease: cfg.LeaseTime, Grace: cfg.GraceTime, Fore: foreLimits})
	s.metrics = newMetrics(s, cfg.Registry)
	return s, nil
}
