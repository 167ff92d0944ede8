package control

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// MaxSecurityGroups is EFS's limit of security groups per mount target.
const MaxSecurityGroups = 5

// defaultGroup is the name of the group that a mount target without one has,
// as in EC2: each VPC may have one.
const defaultGroup = "default"

// SecurityGroup is a list of addresses whose connections a mount target accepts.
type SecurityGroup struct {
	ID          string // "sg-" and 8 to 40 hex digits
	Name        string
	Description string
	VPCID       string
	Allow       []netip.Prefix // empty: nobody
}

func (c *Control) securityGroup(id string) (SecurityGroup, bool) {
	i := slices.IndexFunc(c.cfg.SecurityGroups, func(g SecurityGroup) bool { return g.ID == id })
	if i < 0 {
		return SecurityGroup{}, false
	}
	return c.cfg.SecurityGroups[i], true
}

// chooseGroups checks the groups that a mount target in a VPC shall have, and
// gives the VPC's default group when none is named. Without a default group
// the result is empty: everybody may connect.
func (c *Control) chooseGroups(vpc string, ids []string) ([]string, error) {
	if len(ids) > MaxSecurityGroups {
		return nil, refuse(CodeGroupLimit, "SecurityGroups has %d ids, and a mount target can have %d: give fewer", len(ids), MaxSecurityGroups)
	}
	if len(ids) == 0 {
		for _, g := range c.cfg.SecurityGroups {
			if g.Name == defaultGroup && g.VPCID == vpc {
				return []string{g.ID}, nil
			}
		}
		return nil, nil
	}
	for i, id := range ids {
		g, known := c.securityGroup(id)
		switch {
		case !known:
			return nil, refuse(CodeGroupNotFound, "The security group '%s' does not exist: choose one of the configuration of region %s, which has: %s", id, c.cfg.Region, c.groupList())
		case g.VPCID != vpc:
			return nil, refuse(CodeGroupNotFound, "The security group '%s' belongs to %s, the mount target's subnet to %s: name one of the same VPC", id, g.VPCID, vpc)
		case slices.Contains(ids[:i], id):
			return nil, refuse(CodeBadRequest, "the security group %s is given twice: give each once", id)
		}
	}
	return slices.Clone(ids), nil
}

func (c *Control) groupList() string {
	var all []string
	for _, g := range c.cfg.SecurityGroups {
		all = append(all, g.ID+" ("+g.Name+", "+g.VPCID+")")
	}
	if len(all) == 0 {
		return "none; add one under security_groups and restart"
	}
	return strings.Join(all, ", ")
}

// admission says who may connect to a mount target, and as whom. A group that is no longer
// in the configuration admits nobody.
func (c *Control) admission(m *MountTarget) Admission {
	var a Admission
	a.Squash, _ = c.rootSquash(m)
	a.Everybody = len(m.SecurityGroups) == 0
	for _, id := range m.SecurityGroups {
		g, known := c.securityGroup(id)
		if !known {
			c.log.Warn("a mount target has a security group that is not in the configuration: it admits nobody", "mount_target", m.ID, "security_group", id)
		}
		a.From = append(a.From, g.Allow...)
	}
	return a
}

// DescribeSecurityGroups returns the groups of a mount target. Errors:
// BadRequest, MountTargetNotFound, IncorrectMountTargetState.
func (c *Control) DescribeSecurityGroups(mountTargetID string) (groups []string, err error) {
	c.catalog.read(func(s *state) {
		var m *MountTarget
		if m, err = presentTarget(s, mountTargetID); err == nil {
			groups = slices.Clone(m.SecurityGroups)
		}
	})
	return groups, asError(err)
}

func presentTarget(s *state, id string) (*MountTarget, error) {
	found, err := oneTarget(s, id)
	if err != nil {
		return nil, err
	}
	if m := found[0]; m.State == Available {
		return m, nil
	}
	return nil, refuse(CodeTargetState, "Mount target '%s' is %s, not available; try again when it is.", id, found[0].State)
}

// ModifySecurityGroups replaces the groups of a mount target; connections that
// the new ones do not admit are closed when it returns. Errors: BadRequest,
// MountTargetNotFound, IncorrectMountTargetState, SecurityGroupLimitExceeded,
// SecurityGroupNotFound, InternalServerError when they are not in force in time.
func (c *Control) ModifySecurityGroups(ctx context.Context, mountTargetID string, ids []string) error {
	var next MountTarget
	err := c.update(func(t *tx) error {
		m, err := presentTarget(t.state, mountTargetID)
		if err != nil {
			return err
		}
		subnet, _ := c.subnet(m.SubnetID)
		next = *m
		if next.SecurityGroups, err = c.chooseGroups(subnet.VPCID, ids); err != nil {
			return err
		}
		t.putMountTarget(next)
		return nil
	})
	if err != nil {
		return asError(err)
	}
	return c.waitInForce(ctx, &next, "the choice of security groups of")
}

// Admission says who may connect, and whether root is root then.
type Admission struct {
	Everybody bool
	From      []netip.Prefix
	Squash    RootSquash
}

// Admits tells whether a connection from an address is to be accepted.
func (a Admission) Admits(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("") // a network has no zone
	return a.Everybody || slices.ContainsFunc(a.From, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// String is equal for equal admissions, and never empty.
func (a Admission) String() string {
	from := "everybody"
	if !a.Everybody {
		from = fmt.Sprint(a.From)
	}
	return from + ", " + a.Squash.String()
}
