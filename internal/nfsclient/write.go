package nfsclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// FileSpec says what a written file is besides its content.
type FileSpec struct {
	// Mode of a file that is made; one that is there keeps its mode, unless
	// Exact is set.
	Mode uint32
	// Exact sets Mode also when the file was there.
	Exact bool
	// Mtime, if set, is the file's modification time.
	Mtime *fs.Time
	UID   *uint32 // nil: the caller's
	GID   *uint32
	// Exclusive refuses to replace a file.
	Exclusive bool
}

const (
	// smallFile is written with one request, bytes: OPEN, WRITE and CLOSE on
	// the current stateid (RFC 8881 §16.2.3.1.2). It leaves room for the names
	// of a deep path.
	smallFile = 256 << 10
	// maxRewrites bounds how often a file is written again from its start
	// because the server restarted or forgot the open file.
	maxRewrites = 16
)

// WriteFile makes the file at path hold data; it is durable when the call
// returns. One that is there is replaced in place.
func (c *Client) WriteFile(ctx context.Context, path string, data []byte, mode uint32) error {
	return c.WriteFrom(ctx, path, bytes.NewReader(data), int64(len(data)), FileSpec{Mode: mode})
}

// Create makes an empty file; it is an error when there is one.
func (c *Client) Create(ctx context.Context, path string, mode uint32) error {
	return c.WriteFrom(ctx, path, nil, 0, FileSpec{Mode: mode, Exclusive: true})
}

// WriteFrom makes the file at path hold the first size bytes of src, which may
// be read from many goroutines and again from its start. It is durable when
// the call returns.
func (c *Client) WriteFrom(ctx context.Context, path string, src io.ReaderAt, size int64, spec FileSpec) error {
	dir, name, full, err := c.pathTo(ctx, path)
	if err != nil {
		return err
	}
	return c.writeTo(ctx, writing{c: c, dir: dir, name: name, full: full, src: src, size: size, spec: spec})
}

// writing is one file being written.
type writing struct {
	c     *Client
	dir   target
	name  string
	full  string
	src   io.ReaderAt
	size  int64
	spec  FileSpec
	owner string       // unique, so that no other CLOSE closes this open
	guard xdr.Verifier // of an exclusive create
}

var (
	errShortWrite = errors.New("the server took only a part")
	errVerifier   = errors.New("the server restarted while the file was being written")
)

func (c *Client) writeTo(ctx context.Context, f writing) error {
	s, err := c.link.session(ctx)
	if err != nil {
		return err
	}
	f.owner = fmt.Sprintf("open %d", c.owners.Add(1))
	f.guard = f.verifier()
	if f.size <= int64(min(smallFile, s.payload()-recordRoom)) {
		if err = f.small(ctx, s); !errors.Is(err, errShortWrite) {
			return err
		}
	}
	for range maxRewrites {
		if err = f.large(ctx); !startAgain(err) {
			return err
		}
		f.owner = fmt.Sprintf("open %d", c.owners.Add(1))
		sleep(ctx, firstPause)
	}
	return err
}

// startAgain reports whether what was written before may be gone, or the open
// file is: the file is to be written again.
func startAgain(err error) bool {
	switch statusOf(err) {
	case xdr.ErrBadStateID, xdr.ErrStaleStateID, xdr.ErrOldStateID, xdr.ErrExpired, xdr.ErrAdminRevoked:
		return true
	}
	return errors.Is(err, errVerifier)
}

// small writes the file with one request.
func (f *writing) small(ctx context.Context, s *session) error {
	p := f.c.compound("write", f.full, true)
	p.putFH(f.dir.fh)
	p.lookup(f.dir.names)
	f.open(p, s)
	if f.size > 0 {
		if err := p.write(xdr.CurrentStateID, 0, xdr.FileSync, f.src, int(f.size)); err != nil {
			return fmt.Errorf("write %s: %w", f.full, err)
		}
	}
	after := f.after()
	if after != nil {
		p.setAttr(after)
	}
	p.close(xdr.CurrentStateID)
	var opened *xdr.StateID
	err := f.c.call(ctx, p, func(a *reply) (err error) {
		if err = a.at(f.dir); err != nil {
			return err
		}
		if opened, err = a.opened(); err != nil {
			return err
		}
		return f.smallDone(a, after != nil)
	})
	if err != nil && opened != nil {
		f.c.abandon(target{fh: f.dir.fh, names: append(f.dir.names[:len(f.dir.names):len(f.dir.names)], f.name), path: f.full}, *opened)
	}
	return err
}

