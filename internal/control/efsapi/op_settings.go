package efsapi

import (
	"net/http"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// fileSystemOf reads the file system of the path, which must exist.
func (h *handler) fileSystemOf(r *http.Request) (control.FileSystemDescription, error) {
	ref, err := pathID(r, "FileSystemId", ruleFS)
	if err != nil {
		return control.FileSystemDescription{}, err
	}
	all, err := h.cfg.Control.DescribeFileSystems(ref, "")
	if err != nil {
		return control.FileSystemDescription{}, err
	}
	return all[0], nil
}

// available is fileSystemOf for a change of its settings.
func (h *handler) available(r *http.Request) error {
	ref, err := pathID(r, "FileSystemId", ruleFS)
	if err != nil {
		return err
	}
	return h.cfg.Control.CheckAvailable(ref)
}

type lifecycleShape struct {
	LifecyclePolicies []struct{}
}

// putLifecycle takes the empty configuration, which is what there is: one
// storage class. The rest is checked and refused.
func (h *handler) putLifecycle(r *http.Request, body []byte) (any, error) {
	if err := h.available(r); err != nil {
		return nil, err
	}
	if err := parseLifecycle(body); err != nil {
		return nil, err
	}
	return lifecycleShape{[]struct{}{}}, nil
}

var transitions = []struct {
	name string
	rule *textRule
}{
	{"TransitionToIA", oneOf("AFTER_1_DAY", "AFTER_7_DAYS", "AFTER_14_DAYS", "AFTER_30_DAYS", "AFTER_60_DAYS", "AFTER_90_DAYS", "AFTER_180_DAYS", "AFTER_270_DAYS", "AFTER_365_DAYS")},
	{"TransitionToPrimaryStorageClass", oneOf("AFTER_1_ACCESS")},
	{"TransitionToArchive", oneOf("AFTER_1_DAY", "AFTER_7_DAYS", "AFTER_14_DAYS", "AFTER_30_DAYS", "AFTER_60_DAYS", "AFTER_90_DAYS", "AFTER_180_DAYS", "AFTER_270_DAYS", "AFTER_365_DAYS")},
}

// maxLifecyclePolicies is EFS's: one for each transition.
const maxLifecyclePolicies = 3

func parseLifecycle(body []byte) error {
	m, err := decodeObject(body)
	if err != nil {
		return err
	}
	o := &members{m: m}
	list, given := o.objects("LifecyclePolicies")
	if !given {
		o.fail("LifecyclePolicies is required: give an array, empty for no transitions")
	}
	if len(list) > maxLifecyclePolicies {
		o.fail("LifecyclePolicies has %d policies: give at most %d", len(list), maxLifecyclePolicies)
	}
	seen := map[string]bool{}
	for _, p := range list {
		if err := parseTransition(p, seen); err != nil && o.err == nil {
			o.err = err
		}
	}
	if len(list) > 0 {
		o.fail("lifecycle transitions are not offered by this release of Holdfast, which has one storage class: give an empty array (LifecyclePolicies: [])")
	}
	return o.done()
}

func parseTransition(p *members, seen map[string]bool) error {
	given := 0
	for _, t := range transitions {
		if p.text(t.name, t.rule) == "" {
			continue
		}
		given++
		if seen[t.name] {
			p.fail("%s%s is given twice: give each transition once", p.path, t.name)
		}
		seen[t.name] = true
	}
	if given != 1 {
		p.fail("%s has %d transitions: give exactly one in each policy", strings.TrimSuffix(p.path, "."), given)
	}
	return p.done()
}

func (h *handler) describeLifecycle(r *http.Request, _ []byte) (any, error) {
	if _, err := h.fileSystemOf(r); err != nil {
		return nil, err
	}
	return lifecycleShape{[]struct{}{}}, nil
}

type backupShape struct {
	BackupPolicy struct{ Status string }
}

func backupDisabled() (b backupShape) {
	b.BackupPolicy.Status = "DISABLED"
	return b
}

// putBackup takes DISABLED, which is what there is.
func (h *handler) putBackup(r *http.Request, body []byte) (any, error) {
	if err := h.available(r); err != nil {
		return nil, err
	}
	if err := parseBackup(body); err != nil {
		return nil, err
	}
	return backupDisabled(), nil
}

func parseBackup(body []byte) error {
	m, err := decodeObject(body)
	if err != nil {
		return err
	}
	o := &members{m: m}
	p, given := o.object("BackupPolicy")
	if !given {
		o.fail("BackupPolicy is required: give {\"Status\": \"DISABLED\"}")
	}
	if err := o.done(); err != nil {
		return err
	}
	status := p.text("Status", oneOf("ENABLED", "ENABLING", "DISABLED", "DISABLING").needed())
	if err := p.done(); err != nil || status == "DISABLED" {
		return err
	}
	return &control.Error{Code: control.CodeValidation, Message: "BackupPolicy.Status " + status +
		" cannot be set: this release of Holdfast makes no automatic backups; give DISABLED, and replicate to another region (CreateReplicationConfiguration)"}
}

func (h *handler) describeBackup(r *http.Request, _ []byte) (any, error) {
	if _, err := h.fileSystemOf(r); err != nil {
		return nil, err
	}
	return backupDisabled(), nil
}

type preferenceShape struct {
	ResourceIDPreference struct {
		ResourceIDType string `json:"ResourceIdType"`
		Resources      []string
	} `json:"ResourceIdPreference"`
	NextToken string `json:",omitempty"`
}

// longIDs is the only preference: EFS has refused the other since 2021.
func longIDs() (p preferenceShape) {
	p.ResourceIDPreference.ResourceIDType = "LONG_ID"
	p.ResourceIDPreference.Resources = []string{"FILE_SYSTEM", "MOUNT_TARGET"}
	return p
}

func (h *handler) putPreferences(_ *http.Request, body []byte) (any, error) {
	m, err := decodeObject(body)
	if err != nil {
		return nil, err
	}
	o := &members{m: m}
	if o.text("ResourceIdType", oneOf("LONG_ID", "SHORT_ID").needed()) == "SHORT_ID" {
		o.fail("ResourceIdType SHORT_ID cannot be set: new ids always have 17 hex digits, in EFS too since October 2021; give LONG_ID")
	}
	if err := o.done(); err != nil {
		return nil, err
	}
	return longIDs(), nil
}

// describePreferences is a GET with a body: its page members have no place in
// the query (contract §1).
func (h *handler) describePreferences(_ *http.Request, body []byte) (any, error) {
	m, err := decodeObject(body)
	if err != nil {
		return nil, err
	}
	o := &members{m: m}
	o.text("NextToken", rulePage)
	o.integer("MaxResults", 1, maxInt32)
	if err := o.done(); err != nil {
		return nil, err
	}
	return longIDs(), nil
}
