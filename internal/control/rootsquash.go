package control

import (
	"context"
	"fmt"
)

// anonymousID is the user and the group that root becomes if nothing else is
// said: nobody, as Linux's NFS server has it.
const anonymousID = 65534

// RootSquash says whether clients of an address are root there, or somebody
// without rights. EFS has no such setting.
type RootSquash struct {
	Enabled bool   `json:"enabled"`
	UID     uint32 `json:"uid"`
	GID     uint32 `json:"gid"`
}

// DefaultRootSquash is a setting with the usual identity.
func DefaultRootSquash(enabled bool) RootSquash {
	return RootSquash{Enabled: enabled, UID: anonymousID, GID: anonymousID}
}

func (r RootSquash) String() string {
	if !r.Enabled {
		return "root stays root"
	}
	return fmt.Sprintf("root is %d:%d", r.UID, r.GID)
}

// rootSquash is the setting in force at a mount target. own tells that it is
// its own, not the configuration's.
func (c *Control) rootSquash(m *MountTarget) (r RootSquash, own bool) {
	if m.RootSquash != nil {
		return *m.RootSquash, true
	}
	return DefaultRootSquash(c.cfg.RootSquash), false
}

// DescribeRootSquash tells the setting of a mount target, and whether it is its
// own. Errors: BadRequest, MountTargetNotFound.
func (c *Control) DescribeRootSquash(mountTargetID string) (r RootSquash, own bool, err error) {
	c.catalog.read(func(s *state) {
		var found []*MountTarget
		if found, err = oneTarget(s, mountTargetID); err == nil {
			r, own = c.rootSquash(found[0])
		}
	})
	return r, own, asError(err)
}

// SetRootSquash changes the setting of a mount target; when it returns, it is
// in force for every request that comes. Errors: BadRequest,
// MountTargetNotFound, IncorrectMountTargetState, InternalServerError when it
// is not in force in time.
func (c *Control) SetRootSquash(ctx context.Context, mountTargetID string, r RootSquash) error {
	if r.Enabled && (r.UID == 0 || r.GID == 0) {
		return refuse(CodeBadRequest, "root would become %d:%d, which has root's rights: give ids other than 0, or none for %d:%d", r.UID, r.GID, anonymousID, anonymousID)
	}
	var next MountTarget
	err := c.update(func(t *tx) error {
		m, err := presentTarget(t.state, mountTargetID)
		if err != nil {
			return err
		}
		next = *m
		next.RootSquash = &r
		t.putMountTarget(next)
		return nil
	})
	if err != nil {
		return asError(err)
	}
	return c.waitInForce(ctx, &next, "the root squash of")
}

// waitInForce waits until a mount target listens as its record says.
func (c *Control) waitInForce(ctx context.Context, m *MountTarget, what string) error {
	c.kick(m.FileSystemID)
	rules := c.admission(m).String()
	inForce := func() bool {
		l := c.liveOf(m.FileSystemID)
		return l.listening[m.ID] == rules || l.targets[m.ID] != nil
	}
	c.settle(ctx, settleTime, inForce)
	if !inForce() {
		return refuse(CodeInternal, "%s %s is saved but not in force yet: file system %s is busy; see the log of holdfast", what, m.ID, m.FileSystemID)
	}
	return nil
}
