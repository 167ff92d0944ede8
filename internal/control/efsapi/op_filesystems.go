package efsapi

import (
	"net/http"

	"github.com/holdfast-fs/holdfast/internal/control"
)

func (h *handler) createFileSystem(r *http.Request, body []byte) (any, error) {
	req, err := parseCreateFileSystem(body)
	if err != nil {
		return nil, err
	}
	d, err := h.cfg.Control.CreateFileSystem(r.Context(), req)
	if err != nil {
		return nil, err
	}
	return fileSystemShapeOf(d), nil
}

func parseCreateFileSystem(body []byte) (req control.CreateFileSystemRequest, err error) {
	m, err := decodeObject(body)
	if err != nil {
		return req, err
	}
	o := &members{m: m}
	req.CreationToken = o.text("CreationToken", ruleToken.needed())
	req.PerformanceMode = o.text("PerformanceMode", rulePerformance)
	req.ThroughputMode = o.text("ThroughputMode", ruleThroughput)
	req.Tags = o.tags("Tags")
	if req.PerformanceMode == "maxIO" && req.ThroughputMode == "elastic" {
		o.fail("PerformanceMode maxIO cannot be combined with ThroughputMode elastic: choose bursting or generalPurpose")
	}
	req.Provisioned = provisioned(o)
	switch {
	case req.Provisioned != 0 && req.ThroughputMode != "provisioned":
		o.fail("ProvisionedThroughputInMibps belongs to ThroughputMode provisioned: give both or none")
	case req.Provisioned == 0 && req.ThroughputMode == "provisioned":
		o.fail("ThroughputMode provisioned needs ProvisionedThroughputInMibps: give it, from 1 to %d", maxProvisioned)
	}
	encryptionOf(o, &req)
	refuseCreateOptions(o)
	return req, o.done()
}

// encryptionOf reads Encrypted and KmsKeyId: the one needs the other.
func encryptionOf(o *members, req *control.CreateFileSystemRequest) {
	req.Encrypted, _ = o.boolean("Encrypted")
	req.KMSKey = o.text("KmsKeyId", ruleKMSKey)
	if req.KMSKey != "" && !req.Encrypted {
		o.fail("KmsKeyId needs Encrypted: true: give both, or neither")
	}
}

// refuseCreateOptions refuses what somebody would rely on and we do not do.
func refuseCreateOptions(o *members) {
	if backup, _ := o.boolean("Backup"); backup {
		o.fail("Backup: true is not offered by this release of Holdfast, which makes no automatic backups: leave it out")
	}
	if zone := o.text("AvailabilityZoneName", ruleZone); zone != "" && o.err == nil {
		o.err = &control.Error{Code: control.CodeUnsupportedZone,
			Message: "One Zone file systems are not offered by this release of Holdfast: leave AvailabilityZoneName out"}
	}
}

// maxProvisioned is EFS's largest provisioned throughput in MiB/s.
const maxProvisioned = 3414

// provisioned reads ProvisionedThroughputInMibps; 0 when it is absent.
func provisioned(o *members) float64 {
	rate, given := o.number("ProvisionedThroughputInMibps")
	switch {
	case given && !(rate >= 1):
		o.fail("ProvisionedThroughputInMibps %v is not valid: give 1 to %d", rate, maxProvisioned)
	case rate > maxProvisioned && o.err == nil:
		o.err = denied(control.CodeThroughputLimit, "ProvisionedThroughputInMibps %v is above the limit: give 1 to %d", rate, maxProvisioned)
	}
	return rate
}

// updateFileSystem changes the throughput. EFS allows less of it once a day; here
// nothing is reserved, so there is no such limit.
func (h *handler) updateFileSystem(r *http.Request, body []byte) (any, error) {
	ref, err := pathID(r, "FileSystemId", ruleFS)
	if err != nil {
		return nil, err
	}
	mode, rate, err := parseUpdate(body)
	if err != nil {
		return nil, err
	}
	d, err := h.cfg.Control.UpdateFileSystem(ref, mode, rate)
	if err != nil {
		return nil, err
	}
	return fileSystemShapeOf(d), nil
}

