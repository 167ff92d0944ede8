package nfs

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

func only(r Rights) func(string, Caller) Rights {
	return func(string, Caller) Rights { return r }
}

// changing are operations that change something, each with what it needs before.
func changing(f file) map[string][]op {
	at := putFH(f.fh)
	return map[string][]op{
		"CREATE": {putRoot(), mkdir("new", 0o755)}, "REMOVE": {putRoot(), named(xdr.OpRemove, "f")},
		"RENAME":             {putRoot(), saveFH(), putRoot(), named(xdr.OpRename, "f", "g")},
		"LINK":               {at, saveFH(), putRoot(), named(xdr.OpLink, "g")},
		"SETATTR":            {at, setAttr(xdr.AnonymousStateID, mode(0o600))},
		"SETATTR of size":    {at, setAttr(f.id, xdr.Attrs{Mask: xdr.Bits(xdr.AttrSize), Size: 0})},
		"WRITE":              {at, write(f.id, 0, xdr.FileSync, []byte("x"))},
		"WRITE without open": {at, write(xdr.AnonymousStateID, 0, xdr.FileSync, []byte("x"))},
		"OPEN to write":      {putRoot(), open(openSpec{name: "f", access: xdr.ShareWrite})},
		"OPEN that creates":  {putRoot(), open(openSpec{name: "new", access: xdr.ShareRead, how: unchecked(mode(0o600))})},
		"SETXATTR":           {at, setXattr(xdr.XattrEither, "user.a", "b")},
		"ALLOCATE":           {at, ranged(xdr.OpAllocate, f.id, 0, 100)}, "DEALLOCATE": {at, ranged(xdr.OpDeallocate, f.id, 0, 100)},
		"CLONE": {at, saveFH(), at, clone(f.id, f.id, 0, 100, 1)}, "COPY": {at, saveFH(), at, copyRange(f.id, f.id, 0, 100, 1)},
	}
}

// TestRightsAreLookedAtForEveryRequest changes them under a client that has a
// file open for writing.
func TestRightsAreLookedAtForEveryRequest(t *testing.T) {
	s, k := guardedSite(t)
	p := s.mountAt(rootA(), "one")
	p.minor = xdr.MinorVersion2
	f := p.open(putFH(p.handle()), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	p.must(putFH(f.fh), write(f.id, 0, xdr.FileSync, []byte("content")))
	k.allow(only(Rights{Mount: true, Root: true}))
	for what, ops := range changing(f) {
		p.want(p.status(ops...), xdr.ErrROFS, what+" without the right to write")
	}
	p.want(p.status(putFH(f.fh), read(f.id, 0, 10)), xdr.OK, "READ")
	p.want(p.status(putRoot(), open(openSpec{name: "f", owner: "other", access: xdr.ShareRead, how: unchecked(xdr.Attrs{Mask: xdr.Bits(xdr.AttrSize)})})), xdr.OK, "OPEN that would cut it")
	if got := p.content(f); got != "content" {
		t.Errorf("it holds %q", got)
	}
	res := p.must(putFH(f.fh), func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpAccess))
		w.Uint32(xdr.Access4Read | xdr.Access4Modify | xdr.Access4Extend)
	})
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpAccess)
	if res.Uint32(); res.Uint32() != xdr.Access4Read {
		t.Error("ACCESS grants more than reading")
	}
	k.allow(only(Rights{Write: true, Root: true}))
	for what, ops := range map[string][]op{"PUTFH": {putFH(f.fh)}, "PUTROOTFH": {putRoot()}, "READ": {putFH(f.fh), read(f.id, 0, 10)}, "CLOSE": {putFH(f.fh), closeFile(f)}} {
		p.want(p.status(ops...), xdr.ErrAccess, what+" without the right to mount")
	}
	k.allow(only(Rights{Mount: true, Write: true}))
	p.want(p.status(putRoot(), mkdir("d", 0o755)), xdr.ErrAccess, "root that may not be root, in root's directory")
	k.allow(nil)
	p.must(putRoot(), mkdir("d", 0o755))
	p.must(putFH(f.fh), write(f.id, 0, xdr.FileSync, []byte("x")), closeFile(f))
}

