package control_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// TestAddressesOfBothFamilies: a mount target has the addresses that its type
// asks for, of its subnet, and nothing else does.
func TestAddressesOfBothFamilies(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		const both, four, six = "subnet-0000000000000001a", "subnet-0000000000000001b", "subnet-0000000000000006c"
		p.east.Config.Subnets = append(p.east.Config.Subnets, control.Subnet{ID: six, IPv6CIDR: netip.MustParsePrefix("fd00:c::/126"),
			AvailabilityZone: "us-east-1c", AvailabilityZoneID: "az3", VPCID: "vpc-00000001"})
		l := p.withListeners()
		ids := []string{p.create(p.east, "0"), p.create(p.east, "1"), p.create(p.east, "2"), p.create(p.east, "3")}
		for _, c := range []struct {
			fs                int
			subnet, typ       string
			ip, ip6, want     string
			address, address6 string
		}{
			{0, both, "IPV6_ONLY", "", "", "", "", "fd00:a::1"},
			{1, both, "DUAL_STACK", "", "", "", "127.10.0.1", "fd00:a::2"},
			{2, both, "DUAL_STACK", "127.10.0.9", "FD00:A:0:0::1:0009", "", "127.10.0.9", "fd00:a::1:9"},
			{3, both, "IPV6_ONLY", "", "fd00:a::1", control.CodeIPAddressInUse, "", ""},
			{3, both, "DUAL_STACK", "127.10.0.9", "", control.CodeIPAddressInUse, "", ""},
			{3, both, "IPV6_ONLY", "", "fd00:a:0:0::1:9", control.CodeIPAddressInUse, "", ""},
			{3, both, "IPV6_ONLY", "127.10.0.8", "", control.CodeBadRequest, "", ""},
			{3, both, "IPV4_ONLY", "", "fd00:a::8", control.CodeBadRequest, "", ""},
			{3, both, "", "", "fd00:a::8", control.CodeBadRequest, "", ""},
			{3, both, "IPV6_ONLY", "", "fd00:b::8", control.CodeBadRequest, "", ""},
			{3, both, "IPV6_ONLY", "", "fd00:a::", control.CodeBadRequest, "", ""},
			{3, both, "IPV6_ONLY", "", "fd00:a::8%eth0", control.CodeBadRequest, "", ""},
			{3, both, "IPV6_ONLY", "", "127.10.0.8", control.CodeBadRequest, "", ""},
			{3, four, "IPV6_ONLY", "", "", control.CodeBadRequest, "", ""},
			{3, four, "DUAL_STACK", "", "", control.CodeBadRequest, "", ""},
			{3, six, "IPV4_ONLY", "", "", control.CodeBadRequest, "", ""},
			{3, six, "", "", "", control.CodeBadRequest, "", ""},
			{3, six, "DUAL_STACK", "", "", control.CodeBadRequest, "", ""},
			{3, six, "IPV6_ONLY", "", "", "", "", "fd00:c::1"},
			{0, six, "IPV6_ONLY", "", "", "", "", "fd00:c::2"},
			{1, six, "IPV6_ONLY", "", "", control.CodeNoFreeAddresses, "", ""},
			{0, both, "IPV4_ONLY", "", "", control.CodeMountTargetConflict, "", ""}, // one in a zone, of either family
		} {
			m, err := p.east.Control.CreateMountTarget(t.Context(), control.CreateMountTargetRequest{FileSystemID: ids[c.fs], SubnetID: c.subnet, IPAddressType: c.typ, IPAddress: c.ip, IPv6Address: c.ip6})
			if codeOf(err) != c.want || m.IPAddress != c.address || m.IPv6Address != c.address6 {
				t.Errorf("%+v: %q %q, %v", c, m.IPAddress, m.IPv6Address, err)
			}
			if got := l.open[m.ID]; err == nil && got != ids[c.fs]+"@"+join(m.Addresses()) {
				t.Errorf("%+v listens as %q", c, got)
			}
		}
		before := l.list()
		p.withListeners()
		p.eventually("the same addresses after a restart", func() bool { return slices.Equal(p.east.Config.Listeners.(*listeners).list(), before) })
	})
}

func join(all []string) (s string) {
	for i, a := range all {
		if i > 0 {
			s += "+"
		}
		s += a
	}
	return s
}

func TestAdmissionOfIPv6(t *testing.T) {
	a := control.Admission{From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00:b::/64"), netip.MustParsePrefix("fe80::/10")}}
	for ip, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "fd00:b::1": true, "fd00:c::1": false, "::1": false, "11.0.0.1": false, "fe80::1%eth0": true} {
		if got := a.Admits(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s is admitted: %v", ip, got)
		}
	}
}

// TestOneVPCForEachFileSystem: all mount targets of a file system are in one VPC.
func TestOneVPCForEachFileSystem(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		const elsewhere = "subnet-0000000000000009c"
		p.east.Config.Subnets = append(p.east.Config.Subnets, control.Subnet{ID: elsewhere, CIDR: netip.MustParsePrefix("127.12.0.0/24"),
			AvailabilityZone: "us-east-1c", AvailabilityZoneID: "az3", VPCID: "vpc-00000002"})
		p.withListeners()
		id, other := p.create(p.east, "a"), p.create(p.east, "b")
		first, err := p.mount(id, "subnet-0000000000000001a", "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.mount(id, elsewhere, "")
		wantCode(t, "a second VPC", err, control.CodeMountTargetConflict)
		if _, err := p.mount(other, elsewhere, ""); err != nil {
			t.Errorf("another file system there: %v", err)
		}
		if err := p.east.Control.DeleteMountTarget(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := p.mount(id, elsewhere, ""); err != nil {
			t.Errorf("after the other one is gone: %v", err)
		}
	})
}

func TestLimitOfMountTargets(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		for i := range p.east.Config.Subnets {
			p.east.Config.Subnets[i].CIDR = netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 20 + byte(i), 0, 0}), 16)
		}
		p.kill(p.east)
		p.start(p.east)
		for i := range control.MaxMountTargets / 2 {
			id := p.create(p.east, fmt.Sprint(i))
			for _, s := range p.east.Config.Subnets {
				if _, err := p.mount(id, s.ID, ""); err != nil {
					t.Fatalf("mount target %d: %v", 2*i, err)
				}
			}
		}
		id := p.create(p.east, "last")
		_, err := p.mount(id, p.east.Config.Subnets[0].ID, "")
		wantCode(t, "one more than the limit", err, control.CodeInterfaceLimit)
		if all, err := p.east.Control.DescribeMountTargets(id, "", ""); len(all) != 0 || err != nil {
			t.Errorf("it was made: %v, %v", all, err)
		}
	})
}
