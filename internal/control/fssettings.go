package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Settings are what lives in the journal of a file system besides its files,
// and so follows its replicas at the same position: access points and the
// policy. All methods may be called concurrently.
type Settings interface {
	// SetSetting sets a setting, or deletes it when value is nil; it is durable
	// on return. fs.ErrROFS: the file system is a replica; fs.ErrDelay: it is
	// not decided yet whether it is.
	SetSetting(ctx context.Context, id, key string, value []byte) error
	// SettingsSince names the settings that changed after a version, and the
	// version now; all: any may have. ok is false when the file system is not
	// open. It is asked for every request of an NFS client.
	SettingsSince(id string, version uint64) (keys []string, now uint64, all, ok bool)
	// Setting gives a value, nil when it is not set.
	Setting(id, key string) ([]byte, error)
	// EachSetting calls fn for the settings whose keys begin with prefix, in
	// the order of keys. The value is valid until fn returns.
	EachSetting(id, prefix string, fn func(key string, value []byte) error) error
}

// The keys of settings. Their form is frozen: see docs/formats/settings.md.
const (
	settingAccessPoint = "access-point/" // and its id
	settingPolicy      = "policy"
	// settingSecret seals the file handles of access points.
	settingSecret = "access-point-secret"
)

// maxSettingsPrefix bounds FileSystem.SettingsPrefix, in bytes: the longest id
// and a slash, so that every key fits.
const maxSettingsPrefix = len("fs-") + 40 + 1

// fsSettings is the decoded copy of one file system's settings. It follows the
// journal: live, on a destination and after a switch to another tree alike.
type fsSettings struct {
	id      string
	writing sync.Mutex // one decision and its change at a time; before mu

	mu      sync.RWMutex
	version uint64
	prefix  string // of the keys that count
	points  map[string]*AccessPoint
	sorted  []string // the ids of points; nil: to be made
	byToken map[string]string
	policy  *filePolicy // nil: none
	secret  []byte
	squash  bool // root is nobody

	// gone are access points that somebody deleted here since the start: whoever
	// waits until they are gone need not wait for a file system that is not open.
	gone map[string]bool
}

// maxGone bounds gone; beyond it they are forgotten.
const maxGone = 10_000

// settingsCopies are the copies by file system.
type settingsCopies struct {
	mu sync.Mutex
	m  map[string]*fsSettings
}

func (s *settingsCopies) of(id string) *fsSettings {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]*fsSettings{}
	}
	if s.m[id] == nil {
		s.m[id] = &fsSettings{id: id}
	}
	return s.m[id]
}

func (s *settingsCopies) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, id)
}

// errNotOpen: a file system that is there and does not run.
var errNotOpen = errors.New("the file system is not open")

// settings gives the copy of a file system's settings as it is now. Read it
// under its mu.
func (c *Control) settings(f *FileSystem) (*fsSettings, error) {
	if c.cfg.Settings == nil {
		return nil, errNotOpen
	}
	s := c.copies.of(f.ID)
	err := s.refresh(c.cfg.Settings, f.SettingsPrefix)
	return s, err
}

