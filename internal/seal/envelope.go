package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// EnvelopeName is the file in a file system's directory that holds its data key,
// wrapped. Without this file, or without the key that wraps, nothing in the
// directory can be read again: to destroy either is to destroy the data.
const EnvelopeName = "key.json"

const envelopeFormat = 1

// Envelope is a wrapped data key. docs/formats/encryption.md fixes its form.
type Envelope struct {
	Format int `json:"format"`
	// KMSKey is the ARN of the key that wraps.
	KMSKey string `json:"kms_key"`
	// ID of the data key, 32 hex digits.
	ID string `json:"id"`
	// Wrapped is the data key, wrapped; what is in it is for who wrapped it.
	Wrapped []byte `json:"wrapped"`
}

// Wrapper wraps data keys with one key that it keeps. Safe for concurrent use.
// It bounds its own time.
type Wrapper interface {
	// Wrap encrypts a data key. context is authenticated along: the same has to
	// be given to Unwrap.
	Wrap(secret []byte, context string) ([]byte, error)
	// Unwrap is the opposite. An error says what to do about it.
	Unwrap(wrapped []byte, context string) ([]byte, error)
}

// Keeper finds wrappers by the ARN of their key. Safe for concurrent use.
type Keeper interface {
	// Wrapper of a key. The error says which keys there are.
	Wrapper(kmsKey string) (Wrapper, error)
}

// Create makes a data key for the file system in dir, wraps it with kmsKey and
// writes its envelope there, durably. One that is there already stays: a crash
// came between it and what was to be encrypted with it.
func Create(d disk.FS, dir, kmsKey string, keys Keeper, rand io.Reader) error {
	if e, err := ReadEnvelope(d, dir); err != nil || e != nil {
		return err
	}
	w, err := keys.Wrapper(kmsKey)
	if err != nil {
		return err
	}
	k, err := NewKey(rand)
	if err != nil {
		return err
	}
	wrapped, err := wrapChecked(w, k.secret[:], wrapContext(hex.EncodeToString(k.id[:])))
	if err != nil {
		return fmt.Errorf("wrap a data key with %s; nothing was made: %w", kmsKey, err)
	}
	b, err := json.MarshalIndent(Envelope{envelopeFormat, kmsKey, hex.EncodeToString(k.id[:]), wrapped}, "", " ")
	if err != nil {
		return err
	}
	return disk.WriteFileAtomic(d, d.PathJoin(dir, EnvelopeName), b)
}

// wrapChecked wraps, and unwraps again before anything is encrypted: what does not
// come back is noticed now, not at the restart that would lose all data.
func wrapChecked(w Wrapper, secret []byte, context string) ([]byte, error) {
	wrapped, err := w.Wrap(secret, context)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(wrapped, secret) {
		return nil, errors.New("the answer holds the plain data key: it was not encrypted; mend what answers")
	}
	again, err := w.Unwrap(wrapped, context)
	if err != nil {
		return nil, fmt.Errorf("what was wrapped is not unwrapped again: %w", err)
	}
	if !bytes.Equal(again, secret) {
		return nil, errors.New("what was wrapped is unwrapped to another key; mend what answers")
	}
	return wrapped, nil
}

// wrapContext ties a wrapped key to its id, so that no other can be put in its
// place unnoticed.
func wrapContext(id string) string { return "holdfast data key " + id }

// ReadEnvelope reads the envelope of the file system in dir; nil: there is none,
// the file system is not encrypted.
func ReadEnvelope(d disk.FS, dir string) (*Envelope, error) {
	path := d.PathJoin(dir, EnvelopeName)
	b, err := disk.ReadFile(d, path)
	if disk.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the data key: %w", err)
	}
	e := &Envelope{}
	if err := json.Unmarshal(b, e); err != nil || e.Format != envelopeFormat {
		return nil, &fs.CorruptionError{File: path, Detail: "not a wrapped data key that this release knows; put the file back from a backup: without it the file system cannot be read"}
	}
	return e, nil
}

// ErrLocked is what an error of Open is when the key that wraps cannot be asked, or
// does not unwrap: nothing is known to be wrong with the file system.
var ErrLocked = errors.New("the file system is locked")

type lockedError struct{ error }

func (e lockedError) Unwrap() []error { return []error{e.error, ErrLocked} }

// Open unwraps the data key of the file system in dir; nil: it is not encrypted.
func Open(d disk.FS, dir string, keys Keeper) (*Key, error) {
	e, err := ReadEnvelope(d, dir)
	if err != nil || e == nil {
		return nil, err
	}
	if keys == nil {
		return nil, lockedError{fmt.Errorf("%s is encrypted with %s, and no keys are configured: give the region's configuration, with its encryption.keys", dir, e.KMSKey)}
	}
	w, err := keys.Wrapper(e.KMSKey)
	if err != nil {
		return nil, lockedError{fmt.Errorf("unwrap the data key of %s: %w", dir, err)}
	}
	secret, err := w.Unwrap(e.Wrapped, wrapContext(e.ID))
	if err != nil {
		return nil, lockedError{fmt.Errorf("unwrap the data key of %s with %s: %w", dir, e.KMSKey, err)}
	}
	k := &Key{}
	id, err := hex.DecodeString(e.ID)
	if err != nil || len(id) != len(k.id) {
		return nil, &fs.CorruptionError{File: d.PathJoin(dir, EnvelopeName), Detail: fmt.Sprintf("a data key with the id %.40q; put the file back from a backup", e.ID)}
	}
	if len(secret) != SecretSize {
		return nil, lockedError{fmt.Errorf("unwrap the data key of %s with %s: %d bytes came, a data key has %d: this is not what was wrapped", dir, e.KMSKey, len(secret), SecretSize)}
	}
	copy(k.id[:], id)
	copy(k.secret[:], secret)
	return k, nil
}