func parseUpdate(body []byte) (mode string, mibps float64, err error) {
	m, err := decodeObject(body)
	if err != nil {
		return "", 0, err
	}
	o := &members{m: m}
	mode = o.text("ThroughputMode", ruleThroughput)
	mibps = provisioned(o)
	return mode, mibps, o.done()
}

// tags reads an array of tags.
func (o *members) tags(name string) []control.Tag {
	list, _ := o.objects(name)
	var tags []control.Tag
	for _, t := range list {
		tag := control.Tag{Key: t.text("Key", ruleTagKey.needed()), Value: t.text("Value", ruleTagValue.needed())}
		err := t.done()
		if err == nil {
			err = checkTagKey(t.path+"Key", tag.Key)
		}
		if err != nil && o.err == nil {
			o.err = err
		}
		tags = append(tags, tag)
	}
	if len(tags) > control.MaxTags {
		o.fail("%s has %d tags: give at most %d", name, len(tags), control.MaxTags)
	}
	return tags
}

type fileSystemsPage struct {
	Marker      string `json:",omitempty"`
	FileSystems []fileSystemShape
	NextMarker  string `json:",omitempty"`
}

func (h *handler) describeFileSystems(r *http.Request, _ []byte) (any, error) {
	q := queryOf(r)
	limit, marker := q.limit("MaxItems"), q.text("Marker", rulePage)
	token, ref := q.text("CreationToken", ruleToken), q.text("FileSystemId", ruleFS)
	if err := q.done(); err != nil {
		return nil, err
	}
	part, next, err := h.pageOfFileSystems(ref, token, marker, limit)
	if err != nil {
		return nil, err
	}
	result := fileSystemsPage{Marker: marker, FileSystems: []fileSystemShape{}, NextMarker: next}
	for _, d := range part {
		result.FileSystems = append(result.FileSystems, fileSystemShapeOf(d))
	}
	return result, nil
}

func (h *handler) pageOfFileSystems(ref, token, marker string, limit int) (part []control.FileSystemDescription, next string, err error) {
	if ref == "" && token == "" {
		part, more := h.cfg.Control.PageOfFileSystems(marker, limit)
		if more {
			next = part[len(part)-1].ID
		}
		return part, next, nil
	}
	all, err := h.cfg.Control.DescribeFileSystems(ref, token)
	if err != nil {
		return nil, "", err
	}
	part, next = page(all, func(d control.FileSystemDescription) string { return d.ID }, marker, limit)
	return part, next, nil
}

func (h *handler) updateProtection(r *http.Request, body []byte) (any, error) {
	ref, err := pathID(r, "FileSystemId", ruleFS)
	if err != nil {
		return nil, err
	}
	protection, err := parseProtection(body)
	if err != nil {
		return nil, err
	}
	set, err := h.cfg.Control.UpdateProtection(ref, protection)
	if err != nil {
		return nil, err
	}
	return protectionShape{set}, nil
}

func parseProtection(body []byte) (string, error) {
	m, err := decodeObject(body)
	if err != nil {
		return "", err
	}
	o := &members{m: m}
	protection := o.text("ReplicationOverwriteProtection", ruleProtection.needed())
	return protection, o.done()
}

func (h *handler) deleteFileSystem(r *http.Request, _ []byte) (any, error) {
	ref, err := pathID(r, "FileSystemId", ruleFS)
	if err != nil {
		return nil, err
	}
	return nil, h.cfg.Control.DeleteFileSystem(r.Context(), ref)
}

// pathID reads a parameter of the path.
func pathID(r *http.Request, name string, rule *textRule) (string, error) {
	id := r.PathValue(name)
	if err := rule.check(name, id); err != nil {
		return "", err
	}
	return id, nil
}
