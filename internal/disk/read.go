package disk

import (
	"io"

	"github.com/cockroachdb/errors/oserror"
)

// IsNotExist reports whether err says that there is no such file. Pebble wraps
// its errors in a way of its own, hence not errors.Is.
func IsNotExist(err error) bool { return oserror.IsNotExist(err) }

// ReadFile reads a small file whole, such as one that WriteFileAtomic wrote.
func ReadFile(fs FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return b, err
}
