package nfsclient

import "sync"

// Tally counts what was copied or compared.
type Tally struct {
	Files    int64 // regular files, without further names of the same one
	Dirs     int64
	Symlinks int64
	Links    int64 // further names of files that were copied already
	Others   int64 // devices, fifos and sockets
	Bytes    int64 // content of regular files
}

// counter adds up a Tally and tells progress, one call at a time.
type counter struct {
	mu       sync.Mutex
	t        Tally
	progress func(Tally)
}

func (c *counter) add(d Tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t.Files += d.Files
	c.t.Dirs += d.Dirs
	c.t.Symlinks += d.Symlinks
	c.t.Links += d.Links
	c.t.Others += d.Others
	c.t.Bytes += d.Bytes
	if c.progress != nil {
		c.progress(c.t)
	}
}

func (c *counter) total() Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}
