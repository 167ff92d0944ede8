// Package fstest holds the reference file system: what every operation means,
// written with maps and byte slices so that it is obviously right. The tests
// of the NFS server run on it, and the engine is compared with it.
//
// What it decides where POSIX leaves room: reading changes no access time (as
// with noatime); a directory's size is DirSize; a removed inode that is held
// stays readable and writable, with link count 0, until its last holder
// releases it; a refused request changes nothing.
package fstest

import (
	"context"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// DirSize is the size attribute of every directory, bytes.
const DirSize = 4096

// totalBytes and totalFiles are what an empty Ref says it has room for.
const (
	totalBytes = 1 << 50
	totalFiles = 1 << 32
)

// Ref is the reference file system. Its methods have the meaning that
// nfs.FileSystem gives them and may be called from many goroutines.
type Ref struct {
	clock   func() time.Time
	lineage fs.Lineage

	mu        sync.RWMutex
	epoch     fs.EpochID
	seq       uint64
	nextIno   uint64
	inodes    map[fs.Ino]*inode
	holds     map[fs.Ino]int
	clients   map[string]bool
	readOnly  bool
	commitErr error
	inGrace   bool // after Restart: nameless inodes wait for GraceEnded
}

type inode struct {
	attr    fs.Attr
	target  string
	data    content
	entries map[fs.Name]*entry // of a directory
	next    uint64             // cookie of its next entry
	xattrs  map[fs.Name][]byte
}

type entry struct {
	cookie uint64
	ino    fs.Ino
}

// NewRef makes an empty file system whose root belongs to uid and gid 0 with
// mode 0755. clock gives the times of changes.
func NewRef(clock func() time.Time) *Ref {
	return NewRefOf(fs.Lineage{'r', 'e', 'f'}, clock)
}

// NewRefOf is NewRef with a lineage.
func NewRefOf(l fs.Lineage, clock func() time.Time) *Ref {
	r := &Ref{
		clock: clock, lineage: l, epoch: fs.EpochID{Counter: 1, Nonce: 1},
		inodes: map[fs.Ino]*inode{}, holds: map[fs.Ino]int{}, clients: map[string]bool{},
	}
	now := fs.TimeOf(clock())
	r.inodes[fs.RootIno] = &inode{
		entries: map[fs.Name]*entry{}, next: firstCookie,
		attr: fs.Attr{Ino: fs.RootIno, Type: fs.TypeDir, Mode: 0o755, Nlink: 2, Size: DirSize,
			Atime: now, Mtime: now, Ctime: now, Btime: now, Parent: fs.RootIno, Change: fs.ChangeOf(r.epoch, 0)},
	}
	return r
}

// firstCookie is the least that READDIR may use (RFC 8881 §18.23.3).
const firstCookie = 3

// Restart does what a restart of the server does to a file system: a new epoch
// begins, holds are forgotten, and removed inodes wait for GraceEnded.
func (r *Ref) Restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch.Counter++
	r.nextIno = 0
	r.holds = map[fs.Ino]int{}
	r.inGrace = true
}

// SetReadOnly makes every changing method answer fs.ErrROFS, or no longer.
func (r *Ref) SetReadOnly(v bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readOnly = v
}

// FailCommits makes WaitCommitted answer err from now on; nil ends it.
func (r *Ref) FailCommits(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commitErr = err
}

// Lineage is the identity of the data.
func (r *Ref) Lineage() fs.Lineage { return r.lineage }

// Epoch changes with Restart.
func (r *Ref) Epoch() fs.EpochID {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.epoch
}

// ReadOnly tells what SetReadOnly set.
func (r *Ref) ReadOnly() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.readOnly
}

// StatFS counts what there is.
func (r *Ref) StatFS() (fs.StatFS, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var used uint64
	for _, n := range r.inodes {
		used += n.attr.Used
	}
	files := uint64(len(r.inodes))
	return fs.StatFS{BytesTotal: totalBytes, BytesFree: totalBytes - used, BytesUsed: used, Files: files, FilesFree: totalFiles - files}, nil
}

// GetAttr returns the attributes of an inode.
func (r *Ref) GetAttr(ino fs.Ino) (fs.Attr, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n, err := r.get(ino)
	if err != nil {
		return fs.Attr{}, err
	}
	return n.attr, nil
}

// WaitCommitted returns at once: there is nothing to wait for.
func (r *Ref) WaitCommitted(ctx context.Context, _ uint64) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.commitErr != nil {
		return r.commitErr
	}
	return ctx.Err()
}

// LastApplied is the sequence of the last change.
func (r *Ref) LastApplied() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.seq
}

// Hold keeps an inode while it is open.
func (r *Ref) Hold(ino fs.Ino) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds[ino]++
}

// Release undoes one Hold.
func (r *Ref) Release(ino fs.Ino) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holds[ino]--; r.holds[ino] <= 0 {
		delete(r.holds, ino)
		r.dropIfGone(ino)
	}
}

// Holds counts the holders of an inode.
func (r *Ref) Holds(ino fs.Ino) int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.holds[ino]
}

// Held lists what is held, in the order of numbers.
func (r *Ref) Held() []fs.Ino {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.holds))
}

// dropIfGone forgets an inode without name and holder.
func (r *Ref) dropIfGone(ino fs.Ino) {
	if n := r.inodes[ino]; n != nil && n.attr.Nlink == 0 && r.holds[ino] == 0 && !r.inGrace {
		delete(r.inodes, ino)
	}
}

// Clients lists who may reclaim, sorted.
func (r *Ref) Clients() ([][]byte, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var list [][]byte
	for c := range r.clients {
		list = append(list, []byte(c))
	}
	sort.Slice(list, func(i, j int) bool { return string(list[i]) < string(list[j]) })
	return list, nil
}

// AddClient records that a client may reclaim after a restart.
func (r *Ref) AddClient(_ context.Context, owner []byte) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(owner) == 0 || len(owner) > fs.MaxClientName {
		return 0, fs.ErrInval
	}
	r.clients[string(owner)] = true
	r.seq++
	return r.seq, nil
}

// RemoveClient undoes AddClient.
func (r *Ref) RemoveClient(_ context.Context, owner []byte) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.clients, string(owner))
	r.seq++
	return r.seq, nil
}

// GraceEnded lets the removed inodes go that nobody reclaimed.
func (r *Ref) GraceEnded() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inGrace = false
	for ino := range r.inodes {
		r.dropIfGone(ino)
	}
}

func (r *Ref) get(ino fs.Ino) (*inode, error) {
	n := r.inodes[ino]
	if n == nil {
		return nil, fs.ErrStale
	}
	return n, nil
}

// begin starts a change: it returns its time, or why nothing may change.
func (r *Ref) begin() (fs.Time, error) {
	if r.readOnly {
		return fs.Time{}, fs.ErrROFS
	}
	return fs.TimeOf(r.clock()), nil
}

// commit gives the change a sequence and marks the inodes that it touched.
func (r *Ref) commit(now fs.Time, touched ...*inode) uint64 {
	r.seq++
	for _, n := range touched {
		n.attr.Ctime = now
		n.attr.Change = fs.ChangeOf(r.epoch, r.seq)
	}
	return r.seq
}
