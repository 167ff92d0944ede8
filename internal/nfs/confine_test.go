package nfs

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

const (
	app  = "fsap-00000000000000001"
	app2 = "fsap-00000000000000002"
)

func rootA() Root { return FileSystemRoot(fsA) }

// jail is a file system with /in (the root of access point app) and /out, each
// with a directory d and files, and a client inside and one that sees all.
type jail struct {
	*site
	k           *keeper
	inside, all *peer
}

func newJail(t *testing.T) *jail {
	s, k := guardedSite(t)
	j := &jail{site: s, k: k, all: s.mountAt(rootA(), "all")}
	for _, dir := range []string{"in", "out"} {
		j.all.must(putRoot(), mkdir(dir, 0o777), mkdir("d", 0o777))
		fh := j.all.handle(dir)
		for _, f := range []string{"f", "g"} {
			made := j.all.open(putFH(fh), openSpec{name: f, access: xdr.ShareBoth, how: unchecked(mode(0o666))})
			j.all.must(putFH(made.fh), write(made.id, 0, xdr.FileSync, []byte(dir+"/"+f)))
			j.all.must(putFH(made.fh), closeFile(made))
		}
	}
	k.point(app, "/in", nil, nil)
	j.inside = s.mountTLS(rootA(), "inside", "- "+app+" -")
	return j
}

func (j *jail) gone(what string, ops ...op) {
	j.Helper()
	if st := j.inside.status(ops...); st != xdr.ErrStale && st != xdr.ErrNoEnt && st != xdr.ErrAccess {
		j.Errorf("%s: %v", what, st)
	}
}

func TestAccessPointShowsItsDirectoryAsRoot(t *testing.T) {
	j := newJail(t)
	if names, _ := j.inside.list(putFH(j.inside.handle()), 8192); len(names) != 3 {
		t.Errorf("the root lists %q", names)
	}
	j.want(j.inside, xdr.ErrNoEnt, "LOOKUPP at the root", putRoot(), simple(xdr.OpLookupP))
	j.want(j.inside, xdr.ErrNoEnt, "SECINFO of the root's parent", putRoot(), func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpSecInfoNoName))
		w.Uint32(xdr.SecInfoParent)
	})
	j.want(j.inside, xdr.OK, "LOOKUPP below it", putRoot(), lookup("d"), simple(xdr.OpLookupP))
	for _, name := range []string{"..", ".", "out", "in", "/", "d/..", "../out"} {
		if st := j.inside.status(putRoot(), lookup(name)); st == xdr.OK {
			t.Errorf("LOOKUP of %q leads somewhere", name)
		}
	}
	f := j.inside.open(putFH(j.inside.handle()), openSpec{name: "f", access: xdr.ShareRead})
	if got := j.inside.content(f); got != "in/f" {
		t.Errorf("f holds %q", got)
	}
}

func (j *jail) want(p *peer, want xdr.Status, what string, ops ...op) {
	j.Helper()
	p.want(p.status(ops...), want, what)
}

