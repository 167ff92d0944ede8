package nfs

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/fstest"
	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// choices makes decisions from bytes, so that a fuzzer can steer them; when
// they run out, every decision is the first.
type choices struct{ b []byte }

func (c *choices) below(n int) int {
	if len(c.b) == 0 {
		return 0
	}
	v := int(c.b[0])
	c.b = c.b[1:]
	return v % n
}

func pick[T any](c *choices, of ...T) T { return of[c.below(len(of))] }

// script writes COMPOUNDs whose operations are well-formed and whose values
// are often, not always, what a client would send.
type script struct {
	*choices
	s    *Server
	inos []fs.Ino
}

func (g *script) name() string { return pick(g.choices, "a", "b", "c", "", ".", "..", "\xff") }

func (g *script) number() uint64 {
	return pick[uint64](g.choices, 0, 1, 3, 4096, 1<<20, 1<<40, 1<<63, 1<<64-1)
}

// stateid is the current one, a special one, or one that the server may have
// given: they are counted.
func (g *script) stateid() xdr.StateID {
	id := pick(g.choices, xdr.CurrentStateID, xdr.AnonymousStateID, xdr.BypassStateID, xdr.InvalidStateID, xdr.StateID{}, xdr.StateID{})
	if id == (xdr.StateID{}) {
		id.Seq = uint32(g.below(3))
		binary.BigEndian.PutUint32(id.Other[:], uint32(g.s.boot>>32)<<16|uint32(g.s.boot)&0xffff)
		id.Other[11] = byte(g.below(64))
	}
	return id
}

func (g *script) attrs() xdr.Attrs {
	a := xdr.Attrs{Mode: uint32(pick(g.choices, 0o644, 0o7777, 0o10000)), Size: g.number(), Owner: g.name(), OwnerGroup: "7", Umask: 0o22, UmaskedMode: 0o666}
	for _, n := range []int{xdr.AttrMode, xdr.AttrSize, xdr.AttrOwner, xdr.AttrOwnerGroup, xdr.AttrModeUmask, xdr.AttrTimeModifySet} {
		if g.below(4) == 1 {
			a.Mask.Set(n)
		}
	}
	return a
}

func (g *script) open() op {
	how := pick(g.choices, unchecked(g.attrs()), guarded(g.attrs()), exclusive(xdr.Verifier{byte(g.below(2))}, g.attrs()), nil)
	return open(openSpec{
		access: pick[uint32](g.choices, xdr.ShareBoth, xdr.ShareRead, xdr.ShareWrite, xdr.ShareBoth|xdr.WantWriteDeleg, 0x80000000),
		deny:   uint32(g.below(5)), owner: g.name(), how: how, name: g.name(), deleg: g.stateid(),
		claim: pick[uint32](g.choices, xdr.ClaimNull, xdr.ClaimNull, xdr.ClaimNull, xdr.ClaimFH, xdr.ClaimPrevious, xdr.ClaimDelegateCur, xdr.ClaimDelegCurFH, xdr.ClaimDelegatePrev, xdr.ClaimDelegPrevFH),
	})
}

