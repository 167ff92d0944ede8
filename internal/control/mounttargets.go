package control

import (
	"context"
	"net/netip"
	"slices"
	"strings"
)

// MaxMountTargets is EFS's limit of mount targets in a VPC; here in a region.
const MaxMountTargets = 1400

// Subnet is a range of addresses of a region that mount targets may have: of
// IPv4, IPv6 or both. The zero prefix is none.
type Subnet struct {
	ID                 string // "subnet-" and 8 to 40 hex digits
	CIDR               netip.Prefix
	IPv6CIDR           netip.Prefix
	AvailabilityZone   string // e.g. "us-east-1a"
	AvailabilityZoneID string // e.g. "use1-az1"
	VPCID              string
}

// CreateMountTargetRequest asks for a mount target. An address "" of a family
// that IPAddressType has takes the lowest free one.
type CreateMountTargetRequest struct {
	FileSystemID  string // id or ARN
	SubnetID      string
	IPAddressType string // IPv4Only, IPv6Only or DualStack; "" is IPv4Only
	IPAddress     string
	IPv6Address   string
	// SecurityGroups are ids; none is the default group of the subnet's VPC.
	SecurityGroups []string
}

// MountTargetDescription is what EFS tells of a mount target.
type MountTargetDescription struct {
	MountTarget
	OwnerID string
	Subnet  Subnet
}

// CreateMountTarget gives a file system an address, or one of each family. Errors: BadRequest,
// FileSystemNotFound, IncorrectFileSystemLifeCycleState, SubnetNotFound,
// MountTargetConflict, IpAddressInUse, NoFreeAddressesInSubnet,
// NetworkInterfaceLimitExceeded, SecurityGroupNotFound,
// SecurityGroupLimitExceeded, InternalServerError when the address cannot
// be opened (nothing is left then).
func (c *Control) CreateMountTarget(ctx context.Context, r CreateMountTargetRequest) (MountTargetDescription, error) {
	id, err := c.newID("fsmt-")
	if err != nil {
		return MountTargetDescription{}, asError(err)
	}
	eni, err := c.newID("eni-")
	if err != nil {
		return MountTargetDescription{}, asError(err)
	}
	var made MountTarget
	err = c.update(func(t *tx) error {
		f, err := c.availableFileSystem(t.state, r.FileSystemID)
		if err != nil {
			return err
		}
		made = MountTarget{ID: id, FileSystemID: f.ID, SubnetID: r.SubnetID, InterfaceID: eni, State: Creating, CreationTime: c.cfg.Now().UTC()}
		if err := c.placeMountTarget(t.state, &made, &r); err != nil {
			return err
		}
		subnet, _ := c.subnet(r.SubnetID)
		if made.SecurityGroups, err = c.chooseGroups(subnet.VPCID, r.SecurityGroups); err != nil {
			return err
		}
		t.putMountTarget(made)
		return nil
	})
	if err != nil {
		return MountTargetDescription{}, asError(err)
	}
	c.kick(made.FileSystemID)
	c.settle(ctx, settleTime, func() bool {
		m := c.mountTarget(id)
		return m == nil || m.State != Creating || c.liveOf(made.FileSystemID).targets[id] != nil
	})
	if cause := c.liveOf(made.FileSystemID).targets[id]; cause != nil {
		_ = c.markTargetDeleting(id)
		c.kick(made.FileSystemID)
		return MountTargetDescription{}, refuse(CodeInternal, "%s; nothing was created. See that this host has the address and that nothing else uses its port, or name another IpAddress", cause)
	}
	if m := c.mountTarget(id); m != nil {
		made = *m
	}
	return c.describeTarget(&made), nil
}

// roomForTarget finds the subnet of a new mount target, if the file system may
// have one there.
func (c *Control) roomForTarget(s *state, fsID, subnetID string) (Subnet, error) {
	subnet, ok := c.subnet(subnetID)
	if !ok {
		return subnet, refuse(CodeSubnetNotFound, "The subnet ID '%s' does not exist: choose one of the configuration of region %s, which has: %s", subnetID, c.cfg.Region, c.subnetList())
	}
	if len(s.mountTargets) >= MaxMountTargets {
		return subnet, refuse(CodeInterfaceLimit, "region %s has %d mount targets, the limit; delete one first", c.cfg.Region, MaxMountTargets)
	}
	for _, m := range s.mountTargetsOf(fsID) {
		other, _ := c.subnet(m.SubnetID)
		if m.SubnetID == subnet.ID || other.AvailabilityZone == subnet.AvailabilityZone {
			return subnet, refuse(CodeMountTargetConflict, "mount target already exists in this AZ: %s of file system %s is in %s; use it, or choose a subnet in another zone", m.ID, fsID, subnet.AvailabilityZone)
		}
		if other.VPCID != subnet.VPCID && other.ID != "" {
			return subnet, refuse(CodeMountTargetConflict, "requested subnet for new mount target is not in the same VPC as existing mount targets: %s is in %s, %s in %s; choose a subnet of the same VPC, or delete the others first", subnet.ID, subnet.VPCID, m.ID, other.VPCID)
		}
	}
	return subnet, nil
}

