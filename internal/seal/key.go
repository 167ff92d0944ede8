package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

const (
	// SecretSize of a data key, in bytes.
	SecretSize = 32
	// SaltSize of what a derived key is made unique by, in bytes.
	SaltSize = 32
	// Overhead is how many bytes a sealed text is longer than its plain one.
	Overhead = 16
)

// What a derived key is for. Their form is frozen.
const (
	purposeSegment = "holdfast journal segment 1"
	purposeFile    = "holdfast sealed file 1"
)

// Key is the data key of one file system. Safe for concurrent use. It never
// leaves the process but wrapped.
type Key struct {
	id     [16]byte
	secret [SecretSize]byte
}

// NewKey makes a key from random bytes.
func NewKey(rand io.Reader) (*Key, error) {
	k := &Key{}
	for _, b := range [][]byte{k.id[:], k.secret[:]} {
		if _, err := io.ReadFull(rand, b); err != nil {
			return nil, fmt.Errorf("make a data key: %w", err)
		}
	}
	return k, nil
}

// ID names the key where something is encrypted with it. It is random and says
// nothing about the key. Never zero in practice: zero stands for no key.
func (k *Key) ID() [16]byte { return k.id }

// String is the key's id: a key never shows in a log.
func (k *Key) String() string { return "data key " + hex.EncodeToString(k.id[:]) }

// GoString is String.
func (k *Key) GoString() string { return k.String() }

// Segment gives the cipher of a journal's segment, by the segment's own salt.
func (k *Key) Segment(salt [SaltSize]byte) (cipher.AEAD, error) {
	return k.derive(purposeSegment, salt)
}

func (k *Key) derive(purpose string, salt [SaltSize]byte) (cipher.AEAD, error) {
	sub, err := hkdf.Key(sha256.New, k.secret[:], salt[:], purpose, SecretSize)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	return newGCM(sub)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}
