package nfsclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// Dialer makes connections; *net.Dialer is one.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Options of a Client. The zero value is root at the server's root.
type Options struct {
	// Prefix is put before every path, such as "/fs-0123456789abcdef0".
	Prefix string
	UID    uint32
	GID    uint32
	Groups []uint32
	// ClientOwner names this client to the server, at most 1,024 bytes; two
	// clients must not share it. Empty: host, process and a random number.
	ClientOwner string
	Dialer      Dialer    // nil: a net.Dialer
	Random      io.Reader // nil: crypto/rand

	verifier xdr.Verifier
}

func (o *Options) cred() *oncrpc.SysCred {
	return &oncrpc.SysCred{Machine: "holdfast", UID: o.UID, GID: o.GID, Groups: o.Groups}
}

func (o *Options) defaults() error {
	if o.Dialer == nil {
		o.Dialer = &net.Dialer{}
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if _, err := io.ReadFull(o.Random, o.verifier[:]); err != nil {
		return fmt.Errorf("random number for the client's verifier: %w", err)
	}
	if o.ClientOwner == "" {
		host, _ := os.Hostname() // an empty name is as good: the number is unique
		o.ClientOwner = fmt.Sprintf("holdfast %s %d %x", host, os.Getpid(), o.verifier)
	}
	return nil
}

// Client is a connection to one server. All methods may be called from many
// goroutines. Every path is slash-separated and taken from the prefix.
type Client struct {
	opt  Options
	link *link
	root []byte // handle of the prefix

	cancel context.CancelFunc
	wg     sync.WaitGroup
	owners atomic.Uint64 // makes open owners unique
}

// Dial connects to addr ("host:port"), makes a session and finds the prefix.
// It fails at once when the server cannot be reached; later, a server that is
// away is waited for. ctx bounds Dial only.
func Dial(ctx context.Context, addr string, opt Options) (*Client, error) {
	if err := opt.defaults(); err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.Background())
	c := &Client{opt: opt, link: newLink(addr, opt), cancel: cancel}
	first := make(chan error, 1)
	c.wg.Go(func() { c.link.run(run, first) })
	var err error
	select {
	case err = <-first:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err == nil {
		err = c.findRoot(ctx)
	}
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("nfs server %s: %w", addr, err)
	}
	return c, nil
}

func (c *Client) stop() {
	c.cancel()
	c.wg.Wait()
}

// closeTimeout bounds what Close waits for a server that may be gone.
const closeTimeout = 2 * time.Second

// Close tells the server that the client goes, so that nothing of it is kept
// until the lease ends, and closes the connection. Calls under way end with
// ErrClosed or an error of the session.
func (c *Client) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	c.link.mu.Lock()
	s := c.link.s
	c.link.closing = true
	c.link.mu.Unlock()
	if s != nil && c.destroySession(ctx, s) == nil {
		c.destroyClient(ctx, s)
	}
	c.stop()
	return nil
}

// findRoot resolves the prefix. The handle stays good across restarts and
// failovers: it carries the lineage and the inode.
func (c *Client) findRoot(ctx context.Context) error {
	names, err := split(c.opt.Prefix)
	if err != nil {
		return err
	}
	p := c.compound("find", c.opt.Prefix, false)
	p.op(xdr.OpPutRootFH)
	p.op(xdr.OpGetFH)
	err = c.call(ctx, p, func(a *reply) (err error) {
		if err := a.next(xdr.OpPutRootFH); err != nil {
			return err
		}
		c.root, err = a.fh()
		return err
	})
	if err == nil && len(names) > 0 {
		var t target
		if t, err = c.resolve(ctx, target{fh: c.root, names: names, path: c.opt.Prefix}); err == nil {
			c.root = t.fh
		}
	}
	if isNotThere(err) {
		return fmt.Errorf("there is no %s on this server: %w", c.opt.Prefix, err)
	}
	return err
}

func (c *Client) destroySession(ctx context.Context, s *session) error {
	p := bareCompound(c.opt.cred(), "destroy the session", "")
	p.op(xdr.OpDestroySession).Fixed(s.id[:])
	return c.link.bareOnce(ctx, p, func(a *reply) error { return a.next(xdr.OpDestroySession) })
}

func (c *Client) destroyClient(ctx context.Context, s *session) error {
	p := bareCompound(c.opt.cred(), "destroy the client id", "")
	p.op(xdr.OpDestroyClientID).Uint64(s.clientID)
	return c.link.bareOnce(ctx, p, func(a *reply) error { return a.next(xdr.OpDestroyClientID) })
}

