package control

// PeerRegions are the regions that this one can replicate with, sorted.
func (c *Control) PeerRegions() []string { return c.cfg.Peers.Regions() }

// Replicated reports whether the file system is in a replication, on either
// side. It is quick.
func (c *Control) Replicated(fileSystemID string) (yes bool) {
	c.catalog.read(func(s *state) { yes = s.replicationOf(fileSystemID) != nil })
	return yes
}

// KMSKeyOf is the ARN of the key that the file system is encrypted at rest with,
// "" for none or when there is no such file system. It is quick.
func (c *Control) KMSKeyOf(fileSystemID string) string {
	if f := c.fileSystem(fileSystemID); f != nil {
		return f.KMSKey
	}
	return ""
}

// IsSource reports whether the file system is the source of the replication
// here and its destination a registered member, so that the other region may
// read its history. It is quick: the replication server asks at every heartbeat.
func (c *Control) IsSource(fileSystemID, replicationID string) (ok bool) {
	c.catalog.read(func(s *state) {
		r := s.replications[replicationID]
		ok = r != nil && r.Side == SideSource && r.FileSystemID == fileSystemID && r.Stage != StagePreparing
	})
	return ok
}
