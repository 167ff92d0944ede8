package efsapi

import (
	"net/http"

	"github.com/holdfast-fs/holdfast/internal/control"
)

func (h *handler) createReplication(r *http.Request, body []byte) (any, error) {
	ref, err := pathID(r, "SourceFileSystemId", ruleFS)
	if err != nil {
		return nil, err
	}
	dest, err := parseCreateReplication(body)
	if err != nil {
		return nil, err
	}
	d, err := h.cfg.Control.CreateReplication(r.Context(), ref, dest)
	if err != nil {
		return nil, err
	}
	return replicationShapeOf(d), nil
}

func parseCreateReplication(body []byte) (dest control.DestinationRequest, err error) {
	m, err := decodeObject(body)
	if err != nil {
		return dest, err
	}
	o := &members{m: m}
	list, _ := o.objects("Destinations")
	if len(list) != 1 {
		o.fail("Destinations has %d destinations: give an array of exactly one", len(list))
	}
	if err := o.done(); err != nil {
		return dest, err
	}
	d := list[0]
	dest.Region = d.text("Region", ruleRegion)
	dest.FileSystemID = d.text("FileSystemId", ruleFS)
	dest.KMSKey = d.text("KmsKeyId", ruleKMSKey)
	if d.text("RoleArn", ruleRole) != "" {
		d.fail("RoleArn is not offered by this release of Holdfast, which replicates within one account: leave it out")
	}
	if zone := d.text("AvailabilityZoneName", ruleZone); zone != "" && d.err == nil {
		d.err = &control.Error{Code: control.CodeUnsupportedZone,
			Message: "One Zone file systems are not offered by this release of Holdfast: leave AvailabilityZoneName out"}
	}
	return dest, d.done()
}

type replicationsPage struct {
	Replications []replicationShape
	NextToken    string `json:",omitempty"`
}

func (h *handler) describeReplications(r *http.Request, _ []byte) (any, error) {
	q := queryOf(r)
	limit, token := q.limit("MaxResults"), q.text("NextToken", rulePage)
	ref := q.text("FileSystemId", ruleFS)
	if err := q.done(); err != nil {
		return nil, err
	}
	all, err := h.cfg.Control.DescribeReplications(ref)
	if err != nil {
		return nil, err
	}
	part, next := page(all, func(d control.ReplicationDescription) string { return d.ID }, token, limit)
	result := replicationsPage{Replications: []replicationShape{}, NextToken: next}
	for _, d := range part {
		result.Replications = append(result.Replications, replicationShapeOf(d))
	}
	return result, nil
}

func (h *handler) deleteReplication(r *http.Request, _ []byte) (any, error) {
	ref, err := pathID(r, "SourceFileSystemId", ruleFS)
	if err != nil {
		return nil, err
	}
	q := queryOf(r)
	mode := q.text("deletionMode", ruleDeletion)
	if err := q.done(); err != nil {
		return nil, err
	}
	return nil, h.cfg.Control.DeleteReplication(r.Context(), ref, mode)
}
