package nfs

import (
	"encoding/hex"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// Clients keep handles across restarts, releases and regions: these bytes are
// frozen.
func TestHandlesAreFrozen(t *testing.T) {
	l := fs.Lineage{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	for want, h := range map[string][]byte{
		"0101000102030405060708090a0b0c0d0e0f000008000000002ab2481591": fileHandle(l, 0x8000000002a),
		"010203f89f52": pseudoHandle(),
	} {
		if got := hex.EncodeToString(h); got != want {
			t.Errorf("handle %s, want %s", got, want)
		}
	}
}

func FuzzHandle(f *testing.F) {
	f.Add(fileHandle(fs.Lineage{1}, 5))
	f.Add(pseudoHandle())
	f.Fuzz(func(t *testing.T, b []byte) {
		l, ino, pseudo, st := parseHandle(b)
		if st != xdr.OK {
			return
		}
		again := fileHandle(l, ino)
		if pseudo {
			again = pseudoHandle()
		}
		if string(again) != string(b) {
			t.Errorf("%x is read, %x is written", b, again)
		}
	})
}
