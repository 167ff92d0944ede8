package engine

import "github.com/holdfast-fs/holdfast/internal/fs"

// Staged tells of a stage that waits to go on, also after a restart: what
// OpenStage was called with. The follower of a restarted region asks.
func (e *Engine) Staged() (name string, info CheckpointInfo, fork *fs.Pos, ok bool) {
	if e.StageName() == "" {
		return "", CheckpointInfo{}, nil, false
	}
	f, err := readStageFile(&e.o)
	if err != nil || f == nil {
		return "", CheckpointInfo{}, nil, false
	}
	return f.Name, f.Info, f.Fork, true
}
