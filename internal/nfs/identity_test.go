package nfs

import (
	"testing"

	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// TestSixteenGroups: the last of the groups that AUTH_SYS can carry counts as
// the first does.
func TestSixteenGroups(t *testing.T) {
	s := newSite(t)
	root := s.mount("root")
	a := xdr.Attrs{Mask: xdr.Bits(xdr.AttrMode, xdr.AttrOwnerGroup), Mode: 0o060, OwnerGroup: "4242"}
	root.open(putA(), openSpec{name: "f", how: unchecked(a)})
	user := s.dial(PseudoRoot(), "user")
	user.uid = 1000
	user.connect()
	user.must(reclaimComplete())
	for i := range oncrpc.MaxGroups - 1 {
		user.groups = append(user.groups, uint32(100+i))
	}
	user.want(user.status(putA(), open(openSpec{name: "f", access: xdr.ShareBoth})), xdr.ErrAccess, "without the group")
	user.groups = append(user.groups, 4242)
	if len(user.groups) != 16 {
		t.Fatalf("%d groups", len(user.groups))
	}
	user.must(putA(), open(openSpec{name: "f", access: xdr.ShareBoth}))
}

// TestCallbacksGoWhereTheClientSays: BACKCHANNEL_CTL changes the program of the
// callbacks of a session (RFC 8881 §18.33).
func TestCallbacksGoWhereTheClientSays(t *testing.T) {
	s := newSite(t)
	p, q := s.mountBack("one"), s.mount("two")
	p.must(func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpBackchannelCtl))
		w.Uint32(0x40000099)
		w.Uint32(1)
		w.Uint32(xdr.AuthNone)
	})
	p.program = 0x40000099
	_, kind, id := p.delegated(putA(), openSpec{name: "f", how: unchecked(mode(0o666))})
	if kind != xdr.DelegateRead {
		t.Fatalf("delegation %d", kind)
	}
	q.want(q.status(putA(), open(openSpec{name: "f", access: xdr.ShareBoth})), xdr.ErrDelay, "while it is recalled")
	if got := p.recalled(); got != id {
		t.Errorf("%v is recalled, want %v", got, id)
	}
}
