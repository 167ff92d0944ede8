package nfs

import (
	"slices"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// places remembers under which names files were found through access points. A
// directory knows its parent, a file does not, as it may have many names; so
// where a handle comes in again, its file must still have one of these names,
// in a directory below the root. A file that was moved out is refused from then
// on; the client looks it up again, and does not find it.
//
// It is memory of this process. After a restart the seal of a handle counts
// alone, until the file is looked up.
type places struct {
	mu sync.Mutex
	m  map[state.File][]place
}

type place struct {
	dir  fs.Ino
	name fs.Name
}

const (
	// maxPlaced bounds the files that are remembered, some 200 bytes each. Of
	// more, any are forgotten.
	maxPlaced = 1 << 16
	// maxPlaces bounds the names of one file, the newest first: hard links are
	// few, and a program that makes one often removes the other.
	maxPlaces = 4
)

// note remembers that a file was found under a name.
func (s *places) note(f state.File, p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.m[f]
	if len(old) > 0 && old[0] == p {
		return
	}
	if s.m == nil {
		s.m = map[state.File][]place{}
	}
	if _, there := s.m[f]; !there && len(s.m) >= maxPlaced {
		for other := range s.m {
			delete(s.m, other)
			break
		}
	}
	list := append([]place{p}, slices.DeleteFunc(slices.Clone(old), func(o place) bool { return o == p })...)
	s.m[f] = list[:min(len(list), maxPlaces)]
}

// of gives the names of a file; known is false if none was ever noted.
func (s *places) of(f state.File) (list []place, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, known = s.m[f]
	return list, known
}

// moved follows a rename.
func (s *places) moved(f state.File, from, to place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.m[f], from); i >= 0 {
		list := slices.Clone(s.m[f])
		list[i] = to
		s.m[f] = list
	}
}

// inUse tells that there is anything to follow.
func (s *places) inUse() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.m) > 0
}

// foundAt notes where a confined client found an object.
func (c *compound) foundAt(ino fs.Ino, t fs.Type, dir fs.Ino, name fs.Name) {
	if c.confined() && t != fs.TypeDir {
		c.s.places.note(state.File{FS: c.cur.export.Name, Ino: ino}, place{dir, name})
	}
}

// stillThere checks that a file has one of the names under which it was found,
// in a directory below the root. One without any name is still open somewhere.
func (c *compound) stillThere(o *object, a *fs.Attr, root fs.Ino) xdr.Status {
	list, known := c.s.places.of(o.file())
	if !known || a.Nlink == 0 {
		return xdr.OK
	}
	for _, p := range list {
		there, err := o.export.FS.Lookup(&superuser, p.dir, p.name)
		if err == nil && there.Ino == o.ino && c.below(o.export.FS, p.dir, root) == xdr.OK {
			return xdr.OK
		}
	}
	return xdr.ErrStale
}

// follow prepares to note a rename of a file that somebody found through an
// access point. What it returns is to be called when the rename is done.
func (c *compound) follow(from, to place) func() {
	if !c.s.places.inUse() {
		return func() {}
	}
	a, err := c.cur.export.FS.Lookup(&superuser, from.dir, from.name)
	if err != nil {
		return func() {}
	}
	return func() { c.s.places.moved(state.File{FS: c.cur.export.Name, Ino: a.Ino}, from, to) }
}
