package replica

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Compare of the fake: the query is a whole tree, the answer is what differs.
func (f *fakeFS) Compare(_ context.Context, name string, query []byte) (answer []byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cp := f.checkpoints[name]
	if cp == nil {
		return nil, ErrNoCheckpoint
	}
	theirs := map[fs.Ino][]byte{}
	if err := json.Unmarshal(query, &theirs); err != nil {
		return nil, err
	}
	all := maps.Clone(theirs)
	maps.Copy(all, cp.tree)
	for ino := range all {
		_, here := cp.tree[ino]
		_, there := theirs[ino]
		if here != there || !bytes.Equal(cp.tree[ino], theirs[ino]) {
			answer = binary.BigEndian.AppendUint64(answer, uint64(ino))
		}
	}
	return answer, nil
}

func (f *fakeFS) Narrow(_ context.Context, name string, writeSet []byte) (Checkpoint, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cp := f.checkpoints[name]
	if cp == nil {
		return Checkpoint{}, ErrNoCheckpoint
	}
	cp.keys = parseInos(writeSet)
	slices.Sort(cp.keys)
	cp.c.Narrowed, cp.c.Parts = true, 1
	return cp.c, nil
}

func (f *fakeFS) Differences(ctx context.Context, ask func(context.Context, []byte) ([]byte, error)) ([]byte, error) {
	f.mu.Lock()
	query, err := json.Marshal(f.tree)
	unlike := f.unlike
	f.mu.Unlock()
	if unlike {
		return nil, ErrTooDifferent
	}
	if err != nil {
		return nil, err
	}
	return ask(ctx, query)
}