// TestHandlesFromElsewhereAreOfNoUse tries every kind of handle that was not
// given out by this access point.
func TestHandlesFromElsewhereAreOfNoUse(t *testing.T) {
	j := newJail(t)
	j.k.point(app2, "/out", nil, nil)
	other := j.mountTLS(rootA(), "other", "- "+app2+" -")
	inside := j.inside.handle("f")
	forged := bytes.Clone(inside)
	forged[17+8]++ // the inode
	forged = sealHandle(forged[:len(forged)-4])
	for what, h := range map[string][]byte{
		"of a file outside": j.all.handle("out", "f"), "of a directory outside": j.all.handle("out"), "of the file system's root": j.all.handle(),
		"of a file inside, plain": j.all.handle("in", "f"), "of another access point": other.handle("f"), "that was forged": forged,
		"made of numbers": fileHandle(fs.Lineage{'a'}, fs.RootIno), "with an empty seal": sealedHandle(&AccessPoint{ID: app}, fs.Lineage{'a'}, fs.RootIno),
		"of another file system": fileHandle(fs.Lineage{'b'}, fs.RootIno), "of the pseudo root": pseudoHandle(),
	} {
		j.gone("a handle "+what, putFH(h), getAttr(xdr.AttrType))
		j.gone("a saved handle "+what, putRoot(), saveFH(), putFH(h), simple(xdr.OpRestoreFH))
		j.gone("a link of a handle "+what, putFH(h), saveFH(), putRoot(), named(xdr.OpLink, "stolen"))
		j.gone("an open of a handle "+what, putFH(h), open(openSpec{claim: xdr.ClaimFH, access: xdr.ShareRead}))
	}
	j.want(j.all, xdr.ErrStale, "a sealed handle on a plain mount", putFH(inside), getAttr(xdr.AttrType))
	j.want(other, xdr.ErrStale, "a sealed handle on another access point", putFH(inside), getAttr(xdr.AttrType))
	j.want(j.inside, xdr.OK, "a handle of its own", putFH(inside), getAttr(xdr.AttrType))
}

