package control

import (
	"maps"
	"time"
)

// live is what a worker knows of its file system and the catalog does not say.
// It is gone after a restart.
type live struct {
	tried bool  // the worker has looked at the file system once
	role  Role  // of the open engine; "" while it is not open
	err   error // why the last step failed, mount targets aside
	steps int   // that were taken
	// targets holds why a mount target does not listen.
	targets map[string]error
	// listening holds the mount targets that do, with the Admission in force.
	listening map[string]string

	// Of the replication that is named:
	replication string
	attempts    int       // calls to the other region for the current stage
	peer        *PeerView // what the other region last said
	peerErr     error     // why it does not answer now; nil while it does
	peerErrTime time.Time // since when
}

// PeerView is what the other region last told of a replication.
type PeerView struct {
	Time  time.Time
	Reply statusReply
}

// publish lets the worker change what the others see.
func (c *Control) publish(id string, change func(*live)) {
	c.mu.Lock()
	l := c.live[id]
	if l == nil {
		l = &live{targets: map[string]error{}, listening: map[string]string{}}
		c.live[id] = l
	}
	change(l)
	c.mu.Unlock()
	c.wake()
}

// liveOf returns a copy; the zero live for a file system without worker.
func (c *Control) liveOf(id string) live {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.live[id]
	if l == nil {
		return live{}
	}
	v := *l
	v.targets = maps.Clone(l.targets)
	v.listening = maps.Clone(l.listening)
	return v
}

// replicationLive is liveOf as far as it is about the replication.
func (c *Control) replicationLive(r *Replication) live {
	l := c.liveOf(r.FileSystemID)
	if l.replication != r.ID {
		return live{err: l.err, role: l.role, tried: l.tried}
	}
	return l
}

func (c *Control) tried(id string) bool {
	return c.fileSystem(id) == nil || c.liveOf(id).tried
}

// forget removes what was known of a deleted file system.
func (c *Control) forget(id string) {
	c.mu.Lock()
	delete(c.live, id)
	delete(c.workers, id)
	c.mu.Unlock()
	c.copies.drop(id)
	c.wake()
}
