package fstest

import (
	"context"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

const pageSize = 4096

// content is the bytes of a file. What was never written, or was cut off
// since, reads as zero and is not counted as used.
type content struct {
	pages map[uint64]*page
	used  uint64
}

type page struct {
	bytes   [pageSize]byte
	written [pageSize]bool
}

func (c *content) write(offset uint64, data []byte) {
	if c.pages == nil {
		c.pages = map[uint64]*page{}
	}
	for i := 0; i < len(data); {
		at := offset + uint64(i)
		p := c.pages[at/pageSize]
		if p == nil {
			p = &page{}
			c.pages[at/pageSize] = p
		}
		start := int(at % pageSize)
		n := copy(p.bytes[start:], data[i:])
		for j := start; j < start+n; j++ {
			if !p.written[j] {
				p.written[j] = true
				c.used++
			}
		}
		i += n
	}
}

func (c *content) read(offset uint64, buf []byte) {
	for i := 0; i < len(buf); {
		at := offset + uint64(i)
		n := min(len(buf)-i, pageSize-int(at%pageSize))
		if p := c.pages[at/pageSize]; p != nil {
			copy(buf[i:i+n], p.bytes[at%pageSize:])
		} else {
			clear(buf[i : i+n])
		}
		i += n
	}
}

// truncate forgets what was written at size and beyond.
func (c *content) truncate(size uint64) {
	for number, p := range c.pages {
		start := number * pageSize
		if start+pageSize <= size {
			continue
		}
		keep := 0
		if size > start {
			keep = int(size - start)
		}
		for j := keep; j < pageSize; j++ {
			if p.written[j] {
				p.written[j], p.bytes[j] = false, 0
				c.used--
			}
		}
		if keep == 0 {
			delete(c.pages, number)
		}
	}
}

// file returns a regular file: fs.ErrIsDir or fs.ErrInval if it is another type.
func (r *Ref) file(ino fs.Ino) (*inode, error) {
	n, err := r.get(ino)
	switch {
	case err != nil:
		return nil, err
	case n.attr.Type == fs.TypeDir:
		return nil, fs.ErrIsDir
	case n.attr.Type != fs.TypeRegular:
		return nil, fs.ErrInval
	}
	return n, nil
}

// Read fills p from offset.
func (r *Ref) Read(_ context.Context, ino fs.Ino, offset uint64, p []byte) (int, bool, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n, err := r.file(ino)
	if err != nil {
		return 0, false, err
	}
	if offset >= n.attr.Size {
		return 0, true, nil
	}
	if left := n.attr.Size - offset; uint64(len(p)) > left {
		p = p[:left]
	}
	n.data.read(offset, p)
	return len(p), offset+uint64(len(p)) == n.attr.Size, nil
}

// Write writes all of Data, or nothing.
func (r *Ref) Write(_ context.Context, q *fs.WriteRequest) (fs.WriteResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, err := r.begin()
	if err != nil {
		return fs.WriteResult{}, err
	}
	n, err := r.file(q.Ino)
	switch {
	case err != nil:
		return fs.WriteResult{}, err
	case len(q.Data) == 0 || len(q.Data) > fs.MaxWrite:
		return fs.WriteResult{}, fs.ErrInval
	case q.Offset > fs.MaxFileSize || q.Offset+uint64(len(q.Data)) > fs.MaxFileSize:
		return fs.WriteResult{}, fs.ErrFBig
	}
	n.data.write(q.Offset, q.Data)
	a := &n.attr
	a.Size = max(a.Size, q.Offset+uint64(len(q.Data)))
	a.Used, a.Mtime = n.data.used, now
	if q.Cred.UID != 0 {
		a.Mode = dropPrivilege(a.Mode)
	}
	seq := r.commit(now, n)
	return fs.WriteResult{N: len(q.Data), Attr: n.attr, Seq: seq}, nil
}
