package nfsclient

import (
	"context"
	"io"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// File is a file found by Open. It holds nothing at the server: it stays
// usable across restarts, until the file is removed.
type File struct {
	c    *Client
	at   target
	Info Info // when it was opened
}

// Open finds a file for reading. Permission is checked when it is read.
func (c *Client) Open(ctx context.Context, path string) (*File, error) {
	info, err := c.Stat(ctx, path)
	if err != nil {
		return nil, err
	}
	return &File{c: c, at: target{fh: info.Handle, path: path}, Info: info}, nil
}

// ReadAt reads len(p) bytes from offset; fewer come with io.EOF.
func (f *File) ReadAt(ctx context.Context, p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		got, eof, err := f.c.read(ctx, f.at, p[n:], uint64(offset)+uint64(n))
		n += got
		switch {
		case err != nil:
			return n, err
		case n == len(p):
		case eof:
			return n, io.EOF
		case got == 0:
			return n, io.ErrNoProgress
		}
	}
	return n, nil
}

// read is one READ with the anonymous stateid.
func (c *Client) read(ctx context.Context, t target, b []byte, offset uint64) (n int, eof bool, err error) {
	s, err := c.link.session(ctx)
	if err != nil {
		return 0, false, err
	}
	p := c.compound("read", t.path, false)
	p.putFH(t.fh)
	p.lookup(t.names)
	w := p.op(xdr.OpRead)
	w.StateID(xdr.AnonymousStateID)
	w.Uint64(offset)
	w.Uint32(uint32(min(len(b), s.payload())))
	err = c.call(ctx, p, func(a *reply) error {
		if err := a.at(t); err != nil {
			return err
		}
		if err := a.next(xdr.OpRead); err != nil {
			return err
		}
		eof = a.r.Bool()
		n = copy(b, a.r.Opaque(len(b)))
		return a.whole()
	})
	return n, eof, err
}

// pipeline is how many chunks of one file are under way at once.
const pipeline = 8

// ReadFile reads a whole file into memory.
func (c *Client) ReadFile(ctx context.Context, path string) ([]byte, error) {
	f, err := c.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	b := make([]byte, f.Info.Size)
	n, err := f.ReadAt(ctx, b, 0)
	if err == io.EOF {
		err = nil // it has become shorter
	}
	return b[:n], err
}

// CopyTo writes the file's content to w, in order, reading ahead. It returns
// the number of bytes written.
func (f *File) CopyTo(ctx context.Context, w io.Writer) (int64, error) {
	s, err := f.c.link.session(ctx)
	if err != nil {
		return 0, err
	}
	// One byte more than the file has: its end is seen with the last byte.
	chunk := int(min(uint64(s.payload()), f.Info.Size+1))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	chunks := f.readChunks(ctx, int64(chunk))
	var total int64
	for result := range chunks {
		r := <-result
		n, err := w.Write(r.data)
		total += int64(n)
		switch {
		case err != nil:
			return total, err
		case r.err == io.EOF:
			return total, nil
		case r.err != nil:
			return total, r.err
		}
	}
	return total, context.Cause(ctx)
}

type chunkResult struct {
	data []byte
	err  error
}

// readChunks starts one read after the other, at most pipeline ahead of who
// takes the results. It ends with ctx.
func (f *File) readChunks(ctx context.Context, chunk int64) <-chan chan chunkResult {
	out := make(chan chan chunkResult, pipeline-1)
	go func() {
		defer close(out)
		for offset := int64(0); ; offset += chunk {
			result := make(chan chunkResult, 1)
			select {
			case out <- result:
			case <-ctx.Done():
				return
			}
			go func() {
				b := make([]byte, chunk)
				n, err := f.ReadAt(ctx, b, offset)
				result <- chunkResult{b[:n], err}
			}()
			if offset >= int64(f.Info.Size) {
				return
			}
		}
	}()
	return out
}
