package nfs

import (
	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

func simple(o xdr.Op) op { return func(w *xdr.Writer) { w.Uint32(uint32(o)) } }

func (p *peer) exchangeID(flags uint32) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpExchangeID))
		w.Fixed([]byte{p.boot, 1, 2, 3, 4, 5, 6, 7})
		w.String(p.owner)
		w.Uint32(flags)
		w.Uint32(xdr.StateProtectNone)
		w.Uint32(0)
	}
}

var channel = xdr.ChannelAttrs{MaxRequest: 2 << 20, MaxResponse: 2 << 20, MaxResponseCached: 8192, MaxOps: 100, MaxRequests: 8}

func createSession(client uint64, seq uint32) op { return createSessionWith(client, seq, channel) }

func createSessionWith(client uint64, seq uint32, c xdr.ChannelAttrs) op {
	return sessionWith(client, seq, c, 0)
}

func sessionWith(client uint64, seq uint32, c xdr.ChannelAttrs, flags uint32) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpCreateSession))
		w.Uint64(client)
		w.Uint32(seq)
		w.Uint32(flags)
		w.ChannelAttrs(c)
		w.ChannelAttrs(c)
		w.Uint32(0x40000000)
		w.Uint32(1)
		w.Uint32(xdr.AuthNone)
	}
}

func (p *peer) sequence(slot, seq uint32) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpSequence))
		w.Fixed(p.session[:])
		w.Uint32(seq)
		w.Uint32(slot)
		w.Uint32(7)
		w.Bool(p.cache)
	}
}

func reclaimComplete() op {
	return func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpReclaimComplete)); w.Bool(false) }
}

func destroySession(id xdr.SessionID) op {
	return func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpDestroySession)); w.Fixed(id[:]) }
}

func destroyClient(id uint64) op {
	return func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpDestroyClientID)); w.Uint64(id) }
}

func putRoot() op { return simple(xdr.OpPutRootFH) }
func getFH() op   { return simple(xdr.OpGetFH) }
func saveFH() op  { return simple(xdr.OpSaveFH) }

func putFH(h []byte) op {
	return func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpPutFH)); w.Opaque(h) }
}

func put(l fs.Lineage, ino fs.Ino) op { return putFH(fileHandle(l, ino)) }

func putA() op { return put(fs.Lineage{'a'}, fs.RootIno) }

func named(o xdr.Op, names ...string) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(o))
		for _, n := range names {
			w.String(n)
		}
	}
}

func lookup(n string) op { return named(xdr.OpLookup, n) }

func getAttr(numbers ...int) op {
	return func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpGetAttr)); w.Bitmap(xdr.Bits(numbers...)) }
}

func setAttr(id xdr.StateID, a xdr.Attrs) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpSetAttr))
		w.StateID(id)
		w.Attrs(&a)
	}
}

func mkdir(n string, mode uint32) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpCreate))
		w.Uint32(xdr.TypeDir)
		w.String(n)
		w.Attrs(&xdr.Attrs{Mask: xdr.Bits(xdr.AttrMode), Mode: mode})
	}
}

// openSpec says what an OPEN asks for; the zero value opens for reading.
type openSpec struct {
	access, deny uint32
	owner        string
	how          func(w *xdr.Writer) // nil: do not create
	claim        uint32
	name         string
	deleg        xdr.StateID
}

func open(s openSpec) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpOpen))
		w.Uint32(0)
		w.Uint32(max(s.access&xdr.ShareBoth, xdr.ShareRead) | s.access&^xdr.ShareBoth)
		w.Uint32(s.deny)
		w.Uint64(0)
		w.String(s.owner)
		if s.how == nil {
			w.Uint32(xdr.OpenNoCreate)
		} else {
			w.Uint32(xdr.OpenCreate)
			s.how(w)
		}
		w.Uint32(s.claim)
		switch s.claim {
		case xdr.ClaimNull, xdr.ClaimDelegatePrev:
			w.String(s.name)
		case xdr.ClaimPrevious:
			w.Uint32(xdr.DelegateNone)
		case xdr.ClaimDelegateCur:
			w.StateID(s.deleg)
			w.String(s.name)
		case xdr.ClaimDelegCurFH:
			w.StateID(s.deleg)
		}
	}
}

