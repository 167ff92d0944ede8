package region

import (
	"errors"
	"sync/atomic"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs"
)

// clientAccess is what the control plane says about NFS clients. Before there is
// one nobody comes in; no listener is open then either.
type clientAccess struct {
	control atomic.Pointer[control.Control]
}

var _ nfs.Access = (*clientAccess)(nil)

// AccessPoint implements nfs.Access.
func (a *clientAccess) AccessPoint(export, id string) (*nfs.AccessPoint, error) {
	c := a.control.Load()
	if c == nil {
		return nil, errors.New("the region is starting")
	}
	p, secret, err := c.ClientAccessPoint(export, id)
	if err != nil {
		return nil, err
	}
	out := &nfs.AccessPoint{ID: p.ID, Path: p.Path, Secret: secret}
	if u := p.User; u != nil {
		out.User = &fs.Cred{UID: u.UID, GID: u.GID, Groups: u.Groups}
	}
	if i := p.Create; i != nil {
		out.Create = &fs.AttrChange{Mode: &i.Mode, UID: &i.UID, GID: &i.GID}
	}
	return out, nil
}

// Throughput implements nfs.Access.
func (a *clientAccess) Throughput(export string) float64 {
	c := a.control.Load()
	if c == nil {
		return 0
	}
	return c.Throughput(export)
}

// Rights implements nfs.Access.
func (a *clientAccess) Rights(export string, w nfs.Caller) nfs.Rights {
	c := a.control.Load()
	if c == nil {
		return nfs.Rights{}
	}
	return nfs.Rights(c.ClientRights(export, control.Client{Principal: w.Principal, Secure: w.Secure, SourceIP: w.Remote,
		AccessPoint: w.AccessPoint, MountTarget: w.MountTarget}))
}