func (c *Control) subnet(id string) (Subnet, bool) {
	i := slices.IndexFunc(c.cfg.Subnets, func(s Subnet) bool { return s.ID == id })
	if i < 0 {
		return Subnet{}, false
	}
	return c.cfg.Subnets[i], true
}

func (c *Control) subnetList() string {
	var all []string
	for _, s := range c.cfg.Subnets {
		all = append(all, s.ID+" ("+s.networks()+", "+s.AvailabilityZone+")")
	}
	if len(all) == 0 {
		return "none; add one under subnets and restart"
	}
	return strings.Join(all, ", ")
}

// networks writes the ranges of a subnet.
func (s Subnet) networks() string {
	var all []string
	for _, p := range []netip.Prefix{s.CIDR, s.IPv6CIDR} {
		if p.IsValid() {
			all = append(all, p.String())
		}
	}
	return strings.Join(all, " and ")
}

func (c *Control) mountTarget(id string) (m *MountTarget) {
	c.catalog.read(func(s *state) { m = s.mountTargets[id] })
	return m
}

// describeTarget shows a mount target that should listen and cannot as error.
func (c *Control) describeTarget(m *MountTarget) MountTargetDescription {
	d := MountTargetDescription{MountTarget: *m, OwnerID: c.cfg.AccountID}
	d.Subnet, _ = c.subnet(m.SubnetID)
	if m.State == Available && c.liveOf(m.FileSystemID).targets[m.ID] != nil {
		d.State = Failed
	}
	return d
}

// DescribeMountTargets returns the mount targets of a file system (id or ARN),
// of the file system of an access point, or the one with the id, sorted by id;
// exactly one of the three is given. Errors: BadRequest, FileSystemNotFound,
// AccessPointNotFound, MountTargetNotFound.
func (c *Control) DescribeMountTargets(fileSystemRef, accessPointRef, mountTargetID string) ([]MountTargetDescription, error) {
	given := 0
	for _, s := range []string{fileSystemRef, accessPointRef, mountTargetID} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return nil, refuse(CodeBadRequest, "give exactly one of FileSystemId, AccessPointId and MountTargetId")
	}
	if accessPointRef != "" {
		s, _, err := c.findAccessPoint(accessPointRef)
		if err != nil {
			return nil, asError(err)
		}
		fileSystemRef = s.id
	}
	var found []*MountTarget
	var err error
	c.catalog.read(func(s *state) {
		if mountTargetID != "" {
			found, err = oneTarget(s, mountTargetID)
			return
		}
		var f *FileSystem
		if f, err = c.localFileSystem(s, fileSystemRef); err == nil {
			found = s.mountTargetsOf(f.ID)
		}
	})
	all := make([]MountTargetDescription, 0, len(found))
	for _, m := range found {
		all = append(all, c.describeTarget(m))
	}
	return all, asError(err)
}

func oneTarget(s *state, id string) ([]*MountTarget, error) {
	if m := s.mountTargets[id]; m != nil {
		return []*MountTarget{m}, nil
	}
	if !mountTargetPattern.MatchString(id) {
		return nil, refuse(CodeBadRequest, "%.60q is no mount target id: give one such as fsmt-0123456789abcdef0", id)
	}
	return nil, refuse(CodeMountTargetNotFound, "Mount target '%s' does not exist: see DescribeMountTargets for those that do.", id)
}

// DeleteMountTarget closes the address and breaks what is mounted through it.
// Errors: MountTargetNotFound, BadRequest.
func (c *Control) DeleteMountTarget(ctx context.Context, id string) error {
	if err := c.markTargetDeleting(id); err != nil {
		return asError(err)
	}
	m := c.mountTarget(id)
	if m == nil {
		return nil
	}
	c.kick(m.FileSystemID)
	c.settle(ctx, settleTime, func() bool { return c.mountTarget(id) == nil })
	return nil
}

func (c *Control) markTargetDeleting(id string) error {
	return c.update(func(t *tx) error {
		found, err := oneTarget(t.state, id)
		if err != nil || found[0].State == Deleting {
			return err
		}
		next := *found[0]
		next.State = Deleting
		t.putMountTarget(next)
		return nil
	})
}
