package engine

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
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
}

// peer is one other replica.
type peer struct {
	// Seq: it holds the records up to here.
	Seq uint64 `json:"sequence"`
	// RecordsOnly: it will not ask for payloads, only for what was changed.
	RecordsOnly bool `json:"records_only,omitempty"`
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
// records up to seq durably. Cheap: it may be called for each ack.
func (e *Engine) PeerHolds(name string, seq uint64) {
	e.peers.note(name, peer{Seq: seq, Seen: e.o.Now().Unix()})
}

func (p *peers) note(name string, x peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m == nil {
		p.m = map[string]peer{}
	}
	if _, known := p.m[name]; !known && len(p.m) >= maxPeers {
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
}

// needs is the newest sequence that every peer holds, of records and of their
// payloads; last when there is no peer.
func (p *peers) needs(now time.Time, last uint64) (records, payloads uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	records, payloads = last, last
	for _, x := range p.m {
		if now.Sub(time.Unix(x.Seen, 0)) > peerForgotten {
			continue
		}
		records = min(records, x.Seq)
		if !x.RecordsOnly {
			payloads = min(payloads, x.Seq)
		}
	}
	return records, payloads
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

// noteFork keeps the records since the promotion for the replica that wrote
// before: when it comes back it must be told what changed since then.
func (e *Engine) noteFork(before fs.Pos) {
	if before.Seq > 0 && before.Epoch.Member != e.epoch.Load().Member {
		e.peers.note("fork-"+before.Epoch.String(), peer{Seq: before.Seq, RecordsOnly: true, Seen: e.o.Now().Unix()})
	}
}