func (f *writing) smallDone(a *reply, set bool) error {
	if f.size > 0 {
		n, _, err := a.written()
		if err != nil {
			return err
		}
		if int64(n) != f.size {
			return errShortWrite
		}
	}
	if set {
		if err := a.setAttr(); err != nil {
			return err
		}
	}
	return a.next(xdr.OpClose)
}

// after is what is set once the content is there: writing changes the times,
// and clears the setuid and setgid bits.
func (f *writing) after() *Change {
	ch := &Change{Mtime: f.spec.Mtime}
	if f.spec.Exact || f.spec.Mode&0o6000 != 0 {
		ch.Mode = &f.spec.Mode
	}
	if ch.Mtime == nil && ch.Mode == nil {
		return nil
	}
	return ch
}

// open adds the OPEN that makes the file, or empties the one that is there.
func (f *writing) open(p *compound, s *session) {
	w := p.op(xdr.OpOpen)
	w.Uint32(0) // seqid: not used in 4.1
	const wantNoDelegation = 0x0400
	w.Uint32(xdr.ShareWrite | wantNoDelegation)
	w.Uint32(xdr.DenyNone)
	w.Uint64(s.clientID)
	w.String(f.owner)
	w.Uint32(xdr.OpenCreate)
	set := Change{Mode: &f.spec.Mode, UID: f.spec.UID, GID: f.spec.GID}
	if f.spec.Exclusive {
		// The verifier makes a repeated request find the file it made.
		w.Uint32(xdr.CreateExclusive41)
		w.Fixed(f.guard[:])
	} else {
		size := uint64(0)
		set.Size = &size
		w.Uint32(xdr.CreateUnchecked)
	}
	w.Attrs(set.attrs())
	w.Uint32(xdr.ClaimNull)
	w.String(f.name)
}

// verifier is unique for an exclusive create: the client's verifier and the
// number of the open.
func (f *writing) verifier() xdr.Verifier {
	v := f.c.opt.verifier
	for i := range len(f.owner) {
		v[i%len(v)] = v[i%len(v)]*31 + f.owner[i]
	}
	return v
}

// write adds a WRITE of n bytes of src.
func (p *compound) write(id xdr.StateID, offset int64, how uint32, src io.ReaderAt, n int) error {
	w := p.op(xdr.OpWrite)
	w.StateID(id)
	w.Uint64(uint64(offset))
	w.Uint32(how)
	w.Uint32(uint32(n))
	got, err := src.ReadAt(w.Reserve(n), offset)
	w.Pad(n)
	if got == n {
		return nil
	}
	if err == io.EOF {
		return ErrChanged
	}
	return err
}

func (p *compound) close(id xdr.StateID) {
	w := p.op(xdr.OpClose)
	w.Uint32(0)
	w.StateID(id)
}

// opened reads the result of OPEN.
func (a *reply) opened() (*xdr.StateID, error) {
	if err := a.next(xdr.OpOpen); err != nil {
		return nil, err
	}
	id := a.r.StateID()
	a.r.ChangeInfo()
	a.r.Uint32()
	a.r.Bitmap()
	switch a.r.Uint32() {
	case xdr.DelegateNone:
	case xdr.DelegateNoneExt:
		if why := a.r.Uint32(); why == 1 || why == xdr.WhyNoDelegResource {
			a.r.Bool()
		}
	default:
		return nil, errBadReply // a delegation, which was not wanted
	}
	return &id, a.whole()
}

// written reads the result of WRITE.
func (a *reply) written() (n uint32, v xdr.Verifier, err error) {
	if err := a.next(xdr.OpWrite); err != nil {
		return 0, v, err
	}
	n = a.r.Uint32()
	a.r.Uint32()
	return n, a.r.Verifier(), a.whole()
}

// abandon closes a file after a failure, as well as that goes.
func (c *Client) abandon(t target, id xdr.StateID) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	p := c.compound("close", t.path, true)
	p.putFH(t.fh)
	p.lookup(t.names)
	p.close(id)
	// The error adds nothing to the one that led here; the lease cleans up.
	_ = c.call(ctx, p, func(a *reply) error {
		if err := a.at(t); err != nil {
			return err
		}
		return a.next(xdr.OpClose)
	})
}
