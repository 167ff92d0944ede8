package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxKeyFile bounds, in bytes, what is read of a key file.
const maxKeyFile = 64 << 10

// ErrNotOurs: what was to be unwrapped was not wrapped with this key, or was
// changed.
var ErrNotOurs = errors.New("it was wrapped with another key, or changed")

// fileWrapper wraps with keys from a file: the first one; it unwraps with any.
type fileWrapper struct {
	path string
	keys [][]byte
	rand io.Reader
}

// KeyFile reads a file with one key of 256 bits a line, in hex or base64 (as
// `openssl rand -hex 32` writes it); empty lines and those that begin with # do
// not count. The first key wraps, all unwrap: to rotate, put a new one before
// the old, and drop the old when no file system needs it. The file may be
// readable for its owner only.
func KeyFile(path string, rand io.Reader) (Wrapper, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	// A pipe would keep the region from starting until somebody writes to it.
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("the key file %s is no regular file (%s): give a file with one key a line", path, st.Mode().Type())
	}
	if p := st.Mode().Perm(); p&0o077 != 0 {
		return nil, fmt.Errorf("the key file %s has mode %#o: others can read it; chmod 600 it, and think about who has", path, p)
	}
	if st.Size() > maxKeyFile {
		return nil, fmt.Errorf("the key file %s has %d bytes; %d are read at most", path, st.Size(), maxKeyFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	w := &fileWrapper{path: path, rand: rand}
	for i, line := range bytes.Split(b, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		k, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("the key file %s, line %d: %w", path, i+1, err)
		}
		w.keys = append(w.keys, k)
	}
	if len(w.keys) == 0 {
		return nil, fmt.Errorf("the key file %s holds no key: make one with `openssl rand -hex 32`", path)
	}
	return w, nil
}

// One wraps with one key, that the process has in memory.
func One(key [SecretSize]byte, rand io.Reader) Wrapper {
	return &fileWrapper{path: "memory", keys: [][]byte{key[:]}, rand: rand}
}

func parseKey(line []byte) ([]byte, error) {
	if k, err := hex.DecodeString(string(line)); err == nil && len(k) == SecretSize {
		return k, nil
	}
	if k, err := base64.StdEncoding.DecodeString(string(line)); err == nil && len(k) == SecretSize {
		return k, nil
	}
	return nil, errors.New("not 256 bits in hex or base64: make one with `openssl rand -hex 32`")
}

func (w *fileWrapper) Wrap(secret []byte, context string) ([]byte, error) {
	aead, err := newGCM(w.keys[0])
	if err != nil {
		return nil, err
	}
	n := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(w.rand, n); err != nil {
		return nil, err
	}
	return aead.Seal(n, n, secret, []byte(context)), nil
}

func (w *fileWrapper) Unwrap(wrapped []byte, context string) ([]byte, error) {
	for _, k := range w.keys {
		aead, err := newGCM(k)
		if err != nil {
			return nil, err
		}
		n := aead.NonceSize()
		if len(wrapped) < n {
			break
		}
		if secret, err := aead.Open(nil, wrapped[:n], wrapped[n:], []byte(context)); err == nil {
			return secret, nil
		}
	}
	return nil, fmt.Errorf("none of the %d keys in %s: %w; put the key that wrapped it back into the file, on a line of its own", len(w.keys), w.path, ErrNotOurs)
}
