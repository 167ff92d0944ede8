package nfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/fstest"
	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// exportList is a fixed list of exports.
type exportList []Export

func (x exportList) List() []Export { return x }

func (x exportList) ByName(n string) (Export, bool) {
	i := slices.IndexFunc(x, func(e Export) bool { return e.Name == n })
	if i < 0 {
		return Export{}, false
	}
	return x[i], true
}

func (x exportList) ByLineage(l fs.Lineage) (Export, bool) {
	i := slices.IndexFunc(x, func(e Export) bool { return e.FS.Lineage() == l })
	if i < 0 {
		return Export{}, false
	}
	return x[i], true
}

const (
	fsA = "fs-0000000000000000a"
	fsB = "fs-0000000000000000b"
)

// site is a server with two file systems; it can be restarted.
type site struct {
	*testing.T
	clock *clock
	a, b  *fstest.Ref
	list  exportList
	srv   *Server
	boots uint32
	addr  map[Root]string
	other Root // a mount target of fsB, where root may be squashed
	stop  func()

	access   Access
	security Security
}

func newSite(t *testing.T) *site {
	s := &site{T: t}
	s.init()
	return s
}

func (s *site) init() {
	s.clock = &clock{now: time.Unix(1_700_000_000, 0)}
	s.a = fstest.NewRefOf(fs.Lineage{'a'}, s.clock.Now)
	s.b = fstest.NewRefOf(fs.Lineage{'b'}, s.clock.Now)
	s.other = Root{Export: fsB, Squash: new(Squash)}
	s.list = exportList{{Name: fsA, FS: s.a}, {Name: fsB, FS: s.b}}
	s.start()
	s.Cleanup(func() { s.stop() })
}

func (s *site) start() {
	s.Helper()
	s.boots++
	srv, err := NewServer(Config{
		Exports: s.list, Region: "here", Clock: s.clock.Now, Rand: bytes.NewReader(binary.BigEndian.AppendUint32(nil, s.boots)),
		LeaseTime: 60 * time.Second, GraceTime: 60 * time.Second, Access: s.access, Security: s.security,
	})
	if err != nil {
		s.Fatal(err)
	}
	s.srv, s.addr = srv, map[Root]string{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, root := range []Root{PseudoRoot(), FileSystemRoot(fsA), FileSystemRoot(fsB), s.other} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.Fatal(err)
		}
		s.addr[root] = ln.Addr().String()
		wg.Go(func() {
			if err := srv.Serve(ctx, ln, root); err != nil {
				s.Error(err)
			}
		})
	}
	s.stop = func() { cancel(); wg.Wait() }
}

// restart stops the server, restarts the file systems and starts a new server.
func (s *site) restart() {
	s.Helper()
	s.stop()
	s.a.Restart()
	s.b.Restart()
	s.start()
}

// peer is a small NFS client.
type peer struct {
	*testing.T
	conn    net.Conn
	owner   string
	boot    byte // its verifier
	uid     uint32
	groups  []uint32
	program uint32 // of its callbacks, 0 means 0x40000000
	minor   uint32 // version, 0 means 1
	xid     uint32
	client  uint64
	session xdr.SessionID
	seq     uint32 // of slot 0
	cache   bool
	back    uint32 // flags of CREATE_SESSION
}

func (s *site) dial(root Root, owner string) *peer {
	s.Helper()
	conn, err := net.Dial("tcp", s.addr[root])
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { conn.Close() })
	return &peer{T: s.T, conn: conn, owner: owner}
}

// mount makes a client with a session on the pseudo root.
func (s *site) mount(owner string) *peer { return s.mountAt(PseudoRoot(), owner) }

func (s *site) mountAt(root Root, owner string) *peer {
	s.Helper()
	p := s.dial(root, owner)
	p.connect()
	p.must(reclaimComplete())
	return p
}

