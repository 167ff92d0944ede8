package journal

import (
	"errors"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// What nothing claims durable: checked, cut, and written anew.

// cutBadPayloads ends the tail before the first batch with a payload that is
// not what its record says.
func (r *recovery) cutBadPayloads() error {
	for i, l := range r.unclaimed {
		if l.after.Seq <= r.claim {
			continue
		}
		for k := range l.entries {
			ok, err := r.payloadGood(&l.entries[k])
			if err != nil {
				return err
			}
			if !ok {
				r.unclaimed = r.unclaimed[:i]
				r.c.i, r.c.offset, r.c.pos = l.i, l.offset, l.before
				return nil
			}
		}
	}
	return nil
}

func (r *recovery) payloadGood(e *entry) (bool, error) {
	if e.kind != kindRecord || e.rec.PayloadLen == 0 {
		return true, nil
	}
	plain := make([]byte, e.rec.PayloadLen)
	err := r.j.Read(e.addr, 0, plain)
	var corrupt *fs.CorruptionError
	if errors.As(err, &corrupt) {
		return false, nil
	}
	return err == nil && fs.Digest(plain) == e.rec.PayloadDigest, err
}

// rewriteTail writes what nothing claims durable again at its place and syncs:
// it may have been in the page cache only.
func (r *recovery) rewriteTail() error {
	touched := map[uint64]*segmentFile{}
	defer func() {
		for _, f := range touched {
			r.j.files.release(f)
		}
	}()
	for _, l := range r.unclaimed {
		if err := r.rewriteBatch(l, touched); err != nil {
			return fmt.Errorf("write the tail anew: %w", err)
		}
	}
	if err := syncFiles(touched); err != nil {
		return err
	}
	return disk.SyncDir(r.j.o.FS, r.j.o.Dir)
}

func (r *recovery) rewriteBatch(l *located, touched map[uint64]*segmentFile) error {
	id := r.c.segs[l.i].id
	known := touched[id] != nil
	f, err := r.touch(id, touched)
	if err != nil {
		return err
	}
	if !known {
		if err := rewrite(f, 0, headerSize); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(l.raw, l.offset); err != nil {
		return err
	}
	for i := range l.entries {
		e := &l.entries[i]
		if e.addr.IsZero() || e.addr.Segment == id {
			continue
		}
		f, err := r.touch(e.addr.Segment, touched)
		if err != nil {
			return err
		}
		if err := rewrite(f, int64(e.addr.Offset), storedLen(int(e.addr.Length))); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) touch(id uint64, touched map[uint64]*segmentFile) (*segmentFile, error) {
	if f := touched[id]; f != nil {
		return f, nil
	}
	f, err := r.j.files.acquire(id)
	if err == nil {
		touched[id] = f
	}
	return f, err
}

// rewrite makes n bytes dirty again without changing them.
func rewrite(f *segmentFile, at int64, n int) error {
	b := make([]byte, n)
	if got, err := f.ReadAt(b, at); got < n {
		return fmt.Errorf("read %s at %d: %w", f.name, at, err)
	}
	_, err := f.WriteAt(b, at)
	return err
}
