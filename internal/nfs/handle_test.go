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
	f.Add(sealedHandle(&AccessPoint{ID: "fsap-1"}, fs.Lineage{1}, 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, ino, pseudo, st := parseHandle(b)
		if st != xdr.OK {
			return
		}
		again := fileHandle(l, ino)
		switch {
		case pseudo:
			again = pseudoHandle()
		case b[1] == handleSealed: // the seal is checked elsewhere
			again = sealHandle(append(append([]byte{handleVersion, handleSealed}, again[2:26]...), b[26:42]...))
		}
		if string(again) != string(b) {
			t.Errorf("%x is read, %x is written", b, again)
		}
	})
}

// TestSealedHandleIsFrozen: clients of access points keep them for years, over
// restarts and failovers to regions of other releases.
func TestSealedHandleIsFrozen(t *testing.T) {
	p := &AccessPoint{ID: "fsap-0123456789abcdef0", Path: "/a", Secret: []byte("0123456789abcdef0123456789abcdef")}
	b := sealedHandle(p, fs.Lineage{1, 2, 3}, 0x0102030405060708)
	const want = "0103010203000000000000000000000000000102030405060708abe3cc014af48ce6ca5d1e0a5556821ef9cd510f"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, _, _, st := parseHandle(b); st != xdr.OK || !sealed(p, b) {
		t.Errorf("it is not read back: %v", st)
	}
}
