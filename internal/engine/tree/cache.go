package tree

import (
	"sync"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

const (
	cacheShards = 16
	// shardInodes bounds the cache at 32,768 inodes, some 12 MB.
	shardInodes = 2048
)

// inodeCache keeps decoded inodes. Readers fill it, the applier keeps it true;
// since they exclude each other, no reader can put an old value back.
type inodeCache struct {
	shards [cacheShards]struct {
		mu sync.Mutex
		m  map[fs.Ino]*Inode
	}
}

func newInodeCache() *inodeCache {
	c := &inodeCache{}
	for i := range c.shards {
		c.shards[i].m = make(map[fs.Ino]*Inode)
	}
	return c
}

func (c *inodeCache) get(ino fs.Ino) *Inode {
	s := &c.shards[ino%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[ino]
}

func (c *inodeCache) put(n *Inode) {
	s := &c.shards[n.Ino%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.m[n.Ino]; !ok && len(s.m) >= shardInodes {
		for k := range s.m { // any will do
			delete(s.m, k)
			break
		}
	}
	s.m[n.Ino] = n
}

func (c *inodeCache) drop(ino fs.Ino) {
	s := &c.shards[ino%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, ino)
}
