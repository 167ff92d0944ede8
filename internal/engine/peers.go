package engine

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/journal"
)

// peers knows how far the other replicas of the file system are, so that what
// they will ask for is kept: a destination the records that it has not
// received, an old primary the records since it was left behind. It is kept in
// a file, because a source that starts again must not wait for its destination
// to learn this.
type peers struct {
	mu    sync.Mutex
	m     map[string]peer
	dirty bool

	saving sync.Mutex // one save at a time; before mu
}

// peer is one other replica.
type peer struct {
	// Seq: it holds the records up to here.
	Seq uint64 `json:"sequence"`
	// Seen is when it was heard of last, in seconds since 1970.
	Seen int64 `json:"seen"`
}

type peersFile struct {
	Format int             `json:"format"`
	Peers  map[string]peer `json:"peers"`
}

const (
	peersName   = "peers.json"
	peersFormat = 1
	// maxPeers bounds the file; the one that was heard of longest ago goes.
	maxPeers = 64
	// peerForgotten: nothing is kept any more for one that was not heard of for
	// so long. It can still come back, by the hashes of both trees.
	peerForgotten = 30 * 24 * time.Hour
)

// PeerHolds tells that a replica, named for ever by its replication, holds the
// records up to seq durably. Cheap, but for the first time: it may be called
// for each ack.
func (e *Engine) PeerHolds(name string, seq uint64) {
	if isNew := e.peers.note(name, peer{Seq: seq, Seen: e.o.Now().Unix()}); isNew {
		e.savePeers() // of the others, what was heard last may be lost: then more is kept
	}
}

func (p *peers) note(name string, x peer) (isNew bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m == nil {
		p.m = map[string]peer{}
	}
	_, known := p.m[name]
	if !known && len(p.m) >= maxPeers {
		oldest := ""
		for n, o := range p.m {
			if oldest == "" || o.Seen < p.m[oldest].Seen {
				oldest = n
			}
		}
		delete(p.m, oldest)
	}
	p.dirty = p.dirty || p.m[name] != x
	p.m[name] = x
	return !known
}

// needs is the newest sequence that every peer holds; last when there is none.
func (p *peers) needs(now time.Time, last uint64) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.m {
		if now.Sub(time.Unix(x.Seen, 0)) > peerForgotten {
			continue
		}
		last = min(last, x.Seq)
	}
	return last
}

// clear forgets all: the history was replaced.
func (p *peers) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dirty = p.dirty || len(p.m) > 0
	p.m = nil
}

func (p *peers) load(o *Options) error {
	b, err := disk.ReadFile(o.FS, filepath.Join(o.Dir, peersName))
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	f := peersFile{}
	if err := json.Unmarshal(b, &f); err != nil || f.Format != peersFormat {
		return errors.New(peersName + " is not one that this release knows")
	}
	p.m = f.Peers
	return nil
}

// save writes what has changed. A crash loses at most what was heard since:
// then a little more is kept.
func (p *peers) save(o *Options) error {
	p.saving.Lock()
	defer p.saving.Unlock()
	p.mu.Lock()
	if !p.dirty {
		p.mu.Unlock()
		return nil
	}
	b, err := json.Marshal(peersFile{peersFormat, p.m})
	p.dirty = false
	p.mu.Unlock()
	if err == nil {
		err = disk.WriteFileAtomic(o.FS, filepath.Join(o.Dir, peersName), b)
	}
	if err != nil {
		p.mu.Lock()
		p.dirty = true
		p.mu.Unlock()
	}
	return err
}

// forkNeed is the sequence after which records are kept for the replica that
// wrote before this one was promoted: when it comes back it must be told what
// changed since then. ok is false when there is none, or it follows already.
func (e *Engine) forkNeed(j *journal.Journal, epochs []fs.EpochStart, now time.Time) (seq uint64, ok bool) {
	i := len(epochs) - 1
	if i < 0 {
		return 0, false
	}
	own := epochs[i].ID.Member
	for i > 0 && epochs[i-1].ID.Member == own {
		i--
	}
	if i == 0 {
		return 0, false
	}
	seq = epochs[i].First - 1
	if e.peers.anyBeyond(seq) || now.Sub(recordTime(j, seq, now)) > peerForgotten {
		return 0, false
	}
	return seq, true
}

// anyBeyond reports whether a peer holds a record after seq.
func (p *peers) anyBeyond(seq uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.m {
		if x.Seq > seq {
			return true
		}
	}
	return false
}
