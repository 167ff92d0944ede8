package nfs

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/fstest"
	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

func TestMalformedArguments(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	cut := func(o op, n int) op {
		return func(w *xdr.Writer) {
			before := w.Len()
			o(w)
			if w.Len()-n > before {
				w.Truncate(w.Len() - n)
			}
		}
	}
	for name, o := range map[string]op{
		"PUTFH": putA(), "LOOKUP": lookup("abcd"), "GETATTR": getAttr(1, 2), "CREATE": mkdir("d", 0), "OPEN": open(openSpec{name: "f"}),
		"READ": read(xdr.StateID{}, 0, 1), "WRITE": write(xdr.StateID{}, 0, 0, []byte("abcd")), "LOCK": lock(lockSpec{owner: "o"}),
		"LOCKU": unlock(xdr.StateID{}, 0, 1), "LOCKT": testLock("o", true, 0, 1), "CLOSE": closeFile(file{}), "COMMIT": commit(),
		"READDIR": readDir(0, xdr.Verifier{}, 100), "SETATTR": setAttr(xdr.StateID{}, mode(0)), "REMOVE": named(xdr.OpRemove, "abcd"),
		"RENAME": named(xdr.OpRename, "abcd", "efgh"), "LINK": named(xdr.OpLink, "abcd"), "RECLAIM_COMPLETE": reclaimComplete(),
	} {
		p.want(p.status(putRoot(), cut(o, 4)), xdr.ErrBadXDR, name+" cut short")
	}
	p.want(p.status(putRoot(), func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpLookup))
		w.Uint32(0xffffffff)
	}), xdr.ErrBadXDR, "a name of 4 GiB")
	p.must(putRoot())
}

func TestGarbageIsNotACompound(t *testing.T) {
	s := newSite(t)
	p := s.dial(PseudoRoot(), "one")
	p.send([]byte{0xff, 0xff, 0xff, 0xff})
	rec, err := oncrpc.ReadRecord(p.conn, 1000)
	if err != nil {
		t.Fatal(err)
	}
	r := xdr.NewReader(rec)
	if _, err := oncrpc.ParseReply(&r); err != oncrpc.GarbageArgs {
		t.Errorf("%v, want garbage arguments", err)
	}
}

func TestRecordOverTheLimitEndsTheConnection(t *testing.T) {
	s := newSite(t)
	conn, err := net.Dial("tcp", s.addr[PseudoRoot()])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 10)); n != 0 || err == nil {
		t.Errorf("%d bytes, %v: want the connection closed", n, err)
	}
	s.mount("one").must(putRoot())
}

