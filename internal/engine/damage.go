package engine

import (
	"errors"
	"path/filepath"
	"sync/atomic"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Damage is the first damage that a read has met since the engine was opened,
// nil when none has. What is not damaged is served all the same, and changes
// are accepted; compare Err. Any goroutine may ask.
func (e *Engine) Damage() error {
	for _, d := range []*atomic.Pointer[error]{&e.damage, &e.damageElsewhere} {
		if p := d.Load(); p != nil {
			return *p
		}
	}
	return nil
}

// noteDamage remembers err if it is damage, and gives it back.
func (e *Engine) noteDamage(err error) error {
	var d *fs.CorruptionError
	if !errors.As(err, &d) {
		return err
	}
	first := &e.damageElsewhere
	if ext := filepath.Ext(d.File); ext == ".pay" || ext == ".rec" {
		first = &e.damage
	}
	if first.CompareAndSwap(nil, &err) {
		e.log.Error("damaged data on disk; what is damaged cannot be read, the rest is served; see the guide, under damage", "error", err)
	}
	return err
}