// refresh brings the copy up to date; mostly there is nothing to do.
func (s *fsSettings) refresh(from Settings, prefix string) error {
	s.mu.RLock()
	keys, _, all, ok := from.SettingsSince(s.id, s.version)
	same := s.points != nil && s.prefix == prefix
	s.mu.RUnlock()
	switch {
	case !ok:
		return errNotOpen
	case same && !all && len(keys) == 0:
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keys, now, all, ok := from.SettingsSince(s.id, s.version)
	if !ok {
		return errNotOpen
	}
	var err error
	if all || s.points == nil || s.prefix != prefix {
		err = s.readAll(from, prefix)
	} else {
		err = s.readSome(from, keys)
	}
	if err == nil {
		s.version = now
	}
	return err
}

// readAll reads the copy anew. When that fails the copy stays as it was: who has
// found it up to date a moment ago must not find it without its policy.
func (s *fsSettings) readAll(from Settings, prefix string) error {
	n := &fsSettings{id: s.id, prefix: prefix, points: map[string]*AccessPoint{}, byToken: map[string]string{}}
	if err := from.EachSetting(s.id, prefix+settingAccessPoint, n.take); err != nil {
		return fmt.Errorf("read the access points of %s: %w", s.id, err)
	}
	if err := n.readSome(from, []string{prefix + settingPolicy, prefix + settingSecret, prefix + settingRootSquash}); err != nil {
		return err
	}
	s.prefix, s.points, s.byToken, s.sorted = n.prefix, n.points, n.byToken, nil
	s.policy, s.secret, s.squash = n.policy, n.secret, n.squash
	return nil
}

func (s *fsSettings) noteGone(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone == nil || len(s.gone) == maxGone {
		s.gone = map[string]bool{}
	}
	s.gone[id] = true
}

func (s *fsSettings) readSome(from Settings, keys []string) error {
	for _, key := range keys {
		if !strings.HasPrefix(key, s.prefix) {
			continue
		}
		v, err := from.Setting(s.id, key)
		if err != nil {
			return fmt.Errorf("read setting %q of %s: %w", key, s.id, err)
		}
		if err := s.take(key, v); err != nil {
			return err
		}
	}
	return nil
}

// take notes one setting; a nil value means that it is not set.
func (s *fsSettings) take(key string, value []byte) error {
	key = strings.TrimPrefix(key, s.prefix)
	switch {
	case key == settingPolicy:
		s.policy = decodePolicy(value)
	case key == settingSecret:
		s.secret = slices.Clone(value)
	case key == settingRootSquash:
		s.squash = decodeRootSquash(value)
	case strings.HasPrefix(key, settingAccessPoint):
		s.takePoint(strings.TrimPrefix(key, settingAccessPoint), value)
	}
	return nil
}

func (s *fsSettings) takePoint(id string, value []byte) {
	s.sorted = nil
	if old := s.points[id]; old != nil {
		delete(s.points, id)
		if s.byToken[old.ClientToken] == id {
			delete(s.byToken, old.ClientToken)
		}
	}
	if value == nil {
		return
	}
	p := decodeAccessPoint(id, value)
	s.points[id] = p
	if p.Broken == nil {
		s.byToken[p.ClientToken] = id
	}
}

// ids gives the ids of the access points in order.
func (s *fsSettings) ids() []string {
	s.mu.RLock()
	l, n := s.sorted, len(s.points)
	s.mu.RUnlock()
	if l != nil || n == 0 {
		return l
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sorted == nil {
		s.sorted = make([]string, 0, len(s.points))
		for id := range s.points {
			s.sorted = append(s.sorted, id)
		}
		slices.Sort(s.sorted)
	}
	return s.sorted
}

func (s *fsSettings) isGone(id string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.gone[id]
}

func (s *fsSettings) point(id string) *AccessPoint {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.points[id]
}

// readAhead fills the copies of the settings after a start, one file system after
// the other, so that the first who asks for an access point need not wait for
// those of all. What cannot be read is read when it is asked for.
func (c *Control) readAhead(ctx context.Context, ids []string) {
	for _, id := range ids {
		f := c.fileSystem(id)
		if ctx.Err() != nil || c.cfg.Settings == nil {
			return
		}
		if f == nil || f.State != Available {
			continue
		}
		if _, err := c.settings(f); err != nil {
			c.log.Debug("the settings of a file system are not read yet", "file_system", id, "error", err)
		}
	}
}

// changeSettings lets fn decide about the settings of a file system and change
// them, alone. Errors of fn that are refusals of the engine become EFS's.
func (c *Control) changeSettings(ref string, fn func(f *FileSystem, s *fsSettings) error) error {
	var f *FileSystem
	var err error
	c.catalog.read(func(s *state) { f, err = c.availableFileSystem(s, ref) })
	if err != nil {
		return asError(err)
	}
	s := c.copies.of(f.ID)
	s.writing.Lock()
	defer s.writing.Unlock()
	if _, err = c.settings(f); err == nil {
		err = fn(f, s)
	}
	switch {
	case errors.Is(err, errNotOpen), errors.Is(err, fs.ErrDelay):
		return refuse(CodeIncorrectState, "File system '%s' cannot be changed now: it is being opened, or waits to hear from the other region whether it was superseded. Try again; the log of holdfast says more.", f.ID)
	case errors.Is(err, fs.ErrROFS):
		return refuse(CodeIncorrectState, "File system '%s' is read-only, a replica or superseded by one: its access points and its policy are those of the other region's file system: set them there, or end the replication first (DeleteReplicationConfiguration).", f.ID)
	case errors.Is(err, fs.ErrNoSpace):
		return refuse(CodeInternal, "File system '%s' cannot be changed: the disk of region %s is full. Make room, then try again.", f.ID, c.cfg.Region)
	}
	var refused *Error
	if err == nil || errors.As(err, &refused) {
		return asError(err)
	}
	return refuse(CodeInternal, "The settings of file system '%s' cannot be changed now: %s. Try again; if it stays so, the log of holdfast says more.", f.ID, err)
}

func (s *fsSettings) set(ctx context.Context, c *Control, key string, value []byte) error {
	return c.cfg.Settings.SetSetting(ctx, s.id, s.prefix+key, value)
}
