package nfs

import (
	"sync/atomic"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Nobody is who asks without a name, and whom root becomes by default.
const Nobody = 65534

// Anonymous is whom root becomes.
type Anonymous struct{ UID, GID uint32 }

// Squash says whom root becomes at one address. The zero value, and nil, leave
// root as it is. It may be changed while clients are served; a COMPOUND that
// begins after that is carried out by the new one.
type Squash struct{ as atomic.Pointer[Anonymous] }

// Set sets whom root becomes; nil leaves it root.
func (s *Squash) Set(as *Anonymous) { s.as.Store(as) }

func (s *Squash) get() *Anonymous {
	if s == nil {
		return nil
	}
	return s.as.Load()
}

// apply replaces what is root of an identity: the user, and each group.
func (a *Anonymous) apply(c fs.Cred) fs.Cred {
	if c.UID == 0 {
		c.UID = a.UID
	}
	if c.GID == 0 {
		c.GID = a.GID
	}
	groups := make([]uint32, len(c.Groups))
	for i, g := range c.Groups {
		if groups[i] = g; g == 0 {
			groups[i] = a.GID
		}
	}
	c.Groups = groups
	return c
}
