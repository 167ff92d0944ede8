package efsapi

import (
	"net/http"

	"github.com/holdfast-fs/holdfast/internal/control"
)

func (h *handler) tagResource(r *http.Request, body []byte) (any, error) {
	ref, err := pathID(r, "ResourceId", ruleResource)
	if err != nil {
		return nil, err
	}
	tags, err := parseTags(body)
	if err != nil {
		return nil, err
	}
	return nil, h.cfg.Control.TagResource(r.Context(), ref, tags)
}

func parseTags(body []byte) ([]control.Tag, error) {
	m, err := decodeObject(body)
	if err != nil {
		return nil, err
	}
	o := &members{m: m}
	if m["Tags"] == nil {
		o.fail("Tags is required: give an array of {Key, Value}")
	}
	tags := o.tags("Tags")
	return tags, o.done()
}

func (h *handler) untagResource(r *http.Request, _ []byte) (any, error) {
	ref, err := pathID(r, "ResourceId", ruleResource)
	if err != nil {
		return nil, err
	}
	keys := r.URL.Query()["tagKeys"]
	if len(keys) < 1 || len(keys) > control.MaxTags {
		return nil, badRequest("the parameter tagKeys is given %d times: give it 1 to %d times, once for each key", len(keys), control.MaxTags)
	}
	for _, k := range keys {
		if err := checkTagKey("tagKeys", k); err != nil {
			return nil, err
		}
	}
	return nil, h.cfg.Control.UntagResource(r.Context(), ref, keys)
}

type tagsPage struct {
	Tags      []tagShape
	NextToken string `json:",omitempty"`
}

func (h *handler) listTags(r *http.Request, _ []byte) (any, error) {
	ref, err := pathID(r, "ResourceId", ruleResource)
	if err != nil {
		return nil, err
	}
	q := queryOf(r)
	limit, token := q.limit("MaxResults"), q.text("NextToken", rulePage)
	if err := q.done(); err != nil {
		return nil, err
	}
	all, err := h.cfg.Control.ListTags(ref)
	if err != nil {
		return nil, err
	}
	part, next := page(all, func(t control.Tag) string { return t.Key }, token, limit)
	return tagsPage{Tags: tagShapes(part), NextToken: next}, nil
}

// The operations that EFS deprecated in favour of the ones above.

func (h *handler) createTags(r *http.Request, body []byte) (any, error) {
	ref, err := pathID(r, "FileSystemId", ruleFS)
	if err != nil {
		return nil, err
	}
	tags, err := parseTags(body)
	if err != nil {
		return nil, err
	}
	return nil, h.cfg.Control.TagResource(r.Context(), ref, tags)
}

func (h *handler) deleteTags(r *http.Request, body []byte) (any, error) {
	ref, err := pathID(r, "FileSystemId", ruleFS)
	if err != nil {
		return nil, err
	}
	keys, err := parseTagKeys(body)
	if err != nil {
		return nil, err
	}
	return nil, h.cfg.Control.UntagResource(r.Context(), ref, keys)
}

func parseTagKeys(body []byte) ([]string, error) {
	m, err := decodeObject(body)
	if err != nil {
		return nil, err
	}
	o := &members{m: m}
	keys, _ := o.texts("TagKeys", ruleTagKey)
	if len(keys) < 1 || len(keys) > control.MaxTags {
		o.fail("TagKeys has %d keys: give 1 to %d", len(keys), control.MaxTags)
	}
	for i, k := range keys {
		if err := checkTagKey("TagKeys["+itoa(i)+"]", k); err != nil && o.err == nil {
			o.err = err
		}
	}
	return keys, o.done()
}

type oldTagsPage struct {
	Marker     string `json:",omitempty"`
	Tags       []tagShape
	NextMarker string `json:",omitempty"`
}

func (h *handler) describeTags(r *http.Request, _ []byte) (any, error) {
	ref, err := pathID(r, "FileSystemId", ruleFS)
	if err != nil {
		return nil, err
	}
	q := queryOf(r)
	limit, marker := q.limit("MaxItems"), q.text("Marker", rulePage)
	if err := q.done(); err != nil {
		return nil, err
	}
	all, err := h.cfg.Control.ListTags(ref)
	if err != nil {
		return nil, err
	}
	part, next := page(all, func(t control.Tag) string { return t.Key }, marker, limit)
	return oldTagsPage{Marker: marker, Tags: tagShapes(part), NextMarker: next}, nil
}
