package control

import (
	"context"
	"slices"
	"strings"
)

const (
	// MaxTags is EFS's limit of tags per file system.
	MaxTags = 50
	// maxTagBytes bounds the tags of a file system together, so that its
	// record fits an entry of the catalog with much else.
	maxTagBytes = 32 << 10
)

// mergeTags returns old with the new tags set, sorted by key.
func mergeTags(old, set []Tag) ([]Tag, error) {
	byKey := map[string]string{}
	for _, t := range old {
		byKey[t.Key] = t.Value
	}
	given := map[string]bool{}
	for _, t := range set {
		if given[t.Key] {
			return nil, refuse(CodeBadRequest, "tag key %q is given twice: give each key once", t.Key)
		}
		given[t.Key] = true
		byKey[t.Key] = t.Value
	}
	size := 0
	merged := make([]Tag, 0, len(byKey))
	for k, v := range byKey {
		merged = append(merged, Tag{k, v})
		size += len(k) + len(v)
	}
	if len(merged) > MaxTags {
		return nil, refuse(CodeBadRequest, "Tags: the resource would have %d tags, and %d are possible: delete some first (UntagResource)", len(merged), MaxTags)
	}
	if size > maxTagBytes {
		return nil, refuse(CodeBadRequest, "Tags: the resource's tags would take %d bytes together, and %d are possible: use shorter ones", size, maxTagBytes)
	}
	slices.SortFunc(merged, func(a, b Tag) int { return strings.Compare(a.Key, b.Key) })
	return merged, nil
}

// TagResource sets tags of a file system or an access point. Errors: BadRequest,
// FileSystemNotFound, AccessPointNotFound, IncorrectFileSystemLifeCycleState for
// an access point of a replica.
func (c *Control) TagResource(ctx context.Context, ref string, tags []Tag) error {
	return c.changeTags(ctx, ref, func(old []Tag) ([]Tag, error) { return mergeTags(old, tags) })
}

// UntagResource takes tags away; keys that are not there do not matter.
func (c *Control) UntagResource(ctx context.Context, ref string, keys []string) error {
	return c.changeTags(ctx, ref, func(old []Tag) ([]Tag, error) {
		return slices.DeleteFunc(slices.Clone(old), func(t Tag) bool { return slices.Contains(keys, t.Key) }), nil
	})
}

func (c *Control) changeTags(ctx context.Context, ref string, change func([]Tag) ([]Tag, error)) error {
	if accessPointPattern.MatchString(ref) {
		return c.changePointTags(ctx, ref, change)
	}
	return asError(c.update(func(t *tx) error {
		f, err := c.localFileSystem(t.state, ref)
		if err != nil {
			return err
		}
		next := *f
		if next.Tags, err = change(f.Tags); err != nil {
			return err
		}
		next.tagsChanged(f.Tags)
		t.putFileSystem(next)
		return nil
	}))
}

// ListTags returns the tags of a file system or an access point, sorted by key.
func (c *Control) ListTags(ref string) (tags []Tag, err error) {
	if accessPointPattern.MatchString(ref) {
		d, err := c.DescribeAccessPoint(ref)
		return d.Tags, err
	}
	c.catalog.read(func(s *state) {
		var f *FileSystem
		if f, err = c.localFileSystem(s, ref); err == nil {
			tags = slices.Clone(f.Tags)
		}
	})
	return tags, asError(err)
}
