package fstest

import (
	"context"
	"slices"
	"sort"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// punch forgets what was written in [from, to).
func (c *content) punch(from, to uint64) {
	for number, p := range c.pages {
		for j := range uint64(pageSize) {
			if at := number*pageSize + j; at >= from && at < to && p.written[j] {
				p.written[j], p.bytes[j] = false, 0
				c.used--
			}
		}
	}
}

// each calls fn for every written byte, in order of its offset.
func (c *content) each(fn func(at uint64, b byte) bool) {
	numbers := make([]uint64, 0, len(c.pages))
	for n := range c.pages {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		for j, w := range c.pages[n].written {
			if w && !fn(n*pageSize+uint64(j), c.pages[n].bytes[j]) {
				return
			}
		}
	}
}

// Seek finds data or a hole.
func (r *Ref) Seek(ino fs.Ino, offset uint64, data bool) (at uint64, ok bool, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n, err := r.get(ino)
	switch {
	case err != nil:
		return 0, false, err
	case n.attr.Type != fs.TypeRegular:
		return 0, false, fs.ErrWrongType
	case offset >= n.attr.Size:
		return 0, false, nil
	}
	hole := offset
	n.data.each(func(x uint64, _ byte) bool {
		switch {
		case x < offset:
		case data:
			at, ok = x, true
			return false
		case x == hole:
			hole++
		default:
			return false
		}
		return true
	})
	if data {
		return at, ok, nil
	}
	return hole, true, nil
}

// Allocate lets a file reach to the end of a range.
func (r *Ref) Allocate(_ context.Context, q *fs.RangeRequest) (fs.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, err := r.begin()
	if err != nil {
		return fs.Result{}, err
	}
	n, err := r.file(q.Ino)
	end := q.Offset + q.Length
	switch {
	case err != nil:
		return fs.Result{}, err
	case q.Length == 0 || end < q.Offset:
		return fs.Result{}, fs.ErrInval
	case end > fs.MaxFileSize:
		return fs.Result{}, fs.ErrFBig
	case end <= n.attr.Size:
		return fs.Result{Attr: n.attr, Seq: r.seq}, nil
	}
	n.attr.Size, n.attr.Mtime = end, now
	seq := r.commit(now, n)
	return fs.Result{Attr: n.attr, Seq: seq}, nil
}

// Deallocate makes a range a hole.
func (r *Ref) Deallocate(_ context.Context, q *fs.RangeRequest) (fs.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, err := r.begin()
	if err != nil {
		return fs.Result{}, err
	}
	n, err := r.file(q.Ino)
	switch {
	case err != nil:
		return fs.Result{}, err
	case q.Length == 0 || q.Offset+q.Length < q.Offset:
		return fs.Result{}, fs.ErrInval
	case q.Offset >= n.attr.Size:
		return fs.Result{Attr: n.attr, Seq: r.seq}, nil
	}
	n.data.punch(q.Offset, min(q.Offset+q.Length, n.attr.Size))
	n.attr.Used = n.data.used
	r.rewritten(n, &q.Cred, now)
	seq := r.commit(now, n)
	return fs.Result{Attr: n.attr, Seq: seq}, nil
}

// rewritten is what every change of content does to the attributes.
func (r *Ref) rewritten(n *inode, c *fs.Cred, now fs.Time) {
	n.attr.Mtime = now
	if c.UID != 0 {
		n.attr.Mode = dropPrivilege(n.attr.Mode)
	}
}

// Clone copies bytes, and holes, from file to file.
func (r *Ref) Clone(_ context.Context, q *fs.CloneRequest) (fs.CloneResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, err := r.begin()
	if err != nil {
		return fs.CloneResult{}, err
	}
	src, err := r.file(q.Src)
	if err != nil {
		return fs.CloneResult{}, err
	}
	dst, err := r.file(q.Dst)
	if err != nil {
		return fs.CloneResult{}, err
	}
	if q.SrcOffset > src.attr.Size {
		return fs.CloneResult{}, fs.ErrInval
	}
	n := src.attr.Size - q.SrcOffset
	if q.Length > 0 {
		n = min(n, q.Length)
	}
	switch {
	case n == 0:
		return fs.CloneResult{Seq: r.seq}, nil
	case q.DstOffset > fs.MaxFileSize || n > fs.MaxFileSize-q.DstOffset:
		return fs.CloneResult{}, fs.ErrFBig
	case q.Src == q.Dst && q.SrcOffset < q.DstOffset+n && q.DstOffset < q.SrcOffset+n:
		return fs.CloneResult{}, fs.ErrInval
	}
	dst.data.punch(q.DstOffset, q.DstOffset+n)
	var copied content
	src.data.each(func(at uint64, b byte) bool {
		if at >= q.SrcOffset && at < q.SrcOffset+n {
			copied.write(at-q.SrcOffset+q.DstOffset, []byte{b})
		}
		return true
	})
	copied.each(func(at uint64, b byte) bool { dst.data.write(at, []byte{b}); return true })
	dst.attr.Size = max(dst.attr.Size, q.DstOffset+n)
	dst.attr.Used = dst.data.used
	r.rewritten(dst, &q.Cred, now)
	return fs.CloneResult{N: n, Seq: r.commit(now, dst)}, nil
}

// GetXattr reads an extended attribute.
func (r *Ref) GetXattr(c *fs.Cred, ino fs.Ino, name fs.Name) ([]byte, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n, err := r.get(ino)
	if err != nil {
		return nil, err
	}
	if err := need(n, c, fs.AccessRead); err != nil {
		return nil, err
	}
	v, ok := n.xattrs[name]
	if !ok {
		return nil, fs.ErrNoXattr
	}
	return slices.Clone(v), nil
}

// ListXattrs gives the names of the extended attributes.
func (r *Ref) ListXattrs(c *fs.Cred, ino fs.Ino) ([]fs.Name, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n, err := r.get(ino)
	if err != nil {
		return nil, err
	}
	if err := need(n, c, fs.AccessRead); err != nil {
		return nil, err
	}
	var l []fs.Name
	for name := range n.xattrs {
		l = append(l, name)
	}
	sort.Slice(l, func(i, j int) bool { return l[i] < l[j] })
	return l, nil
}

// ChangeXattr sets or removes an extended attribute.
func (r *Ref) ChangeXattr(_ context.Context, q *fs.XattrRequest) (fs.XattrResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, err := r.begin()
	if err != nil {
		return fs.XattrResult{}, err
	}
	n, err := r.get(q.Ino)
	if err != nil {
		return fs.XattrResult{}, err
	}
	if err := mayChangeXattr(n, q); err != nil {
		return fs.XattrResult{}, err
	}
	if n.xattrs == nil {
		n.xattrs = map[fs.Name][]byte{}
	}
	if q.Remove {
		delete(n.xattrs, q.Name)
	} else {
		n.xattrs[q.Name] = slices.Clone(q.Value)
	}
	before := n.attr.Change
	seq := r.commit(now, n)
	return fs.XattrResult{Change: n.changed(before), Seq: seq}, nil
}

func mayChangeXattr(n *inode, q *fs.XattrRequest) error {
	_, there := n.xattrs[q.Name]
	switch {
	case n.attr.Type != fs.TypeRegular && n.attr.Type != fs.TypeDir:
		return fs.ErrPerm
	case len(q.Name) == 0 || len(q.Name) > fs.MaxName:
		return fs.ErrInval
	case len(q.Value) > fs.MaxXattrValue:
		return fs.ErrXattrTooBig
	case n.attr.Type == fs.TypeDir && n.attr.Mode&0o1000 != 0 && !ownerOrRoot(n, &q.Cred):
		return fs.ErrPerm
	}
	if err := need(n, &q.Cred, fs.AccessWrite); err != nil {
		return err
	}
	switch {
	case (q.Remove || q.How == fs.XattrReplace) && !there:
		return fs.ErrNoXattr
	case !q.Remove && q.How == fs.XattrCreate && there:
		return fs.ErrExist
	case !q.Remove && !there && len(n.xattrs) >= fs.MaxXattrs:
		return fs.ErrNoSpace
	}
	return nil
}
