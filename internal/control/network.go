package control

import (
	"fmt"
	"slices"
)

// Network is what the configuration declares of the region's network, and what
// mount targets use of it.
type Network struct {
	Region         string
	AccountID      string
	Subnets        []Subnet
	SecurityGroups []SecurityGroup

	used map[string]int // subnet -> IPv4 addresses of mount targets
}

// Network describes the network. The lists are the caller's.
func (c *Control) Network() Network {
	n := Network{Region: c.cfg.Region, AccountID: c.cfg.AccountID, Subnets: slices.Clone(c.cfg.Subnets),
		SecurityGroups: slices.Clone(c.cfg.SecurityGroups), used: map[string]int{}}
	c.catalog.read(func(s *state) {
		for _, m := range s.mountTargets {
			if m.IPAddress != "" {
				n.used[m.SubnetID]++
			}
		}
	})
	return n
}

// Free is the number of IPv4 addresses that mount targets can still have.
func (n Network) Free(s Subnet) int {
	if !s.CIDR.IsValid() {
		return 0
	}
	hosts := 1 << (s.CIDR.Addr().BitLen() - s.CIDR.Bits())
	if hosts > 2 {
		hosts -= 2 // network and broadcast
	}
	return hosts - n.used[s.ID]
}

// ARN is the ARN of a part of the network, such as subnet/subnet-...
func (n Network) ARN(resource string) string {
	return fmt.Sprintf("arn:aws:ec2:%s:%s:%s", n.Region, n.AccountID, resource)
}