// op is one operation.
func (g *script) op() op {
	id := g.stateid()
	ops := []func() op{
		putA, saveFH, getFH, putRoot,
		func() op { return simple(xdr.OpRestoreFH) },
		func() op { return put(fs.Lineage{'a'}, pick(g.choices, g.inos...)) },
		func() op { return g.open() }, func() op { return g.open() }, func() op { return g.open() },
		func() op { return lookup(g.name()) },
		func() op { return mkdir(g.name(), 0o755) },
		func() op { return named(xdr.OpRemove, g.name()) },
		func() op { return named(xdr.OpRename, g.name(), g.name()) },
		func() op { return named(xdr.OpLink, g.name()) },
		func() op {
			return func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpGetAttr)); w.Bitmap(gettable) }
		},
		func() op { return setAttr(id, g.attrs()) },
		func() op { return read(id, g.number(), uint32(g.number())) },
		func() op { return write(id, g.number(), uint32(g.below(4)), []byte(g.name())) },
		commit,
		func() op { return closeFile(file{id: id}) },
		func() op {
			return lock(lockSpec{write: g.below(2) == 1, wait: g.below(2) == 1, reclaim: g.below(8) == 1, offset: g.number(), length: g.number(), open: id, owner: g.name()})
		},
		func() op {
			return lock(lockSpec{write: true, wait: g.below(2) == 1, offset: g.number(), length: g.number(), by: &id})
		},
		func() op { return unlock(id, g.number(), g.number()) },
		func() op { return testLock(g.name(), true, g.number(), g.number()) },
		func() op {
			return readDir(g.number(), cookieVerifier, uint32(g.number()), xdr.AttrType, xdr.AttrFileHandle)
		},
		func() op { return seek(id, g.number(), uint32(g.below(3))) },
		func() op { return ranged(xdr.OpAllocate, id, g.number(), g.number()) },
		func() op { return ranged(xdr.OpDeallocate, id, g.number(), g.number()) },
		func() op { return clone(id, g.stateid(), g.number(), g.number(), g.number()) },
		func() op { return copyRange(id, g.stateid(), g.number(), g.number(), g.number()) },
		func() op { return setXattr(uint32(g.below(4)), g.name(), g.name()) },
		func() op { return named(xdr.OpGetXattr, g.name()) },
		func() op { return named(xdr.OpRemoveXattr, g.name()) },
		func() op { return listXattrs(uint64(g.below(4)), uint32(g.number())) },
		func() op { return delegReturn(id) }, func() op { return freeStateID(id) },
		func() op {
			return func(w *xdr.Writer) {
				w.Uint32(uint32(xdr.OpOpenDowngrade))
				w.StateID(id)
				w.Uint32(0)
				w.Uint32(uint32(g.below(4)))
				w.Uint32(uint32(g.below(4)))
			}
		},
		func() op { return simple(xdr.Op(g.below(90))) },
	}
	return pick(g.choices, ops...)()
}

// play carries out COMPOUNDs of two clients as the choices say, then lets both
// go: nothing must be left.
func play(t *testing.T, b []byte) {
	now := time.Unix(1_700_000_000, 0)
	clock := func() time.Time { return now }
	ref := fstest.NewRefOf(fs.Lineage{'a'}, clock)
	s, err := NewServer(Config{Exports: exportList{{Name: fsA, FS: ref}}, Region: "here", Clock: clock, Rand: zeros{}})
	if err != nil {
		t.Fatal(err)
	}
	g := &script{choices: &choices{b}, s: s, inos: []fs.Ino{fs.RootIno}}
	peers := []*peer{{owner: "one"}, {owner: "two"}}
	for _, p := range peers {
		res, _ := compoundOf(s, encode([]op{p.exchangeID(0)}))
		r := parse(res)
		r.next(xdr.OpExchangeID)
		p.client = r.Uint64()
		res, _ = compoundOf(s, encode([]op{createSession(p.client, r.Uint32())}))
		r = parse(res)
		r.next(xdr.OpCreateSession)
		p.session = r.SessionID()
		p.seq = 1
		compoundOf(s, encode([]op{p.sequence(0, p.seq), reclaimComplete()}))
	}
	for len(g.b) > 0 {
		p := pick(g.choices, peers...)
		p.seq++
		ops := []op{p.sequence(0, p.seq), putA()}
		for range 1 + g.below(6) {
			ops = append(ops, g.op())
		}
		res, st := compoundOf(s, encodeMinor(2, ops))
		if st != oncrpc.Success {
			t.Fatalf("rpc status %v", st)
		}
		if r := parse(res); r.Bad() || int(r.count) > len(ops) || r.count == 0 {
			t.Fatalf("status %v, %d results of %d operations", r.status, r.count, len(ops))
		}
		for _, name := range []fs.Name{"a", "b", "c"} {
			if a, err := ref.Lookup(&fs.Cred{}, fs.RootIno, name); err == nil && len(g.inos) < 16 {
				g.inos = append(g.inos, a.Ino)
			}
		}
	}
	now = now.Add(state.CourtesyTime + time.Hour)
	s.Tick(context.Background())
	if n := s.table.Footprint(); n != 0 {
		t.Errorf("%d entries of state are left", n)
	}
	for _, ino := range g.inos {
		if n := ref.Holds(ino); n != 0 {
			t.Errorf("inode %v: %d holds are left", ino, n)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// FuzzOperations lets a fuzzer choose the operations.
func FuzzOperations(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(randomBytes(seed, 500))
	}
	f.Fuzz(func(t *testing.T, b []byte) { play(t, b[:min(len(b), 4000)]) })
}

func randomBytes(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 42))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.UintN(256))
	}
	return b
}

func TestRandomOperationsLeaveNothingBehind(t *testing.T) {
	for seed := range uint64(150) {
		play(t, randomBytes(seed, 3000))
	}
}
