package region

import (
	"context"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/engine"
)

var _ control.Settings = (*volumes)(nil)

// Settings of a file system at rest stand in its rest file: who keeps decoded
// copies reads them there once after a start, and not again before they change.

// SetSetting implements control.Settings.
func (v *volumes) SetSetting(ctx context.Context, id, key string, value []byte) error {
	x := v.get(id)
	if x == nil {
		return errNotOpen(id)
	}
	e, err := x.use(ctx)
	if err != nil {
		return err
	}
	defer x.done()
	return e.SetSetting(ctx, key, value)
}

// SettingsSince implements control.Settings. It wakes nothing.
func (v *volumes) SettingsSince(id string, version uint64) (keys []string, now uint64, all, ok bool) {
	x := v.get(id)
	if x == nil {
		return nil, 0, false, false
	}
	e, r := x.look()
	defer x.looked(e)
	switch {
	case e != nil:
		keys, now, all = e.SettingsSince(version)
		return keys, now, all, true
	case r != nil:
		return nil, r.SettingsVersion, version != r.SettingsVersion, true
	}
	return nil, 0, false, false
}

// Setting implements control.Settings.
func (v *volumes) Setting(id, key string) (value []byte, err error) {
	err = v.readSettings(id, func(e *engine.Engine) error { value, err = e.Setting(key); return err },
		key, func(k string, found []byte) error {
			if k == key {
				value = found
			}
			return nil
		})
	return value, err
}

// EachSetting implements control.Settings.
func (v *volumes) EachSetting(id, prefix string, fn func(key string, value []byte) error) error {
	return v.readSettings(id, func(e *engine.Engine) error { return e.Settings(prefix, fn) }, prefix, fn)
}

// readSettings asks the engine if it is open, else the rest file. When that is
// not there, the file system wakes up.
func (v *volumes) readSettings(id string, ask func(*engine.Engine) error, prefix string, fn func(key string, value []byte) error) error {
	x := v.get(id)
	if x == nil {
		return errNotOpen(id)
	}
	e, r := x.look()
	if e != nil {
		defer x.looked(e)
		return ask(e)
	}
	if r != nil {
		if found, err := engine.RestingSettings(v.options(id), r.Pos, prefix, fn); found {
			return err
		}
	}
	e, err := x.use(context.Background())
	if err != nil {
		return err
	}
	defer x.done()
	return ask(e)
}
