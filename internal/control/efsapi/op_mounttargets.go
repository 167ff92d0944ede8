package efsapi

import (
	"net/http"

	"github.com/holdfast-fs/holdfast/internal/control"
)

func (h *handler) createMountTarget(r *http.Request, body []byte) (any, error) {
	req, err := parseCreateMountTarget(body)
	if err != nil {
		return nil, err
	}
	d, err := h.cfg.Control.CreateMountTarget(r.Context(), req)
	if err != nil {
		return nil, err
	}
	return mountTargetShapeOf(d), nil
}

func parseCreateMountTarget(body []byte) (req control.CreateMountTargetRequest, err error) {
	m, err := decodeObject(body)
	if err != nil {
		return req, err
	}
	o := &members{m: m}
	req.FileSystemID = o.text("FileSystemId", ruleFS.needed())
	req.SubnetID = o.text("SubnetId", ruleSubnet.needed())
	req.IPAddress = o.text("IpAddress", ruleIP)
	req.IPAddressType = o.text("IpAddressType", ruleAddressType)
	req.IPv6Address = o.text("Ipv6Address", ruleIPv6)
	req.SecurityGroups = o.securityGroups()
	return req, o.done()
}

type mountTargetsPage struct {
	Marker       string `json:",omitempty"`
	MountTargets []mountTargetShape
	NextMarker   string `json:",omitempty"`
}

func (h *handler) describeMountTargets(r *http.Request, _ []byte) (any, error) {
	q := queryOf(r)
	limit, marker := q.limit("MaxItems"), q.text("Marker", rulePage)
	ref, id := q.text("FileSystemId", ruleFS), q.text("MountTargetId", ruleTarget)
	accessPoint := q.text("AccessPointId", ruleAccessPoint)
	if err := q.done(); err != nil {
		return nil, err
	}
	all, err := h.cfg.Control.DescribeMountTargets(ref, accessPoint, id)
	if err != nil {
		return nil, err
	}
	part, next := page(all, func(d control.MountTargetDescription) string { return d.ID }, marker, limit)
	result := mountTargetsPage{Marker: marker, MountTargets: []mountTargetShape{}, NextMarker: next}
	for _, d := range part {
		result.MountTargets = append(result.MountTargets, mountTargetShapeOf(d))
	}
	return result, nil
}

func (h *handler) deleteMountTarget(r *http.Request, _ []byte) (any, error) {
	id, err := pathID(r, "MountTargetId", ruleTarget)
	if err != nil {
		return nil, err
	}
	return nil, h.cfg.Control.DeleteMountTarget(r.Context(), id)
}
