package tree

import (
	"sync"
	"sync/atomic"
)

// settingsLog remembers which settings changed last, so that who keeps decoded
// settings in memory reads only those anew. It is not stored: a tree that was
// opened, or that took the place of another, begins a new one.
//
// A version names a moment in one tree of one process; 0 is before all.
type settingsLog struct {
	mu    sync.Mutex
	first uint64               // the version at the beginning
	now   uint64               // rises with every change
	keys  [settingsKept]string // keys[v%settingsKept] changed at version v
}

const (
	// settingsKept is how many changes are remembered. Who is further behind
	// reads all: up to 10,000 access points take some tens of milliseconds.
	settingsKept = 64
	// settingsPerTree keeps the versions of different trees apart: more changes
	// than one tree sees while it is open.
	settingsPerTree = 1 << 32
)

// settingsTrees counts the trees that were opened in this process.
var settingsTrees atomic.Uint64

func newSettingsLog() *settingsLog {
	first := settingsTrees.Add(1) * settingsPerTree
	return &settingsLog{first: first, now: first}
}

func (l *settingsLog) changed(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now++
	l.keys[l.now%settingsKept] = key
}

// SettingsSince names the settings that changed after a version, and the
// version now. all tells that this is not known: any may have changed.
func (t *Tree) SettingsSince(version uint64) (keys []string, now uint64, all bool) {
	l := t.settings
	l.mu.Lock()
	defer l.mu.Unlock()
	if version < l.first || version > l.now || l.now-version > settingsKept {
		return nil, l.now, true
	}
	for v := version + 1; v <= l.now; v++ {
		keys = append(keys, l.keys[v%settingsKept])
	}
	return keys, l.now, false
}

// Settings calls fn for the settings whose keys begin with prefix, in the order
// of keys. The value is valid until fn returns.
func (t *Tree) Settings(prefix string, fn func(key string, value []byte) error) error {
	lo := settingKey(prefix)
	return t.scan(lo, after(lo), func(k, v []byte) error { return fn(string(k[1:]), v) })
}
