package efsapi

import "net/http"

type securityGroupsShape struct {
	SecurityGroups []string
}

func (h *handler) describeSecurityGroups(r *http.Request, _ []byte) (any, error) {
	id, err := pathID(r, "MountTargetId", ruleTarget)
	if err != nil {
		return nil, err
	}
	groups, err := h.cfg.Control.DescribeSecurityGroups(id)
	if err != nil {
		return nil, err
	}
	return securityGroupsShape{append([]string{}, groups...)}, nil
}

func (h *handler) modifySecurityGroups(r *http.Request, body []byte) (any, error) {
	id, err := pathID(r, "MountTargetId", ruleTarget)
	if err != nil {
		return nil, err
	}
	groups, err := parseSecurityGroups(body)
	if err != nil {
		return nil, err
	}
	return nil, h.cfg.Control.ModifySecurityGroups(r.Context(), id, groups)
}

func parseSecurityGroups(body []byte) ([]string, error) {
	m, err := decodeObject(body)
	if err != nil {
		return nil, err
	}
	o := &members{m: m}
	groups := o.securityGroups()
	return groups, o.done()
}

// maxSecurityGroups is the longest list that the API's shape allows; a mount
// target may have fewer.
const maxSecurityGroups = 100

func (o *members) securityGroups() []string {
	groups, _ := o.texts("SecurityGroups", ruleGroup)
	if len(groups) > maxSecurityGroups {
		o.fail("SecurityGroups has %d ids: give at most %d", len(groups), maxSecurityGroups)
	}
	return groups
}
