package control

import "slices"

// Replica is a file system of another region with the same data, now or once.
type Replica struct {
	FileSystemID string
	Region       string
}

// Replicas are the file systems that one is or was replicated with, in either
// direction: a client that was mounted there finds its data here after a
// failover.
func (c *Control) Replicas(fileSystemID string) (all []Replica) {
	c.catalog.read(func(s *state) {
		if r := s.replicationOf(fileSystemID); r != nil && r.PeerID != "" {
			all = append(all, Replica{r.PeerID, r.PeerRegion})
		}
		for _, t := range s.tombstones {
			if t.Outcome != OutcomePromoted && t.Outcome != OutcomeDropped {
				continue // the other one never had the data
			}
			other := t.SourceID
			if other == fileSystemID {
				other = t.DestinationID
			} else if t.DestinationID != fileSystemID {
				continue
			}
			if r := (Replica{other, t.PeerRegion}); !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
	})
	return all
}

// WithReplica finds the file system of this region that is or was replicated
// with one of another; "" for none.
func (c *Control) WithReplica(r Replica) (fileSystemID string) {
	c.catalog.read(func(s *state) {
		for _, p := range s.replications {
			if p.PeerID == r.FileSystemID && (r.Region == "" || p.PeerRegion == r.Region) {
				fileSystemID = p.FileSystemID
				return
			}
		}
		for _, t := range s.tombstones {
			if t.Outcome != OutcomePromoted && t.Outcome != OutcomeDropped || r.Region != "" && t.PeerRegion != r.Region {
				continue
			}
			for _, pair := range [][2]string{{t.SourceID, t.DestinationID}, {t.DestinationID, t.SourceID}} {
				if pair[0] == r.FileSystemID && s.fileSystems[pair[1]] != nil {
					fileSystemID = pair[1]
				}
			}
		}
	})
	return fileSystemID
}
