package engine

// SettingsSince names the settings that changed after a version, and the
// version now; all tells that any may have changed. Version 0 is before
// everything. An engine that has no tree yet has no settings, at version 0.
func (e *Engine) SettingsSince(version uint64) (keys []string, now uint64, all bool) {
	e.rw.RLock()
	defer e.rw.RUnlock()
	if e.t == nil {
		return nil, 0, true
	}
	return e.t.SettingsSince(version)
}

// Settings calls fn for the settings whose keys begin with prefix, in the order
// of keys. The value is valid until fn returns; fn must not call the engine.
func (e *Engine) Settings(prefix string, fn func(key string, value []byte) error) error {
	e.rw.RLock()
	defer e.rw.RUnlock()
	if e.t == nil {
		return nil
	}
	return e.t.Settings(prefix, fn)
}
