package control

import "net/netip"

// Values of EFS's IpAddressType.
const (
	IPv4Only  = "IPV4_ONLY" // what "" means, too
	IPv6Only  = "IPV6_ONLY"
	DualStack = "DUAL_STACK"
)

// family is a kind of addresses, with the member of the API that names one.
type family struct {
	member string
	cidr   func(Subnet) netip.Prefix
	of     func(*MountTarget) string
}

var (
	ipv4 = family{"IpAddress", func(s Subnet) netip.Prefix { return s.CIDR }, func(m *MountTarget) string { return m.IPAddress }}
	ipv6 = family{"Ipv6Address", func(s Subnet) netip.Prefix { return s.IPv6CIDR }, func(m *MountTarget) string { return m.IPv6Address }}
)

// Addresses are those on which a mount target listens: one of each family that
// it has.
func (m *MountTarget) Addresses() []string {
	var all []string
	for _, a := range []string{m.IPAddress, m.IPv6Address} {
		if a != "" {
			all = append(all, a)
		}
	}
	return all
}

// placeMountTarget checks the wished addresses and chooses the others.
func (c *Control) placeMountTarget(s *state, m *MountTarget, r *CreateMountTargetRequest) error {
	subnet, err := c.roomForTarget(s, m.FileSystemID, r.SubnetID)
	if err != nil {
		return err
	}
	want4, want6 := r.IPAddressType != IPv6Only, r.IPAddressType == IPv6Only || r.IPAddressType == DualStack
	switch {
	case r.IPAddress != "" && !want4:
		return refuse(CodeBadRequest, "IpAddress is an IPv4 address, which a mount target with IpAddressType %s has not: leave it out, or give IpAddressType %s", IPv6Only, DualStack)
	case r.IPv6Address != "" && !want6:
		return refuse(CodeBadRequest, "Ipv6Address is for a mount target with an IPv6 address: give IpAddressType %s or %s with it, or leave it out", IPv6Only, DualStack)
	}
	if want4 {
		if m.IPAddress, err = ipv4.choose(s, subnet, r.IPAddress); err != nil {
			return err
		}
	}
	if want6 {
		m.IPv6Address, err = ipv6.choose(s, subnet, r.IPv6Address)
	}
	return err
}

// choose takes the wish, or the lowest free address of the subnet.
func (f family) choose(s *state, subnet Subnet, wish string) (string, error) {
	cidr := f.cidr(subnet)
	if !cidr.IsValid() {
		return "", refuse(CodeBadRequest, "subnet %s has no network for an %s: choose another IpAddressType (%s, %s or %s) or subnet, or add one to the configuration", subnet.ID, f.member, IPv4Only, IPv6Only, DualStack)
	}
	used := map[string]string{}
	for _, m := range s.mountTargets {
		used[f.of(m)] = m.ID
	}
	if wish != "" {
		return f.check(subnet, wish, used)
	}
	for a := cidr.Masked().Addr(); cidr.Contains(a); a = a.Next() {
		if isHost(cidr, a) && used[a.String()] == "" {
			return a.String(), nil
		}
	}
	return "", refuse(CodeNoFreeAddresses, "subnet %s (%s) has no free address: delete a mount target or use another subnet", subnet.ID, cidr)
}

// check returns a wished address in the one form that is kept: an IPv6 address
// has many.
func (f family) check(subnet Subnet, wish string, used map[string]string) (string, error) {
	addr, err := netip.ParseAddr(wish)
	if err != nil || !isHost(f.cidr(subnet), addr) {
		return "", refuse(CodeBadRequest, "%s %q is no host address of subnet %s (%s): give one, or none for the lowest that is free", f.member, wish, subnet.ID, f.cidr(subnet))
	}
	if by := used[addr.String()]; by != "" {
		return "", refuse(CodeIPAddressInUse, "%s %s is used by mount target %s: name another one or none", f.member, addr, by)
	}
	return addr.String(), nil
}

// isHost excludes the first and the last address of prefixes that have others:
// network and broadcast, and with IPv6 the address of all routers (RFC 4291
// §2.6.1).
func isHost(p netip.Prefix, a netip.Addr) bool {
	if !p.Contains(a) {
		return false
	}
	if p.Bits() >= a.BitLen()-1 {
		return true
	}
	return a != p.Masked().Addr() && p.Contains(a.Next())
}
