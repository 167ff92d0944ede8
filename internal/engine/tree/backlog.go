package tree

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

const (
	// maxMemBytes in memtables, and maxSublevels of level 0 (each one more to
	// look into for every read), before changes wait. Bytes, not memtables: the
	// store begins with small ones, and flushes none before they add up to half
	// a full one.
	maxMemBytes  = 4 * memTableBytes
	maxSublevels = 20
	// checkEvery so many bytes it is worth asking the store how far behind it is.
	checkEvery = 1 << 20
	lookAgain  = 20 * time.Millisecond
	// flushRetryPause keeps a failing flush from spinning.
	flushRetryPause = 50 * time.Millisecond
)

// backlog knows how far the store is behind, and why.
type backlog struct {
	mu     sync.Mutex
	bytes  int           // since the store was asked
	refuse error         // of the last background job, nil when it went well
	dead   error         // nothing is persisted any more
	event  chan struct{} // closed at the next event
}

func newBacklog() *backlog { return &backlog{event: make(chan struct{})} }

func (b *backlog) listener(log *slog.Logger) *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			if _, _, dead := b.state(); dead == nil {
				log.Error("the tree's store failed a background job; it will try again", "error", err)
			}
			b.happened(err)
			time.Sleep(flushRetryPause)
		},
		FlushEnd:      func(i pebble.FlushInfo) { b.ended(i.Err) },
		CompactionEnd: func(i pebble.CompactionInfo) { b.ended(i.Err) },
	}
}

func (b *backlog) happened(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = err
	b.wakeLocked()
}

// ended: an error here may be one that the store deals with, such as a flush
// of nothing; those that matter come to happened.
func (b *backlog) ended(err error) {
	if err == nil {
		b.happened(nil)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wakeLocked()
}

func (b *backlog) wakeLocked() {
	close(b.event)
	b.event = make(chan struct{})
}

// die ends all waiting; it reports whether it is the first time.
func (b *backlog) die(err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead != nil {
		return false
	}
	b.dead = err
	b.wakeLocked()
	return true
}

func (b *backlog) added(n int) {
	b.mu.Lock()
	b.bytes += n
	b.mu.Unlock()
}

// state gives what ends waiting, and the next event.
func (b *backlog) state() (event chan struct{}, refuse, dead error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.event, b.refuse, b.dead
}

// await waits for a flush, until the disk refuses one.
func (b *backlog) await(flushed <-chan struct{}) error {
	event, _, dead := b.state() // an older refusal may be mended
	for dead == nil {
		select {
		case <-flushed:
			return nil
		case <-event:
		}
		var refuse error
		if event, refuse, dead = b.state(); refuse != nil {
			return refuse
		}
	}
	return dead
}

// wait waits while the store is too far behind.
func (b *backlog) wait(db *pebble.DB) error {
	b.mu.Lock()
	due, dead := b.bytes >= checkEvery, b.dead
	b.mu.Unlock()
	for due && dead == nil {
		var event chan struct{}
		var refuse error
		event, refuse, dead = b.state()
		m := db.Metrics()
		if m.MemTable.Size <= maxMemBytes && m.Levels[0].Sublevels <= maxSublevels {
			b.mu.Lock()
			b.bytes = 0
			b.mu.Unlock()
			return dead
		}
		switch {
		case disk.IsNoSpace(refuse):
			return fs.ErrNoSpace
		case refuse != nil:
			return fmt.Errorf("the tree cannot be written to disk: %w", refuse)
		}
		if dead == nil {
			select {
			case <-event:
			case <-time.After(lookAgain): // the store may count a flush as done after its event
			}
		}
	}
	return dead
}
