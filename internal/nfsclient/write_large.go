package nfsclient

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// large writes the file in chunks, several under way at once, and commits them
// at the end. When the write verifier changes on the way, the server restarted
// and may have lost some (RFC 8881 §18.3.3): errVerifier.
func (f *writing) large(ctx context.Context) error {
	s, err := f.c.link.session(ctx)
	if err != nil {
		return err
	}
	file, id, err := f.begin(ctx, s)
	if err != nil {
		return err
	}
	v, err := f.chunks(ctx, file, id, s.payload())
	if err == nil {
		err = f.commit(ctx, file, id, v)
	}
	if err != nil {
		f.c.abandon(file, id)
	}
	return err
}

// begin opens the file.
func (f *writing) begin(ctx context.Context, s *session) (file target, id xdr.StateID, err error) {
	p := f.c.compound("write", f.full, true)
	p.putFH(f.dir.fh)
	p.lookup(f.dir.names)
	f.open(p, s)
	p.op(xdr.OpGetFH)
	file.path = f.full
	err = f.c.call(ctx, p, func(a *reply) error {
		if err := a.at(f.dir); err != nil {
			return err
		}
		opened, err := a.opened()
		if err != nil {
			return err
		}
		id = *opened
		file.fh, err = a.fh()
		return err
	})
	return file, id, err
}

// chunks writes the content. All chunks must meet the same write verifier.
func (f *writing) chunks(ctx context.Context, file target, id xdr.StateID, chunk int) (v xdr.Verifier, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var same verifiers
	room := make(chan struct{}, pipeline)
	for offset := int64(0); offset < f.size && ctx.Err() == nil; offset += int64(chunk) {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			if err := f.chunk(ctx, file, id, offset, int(min(int64(chunk), f.size-offset)), &same); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return same.v, context.Cause(ctx)
}

// chunk writes one chunk, again from where the server stopped if it took only
// a part.
func (f *writing) chunk(ctx context.Context, file target, id xdr.StateID, offset int64, n int, same *verifiers) error {
	for n > 0 {
		p := f.c.compound("write", f.full, true)
		p.putFH(file.fh)
		if err := p.write(id, offset, xdr.Unstable, f.src, n); err != nil {
			return fmt.Errorf("write %s: %w", f.full, err)
		}
		var took uint32
		var v xdr.Verifier
		err := f.c.call(ctx, p, func(a *reply) (err error) {
			if err = a.next(xdr.OpPutFH); err == nil {
				took, v, err = a.written()
			}
			return err
		})
		switch {
		case err != nil:
			return err
		case took == 0 || int64(took) > int64(n):
			return fmt.Errorf("write %s: %w", f.full, io.ErrShortWrite)
		case !same.add(v):
			return errVerifier
		}
		offset += int64(took)
		n -= int(took)
	}
	return nil
}

// verifiers checks that all verifiers are equal.
type verifiers struct {
	mu   sync.Mutex
	have bool
	v    xdr.Verifier
}

func (s *verifiers) add(v xdr.Verifier) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.have {
		s.have, s.v = true, v
	}
	return s.v == v
}

// commit makes the content durable, sets what is set last, and closes.
func (f *writing) commit(ctx context.Context, file target, id xdr.StateID, v xdr.Verifier) error {
	p := f.c.compound("commit", f.full, true)
	p.putFH(file.fh)
	w := p.op(xdr.OpCommit)
	w.Uint64(0) // from the start
	w.Uint32(0) // to the end
	after := f.after()
	if after != nil {
		p.setAttr(after)
	}
	p.close(id)
	return f.c.call(ctx, p, func(a *reply) error {
		if err := a.skip(xdr.OpPutFH, xdr.OpCommit); err != nil {
			return err
		}
		if got := a.r.Verifier(); f.size > 0 && got != v {
			return errVerifier
		}
		if after != nil {
			if err := a.setAttr(); err != nil {
				return err
			}
		}
		return a.next(xdr.OpClose)
	})
}

// WriteAt writes data at an offset of a file that is there; it is durable when
// the call returns.
func (c *Client) WriteAt(ctx context.Context, path string, data []byte, offset int64) error {
	t, err := c.target(ctx, path)
	if err != nil {
		return err
	}
	s, err := c.link.session(ctx)
	if err != nil {
		return err
	}
	for len(data) > 0 {
		n := min(len(data), s.payload())
		took, err := c.writeSync(ctx, t, data[:n], offset)
		if err != nil {
			return err
		}
		data, offset = data[took:], offset+int64(took)
	}
	return nil
}

func (c *Client) writeSync(ctx context.Context, t target, data []byte, offset int64) (took int, err error) {
	p := c.compound("write", t.path, true)
	p.putFH(t.fh)
	p.lookup(t.names)
	src := io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data)))
	if err := p.write(xdr.AnonymousStateID, offset, xdr.FileSync, shifted{src, offset}, len(data)); err != nil {
		return 0, err
	}
	err = c.call(ctx, p, func(a *reply) error {
		if err := a.at(t); err != nil {
			return err
		}
		n, _, err := a.written()
		if err == nil && (n == 0 || int(n) > len(data)) {
			return fmt.Errorf("write %s: %w", t.path, io.ErrShortWrite)
		}
		took = int(n)
		return err
	})
	return took, err
}

// shifted is a source whose first byte is at an offset.
type shifted struct {
	src  io.ReaderAt
	from int64
}

func (s shifted) ReadAt(p []byte, offset int64) (int, error) { return s.src.ReadAt(p, offset-s.from) }
