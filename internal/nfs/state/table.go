package state

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// Config is fixed for the life of a Table.
type Config struct {
	// Boot names this instance of the server; it is part of every client id,
	// session id and state id, so that those of another are recognised.
	Boot uint64
	// Lease is how long a client's state lives without a sign of life.
	Lease time.Duration
	// Grace is how long after the start of a file system its clients may
	// reclaim, unless all have done so before.
	Grace time.Duration
	// Fore are the limits of the server for the fore channel of a session.
	Fore xdr.ChannelAttrs
}

// Table holds the state of all clients.
type Table struct {
	cfg Config

	mu       sync.Mutex
	last     uint64 // counter of ids
	clients  map[uint64]*client
	owners   map[ownerKey]*incarnations
	sessions map[xdr.SessionID]*session
	opens    map[other]*open
	locks    map[other]*lockState
	delegs   map[other]*deleg
	files    map[File]*file
	serving  map[string]*serving

	closed   map[other]*openOwner // what open owners of 4.0 closed last
	swept    time.Time            // when those not in use were looked for
	changing map[string]int       // operations on names and attributes, by file system
	recalls  []Recall             // to be sent: see TakeRecalls
	lapsed   bool                 // a client must be discarded because of a conflict
	cool     map[File]time.Time

	waiters map[uint64]*waiter
	notices []Notice    // to be sent: see TakeNotices
	noticed atomic.Bool // there are some
}

// File names a file across file systems. FS is the name of the export, which
// tells two replicas of one lineage in one region apart.
type File struct {
	FS  string
	Ino fs.Ino
}

type other [12]byte

// Effects are what the caller has to do outside of the Table.
type Effects struct {
	// Release lists a file once for every Hold to be undone.
	Release []File
	// Forget lists reclaim records to be removed.
	Forget []Record
	// Ended lists the file systems whose grace has ended.
	Ended []string
}

// Record is a reclaim record: the client of this name may reclaim on a file
// system. The name is what Clients of a file system returns.
type Record struct {
	FS    string
	Owner string
}

func (e *Effects) add(o Effects) {
	e.Release = append(e.Release, o.Release...)
	e.Forget = append(e.Forget, o.Forget...)
	e.Ended = append(e.Ended, o.Ended...)
}

// NewTable returns an empty Table.
func NewTable(cfg Config) *Table {
	return &Table{
		cfg: cfg, clients: map[uint64]*client{}, owners: map[ownerKey]*incarnations{},
		sessions: map[xdr.SessionID]*session{}, opens: map[other]*open{}, locks: map[other]*lockState{},
		files: map[File]*file{}, serving: map[string]*serving{}, closed: map[other]*openOwner{},
		delegs: map[other]*deleg{}, changing: map[string]int{}, cool: map[File]time.Time{},
		waiters: map[uint64]*waiter{},
	}
}

// boot32 is the part of the boot id that fits into client and state ids: the
// low half of the seconds and of the random number.
func (t *Table) boot32() uint32 {
	return uint32(t.cfg.Boot>>32)<<16 | uint32(t.cfg.Boot)&0xffff
}

func (t *Table) newOther() (o other) {
	t.last++
	binary.BigEndian.PutUint32(o[:], t.boot32())
	binary.BigEndian.PutUint64(o[4:], t.last)
	return o
}

func (t *Table) newClientID() uint64 {
	t.last++
	return uint64(t.boot32())<<32 | t.last&0xffffffff
}

func (t *Table) newSessionID() (id xdr.SessionID) {
	t.last++
	binary.BigEndian.PutUint64(id[:], t.cfg.Boot)
	binary.BigEndian.PutUint64(id[8:], t.last)
	return id
}

// Footprint tells how many entries the Table has in all, whatever they are; a
// Table that nobody uses has none but that of each file system served.
func (t *Table) Footprint() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.clients) + len(t.owners) + len(t.sessions) + len(t.opens) + len(t.locks) + len(t.delegs) + len(t.files)
	return n + len(t.closed) + len(t.changing) + len(t.recalls) + len(t.cool) + len(t.waiters) + len(t.notices)
}

// Queued is how many blocking lock requests wait.
func (t *Table) Queued() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiters)
}

// Counts tells how much state there is, for metrics.
func (t *Table) Counts() (clients, sessions, opens, locks int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.clients), len(t.sessions), len(t.opens), len(t.locks)
}
