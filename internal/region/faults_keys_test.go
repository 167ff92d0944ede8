package region

import (
	crand "crypto/rand"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

const testKMSKey = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000001"

func testKeys() seal.Keeper { return keeper{testKMSKey: seal.One([32]byte{1}, crand.Reader)} }

// encrypted says by the seed which sites encrypt at rest: in a quarter of the
// seeds none does, one, the other, both.
func (w *simWorld) encrypted(site int) bool { return w.seed>>site&1 == 1 }

// plain is the disk of a site as its engine reads it.
func (s *simSite) plain() disk.FS {
	if !s.w.encrypted(s.n) {
		return s.o.FS
	}
	k, err := seal.Open(s.o.FS, s.o.Dir, s.o.Keys)
	s.w.ok("the data key", err)
	return seal.Files(s.o.FS, k, crand.Reader)
}
