package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// Encryption at rest. The journal encrypts itself; every other file of the
// engine goes through a disk that does: the tree's store, checkpoints, stages,
// salvage. Plain are only current.json, which names the journal, and the
// envelope of the data key.

// encryption is how an engine's files are encrypted. The zero value: they are not.
type encryption struct {
	plain disk.FS
	key   *seal.Key
}

// unlock finds the data key of the file system in o.Dir and makes o.FS the disk
// that encrypts with it.
func (o *Options) unlock() error {
	if o.encryption.plain != nil {
		return nil
	}
	k, err := seal.Open(o.FS, o.Dir, o.Keys)
	if err != nil {
		return err
	}
	if k == nil {
		if o.KMSKey != "" {
			return &fs.CorruptionError{File: filepath.Join(o.Dir, seal.EnvelopeName),
				Detail: "it is missing, and the file system is to be encrypted with " + o.KMSKey + "; nothing was changed; put it back from a backup"}
		}
		if err := o.refuseLost(); err != nil {
			return err
		}
	}
	o.encryption.plain = o.FS
	if k != nil {
		o.encryption.key = k
		// Salts need only never to repeat: they are of the machine's randomness,
		// as those of the journal are.
		o.FS = seal.Files(o.FS, k, rand.Reader)
	}
	return nil
}

// refuseLost: a replica that has received only a part of its first checkpoint has
// no journal yet that would refuse to be opened without its key. It must not be
// swept, and go on unencrypted, because the envelope is lost.
func (o *Options) refuseLost() error {
	for _, name := range []string{stageFileName, peersName} {
		path := filepath.Join(o.Dir, name)
		// What cannot be read proves nothing; who needs it says so.
		if b, err := disk.ReadFile(o.FS, path); err == nil && seal.IsSealed(b) {
			return &fs.CorruptionError{File: filepath.Join(o.Dir, seal.EnvelopeName),
				Detail: "it is missing, but " + path + " is encrypted; nothing was changed; put it back from a backup: without it the file system cannot be read"}
		}
	}
	return nil
}

// plain is the disk as it is.
func (o *Options) plain() disk.FS {
	if o.encryption.plain != nil {
		return o.encryption.plain
	}
	return o.FS
}

// makeKey makes the data key of a new file system that is to be encrypted.
func (o *Options) makeKey() error {
	if o.KMSKey == "" {
		return nil
	}
	if o.Keys == nil {
		return errors.New("encrypt a file system: no keys were given")
	}
	if err := seal.Create(o.plain(), o.Dir, o.KMSKey, o.Keys, rand.Reader); err != nil {
		return fmt.Errorf("encrypt the file system: %w", err)
	}
	return nil
}

// Encrypted reports whether the file system is encrypted at rest.
func (e *Engine) Encrypted() bool { return e.o.encryption.key != nil }
