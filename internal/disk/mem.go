package disk

import (
	"io"
	"math/rand/v2"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Mem is a disk in memory that remembers what was synced, for tests. It is
// slow for files of many megabytes: each sync copies the file.
type Mem struct {
	*vfs.MemFS
	// locking: MemFS's Lock and CrashClone can wait for each other for ever.
	locking sync.Mutex
}

// NewMem gives an empty one.
func NewMem() *Mem { return &Mem{MemFS: vfs.NewCrashableMem()} }

// Crash gives the disk as it may be after the machine lost power now: all that
// was synced, and of the rest each block of 4 KiB and each name with the given
// probability (0 to 100 percent). m itself goes on; what is written to it
// later does not reach the result.
func (m *Mem) Crash(rng *rand.Rand, percent int) *Mem {
	m.locking.Lock()
	defer m.locking.Unlock()
	return &Mem{MemFS: m.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})}
}

// Lock implements vfs.FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.locking.Lock()
	defer m.locking.Unlock()
	return m.MemFS.Lock(name)
}
