package engine

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/engine/tree"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// SalvageContent is this side's bytes of one file, where the other side had
// others: in content/<inode>, one range after the other. (Not at their own
// offsets: a sparse file may be larger than what the disk's file system allows.)
type SalvageContent struct {
	Inode  fs.Ino      `json:"inode"`
	Ranges [][2]uint64 `json:"ranges"` // first byte, byte behind the last
	// Damaged are the parts of Ranges that could not be read: zeros stand there.
	Damaged [][2]uint64 `json:"damaged,omitempty"`
}

const salvageContentDir = "content"

// damagedStep is how much is given up at most around a damaged place.
const damagedStep = 4 << 10

// salvageContent sets aside what differs, for a history whose records do not
// reach back to the fork. Names and attributes are not told, but for the paths.
func (e *Engine) salvageContent(dir string, staged *tree.Tree, s *Salvage, paths *pathFinder) error {
	dir = filepath.Join(dir, salvageContentDir)
	if err := e.o.FS.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	e.treeLife.RLock()
	defer e.treeLife.RUnlock()
	own, other := e.t.Content(), staged.Content()
	err := own.EachFile(func(ino fs.Ino) error {
		ranges, err := lostRanges(own, other, ino)
		if err != nil || len(ranges) == 0 {
			return err
		}
		paths.op(ino, "content differed")
		damaged, err := e.copyRanges(filepath.Join(dir, fmt.Sprint(uint64(ino))), ino, ranges)
		s.Content = append(s.Content, SalvageContent{ino, ranges, damaged})
		return err
	})
	if err != nil {
		return err
	}
	return disk.SyncDir(e.o.FS, dir)
}

// lostRanges are the ranges of a file that hold bytes here and others there.
func lostRanges(own, other tree.Content, ino fs.Ino) (l [][2]uint64, err error) {
	var ours, theirs []tree.Extent
	err = own.Runs(ino, 0, func(x tree.Extent) bool { ours = append(ours, x); return true })
	if err == nil {
		err = other.Runs(ino, 0, func(x tree.Extent) bool { theirs = append(theirs, x); return true })
	}
	have := make(map[tree.Extent]bool, len(ours))
	for _, x := range ours {
		have[x] = true
	}
	differ(ours, theirs, func(x tree.Extent) {
		if !have[x] {
			return
		}
		if n := len(l); n > 0 && l[n-1][1] == x.Offset {
			l[n-1][1] = x.End()
			return
		}
		l = append(l, [2]uint64{x.Offset, x.End()})
	})
	return l, err
}

// copyRanges writes them into a file. Damaged bytes become zeros there, and the
// salvage goes on: it is the last chance of the others.
func (e *Engine) copyRanges(path string, ino fs.Ino, ranges [][2]uint64) (damaged [][2]uint64, err error) {
	f, err := e.o.FS.Create(path, disk.Category)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := make([]byte, fs.MaxWrite)
	for _, r := range ranges {
		step := len(buf)
		for at := r[0]; at < r[1]; {
			p := buf[:min(uint64(step), r[1]-at)]
			var damage *fs.CorruptionError
			n, _, err := e.readOnce(ino, at, p)
			switch {
			case errors.As(err, &damage) && len(p) > damagedStep:
				step = damagedStep
				continue
			case errors.As(err, &damage):
				if l := len(damaged); l > 0 && damaged[l-1][1] == at {
					damaged[l-1][1] = at + uint64(len(p))
				} else {
					damaged = append(damaged, [2]uint64{at, at + uint64(len(p))})
				}
				e.log.Error("damaged bytes are not in the salvage", "inode", uint64(ino), "offset", at, "error", err)
				clear(p)
				n = len(p)
			case err != nil:
				return damaged, err
			case n == 0:
				return damaged, fmt.Errorf("inode %d ends at %d", ino, at)
			}
			// A file's Write may change what it is given; p is read anew each time.
			if _, err := f.Write(p[:n]); err != nil {
				return damaged, err
			}
			at += uint64(n)
		}
	}
	return damaged, f.Sync()
}