func TestPseudoRootShowsWhatCanBeEntered(t *testing.T) {
	s, k := guardedSite(t)
	k.allow(func(export string, _ Caller) Rights { return Rights{Mount: export == fsB, Write: true, Root: true} })
	p := s.mount("one")
	if names, _ := p.list(putFH(pseudoHandle()), 8192, xdr.AttrType); len(names) != 1 || names[0] != fsB {
		t.Errorf("it lists %q", names)
	}
	p.want(p.status(putRoot(), lookup(fsA)), xdr.ErrAccess, "entering another one")
	p.want(p.status(putA(), getAttr(xdr.AttrType)), xdr.ErrAccess, "another one by handle")
	p.want(p.status(putRoot(), lookup(fsB), getAttr(xdr.AttrType)), xdr.OK, "entering it")
}

// TestRightsDependOnTheConnection: what a policy can tell apart.
func TestRightsDependOnTheConnection(t *testing.T) {
	s, k := guardedSite(t)
	k.point(app, "/", nil, nil)
	var last atomic.Pointer[Caller]
	k.allow(func(_ string, c Caller) Rights { last.Store(&c); return allRights })
	for what, c := range map[string]struct {
		p    *peer
		want Caller
	}{
		"plain, shared":       {s.mount("a"), Caller{}},
		"plain":               {s.mountAt(rootA(), "b"), Caller{MountTarget: true}},
		"TLS":                 {s.mountTLS(rootA(), "c", ""), Caller{Secure: true, MountTarget: true}},
		"TLS, shared":         {s.mountTLS(PseudoRoot(), "d", fsA+" - -"), Caller{Secure: true}},
		"signed":              {s.mountTLS(rootA(), "e", "- - arn:me"), Caller{Secure: true, MountTarget: true, Principal: "arn:me"}},
		"access point":        {s.mountTLS(rootA(), "f", fsA+" "+app+" arn:me"), Caller{Secure: true, MountTarget: true, AccessPoint: app, Principal: "arn:me"}},
		"access point, share": {s.mountTLS(PseudoRoot(), "g", fsA+" "+app+" -"), Caller{Secure: true, AccessPoint: app}},
	} {
		c.p.must(putFH(fileHandle(fs.Lineage{'a'}, fs.RootIno)), getAttr(xdr.AttrType))
		seen := *last.Load()
		if !seen.Remote.IsLoopback() {
			t.Errorf("%s comes from %v", what, seen.Remote)
		}
		seen.Remote = c.want.Remote
		if seen != c.want {
			t.Errorf("%s is %+v, want %+v", what, seen, c.want)
		}
	}
}

func TestStartTLS(t *testing.T) {
	s, _ := guardedSite(t)
	probe := func(conn net.Conn, xid, proc uint32, flavor uint32) {
		w := xdr.NewWriter()
		defer w.Release()
		oncrpc.BeginRecord(w)
		for _, v := range []uint32{xid, 0, 2, xdr.Program, xdr.Version, proc, flavor, 0, 0, 0} {
			w.Uint32(v)
		}
		oncrpc.EndRecord(w)
		if _, err := conn.Write(w.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	answer := func(conn net.Conn) []uint32 {
		rec, err := oncrpc.ReadRecord(conn, 1<<10)
		if err != nil {
			t.Fatal(err)
		}
		r := xdr.NewReader(rec)
		var all []uint32
		for r.Remaining() >= 4 {
			all = append(all, r.Uint32())
		}
		return all
	}
	const authTLS, badCred = 7, 1
	starttls := []uint32{1, 0, 0, 8, 'S'<<24 | 'T'<<16 | 'A'<<8 | 'R', 'T'<<24 | 'T'<<16 | 'L'<<8 | 'S', 0}
	denied := []uint32{1, 1, 1, badCred}

	conn, err := net.Dial("tcp", s.addr[rootA()])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	probe(conn, 9, 0, authTLS)
	equal(t, "the answer to a probe", answer(conn)[1:], starttls)
	p, err := s.overTLS(conn, "one", "")
	if err != nil {
		t.Fatal(err)
	}
	probe(p.conn, 10, 0, authTLS)
	equal(t, "a probe within TLS", answer(p.conn)[1:], denied)
	p.connect()
	p.want(p.status(putRoot()), xdr.OK, "a session by RPC-with-TLS")

	plain := s.dial(rootA(), "two")
	probe(plain.conn, 11, 1, authTLS)
	equal(t, "AUTH_TLS in another procedure", answer(plain.conn)[1:], denied)
	probe(plain.conn, 12, 0, xdr.AuthNone)
	answer(plain.conn)
	probe(plain.conn, 13, 0, authTLS)
	equal(t, "a probe after a call", answer(plain.conn)[1:], denied)

	// Spurious bytes between the probe and the handshake.
	late := s.dial(rootA(), "three")
	probe(late.conn, 14, 0, authTLS)
	answer(late.conn)
	probe(late.conn, 15, 0, xdr.AuthNone)
	if !late.closed() {
		t.Error("plain RPC is answered where TLS was promised")
	}
}

func equal(t *testing.T, what string, got, want []uint32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %x, want %x", what, got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: %x, want %x", what, got, want)
		}
	}
}