// fuzzSite is a server without a network.
func fuzzSite(t testing.TB) (*Server, *clock) {
	now := &clock{now: time.Unix(1_700_000_000, 0)}
	ref := fstest.NewRefOf(fs.Lineage{'a'}, now.Now)
	s, err := NewServer(Config{
		Exports: exportList{{Name: fsA, FS: ref}}, Region: "here", Clock: now.Now, Rand: bytes.NewReader(make([]byte, 4)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, now
}

func compoundOf(s *Server, body []byte) ([]byte, oncrpc.AcceptStat) {
	w := xdr.NewWriter()
	defer w.Release()
	args := xdr.NewReader(body)
	st := s.compound(context.Background(), &view{}, &oncrpc.Call{Sys: &oncrpc.SysCred{}}, &args, w)
	return bytes.Clone(w.Bytes()), st
}

// fuzzClients are a client with a session and one of minor version 0, made anew
// in every fuzzSite with the same ids.
type fuzzClients struct {
	*peer
	old *peer40
}

func (p *fuzzClients) connect(s *Server) {
	res, _ := compoundOf(s, encode([]op{p.exchangeID(0)}))
	r := parse(res)
	r.next(xdr.OpExchangeID)
	client, seq := r.Uint64(), r.Uint32()
	res, _ = compoundOf(s, encode([]op{createSession(client, seq)}))
	r = parse(res)
	r.next(xdr.OpCreateSession)
	p.session = r.SessionID()
	res, _ = compoundOf(s, encode40([]op{p.old.asClient()}))
	r = parse(res)
	r.next(xdr.OpSetClientID)
	p.old.client = r.Uint64()
	compoundOf(s, encode40([]op{setClientIDConfirm(p.old.client, r.Verifier())}))
}

// FuzzCompound sends two COMPOUNDs after a session and a client of minor version
// 0 were made: whatever they hold, the answer is well-formed as far as its header
// goes, the server lives, and nothing is left when the time of courtesy is over.
func FuzzCompound(f *testing.F) {
	p := &fuzzClients{&peer{owner: "fuzz"}, &peer40{peer: &peer{owner: "fuzz"}}}
	s, _ := fuzzSite(f)
	p.connect(s)
	for _, ops := range [][]op{
		{putRoot(), lookup(fsA), getAttr(1, 33), readDir(0, xdr.Verifier{}, 4096, 1, 19)},
		{putA(), open(openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o644))}), write(xdr.CurrentStateID, 1<<40, xdr.FileSync, []byte("x")), read(xdr.CurrentStateID, 0, 100), closeFile(file{id: xdr.CurrentStateID})},
		{putA(), mkdir("d", 0o755), saveFH(), putA(), named(xdr.OpRename, "d", "e"), setAttr(xdr.StateID{}, mode(1))},
		{putA(), open(openSpec{name: "l", access: xdr.ShareBoth, how: exclusive(xdr.Verifier{1}, mode(1))}), lock(lockSpec{write: true, length: 10, open: xdr.CurrentStateID, owner: "o"})},
	} {
		body := encode(append([]op{p.sequence(0, 1), reclaimComplete()}, ops...))
		f.Add(body, body)
	}
	p.seeds40(f)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		s, clock := fuzzSite(t)
		p.connect(s)
		for _, body := range [][]byte{a, b} {
			res, st := compoundOf(s, body)
			if st != oncrpc.Success {
				continue
			}
			r := parse(res)
			if r.Bad() || r.count > 100 {
				t.Errorf("status %v, %d results", r.status, r.count)
			}
		}
		for range 3 {
			clock.advance(state.CourtesyTime + time.Hour)
			s.Tick(t.Context())
		}
		if n := s.table.Footprint(); n != 0 {
			t.Errorf("%d entries of state are left", n)
		}
	})
}

// seeds40 adds COMPOUNDs of minor version 0. The stateids that the first of two
// gives are known beforehand.
func (p *fuzzClients) seeds40(f *testing.F) {
	s, _ := fuzzSite(f)
	p.connect(s)
	first := encode40([]op{putA(), p.old.open40(1, rw40), getFH()})
	res, _ := compoundOf(s, first)
	r := parse(res)
	r.next(xdr.OpPutFH)
	r.next(xdr.OpOpen)
	id := r.StateID()
	r.ChangeInfo()
	r.Uint32()
	r.Bitmap()
	r.Uint32()
	r.next(xdr.OpGetFH)
	fh := r.FH()
	confirmed := id
	confirmed.Seq++
	confirm := withState(xdr.OpOpenConfirm, id, 2)
	take := p.old.lock40(lockSpec{write: true, length: 10, open: confirmed, owner: "l"}, 3, 1)
	for _, ops := range [][]op{
		{putA(), p.old.open40(1, rw40), getFH()},
		{putA(), p.old.open40(2, openSpec{claim: xdr.ClaimPrevious, owner: "o"})},
		{putFH(fh), confirm, write(confirmed, 0, xdr.Unstable, []byte("x")), read(confirmed, 0, 9), commit()},
		{putFH(fh), confirm, take, p.old.testLock40("m", false, 0, 1), p.old.releaseLockOwner("l")},
		{putFH(fh), confirm, withState(xdr.OpOpenDowngrade, confirmed, 3, xdr.ShareRead, 0), withState(xdr.OpClose, confirmed, 4)},
		{putFH(fh), confirm, withState(xdr.OpClose, confirmed, 3), renew(p.old.client), p.old.asClient(), named(xdr.OpSecInfo, "f")},
	} {
		f.Add(first, encode40(ops))
	}
}
