package fstest

import (
	"strings"
	"syscall"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// posixSticky: in a sticky directory only the owners of file and directory,
// and root, take a name away.
func posixSticky(p *posix) {
	p.ok(p.Mkdir("tmp", 0o777))
	p.ok(p.SetAttr("tmp", mode(0o1777)))
	p.ok(p.alice.Create("tmp/hers", 0o666))
	p.ok(p.bob.Create("tmp/his", 0o666))
	p.refused("remove", p.bob.Remove("tmp/hers"), syscall.EPERM, syscall.EACCES)
	p.refused("rename", p.bob.Rename("tmp/hers", "tmp/x"), syscall.EPERM, syscall.EACCES)
	p.refused("replace", p.bob.Rename("tmp/his", "tmp/hers"), syscall.EPERM, syscall.EACCES)
	p.ok(p.alice.Rename("tmp/hers", "tmp/still hers"))
	p.ok(p.Remove("tmp/his"))
	p.ok(p.alice.Remove("tmp/still hers"))
	p.ok(p.bob.Mkdir("tmp/d", 0o777))
	p.refused("remove a directory", p.alice.Remove("tmp/d"), syscall.EPERM, syscall.EACCES)
}

// posixSetgidDir: what is made in it has its group, and directories the bit.
func posixSetgidDir(p *posix) {
	p.ok(p.Mkdir("d", 0o777))
	p.ok(p.SetAttr("d", owner(0, staff)))
	p.ok(p.SetAttr("d", mode(0o2777)))
	p.ok(p.alice.Create("d/f", 0o644))
	is(p, "group of a file", p.stat("d/f").GID, staff)
	p.ok(p.alice.Mkdir("d/e", 0o755))
	s := p.stat("d/e")
	is(p, "group of a directory", s.GID, staff)
	is(p, "mode of a directory", s.Mode, 0o2755)
	p.ok(p.eve.Create("d/e2", 0o644))
	is(p, "group of a file of somebody outside the group", p.stat("d/e2").GID, staff)
}

func posixPermission(p *posix) {
	p.ok(p.SetAttr(".", mode(0o755)))
	p.refused("create where one may not write", p.alice.Create("f", 0o644), syscall.EACCES)
	p.file("mine", 0o600, "secret")
	p.file("group", 0o640, "for the group")
	p.ok(p.SetAttr("group", owner(0, staff)))
	_, err := p.alice.ReadAt("mine", 1, 0)
	p.refused("read", err, syscall.EACCES)
	p.refused("write", p.alice.WriteAt("mine", []byte("x"), 0), syscall.EACCES)
	p.refused("truncate", p.alice.SetAttr("mine", size(0)), syscall.EACCES)
	for _, who := range []Files{p.alice, p.bob} { // by a supplementary group, and by the first
		_, err = who.ReadAt("group", 1, 0)
		p.ok(err)
	}
	_, err = p.eve.ReadAt("group", 1, 0)
	p.refused("read outside the group", err, syscall.EACCES)
	p.refused("remove", p.alice.Remove("mine"), syscall.EACCES)
	p.refused("rename", p.alice.Rename("mine", "hers"), syscall.EACCES)
	p.refused("link", p.alice.Link("group", "hers"), syscall.EACCES, syscall.EPERM) // EPERM: fs.protected_hardlinks
	p.ok(p.Mkdir("closed", 0o700))
	p.ok(p.Create("closed/f", 0o666))
	_, err = p.alice.Stat("closed/f")
	p.refused("look where one may not search", err, syscall.EACCES)
	_, err = p.alice.List("closed")
	p.refused("list what one may not read", err, syscall.EACCES)
	p.ok(p.SetAttr("closed", mode(0o711)))
	_, err = p.alice.Stat("closed/f")
	p.ok(err)
	_, err = p.alice.List("closed")
	p.refused("list where one may only search", err, syscall.EACCES)
	// The owner's bits count for the owner, even when others have more.
	p.ok(p.SetAttr(".", mode(0o777)))
	p.ok(p.alice.Create("odd", 0o077))
	_, err = p.alice.ReadAt("odd", 1, 0)
	p.refused("read what everybody but the owner may", err, syscall.EACCES)
	_, err = p.eve.ReadAt("odd", 1, 0)
	p.ok(err)
}

func posixMode(p *posix) {
	p.ok(p.alice.Create("f", 0o644))
	for _, m := range []uint32{0, 0o777, 0o4755, 0o1644, 0o7777} {
		p.ok(p.SetAttr("f", mode(m)))
		is(p, "mode", p.stat("f").Mode, m)
	}
	p.refused("by somebody else", p.bob.SetAttr("f", mode(0o777)), syscall.EPERM)
	// Nobody gives a file the rights of a group that he is not in.
	p.ok(p.SetAttr("f", owner(aliceUID, others)))
	p.ok(p.alice.SetAttr("f", mode(0o2755)))
	is(p, "setgid for a group of others", p.stat("f").Mode, 0o755)
	p.ok(p.SetAttr("f", owner(aliceUID, staff)))
	p.ok(p.alice.SetAttr("f", mode(0o2755)))
	is(p, "setgid for a group of one's own", p.stat("f").Mode, 0o2755)
}

func posixOwner(p *posix) {
	p.ok(p.alice.Create("f", 0o644))
	p.refused("give away", p.alice.SetAttr("f", owner(bobUID, users)), syscall.EPERM)
	p.refused("take", p.bob.SetAttr("f", owner(bobUID, staff)), syscall.EPERM)
	p.refused("to a group of others", p.alice.SetAttr("f", group(others)), syscall.EPERM)
	p.ok(p.alice.SetAttr("f", group(staff)))
	is(p, "group", p.stat("f").GID, staff)
	p.ok(p.SetAttr("f", owner(bobUID, others)))
	s := p.stat("f")
	is(p, "owner", s.UID, bobUID)
	is(p, "group set by root", s.GID, others)
}

// posixPrivilege: who changes a file without being privileged takes setuid and
// setgid away.
func posixPrivilege(p *posix) {
	p.ok(p.alice.Create("chgrp", 0o755))
	p.ok(p.SetAttr("chgrp", mode(0o6755)))
	p.ok(p.alice.SetAttr("chgrp", group(staff)))
	is(p, "after a change of group", p.stat("chgrp").Mode, 0o755)
	p.ok(p.alice.Create("write", 0o777))
	p.ok(p.SetAttr("write", mode(0o6777)))
	p.ok(p.bob.WriteAt("write", []byte("x"), 0))
	is(p, "after a write", p.stat("write").Mode, 0o777)
	p.ok(p.alice.Create("size", 0o777))
	p.ok(p.SetAttr("size", mode(0o6777)))
	p.ok(p.bob.SetAttr("size", size(10)))
	is(p, "after a change of size", p.stat("size").Mode, 0o777)
}

func posixSize(p *posix) {
	p.file("f", 0o644, "0123456789")
	p.ok(p.SetAttr("f", size(4)))
	p.holds("f", "0123")
	p.ok(p.SetAttr("f", size(8)))
	p.holds("f", "0123\x00\x00\x00\x00") // what was cut off does not come back
	p.ok(p.WriteAt("f", []byte("end"), 10))
	p.holds("f", "0123\x00\x00\x00\x00\x00\x00end")
	p.ok(p.WriteAt("f", []byte("AB"), 1))
	p.holds("f", "0AB3\x00\x00\x00\x00\x00\x00end")
	p.ok(p.SetAttr("f", size(0)))
	p.holds("f", "")
	p.ok(p.Mkdir("d", 0o755))
	p.refused("of a directory", p.SetAttr("d", size(0)), syscall.EISDIR)
	p.refused("of nothing", p.SetAttr("no", size(0)), syscall.ENOENT)
	b := []byte(strings.Repeat("0123456789abcdef", 20000))
	p.ok(p.Create("large", 0o644))
	p.ok(p.WriteAt("large", b, 7))
	p.ok(p.SetAttr("large", size(100_001)))
	p.holds("large", "\x00\x00\x00\x00\x00\x00\x00"+string(b[:100_001-7]))
}

func posixSparse(p *posix) {
	const far = 1 << 40
	p.ok(p.Create("f", 0o644))
	p.ok(p.WriteAt("f", []byte("far"), far))
	is(p, "size", p.stat("f").Size, far+3)
	for _, at := range []int64{0, far / 2, far - 5} {
		b, err := p.ReadAt("f", 5, at)
		p.ok(err)
		is(p, "a hole", string(b), "\x00\x00\x00\x00\x00")
	}
	b, err := p.ReadAt("f", 10, far-2)
	p.ok(err)
	is(p, "the end", string(b), "\x00\x00far")
	b, err = p.ReadAt("f", 10, far+3)
	p.ok(err)
	is(p, "beyond the end", string(b), "")
}

// past is a time that no clock shows any more, so that a change after it shows.
const past = 981173106

func posixTimes(p *posix) {
	p.ok(p.Mkdir("d", 0o777))
	p.file("f", 0o666, "f")
	touched := func(what, path string, change func() error) {
		p.t.Helper()
		p.ok(p.SetAttr(path, mtime(past)))
		c := p.stat(path).Ctime
		p.ok(change())
		s := p.stat(path)
		if s.Mtime.Sec == past || s.Ctime.Sec < c.Sec {
			p.t.Errorf("%s: mtime %v, ctime %v", what, s.Mtime, s.Ctime)
		}
	}
	untouched := func(what, path string, change func() error) {
		p.t.Helper()
		p.ok(p.SetAttr(path, mtime(past)))
		p.ok(change())
		is(p, what, p.stat(path).Mtime, fs.Time{Sec: past})
	}
	touched("write", "f", func() error { return p.WriteAt("f", []byte("g"), 0) })
	touched("size", "f", func() error { return p.SetAttr("f", size(7)) })
	touched("make", "d", func() error { return p.Create("d/a", 0o644) })
	touched("make a directory", "d", func() error { return p.Mkdir("d/b", 0o755) })
	touched("link", "d", func() error { return p.Link("f", "d/f") })
	touched("rename", "d", func() error { return p.Rename("d/a", "d/c") })
	touched("rename away", "d", func() error { return p.Rename("d/c", "c") })
	touched("rename hither", "d", func() error { return p.Rename("c", "d/c") })
	touched("remove", "d", func() error { return p.Remove("d/c") })
	touched("remove a directory", "d", func() error { return p.Remove("d/b") })
	untouched("mode", "f", func() error { return p.SetAttr("f", mode(0o644)) })
	untouched("owner", "f", func() error { return p.SetAttr("f", owner(aliceUID, users)) })
	untouched("link to it", "f", func() error { return p.Link("f", "g") })
	untouched("rename it", "f", func() error { return p.Rename("g", "h") })
	untouched("read", "f", func() error { _, err := p.ReadAt("f", 1, 0); return err })
	untouched("write in a file of a directory", "d", func() error { return p.WriteAt("d/f", []byte("x"), 0) })
	p.refused("by somebody else", p.eve.SetAttr("f", mtime(past)), syscall.EPERM)
	for _, t := range []fs.Time{{Sec: past, Nsec: 123456789}, {Sec: 1}, {Sec: -1, Nsec: 5}, {Sec: 1 << 32, Nsec: 7}} {
		p.ok(p.SetAttr("f", Change{Mtime: &t}))
		is(p, "a time that was set", p.stat("f").Mtime, t)
	}
}
