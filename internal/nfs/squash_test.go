package nfs

import (
	"bytes"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

func putB() op { return put(fs.Lineage{'b'}, fs.RootIno) }

// owner makes a directory and returns whose it is.
func (p *peer) ownerOf(name string) string {
	p.Helper()
	res := p.must(putB(), lookup(name), getAttr(xdr.AttrOwner))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpLookup)
	return p.attrs(res).Owner
}

func TestRootIsSquashedWhereItIsSaid(t *testing.T) {
	s := newSite(t)
	free, p := s.mountAt(FileSystemRoot(fsB), "one"), s.mountAt(s.other, "other")
	p.must(putB(), mkdir("before", 0o755))
	free.must(putB(), mkdir("open", 0o777))
	s.other.Squash.Set(&Anonymous{UID: 1234, GID: 5678})
	p.want(p.status(putB(), mkdir("d", 0o755)), xdr.ErrAccess, "root where it is squashed")
	p.must(putB(), lookup("open"), mkdir("mine", 0o755))
	res := p.must(putB(), lookup("open"), lookup("mine"), getAttr(xdr.AttrOwner, xdr.AttrOwnerGroup))
	p.ok(res, xdr.OpPutFH)
	p.ok(res, xdr.OpLookup)
	p.ok(res, xdr.OpLookup)
	if a := p.attrs(res); a.Owner != "1234" || a.OwnerGroup != "5678" {
		t.Errorf("what a squashed root makes belongs to %s:%s", a.Owner, a.OwnerGroup)
	}
	p.want(p.status(putB(), lookup("before"), setAttr(xdr.AnonymousStateID, mode(0o777))), xdr.ErrPerm, "mode of what belongs to root")
	free.must(putB(), mkdir("elsewhere", 0o755))
	other := s.mount("two")
	other.must(putB(), mkdir("shared", 0o755))
	s.other.Squash.Set(nil)
	p.must(putB(), mkdir("after", 0o755))
	if got := p.ownerOf("after"); got != "0" {
		t.Errorf("after the end of squashing, root is %s", got)
	}
}

func TestRootsGroupsAreSquashed(t *testing.T) {
	got := (&Anonymous{UID: 7, GID: 8}).apply(fs.Cred{UID: 500, GID: 0, Groups: []uint32{0, 4, 0}})
	if got.UID != 500 || got.GID != 8 || got.Groups[0] != 8 || got.Groups[1] != 4 || got.Groups[2] != 8 {
		t.Errorf("%+v", got)
	}
}

// Nothing that is had by other means than permission is given to a squashed root.
func TestSquashIsNotGoneRound(t *testing.T) {
	s := newSite(t)
	free := s.mountAt(FileSystemRoot(fsB), "free")
	secret := free.open(putB(), openSpec{name: "secret", access: xdr.ShareBoth, how: unchecked(mode(0o600))})
	fh := bytes.Clone(secret.fh)
	free.must(putFH(fh), write(secret.id, 0, xdr.FileSync, []byte("x")))
	free.must(putB(), mkdir("open", 0o777))
	s.other.Squash.Set(&Anonymous{UID: Nobody, GID: Nobody})
	p := s.mountAt(s.other, "one")
	for what, ops := range map[string][]op{
		"open by handle":          {putFH(fh), open(openSpec{claim: xdr.ClaimFH})},
		"read without open":       {putFH(fh), read(xdr.AnonymousStateID, 0, 1)},
		"read that bypasses":      {putFH(fh), read(xdr.BypassStateID, 0, 1)},
		"write without open":      {putFH(fh), write(xdr.AnonymousStateID, 0, xdr.FileSync, []byte("y"))},
		"a rename out of a place": {putB(), saveFH(), putB(), lookup("open"), named(xdr.OpRename, "secret", "taken")},
		"a second name":           {putFH(fh), saveFH(), putB(), named(xdr.OpLink, "second")},
	} {
		p.want(p.status(ops...), xdr.ErrAccess, what)
	}
	p.want(p.status(putFH(fh), read(secret.id, 0, 1)), xdr.ErrBadStateID, "the state of another address")
	p.must(putB(), lookup("open"), open(openSpec{name: "mine", access: xdr.ShareBoth, how: unchecked(mode(0o600))})) // makes it one that may reclaim

	s.restart()
	p = s.dial(s.other, "one")
	p.connect()
	p.want(p.status(putFH(fh), open(openSpec{claim: xdr.ClaimPrevious, access: xdr.ShareBoth})), xdr.ErrAccess, "a reclaim of what it never had")
	p.must(putB(), lookup("open"), lookup("mine"), open(openSpec{claim: xdr.ClaimPrevious, access: xdr.ShareBoth}))
}