// TestWhatIsMovedOutIsOut: the handles were good.
func TestWhatIsMovedOutIsOut(t *testing.T) {
	j := newJail(t)
	j.all.must(putRoot(), lookup("in"), lookup("d"), mkdir("deep", 0o777))
	made := j.inside.open(putFH(j.inside.handle("d", "deep")), openSpec{name: "x", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	d, deep, x := j.inside.handle("d"), j.inside.handle("d", "deep"), made.fh
	f := j.inside.handle("f")
	rename := func(from, name, to, as string) {
		j.all.must(putRoot(), lookup(from), saveFH(), putRoot(), lookup(to), named(xdr.OpRename, name, as))
	}
	look := func(want bool, when string) {
		t.Helper()
		for what, h := range map[string][]byte{"the directory": d, "one below it": deep, "a file below it": x} {
			if st := j.inside.status(putFH(h), getAttr(xdr.AttrType)); (st == xdr.OK) != want {
				t.Errorf("%s, %s: %v", what, when, st)
			}
		}
		if st := j.inside.status(putFH(x), read(made.id, 0, 10)); (st == xdr.OK) != want {
			t.Errorf("reading an open file %s: %v", when, st)
		}
	}
	look(true, "before")
	rename("in", "d", "in", "e")
	look(true, "after a rename inside")
	rename("in", "e", "out", "e")
	look(false, "moved out")
	j.gone("a move into it", putRoot(), saveFH(), putFH(d), named(xdr.OpRename, "f", "f"))
	j.gone("a link into it", putFH(f), saveFH(), putFH(deep), named(xdr.OpLink, "f"))
	rename("out", "e", "in", "back")
	look(true, "moved back")

	rename("in", "f", "in", "f2")
	j.want(j.inside, xdr.OK, "a file renamed inside", putFH(f), getAttr(xdr.AttrType))
	rename("in", "f2", "out", "f2")
	j.gone("a file moved out", putFH(f), getAttr(xdr.AttrType))
	j.gone("a file moved out, again", putFH(f), open(openSpec{claim: xdr.ClaimFH, access: xdr.ShareRead}))
	rename("out", "f2", "in", "f3")
	j.want(j.inside, xdr.OK, "a file that came back, looked up", putFH(j.inside.handle("f3")), getAttr(xdr.AttrType))
}

func TestHardLinksOutside(t *testing.T) {
	j := newJail(t)
	g := j.inside.handle("g")
	j.all.must(putRoot(), lookup("in"), lookup("g"), saveFH(), putRoot(), lookup("out"), named(xdr.OpLink, "alias"))
	j.want(j.inside, xdr.OK, "with both names", putFH(g), getAttr(xdr.AttrType))
	j.all.must(putRoot(), lookup("in"), named(xdr.OpRemove, "g"))
	j.gone("its name inside is gone", putFH(g), getAttr(xdr.AttrType))
	// A program that writes a file beside, links and removes: the file stays.
	made := j.inside.open(putFH(j.inside.handle()), openSpec{name: "tmp", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	j.inside.must(putFH(made.fh), saveFH(), putRoot(), named(xdr.OpLink, "final"), named(xdr.OpRemove, "tmp"))
	j.want(j.inside, xdr.OK, "by its second name", putFH(made.fh), write(made.id, 0, xdr.FileSync, []byte("x")))
	// One without any name is read until it is closed.
	j.inside.must(putRoot(), named(xdr.OpRemove, "final"))
	j.want(j.inside, xdr.OK, "without a name", putFH(made.fh), read(made.id, 0, 1))
}

func TestRootThatIsMovedOrRemoved(t *testing.T) {
	j := newJail(t)
	f := j.inside.handle("f")
	j.all.must(putRoot(), saveFH(), lookup("out"), named(xdr.OpRename, "in", "in2"))
	j.want(j.inside, xdr.OK, "the connection goes on", putFH(f), getAttr(xdr.AttrType))
	j.want(j.inside, xdr.ErrNoEnt, "LOOKUPP at the root", putRoot(), simple(xdr.OpLookupP))
	again, err := j.tls(rootA(), "again", "- "+app+" -")
	if err != nil {
		t.Fatal(err)
	}
	again.connect()
	j.want(again, xdr.ErrAccess, "a new mount", putRoot(), getAttr(xdr.AttrType))
}

func TestRootIsMadeOnFirstUse(t *testing.T) {
	s, k := guardedSite(t)
	m, uid, gid := uint32(0o2750), uint32(7), uint32(8)
	k.point(app, "/a/b/c", &fs.Cred{UID: 7, GID: 8}, &fs.AttrChange{Mode: &m, UID: &uid, GID: &gid})
	k.point(app2, "/x", nil, nil)
	p, all := s.mountTLS(rootA(), "one", "- "+app+" -"), s.mountAt(rootA(), "all")
	res := p.must(putRoot(), getAttr(xdr.AttrMode, xdr.AttrOwner, xdr.AttrOwnerGroup))
	p.ok(res, xdr.OpPutRootFH)
	if a := p.attrs(res); a.Mode != 0o2750 || a.Owner != "7" || a.OwnerGroup != "8" {
		t.Errorf("the root is %o of %s:%s", a.Mode, a.Owner, a.OwnerGroup)
	}
	if got, want := inoOf(t, all.handle("a", "b", "c")), inoOf(t, p.handle()); got != want {
		t.Errorf("the root is %d, /a/b/c is %d", want, got)
	}
	second := s.mountTLS(rootA(), "two", "- "+app2+" -")
	second.want(second.status(putRoot()), xdr.ErrAccess, "without a way to make it")
	all.must(putRoot(), mkdir("x", 0o755))
	second.want(second.status(putRoot()), xdr.OK, "once it is there")
	// A link does not lead anywhere.
	k.point("fsap-00000000000000003", "/link", nil, nil)
	all.must(putRoot(), func(w *xdr.Writer) {
		w.Uint32(uint32(xdr.OpCreate))
		w.Uint32(uint32(fs.TypeSymlink))
		w.String("/x")
		w.String("link")
		w.Attrs(&xdr.Attrs{})
	})
	third := s.mountTLS(rootA(), "three", "- fsap-00000000000000003 -")
	third.want(third.status(putRoot()), xdr.ErrAccess, "a link as root")
	// On a replica nothing is made.
	s.a.SetReadOnly(true)
	k.point("fsap-00000000000000004", "/new", nil, &fs.AttrChange{Mode: &m})
	fourth := s.mountTLS(rootA(), "four", "- fsap-00000000000000004 -")
	fourth.want(fourth.status(putRoot()), xdr.ErrAccess, "on a replica")
}

func TestAccessPointSaysWhoAsks(t *testing.T) {
	s, k := guardedSite(t)
	k.point(app, "/", &fs.Cred{UID: 7, GID: 8, Groups: []uint32{9}}, nil)
	all := s.mountAt(rootA(), "all")
	all.must(putRoot(), mkdir("open", 0o777))
	all.must(putRoot(), mkdir("x", 0o700))
	all.must(putRoot(), mkdir("group", 0o770), setAttr(xdr.AnonymousStateID, xdr.Attrs{Mask: xdr.Bits(xdr.AttrOwnerGroup), OwnerGroup: "9"}))
	p := s.mountTLS(rootA(), "one", "- "+app+" -") // whose AUTH_SYS says root
	p.want(p.status(putRoot(), mkdir("d", 0o755)), xdr.ErrAccess, "in root's directory")
	p.want(p.status(putRoot(), lookup("x"), lookup("y")), xdr.ErrAccess, "root's secret")
	p.must(putRoot(), lookup("group"), mkdir("d", 0o755))
	res := p.must(putRoot(), lookup("open"), mkdir("d", 0o755), getAttr(xdr.AttrOwner, xdr.AttrOwnerGroup))
	for _, o := range []xdr.Op{xdr.OpPutRootFH, xdr.OpLookup, xdr.OpCreate} {
		p.ok(res, o)
		if o == xdr.OpCreate {
			res.Fixed(20)
			res.Bitmap()
		}
	}
	if a := p.attrs(res); a.Owner != "7" || a.OwnerGroup != "8" {
		t.Errorf("what it makes belongs to %s:%s", a.Owner, a.OwnerGroup)
	}
}

func TestDeletedAccessPointStaysOpenToWhoIsIn(t *testing.T) {
	j := newJail(t)
	j.k.drop(app)
	j.want(j.inside, xdr.OK, "who is in", putRoot(), lookup("f"))
	if p, err := j.tls(rootA(), "late", "- "+app+" -"); err == nil && !p.closed() {
		t.Error("a new one comes in")
	}
}

func TestCertificateOfAnotherFileSystem(t *testing.T) {
	s, k := guardedSite(t)
	k.point(app, "/", nil, nil)
	for what, identity := range map[string]string{"of another file system": fsB + " - -", "with an unknown access point": fsA + " " + app2 + " -", "that says nothing": "x"} {
		if p, err := s.tls(rootA(), "one", identity); err == nil && !p.closed() {
			t.Errorf("a certificate %s is accepted", what)
		}
	}
	if p, err := s.tls(PseudoRoot(), "one", "- "+app+" -"); err == nil && !p.closed() {
		t.Error("an access point of no file system is accepted")
	}
	if p, err := s.tls(PseudoRoot(), "one", "fs-00000000000000099 - -"); err == nil && !p.closed() {
		t.Error("a file system that is not there is accepted")
	}
	p := s.mountTLS(PseudoRoot(), "one", fsB+" - -")
	p.want(p.status(putRoot(), getAttr(xdr.AttrType)), xdr.OK, "the shared address, for one file system")
	p.want(p.status(put(fs.Lineage{'a'}, fs.RootIno)), xdr.ErrStale, "another file system by it")
}

// TestSessionsAreOfOneBinding: neither sessions nor states of a connection are
// of use on one that is bound otherwise.
func TestSessionsAreOfOneBinding(t *testing.T) {
	j := newJail(t)
	j.k.point(app2, "/out", nil, nil)
	f := j.all.open(putFH(j.all.handle()), openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o666))})
	for i, identity := range []string{"", "- " + app + " -", "- " + app2 + " -", fsA + " - arn:x"} {
		p, err := j.tls(rootA(), fmt.Sprint("thief", i), identity)
		if err != nil {
			t.Fatal(err)
		}
		if identity == "- "+app+" -" { // the same binding may share it
			p.session, p.seq = j.inside.session, j.inside.seq
			p.want(p.status(putRoot()), xdr.OK, "the session of an equal connection")
			j.inside.seq = p.seq
			continue
		}
		for what, of := range map[string]*peer{"a plain mount": j.all, "an access point": j.inside} {
			p.session = of.session
			res := p.raw(p.sequence(0, of.seq+1), putRoot())
			p.want(res.status, xdr.ErrBadSession, identity+" with the session of "+what)
			bind := p.raw(func(w *xdr.Writer) {
				w.Uint32(uint32(xdr.OpBindConnToSession))
				w.Fixed(of.session[:])
				w.Uint32(xdr.ChanForeOrBoth)
				w.Bool(false)
			})
			p.want(bind.status, xdr.ErrBadSession, identity+" bound to the session of "+what)
		}
		p.connect()
		if st := p.status(putFH(f.fh), read(f.id, 0, 1)); st != xdr.ErrBadStateID && st != xdr.ErrStale {
			t.Errorf("%q with an open of a plain mount: %v", identity, st)
		}
	}
}

// TestReclaimNeedsPermissionOfWhoIsIdentified: in grace a client says what it
// had open, and nobody can tell; one that is not trusted to say who asks could
// open whatever it has a handle of.
func TestReclaimNeedsPermissionOfWhoIsIdentified(t *testing.T) {
	s, k := guardedSite(t)
	k.point(app, "/", &fs.Cred{UID: 7, GID: 8}, nil)
	all := s.mountAt(rootA(), "all")
	all.must(putRoot(), mkdir("open", 0o777))
	secret := all.open(putFH(all.handle()), openSpec{name: "secret", access: xdr.ShareBoth, how: unchecked(mode(0o600))})
	p := s.mountTLS(rootA(), "one", "- "+app+" -")
	mine := p.open(putFH(p.handle("open")), openSpec{name: "mine", access: xdr.ShareBoth, how: unchecked(mode(0o600))})
	s.restart()
	p, err := s.tls(rootA(), "one", "- "+app+" -")
	if err != nil {
		t.Fatal(err)
	}
	p.connect()
	reclaim := open(openSpec{claim: xdr.ClaimPrevious, access: xdr.ShareBoth})
	p.want(p.status(putFH(secret.fh), reclaim), xdr.ErrAccess, "a reclaim of what it never had")
	p.want(p.status(putFH(mine.fh), reclaim), xdr.OK, "a reclaim of what it had")
}

// TestConfinementOfMinorVersionZero: it has no sessions, and a reply cache that
// is found by the address.
func TestConfinementOfMinorVersionZero(t *testing.T) {
	j := newJail(t)
	p, err := j.tls(rootA(), "old", "- "+app+" -")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(q *peer, ops ...op) xdr.Status {
		t.Helper()
		q.send(encodeMinor(0, ops))
		return parse(q.receive()).status
	}
	f := j.all.open(putFH(j.all.handle("in")), openSpec{name: "f", access: xdr.ShareBoth})
	p.want(ask(p, putRoot(), lookup("f")), xdr.OK, "its own")
	p.want(ask(p, putRoot(), simple(xdr.OpLookupP)), xdr.ErrNoEnt, "above the root")
	p.want(ask(p, putFH(j.all.handle("in")), getAttr(xdr.AttrType)), xdr.ErrStale, "a plain handle")
	p.want(ask(p, putFH(j.all.handle("out", "f")), read(xdr.AnonymousStateID, 0, 10)), xdr.ErrStale, "a file outside")
	if st := ask(p, putFH(j.inside.handle("f")), read(f.id, 0, 10)); st == xdr.OK {
		t.Error("the state of a plain mount is of use")
	}
	p.want(ask(p, putRoot(), mkdir("made", 0o755)), xdr.OK, "a change")
	j.k.allow(only(Rights{Mount: true, Root: true}))
	p.want(ask(p, putRoot(), mkdir("more", 0o755)), xdr.ErrROFS, "a change without the right")
	j.k.allow(only(Rights{}))
	p.want(ask(p, putRoot()), xdr.ErrAccess, "without any right")
}
