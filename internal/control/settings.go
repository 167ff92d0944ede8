package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
)

// The settings of a source follow to its destination, so that a failover needs
// no rebuilding: today its tags. The source hears in every answer to its polls
// which settings the destination has, and sends its own when they differ.

// Copied is what a destination has from its source.
type Copied struct {
	Replication string   `json:"replication"`
	Hash        string   `json:"hash"`               // of the source's settings; "" asks for them again
	TagKeys     []string `json:"tag_keys,omitempty"` // sorted; the other tags are its own
}

// settingsRequest is the body of methodSettings.
type settingsRequest struct {
	Replication string `json:"replication"`
	Hash        string `json:"hash"`
	Tags        []Tag  `json:"tags"`
}

func (s *settingsRequest) hash() (string, error) {
	raw, err := json.Marshal(s.Tags)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// shareSettings sends the settings of a source to a destination that has others.
func (w *worker) shareSettings(ctx context.Context, v view, reply statusReply) {
	if w.c.cfg.KeepSettings || reply.State != peerKnown || reply.Settings == nil || w.rep.shared {
		return
	}
	req := settingsRequest{Replication: v.rep.ID, Tags: v.fs.Tags}
	var err error
	if req.Hash, err = req.hash(); err == nil && *reply.Settings == req.Hash {
		return
	}
	if err == nil {
		w.rep.shared = true // until the next poll tells what came of it
		err = w.call(ctx, pollTimeout, v.rep.PeerRegion, methodSettings, &req, &struct{}{})
	}
	if err == nil || errors.Is(err, errInterrupted) || ctx.Err() != nil {
		w.rep.shareErr = ""
		return
	}
	if w.rep.shareErr != err.Error() {
		w.rep.shareErr = err.Error()
		w.c.log.Warn("the settings of a source are not copied to its destination; trying again", "file_system", w.id, "region", v.rep.PeerRegion, "error", err)
	}
}

// handleSettings takes the settings of the source over. Tags that somebody set
// on the destination since it follows stay as they are.
func (c *Control) handleSettings(from string, req *settingsRequest) error {
	return c.update(func(t *tx) error {
		r, err := peersReplication(t.state, from, req.Replication)
		if err != nil {
			return err
		}
		f := t.fileSystems[r.FileSystemID]
		if r.Side != SideDestination || f == nil || r.Stage != StageEnabling && r.Stage != StageEnabled {
			return refuse(CodeIncorrectState, "file system %s follows replication %s no longer: see DescribeReplicationConfigurations in both regions", r.FileSystemID, r.ID)
		}
		next := *f
		own := ownTags(f, r)
		next.Tags, next.Copied = copyTags(own, req.Tags), &Copied{Replication: r.ID, Hash: req.Hash}
		for _, tag := range next.Tags {
			if !hasKey(own, tag.Key) {
				next.Copied.TagKeys = append(next.Copied.TagKeys, tag.Key)
			}
		}
		t.putFileSystem(next)
		return nil
	})
}

// ownTags are the tags of a destination that its source does not decide about.
// One that was taken over with other content has none.
func ownTags(f *FileSystem, r *Replication) []Tag {
	copied := f.copiedFor(r)
	if copied == nil {
		if f.MadeFor == r.ID {
			return f.Tags
		}
		return nil
	}
	return slices.DeleteFunc(slices.Clone(f.Tags), func(t Tag) bool { return slices.Contains(copied.TagKeys, t.Key) })
}

// copyTags adds those of the source to own that are not there, as far as the
// limits allow.
func copyTags(own, source []Tag) []Tag {
	all := slices.Clone(own)
	for _, t := range source {
		if hasKey(own, t.Key) {
			continue
		}
		if more, err := mergeTags(all, []Tag{t}); err == nil {
			all = more
		}
	}
	return all
}

func hasKey(tags []Tag, key string) bool {
	return slices.ContainsFunc(tags, func(t Tag) bool { return t.Key == key })
}

// copiedFor is what f has from the source of r, nil when that is nothing yet.
func (f *FileSystem) copiedFor(r *Replication) *Copied {
	if f == nil || f.Copied == nil || f.Copied.Replication != r.ID {
		return nil
	}
	return f.Copied
}

// copiedHash names the settings that a destination has from its source.
func copiedHash(f *FileSystem, r *Replication) *string {
	hash := ""
	if c := f.copiedFor(r); c != nil {
		hash = c.Hash
	}
	return &hash
}

// tagsChanged notes that somebody changed tags of a file system: those that
// were set are its own now, those that were taken away are asked for again.
func (f *FileSystem) tagsChanged(old []Tag) {
	if f.Copied == nil {
		return
	}
	next := *f.Copied
	next.TagKeys = nil
	for _, key := range f.Copied.TagKeys {
		was := slices.IndexFunc(old, func(t Tag) bool { return t.Key == key })
		is := slices.IndexFunc(f.Tags, func(t Tag) bool { return t.Key == key })
		switch {
		case is < 0:
			next.Hash = ""
		case was >= 0 && f.Tags[is] == old[was]:
			next.TagKeys = append(next.TagKeys, key)
		}
	}
	f.Copied = &next
}