func (p *peer) connect() {
	p.Helper()
	res := p.raw(p.exchangeID(0))
	p.ok(res, xdr.OpExchangeID)
	p.client = res.Uint64()
	seq := res.Uint32()
	res = p.raw(sessionWith(p.client, seq, channel, p.back))
	p.ok(res, xdr.OpCreateSession)
	p.session, p.seq = res.SessionID(), 0
}

// op is one operation of a COMPOUND: its number and arguments.
type op func(w *xdr.Writer)

func encode(ops []op) []byte { return encodeMinor(xdr.MinorVersion1, ops) }

func encodeMinor(minor uint32, ops []op) []byte {
	w := xdr.NewWriter()
	defer w.Release()
	w.String("tag")
	w.Uint32(minor)
	w.Uint32(uint32(len(ops)))
	for _, o := range ops {
		o(w)
	}
	return bytes.Clone(w.Bytes())
}

// send sends one COMPOUND body; receive returns the whole result.
func (p *peer) send(body []byte) {
	p.Helper()
	p.xid++
	w := xdr.NewWriter()
	defer w.Release()
	oncrpc.BeginRecord(w)
	oncrpc.AppendCall(w, p.xid, xdr.Program, xdr.Version, xdr.ProcCompound, &oncrpc.SysCred{Machine: "test", UID: p.uid, GID: p.uid, Groups: p.groups})
	w.Raw(body)
	oncrpc.EndRecord(w)
	if _, err := p.conn.Write(w.Bytes()); err != nil {
		p.Fatal(err)
	}
}

func (p *peer) receive() []byte {
	p.Helper()
	rec, err := oncrpc.ReadRecord(p.conn, 2<<20)
	if err != nil {
		p.Fatal(err)
	}
	r := xdr.NewReader(rec)
	if xid, err := oncrpc.ParseReply(&r); err != nil || xid != p.xid {
		p.Fatalf("reply to %d: %v", xid, err)
	}
	return r.Rest()
}

// result is a COMPOUND result being read.
type result struct {
	xdr.Reader
	status xdr.Status
	count  uint32
}

func parse(b []byte) *result {
	r := &result{Reader: xdr.NewReader(b)}
	r.status = xdr.Status(r.Uint32())
	r.Opaque(1024)
	r.count = r.Uint32()
	return r
}

func (p *peer) raw(ops ...op) *result {
	p.Helper()
	p.send(encodeMinor(max(p.minor, xdr.MinorVersion1), ops))
	return parse(p.receive())
}

// call sends operations after SEQUENCE and returns the result past it.
func (p *peer) call(ops ...op) *result {
	p.Helper()
	p.seq++
	res := p.raw(append([]op{p.sequence(0, p.seq)}, ops...)...)
	if st := res.next(xdr.OpSequence); st != xdr.OK {
		p.Fatalf("SEQUENCE: %v", st)
	}
	res.Fixed(16)
	for range 5 {
		res.Uint32()
	}
	return res
}

// next reads an operation's number and status.
func (r *result) next(o xdr.Op) xdr.Status {
	if got := xdr.Op(r.Uint32()); got != o {
		panic("result of " + got.String() + ", want " + o.String())
	}
	return xdr.Status(r.Uint32())
}

// ok reads the header of an operation that must have succeeded.
func (p *peer) ok(r *result, o xdr.Op) {
	p.Helper()
	if st := r.next(o); st != xdr.OK {
		p.Fatalf("%v: %v", o, st)
	}
}

// must sends operations that must all succeed.
func (p *peer) must(ops ...op) *result {
	p.Helper()
	res := p.call(ops...)
	if res.status != xdr.OK {
		p.Fatalf("COMPOUND: %v after %d operations", res.status, res.count)
	}
	return res
}

// status sends operations and returns the status of the COMPOUND.
func (p *peer) status(ops ...op) xdr.Status {
	p.Helper()
	return p.call(ops...).status
}

func (p *peer) want(got, want xdr.Status, what string) {
	p.Helper()
	if got != want {
		p.Errorf("%s: %v, want %v", what, got, want)
	}
}
