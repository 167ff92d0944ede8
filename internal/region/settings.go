package region

import (
	"context"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/engine"
)

var _ control.Settings = (*volumes)(nil)

func (v *volumes) openEngine(id string) (*engine.Engine, error) {
	if x := v.get(id); x != nil {
		if e := x.engine(); e != nil {
			return e, nil
		}
	}
	return nil, fmt.Errorf("file system %s is not open", id)
}

// SetSetting implements control.Settings.
func (v *volumes) SetSetting(ctx context.Context, id, key string, value []byte) error {
	e, err := v.openEngine(id)
	if err != nil {
		return err
	}
	return e.SetSetting(ctx, key, value)
}

// SettingsSince implements control.Settings.
func (v *volumes) SettingsSince(id string, version uint64) (keys []string, now uint64, all, ok bool) {
	e, err := v.openEngine(id)
	if err != nil {
		return nil, 0, false, false
	}
	keys, now, all = e.SettingsSince(version)
	return keys, now, all, true
}

// Setting implements control.Settings.
func (v *volumes) Setting(id, key string) ([]byte, error) {
	e, err := v.openEngine(id)
	if err != nil {
		return nil, err
	}
	return e.Setting(key)
}

// EachSetting implements control.Settings.
func (v *volumes) EachSetting(id, prefix string, fn func(key string, value []byte) error) error {
	e, err := v.openEngine(id)
	if err != nil {
		return err
	}
	return e.Settings(prefix, fn)
}
