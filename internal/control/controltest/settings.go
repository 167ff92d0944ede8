package controltest

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// settings are those of one file system. Every change is remembered.
type settings struct {
	values  map[string][]byte
	changes []string // keys; the version is their number
	base    uint64   // changes before these are forgotten
}

func (s *settings) set(key string, value []byte) {
	if s.values == nil {
		s.values = map[string][]byte{}
	}
	if value == nil {
		delete(s.values, key)
	} else {
		s.values[key] = slices.Clone(value)
	}
	s.changes = append(s.changes, key)
}

// follow takes over what another one has, key by key as a stream does.
func (s *settings) follow(o *settings) {
	for _, key := range slices.Sorted(maps.Keys(o.values)) {
		if string(s.values[key]) != string(o.values[key]) {
			s.set(key, o.values[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if o.values[key] == nil {
			s.set(key, nil)
		}
	}
}

// Forget makes a file system forget which settings changed, as a switch to
// another tree does.
func (e *Engines) Forget(id string) {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	s := &e.disk[id].settings
	s.base += uint64(len(s.changes)) + 1
	s.changes = nil
}

// SetSetting implements control.Settings.
func (e *Engines) SetSetting(ctx context.Context, id, key string, value []byte) error {
	err := e.enter(ctx, "SetSetting")
	defer e.leave()
	f := e.disk[id]
	switch {
	case err != nil:
		return err
	case f == nil || !f.open:
		return fs.ErrStale
	case f.role == control.RoleUndecided:
		return fs.ErrDelay
	case f.role != control.RoleWriter:
		return fs.ErrROFS
	}
	f.settings.set(key, value)
	return e.fail["SetSetting-answer"]
}

// SettingsSince implements control.Settings.
func (e *Engines) SettingsSince(id string, version uint64) (keys []string, now uint64, all, ok bool) {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	f := e.disk[id]
	if f == nil || !f.open || e.dead {
		return nil, 0, false, false
	}
	e.pull(id, f)
	s := &f.settings
	now = s.base + uint64(len(s.changes))
	if version < s.base || version > now {
		return nil, now, true, true
	}
	return slices.Clone(s.changes[version-s.base:]), now, false, true
}

// Setting implements control.Settings.
func (e *Engines) Setting(id, key string) ([]byte, error) {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	if f := e.disk[id]; f != nil {
		return f.settings.values[key], nil
	}
	return nil, fs.ErrStale
}

// EachSetting implements control.Settings.
func (e *Engines) EachSetting(id, prefix string, fn func(key string, value []byte) error) error {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	f := e.disk[id]
	if f == nil {
		return fs.ErrStale
	}
	if err := e.fail["EachSetting "+id]; err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(f.settings.values)) {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if err := fn(key, f.settings.values[key]); err != nil {
			return err
		}
	}
	return nil
}