func (c *Client) compound(verb, path string, keep bool) *compound {
	return newCompound(c.opt.cred(), verb, path, keep)
}

// call sends p until it is answered with something other than "later", parses
// the reply and releases both.
func (c *Client) call(ctx context.Context, p *compound, parse func(*reply) error) error {
	_, err := c.callKnowing(ctx, p, parse)
	return err
}

// callKnowing is call. again tells that an earlier attempt may have been
// carried out without its reply having arrived.
func (c *Client) callKnowing(ctx context.Context, p *compound, parse func(*reply) error) (again bool, err error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		next := p.clone
		a, err := c.link.roundTrip(ctx, p)
		if err == nil {
			if err = parse(a); !isLater(err) && !isUncached(err) {
				a.release()
				return again, err
			}
		}
		switch {
		case errors.Is(err, errSessionLost), isUncached(err):
			again = true
		case errors.Is(err, errNotSent):
		case !isLater(err):
			return again, err
		}
		sleep(ctx, pause)
		if ctx.Err() != nil {
			return again, fmt.Errorf("%w, and gave up: %w", err, context.Cause(ctx))
		}
		p = next()
	}
}

// change is call for a change that is not idempotent: done is the status that
// it meets when an earlier attempt was carried out unnoticed.
func (c *Client) change(ctx context.Context, p *compound, done xdr.Status, parse func(*reply) error) error {
	again, err := c.callKnowing(ctx, p, parse)
	if again && statusOf(err) == done {
		return nil
	}
	return err
}

// isUncached: the request was carried out, but its reply is gone. Only for
// requests that change nothing is the server not asked to keep it.
func isUncached(err error) bool { return statusOf(err) == xdr.ErrRetryUncachedRep }

func isLater(err error) bool {
	s := statusOf(err)
	return s == xdr.ErrDelay || s == xdr.ErrGrace
}

// target is a file: names looked up one after the other from a handle.
type target struct {
	fh    []byte
	names []string
	path  string // for messages
}

// child is a name in a directory whose handle is known.
func child(dir []byte, name, path string) target {
	return target{fh: dir, names: []string{name}, path: path}
}

// split makes the components of a path; "" and "/" have none.
func split(p string) ([]string, error) {
	if strings.Contains(p, "\x00") {
		return nil, fmt.Errorf("path %q has a NUL in it", p)
	}
	p = path.Clean("/" + p)
	if p == "/" {
		return nil, nil
	}
	return strings.Split(p[1:], "/"), nil
}

// target parses a path. A path that is too deep for one compound has its front
// resolved.
func (c *Client) target(ctx context.Context, p string) (target, error) {
	names, err := split(p)
	t := target{fh: c.root, names: names, path: "/" + strings.Join(names, "/")}
	if err != nil {
		return t, err
	}
	return c.shorten(ctx, t)
}

func (c *Client) shorten(ctx context.Context, t target) (target, error) {
	s, err := c.link.session(ctx)
	if err != nil {
		return t, err
	}
	for n := s.lookups(); len(t.names) > n; {
		front := target{fh: t.fh, names: t.names[:n], path: t.path}
		if t.fh, err = c.handle(ctx, front); err != nil {
			return t, err
		}
		t.names = t.names[n:]
	}
	return t, nil
}

// resolve makes a target that is only a handle.
func (c *Client) resolve(ctx context.Context, t target) (target, error) {
	t, err := c.shorten(ctx, t)
	if err != nil || len(t.names) == 0 {
		return t, err
	}
	fh, err := c.handle(ctx, t)
	return target{fh: fh, path: t.path}, err
}

func (c *Client) handle(ctx context.Context, t target) (fh []byte, err error) {
	p := c.compound("find", t.path, false)
	p.putFH(t.fh)
	p.lookup(t.names)
	p.op(xdr.OpGetFH)
	err = c.call(ctx, p, func(a *reply) (err error) {
		if err := a.at(t); err != nil {
			return err
		}
		fh, err = a.fh()
		return err
	})
	return fh, err
}

// parent splits the last name off; the root has none.
func (t target) parent() (dir target, name string, err error) {
	if len(t.names) == 0 {
		return t, "", fmt.Errorf("%s: the root of the file system cannot be created, removed or renamed", t.path)
	}
	n := len(t.names) - 1
	return target{fh: t.fh, names: t.names[:n], path: t.path}, t.names[n], nil
}

// pathTo is target and parent in one.
func (c *Client) pathTo(ctx context.Context, p string) (dir target, name, full string, err error) {
	t, err := c.target(ctx, p)
	if err != nil {
		return t, "", t.path, err
	}
	dir, name, err = t.parent()
	return dir, name, t.path, err
}
