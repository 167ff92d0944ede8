package control

import (
	"context"
	"encoding/json"
)

// Root squash of a file system is a setting in its journal: it holds at every
// address, and on every replica. That of a mount target (rootsquash.go) belongs
// to an address of one region. Root is somebody else where either says so.

// settingRootSquash is the key; without a value root stays root.
const settingRootSquash = "root-squash"

// rootSquashSetting is the value.
type rootSquashSetting struct {
	Version int  `json:"v"`
	Enabled bool `json:"enabled"`
}

const rootSquashVersion = 1

// decodeRootSquash tells whether root is squashed. A form that this release
// does not know is: it was meant to take rights away.
func decodeRootSquash(value []byte) bool {
	if value == nil {
		return false
	}
	var s rootSquashSetting
	if err := strictJSON(value, &s); err != nil || s.Version != rootSquashVersion {
		return true
	}
	return s.Enabled
}

func (s *fsSettings) rootSquashed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.squash
}

// FileSystemRootSquash tells whether root of clients is nobody (65534) on a
// file system (id or ARN), whatever address they come by. Errors: BadRequest,
// FileSystemNotFound, IncorrectFileSystemLifeCycleState while it is not open.
func (c *Control) FileSystemRootSquash(ref string) (enabled bool, err error) {
	var f *FileSystem
	c.catalog.read(func(s *state) { f, err = c.localFileSystem(s, ref) })
	if err != nil {
		return false, asError(err)
	}
	s, err := c.settings(f)
	if err != nil {
		return false, refuse(CodeIncorrectState, "the settings of file system '%s' cannot be read (%s): see DescribeFileSystems, and try again", f.ID, err)
	}
	return s.rootSquashed(), nil
}

// SetFileSystemRootSquash changes it; when it returns, it is in force for every
// request that comes, and durable. Errors: those of FileSystemRootSquash, and
// IncorrectFileSystemLifeCycleState for a replica, which has its source's.
func (c *Control) SetFileSystemRootSquash(ctx context.Context, ref string, enabled bool) error {
	return c.changeSettings(ref, func(_ *FileSystem, s *fsSettings) error {
		switch {
		case s.rootSquashed() == enabled:
			return nil
		case !enabled:
			return s.set(ctx, c, settingRootSquash, nil)
		}
		b, err := json.Marshal(rootSquashSetting{Version: rootSquashVersion, Enabled: true})
		if err != nil {
			return err
		}
		return s.set(ctx, c, settingRootSquash, b)
	})
}
