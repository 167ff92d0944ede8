package engine

import (
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// FuzzItems stores hostile items in a stage and looks at what comes of it:
// refused or not, nothing panics.
func FuzzItems(f *testing.F) {
	src := newWriter(f, testOptions(disk.NewMem(), newClock(), "fs-a", 1))
	dir := create(f, src, fs.RootIno, "dir", fs.TypeDir)
	file := create(f, src, dir.Ino, "file", fs.TypeRegular)
	write(f, src, file.Ino, 10, []byte("content"))
	fork := src.Durable()
	_, err := src.ChangeXattr(ctx, &fs.XattrRequest{Ino: file.Ino, Name: "user.x", Value: []byte("v")})
	ok(f, err)
	_, err = src.Remove(ctx, &fs.RemoveRequest{Parent: dir.Ino, Name: "file"})
	ok(f, err)
	ok(f, src.AddMember(ctx, "fs-b"))
	for i, fork := range []*fs.Pos{nil, &fork} {
		name := []string{"whole", "changes"}[i]
		info, err := src.OpenCheckpoint(name, fork, nil)
		ok(f, err)
		for part := range info.Parts() {
			ok(f, src.Items(name, part, nil, func(it Item) error { f.Add(it.Body, it.Payload); return nil }))
		}
	}
	info, err := src.OpenCheckpoint("whole", nil, nil)
	ok(f, err)

	o := testOptions(disk.NewMem(), newClock(), "fs-b", 2)
	ok(f, CreateEmpty(o))
	dst := must[*Engine](f)(Open(ctx, o))
	n := 0
	f.Fuzz(func(t *testing.T, body, payload []byte) {
		n++
		s, err := dst.OpenStage("stage", src.Lineage(), info, nil)
		ok(t, err)
		if s.Put(0, []Item{{Cursor: []byte{byte(n)}, Body: body, Payload: payload}}) != nil {
			return
		}
		look(s.t)
		ok(t, dst.DiscardStage())
	})
}

// look reads all of a tree; errors are fine.
func look(t *tree.Tree) {
	_ = t.RawRange(nil, func(k, _ []byte) error { return nil })
	_ = t.AllExtents(nil, func([]byte, fs.Ino, tree.Extent) error { return nil })
	_ = t.AllEntries(func(dir fs.Ino, name fs.Name, ino fs.Ino) error {
		_, _ = t.Inode(ino)
		_, err := t.ReadDir(dir, 0, func(fs.DirEntry) bool { return true })
		return err
	})
	_, _ = t.Clients()
	_, _ = t.Orphans()
	_, _ = t.Pending()
}
