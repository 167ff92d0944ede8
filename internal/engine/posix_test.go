package engine

import (
	"testing"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fstest"
)

func TestEngineConforms(t *testing.T) {
	c := fstest.NewClock(start)
	fstest.Conform(t, fstest.FilesOf(newWriter(t, testOptions(disk.NewMem(), c, "fs-a", 1)), c))
}