// TestUnknownProgramIsUnavailableAtOnce: what a proxy of the mount helper asks
// first.
func TestUnknownProgramIsUnavailableAtOnce(t *testing.T) {
	s, _ := guardedSite(t)
	p, err := s.tls(rootA(), "one", "")
	if err != nil {
		t.Fatal(err)
	}
	w := xdr.NewWriter()
	defer w.Release()
	oncrpc.BeginRecord(w)
	oncrpc.AppendCall(w, 1, 400123, 1, 1, nil)
	oncrpc.EndRecord(w)
	if _, err := p.conn.Write(w.Bytes()); err != nil {
		t.Fatal(err)
	}
	rec, err := oncrpc.ReadRecord(p.conn, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	r := xdr.NewReader(rec)
	if _, err := oncrpc.ParseReply(&r); err != oncrpc.ProgUnavail {
		t.Errorf("program 400123: %v", err)
	}
	bare, err := net.Dial("tcp", s.addr[rootA()])
	if err != nil {
		t.Fatal(err)
	}
	bare.Close()
	p.connect()
	p.want(p.status(putRoot()), xdr.OK, "the same connection, after a bare one came and went")
}

// TestHandshakesDoNotHoldUpOthers: many clients stop in the middle.
func TestHandshakesDoNotHoldUpOthers(t *testing.T) {
	s, _ := guardedSite(t)
	for range 500 {
		conn, err := net.Dial("tcp", s.addr[rootA()])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte{0x16, 3, 1, 1, 0, 1}); err != nil { // half a ClientHello
			t.Fatal(err)
		}
	}
	begin := time.Now()
	s.mountAt(rootA(), "plain").must(putRoot())
	s.mountTLS(rootA(), "tls", "").must(putRoot())
	if d := time.Since(begin); d > handshakeTime/2 {
		t.Errorf("two mounts took %v", d)
	}
}

// TestHugeCertificatesAreRefused: a client may not make the server keep much.
func TestHugeCertificatesAreRefused(t *testing.T) {
	s, _ := guardedSite(t)
	chain := certificate(t, fsA+" - -")
	for len(chain.Certificate) < 150 {
		chain.Certificate = append(chain.Certificate, chain.Certificate[0])
	}
	tcp, err := net.Dial("tcp", s.addr[rootA()])
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	conn := tls.Client(tcp, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{chain}})
	p := &peer{T: t, conn: conn}
	if err := conn.Handshake(); err == nil && !p.closed() {
		t.Error("a chain of some 50 KB is accepted")
	}
}

// TestRootOfAnAccessPointIsRootOnlyWithTheRight: also where the access point
// says that its user is root.
func TestRootOfAnAccessPointIsRootOnlyWithTheRight(t *testing.T) {
	s, k := guardedSite(t)
	k.point(app, "/", &fs.Cred{UID: 0, GID: 0, Groups: []uint32{0}}, nil)
	p := s.mountTLS(rootA(), "one", "- "+app+" -")
	p.uid = 7
	p.must(putRoot(), mkdir("as-root", 0o755))
	k.allow(only(Rights{Mount: true, Write: true}))
	p.want(p.status(putRoot(), mkdir("d", 0o755)), xdr.ErrAccess, "without the right")
	p.want(p.status(putRoot(), lookup("as-root"), setAttr(xdr.AnonymousStateID, mode(0o777))), xdr.ErrPerm, "on what belongs to root")
}
