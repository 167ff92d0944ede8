package tree

import (
	"encoding/binary"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// checkStaged refuses a key or value from another replica that is not one that
// a tree has: readers rely on both.
func checkStaged(k, v []byte) error {
	bad := &fs.DecodeError{What: "staged key", Detail: fmt.Sprintf("%.20x", k)}
	if len(k) == 0 {
		return bad
	}
	var err error
	switch n := len(k); k[0] {
	case prefixInode:
		if n != 9 {
			return bad
		}
		_, err = decodeInode(fs.Ino(binary.BigEndian.Uint64(k[1:])), v)
	case prefixCookie:
		if n != 17 {
			return bad
		}
		_, err = decodeByCookie(binary.BigEndian.Uint64(k[9:]), v)
	case prefixEntry:
		if n < 10 || n > 9+fs.MaxName {
			return bad
		}
		_, err = decodeEntry(fs.Name(k[9:]), v)
	case prefixOrphan, prefixPending:
		if n != 9 || len(v) != 0 {
			return bad
		}
	case prefixXattr:
		if n < 10 || n > 9+fs.MaxName || len(v) < stampSize || len(v) > stampSize+fs.MaxXattrValue {
			return bad
		}
	case prefixClient:
		if n < 2 || n > 1+fs.MaxClientName || len(v) != 0 {
			return bad
		}
	case prefixSetting:
		if n < 2 || n > 1+fs.MaxName || len(v) > fs.MaxSetting {
			return bad
		}
	default: // extents hold local addresses; position and progress are not transferred
		return bad
	}
	return err
}
