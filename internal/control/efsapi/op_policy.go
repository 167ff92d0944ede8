package efsapi

import (
	"net/http"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// rulePolicy counts characters, as EFS does.
var rulePolicy = &textRule{min: 1, max: 20000, help: "a policy document in JSON"}

// putPolicy checks a policy as EFS does and refuses it: the NFS server of this
// release does not evaluate policies, and one that is not evaluated would be
// believed to protect.
func (h *handler) putPolicy(r *http.Request, body []byte) (any, error) {
	if err := h.available(r); err != nil {
		return nil, err
	}
	if err := parsePolicy(body); err != nil {
		return nil, err
	}
	return nil, badRequest("operation PutFileSystemPolicy is refused: file system policies are not offered by this release of Holdfast, whose NFS server does not evaluate them; whoever reaches a mount target may mount, so limit that with the security groups of the mount targets")
}

func parsePolicy(body []byte) error {
	m, err := decodeObject(body)
	if err != nil {
		return err
	}
	o := &members{m: m}
	o.boolean("BypassPolicyLockoutSafetyCheck")
	text := o.text("Policy", rulePolicy.needed())
	if err := o.done(); err != nil {
		return err
	}
	if _, err := decodeObject([]byte(text)); err != nil {
		return &control.Error{Code: control.CodeInvalidPolicy, Message: "Policy is no policy document: " + err.Error()}
	}
	return nil
}

func (h *handler) describePolicy(r *http.Request, _ []byte) (any, error) {
	d, err := h.fileSystemOf(r)
	if err != nil {
		return nil, err
	}
	return nil, &control.Error{Code: control.CodePolicyNotFound,
		Message: "File system '" + d.ID + "' has the default policy: whoever reaches a mount target may mount, read and write."}
}

// deletePolicy succeeds without a policy, as in EFS: the default is in effect.
func (h *handler) deletePolicy(r *http.Request, _ []byte) (any, error) {
	return nil, h.available(r)
}
