package nfs

import (
	"testing"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

func secInfoNoName(style uint32) op {
	return func(w *xdr.Writer) { w.Uint32(uint32(xdr.OpSecInfoNoName)); w.Uint32(style) }
}

// TestSecInfo: by name, by handle and of the parent there is AUTH_SYS, and the
// current handle is consumed (RFC 8881 §18.29, §18.45).
func TestSecInfo(t *testing.T) {
	s := newSite(t)
	p := s.mount("one")
	p.must(putA(), mkdir("d", 0o755))
	p.open(putA(), openSpec{name: "f", how: unchecked(mode(0o644))})
	for what, ops := range map[string][]op{
		"SECINFO":                           {putA(), named(xdr.OpSecInfo, "d")},
		"SECINFO in the pseudo root":        {putRoot(), named(xdr.OpSecInfo, fsA)},
		"of the current handle":             {putA(), secInfoNoName(xdr.SecInfoCurrentFH)},
		"of the pseudo root":                {putRoot(), secInfoNoName(xdr.SecInfoCurrentFH)},
		"of the parent":                     {putA(), secInfoNoName(xdr.SecInfoParent)},
		"of the parent of something deeper": {putA(), lookup("d"), secInfoNoName(xdr.SecInfoParent)},
	} {
		res := p.must(ops...)
		for range len(ops) - 1 {
			res.Uint64() // operation and status
		}
		res.Uint64()
		if n, flavor := res.Uint32(), res.Uint32(); n != 1 || flavor != xdr.AuthSys || res.Remaining() != 0 {
			t.Errorf("%s: %d flavors, the first %d, %d bytes more", what, n, flavor, res.Remaining())
		}
		p.want(p.status(append(ops, getFH())...), xdr.ErrNoFileHandle, what+": the handle is consumed")
	}
	for _, x := range []struct {
		what string
		want xdr.Status
		ops  []op
	}{
		{"SECINFO of nothing", xdr.ErrNoEnt, []op{putA(), named(xdr.OpSecInfo, "x")}},
		{"SECINFO in a file", xdr.ErrNotDir, []op{putA(), lookup("f"), named(xdr.OpSecInfo, "x")}},
		{"SECINFO without a handle", xdr.ErrNoFileHandle, []op{named(xdr.OpSecInfo, "x")}},
		{"SECINFO of no name", xdr.ErrInval, []op{putA(), named(xdr.OpSecInfo, "")}},
		{"the parent of the pseudo root", xdr.ErrNoEnt, []op{putRoot(), secInfoNoName(xdr.SecInfoParent)}},
		{"the parent of a file", xdr.ErrNotDir, []op{putA(), lookup("f"), secInfoNoName(xdr.SecInfoParent)}},
		{"a style that there is not", xdr.ErrInval, []op{putA(), secInfoNoName(2)}},
		{"no handle", xdr.ErrNoFileHandle, []op{secInfoNoName(xdr.SecInfoCurrentFH)}},
	} {
		p.want(p.status(x.ops...), x.want, x.what)
	}
}

// TestTheWayUpNeedsSearchPermission: LOOKUPP is a look-up of "..".
func TestTheWayUpNeedsSearchPermission(t *testing.T) {
	s := newSite(t)
	root := s.mount("root")
	root.must(putA(), mkdir("closed", 0o700))
	res := root.must(putA(), lookup("closed"), getFH())
	root.ok(res, xdr.OpPutFH)
	root.ok(res, xdr.OpLookup)
	root.ok(res, xdr.OpGetFH)
	closed := putFH(res.FH())
	root.must(closed, simple(xdr.OpLookupP))
	user := s.dial(PseudoRoot(), "user")
	user.uid = 1000
	user.connect()
	user.must(reclaimComplete())
	user.want(user.status(closed, simple(xdr.OpLookupP)), xdr.ErrAccess, "LOOKUPP")
	user.want(user.status(closed, secInfoNoName(xdr.SecInfoParent)), xdr.ErrAccess, "SECINFO_NO_NAME of the parent")
}
