package efsapi

import (
	"net/http"
	"net/netip"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// rulePolicy counts characters, as EFS does.
var rulePolicy = &textRule{min: 1, max: 20000, help: "a policy document in JSON"}

type policyShape struct {
	FileSystemID string `json:"FileSystemId"`
	Policy       string
}

func (h *handler) putPolicy(r *http.Request, body []byte) (any, error) {
	ref, err := pathID(r, "FileSystemId", ruleFS)
	if err != nil {
		return nil, err
	}
	text, bypass, err := parsePolicy(body)
	if err != nil {
		return nil, err
	}
	id, err := h.cfg.Control.PutPolicy(r.Context(), ref, text, callerOf(r), bypass)
	if err != nil {
		return nil, err
	}
	return policyShape{id, text}, nil
}

func parsePolicy(body []byte) (text string, bypass bool, err error) {
	m, err := decodeObject(body)
	if err != nil {
		return "", false, err
	}
	o := &members{m: m}
	bypass, _ = o.boolean("BypassPolicyLockoutSafetyCheck")
	text = o.text("Policy", rulePolicy.needed())
	return text, bypass, o.done()
}

// callerOf is who signed the request, as a policy sees it.
func callerOf(r *http.Request) control.Caller {
	who := control.Caller{Principal: callOf(r).principal}
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		who.SourceIP = at.Addr()
	}
	return who
}

func (h *handler) describePolicy(r *http.Request, _ []byte) (any, error) {
	ref, err := pathID(r, "FileSystemId", ruleFS)
	if err != nil {
		return nil, err
	}
	id, text, err := h.cfg.Control.DescribePolicy(ref)
	if err != nil {
		return nil, err
	}
	return policyShape{id, text}, nil
}

// deletePolicy succeeds without a policy, as in EFS: the default is in effect.
func (h *handler) deletePolicy(r *http.Request, _ []byte) (any, error) {
	ref, err := pathID(r, "FileSystemId", ruleFS)
	if err != nil {
		return nil, err
	}
	return nil, h.cfg.Control.DeletePolicy(r.Context(), ref, callerOf(r))
}