func unchecked(a xdr.Attrs) func(*xdr.Writer) {
	return func(w *xdr.Writer) { w.Uint32(xdr.CreateUnchecked); w.Attrs(&a) }
}

func guarded(a xdr.Attrs) func(*xdr.Writer) {
	return func(w *xdr.Writer) { w.Uint32(xdr.CreateGuarded); w.Attrs(&a) }
}

func exclusive(v xdr.Verifier, a xdr.Attrs) func(*xdr.Writer) {
	return func(w *xdr.Writer) { w.Uint32(xdr.CreateExclusive41); w.Fixed(v[:]); w.Attrs(&a) }
}

func mode(m uint32) xdr.Attrs { return xdr.Attrs{Mask: xdr.Bits(xdr.AttrMode), Mode: m} }

// file is an open file of a peer.
type file struct {
	id xdr.StateID
	fh []byte
}

// open opens and returns the stateid and the handle.
func (p *peer) open(dir op, s openSpec) file {
	p.Helper()
	res := p.must(dir, open(s), getFH())
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpOpen)
	f := file{id: res.StateID()}
	res.ChangeInfo()
	res.Uint32()
	res.Bitmap()
	res.Uint32()
	p.ok(res, xdr.OpGetFH)
	f.fh = res.FH()
	return f
}

func closeFile(f file) op {
	return func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpClose)); w.Uint32(0); w.StateID(f.id) }
}

func read(id xdr.StateID, offset uint64, count uint32) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpRead))
		w.StateID(id)
		w.Uint64(offset)
		w.Uint32(count)
	}
}

func write(id xdr.StateID, offset uint64, stable uint32, data []byte) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpWrite))
		w.StateID(id)
		w.Uint64(offset)
		w.Uint32(stable)
		w.Opaque(data)
	}
}

func commit() op {
	return func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpCommit)); w.Uint64(0); w.Uint32(0) }
}

// lockSpec says what a LOCK asks for; by names an existing lock state.
type lockSpec struct {
	write, reclaim bool
	wait           bool
	offset, length uint64
	open           xdr.StateID
	owner          string
	by             *xdr.StateID
}

func putLockType(w *xdr.Writer, write bool) {
	if write {
		w.Uint32(xdr.LockWrite)
	} else {
		w.Uint32(xdr.LockRead)
	}
}

func (s *lockSpec) putType(w *xdr.Writer) {
	switch {
	case s.wait && s.write:
		w.Uint32(xdr.LockWriteWait)
	case s.wait:
		w.Uint32(xdr.LockReadWait)
	default:
		putLockType(w, s.write)
	}
}

func lock(s lockSpec) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpLock))
		s.putType(w)
		w.Bool(s.reclaim)
		w.Uint64(s.offset)
		w.Uint64(s.length)
		w.Bool(s.by == nil)
		if s.by != nil {
			w.StateID(*s.by)
			w.Uint32(0)
			return
		}
		w.Uint32(0)
		w.StateID(s.open)
		w.Uint32(0)
		w.Uint64(0)
		w.String(s.owner)
	}
}

func unlock(id xdr.StateID, offset, length uint64) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpLockU))
		w.Uint32(xdr.LockWrite)
		w.Uint32(0)
		w.StateID(id)
		w.Uint64(offset)
		w.Uint64(length)
	}
}

func testLock(owner string, write bool, offset, length uint64) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpLockT))
		putLockType(w, write)
		w.Uint64(offset)
		w.Uint64(length)
		w.Uint64(0)
		w.String(owner)
	}
}

func readDir(cookie uint64, verifier xdr.Verifier, maxCount uint32, numbers ...int) op {
	return func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpReadDir))
		w.Uint64(cookie)
		w.Fixed(verifier[:])
		w.Uint32(0)
		w.Uint32(maxCount)
		w.Bitmap(xdr.Bits(numbers...))
	}
}
