package fstest

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

func posixCreate(p *posix) {
	p.ok(p.Create("f", 0o640))
	s := p.stat("f")
	is(p, "type", s.Type, fs.TypeRegular)
	is(p, "mode", s.Mode, 0o640)
	is(p, "links", s.Nlink, 1)
	is(p, "size", s.Size, 0)
	p.refused("create what is there", p.Create("f", 0o600), syscall.EEXIST)
	p.refused("make a directory of what is there", p.Mkdir("f", 0o700), syscall.EEXIST)
	p.refused("below a file", p.Create("f/g", 0o600), syscall.ENOTDIR)
	p.refused("below nothing", p.Create("no/g", 0o600), syscall.ENOENT)
	_, err := p.Stat("no")
	p.refused("look at nothing", err, syscall.ENOENT)
	p.ok(p.alice.Create("hers", 0o604))
	s = p.stat("hers")
	is(p, "owner", s.UID, aliceUID)
	is(p, "group", s.GID, users)
	p.ok(p.Mkdir("d", 0o750))
	s = p.stat("d")
	is(p, "type of a directory", s.Type, fs.TypeDir)
	is(p, "mode of a directory", s.Mode, 0o750)
	is(p, "links of a directory", s.Nlink, 2)
	p.ok(p.Mkdir("d/e", 0o700))
	is(p, "links of a directory with another in it", p.stat("d").Nlink, 3)
}

// posixNames: any bytes but '/' and NUL, UTF-8 or not, up to 255 of them, and
// no two names are taken for one.
func posixNames(p *posix) {
	names := []string{strings.Repeat("n", 255), strings.Repeat("\xe6\x97\xa5", 85), "...", " ", "\n", "\\", "*", "a\tb", "\x7f", "\x01",
		"\xff\xfe", "\xc3\x28", "Case", "case", "\u00e9", "e\u0301", ".hidden", "-rf", "~", "\xed\xa0\x80"}
	var all strings.Builder
	for c := 1; c < 256; c++ {
		if c != '/' && c != '.' {
			all.WriteByte(byte(c))
		}
	}
	names = append(names, all.String())
	for _, n := range names {
		p.file(n, 0o600, n)
	}
	p.list(".", names...)
	for _, n := range names {
		p.holds(n, n)
		p.ok(p.Rename(n, "moved"))
		p.ok(p.Rename("moved", n))
	}
	p.list(".", names...)
	long := strings.Repeat("n", 256)
	p.refused("a name of 256 bytes", p.Create(long, 0o600), syscall.ENAMETOOLONG)
	p.refused("a directory's", p.Mkdir(long, 0o700), syscall.ENAMETOOLONG)
	p.refused("a new one", p.Rename("case", long), syscall.ENAMETOOLONG)
	p.refused("a link's", p.Link("case", long), syscall.ENAMETOOLONG)
	for _, n := range names {
		p.ok(p.Remove(n))
	}
	p.list(".")
}

func posixSymlinks(p *posix) {
	for i, target := range []string{"x", "../over/there", "/absolute", strings.Repeat("t/", 2000) + strings.Repeat("t", 95), "\xff not UTF-8"} {
		name := fmt.Sprint("s", i)
		p.ok(p.Symlink(target, name))
		got, err := p.Readlink(name)
		p.ok(err)
		is(p, "target", got, target)
		s := p.stat(name)
		is(p, "type", s.Type, fs.TypeSymlink)
		is(p, "size", s.Size, uint64(len(target)))
	}
	p.refused("a target of 4096 bytes", p.Symlink(strings.Repeat("t", 4096), "long"), syscall.ENAMETOOLONG)
	p.refused("a name in use", p.Symlink("x", "s0"), syscall.EEXIST)
	p.ok(p.Create("f", 0o600))
	_, err := p.Readlink("f")
	p.refused("read a file as a link", err, syscall.EINVAL)
	p.ok(p.Link("s0", "s0 again"))
	is(p, "links of a symbolic link", p.stat("s0").Nlink, 2)
	p.ok(p.Rename("s1", "f"))
	is(p, "a symbolic link in place of a file", p.stat("f").Type, fs.TypeSymlink)
}

func posixLinks(p *posix) {
	p.file("f", 0o644, "content")
	p.ok(p.Mkdir("d", 0o755))
	p.ok(p.Link("f", "d/g"))
	f, g := p.stat("f"), p.stat("d/g")
	is(p, "inode", g.Ino, f.Ino)
	is(p, "links", g.Nlink, 2)
	p.ok(p.WriteAt("d/g", []byte("CON"), 0))
	p.holds("f", "CONtent")
	p.refused("a link in place of a file", p.Link("f", "d/g"), syscall.EEXIST)
	p.refused("a link to a directory", p.Link("d", "e"), syscall.EPERM, syscall.EISDIR)
	p.refused("a link to nothing", p.Link("no", "e"), syscall.ENOENT)
	p.ok(p.Remove("f"))
	is(p, "links after one is gone", p.stat("d/g").Nlink, 1)
	p.holds("d/g", "CONtent")
	const many = 1200 // EFS allows 177
	for i := range many {
		p.ok(p.Link("d/g", fmt.Sprint("d/g", i)))
	}
	is(p, "many links", p.stat("d/g").Nlink, many+1)
}

func posixRemove(p *posix) {
	p.ok(p.Mkdir("d", 0o755))
	p.ok(p.Create("d/f", 0o644))
	p.refused("remove a directory with a file", p.Remove("d"), syscall.ENOTEMPTY)
	p.refused("remove nothing", p.Remove("no"), syscall.ENOENT)
	p.refused("remove below a file", p.Remove("d/f/x"), syscall.ENOTDIR)
	p.ok(p.Remove("d/f"))
	p.ok(p.Remove("d"))
	_, err := p.Stat("d")
	p.refused("the removed directory", err, syscall.ENOENT)
	p.list(".")
	is(p, "links", p.stat(".").Nlink, 2)
	// The same name again is another file.
	p.file("f", 0o644, "old")
	p.ok(p.Remove("f"))
	p.ok(p.Create("f", 0o644))
	is(p, "size of the new file", p.stat("f").Size, 0)
}

func posixRename(p *posix) {
	p.file("a", 0o644, "a")
	p.file("b", 0o644, "b")
	a := p.stat("a")
	p.ok(p.Rename("a", "b"))
	is(p, "inode", p.stat("b").Ino, a.Ino)
	p.holds("b", "a")
	p.list(".", "b")
	p.ok(p.Link("b", "c"))
	p.ok(p.Rename("b", "c")) // both lead to one file: nothing is done
	p.list(".", "b", "c")
	p.ok(p.Rename("b", "b"))
	p.refused("rename nothing", p.Rename("no", "x"), syscall.ENOENT)
	p.refused("to below nothing", p.Rename("b", "no/x"), syscall.ENOENT)
	p.refused("to below a file", p.Rename("b", "c/x"), syscall.ENOTDIR)
	p.ok(p.Mkdir("d", 0o755))
	p.ok(p.Rename("b", "d/b"))
	p.holds("d/b", "a")
	is(p, "links", p.stat("d/b").Nlink, 2)
}

func posixRenameDirs(p *posix) {
	for _, d := range []string{"d", "d/sub", "e", "full"} {
		p.ok(p.Mkdir(d, 0o755))
	}
	p.ok(p.Create("f", 0o644))
	p.ok(p.Create("full/f", 0o644))
	p.refused("a directory into itself", p.Rename("d", "d/x"), syscall.EINVAL)
	p.refused("a directory below itself", p.Rename("d", "d/sub/x"), syscall.EINVAL)
	p.refused("a directory in place of a file", p.Rename("d", "f"), syscall.ENOTDIR, syscall.EEXIST)
	p.refused("a file in place of a directory", p.Rename("f", "e"), syscall.EISDIR, syscall.EEXIST)
	p.refused("in place of a directory with a file", p.Rename("d", "full"), syscall.ENOTEMPTY, syscall.EEXIST)
	p.ok(p.Rename("d", "e"))
	p.list(".", "e", "f", "full")
	p.list("e", "sub")
	p.ok(p.Rename("e", "full/e"))
	p.list("full", "e", "f")
	is(p, "links of the new parent", p.stat("full").Nlink, 3)
	is(p, "links of the old parent", p.stat(".").Nlink, 3)
	p.ok(p.Create("full/e/sub/deep", 0o644))
	// Two directories change places.
	p.ok(p.Mkdir("x", 0o755))
	p.ok(p.Rename("full/e/sub", "x/sub"))
	p.ok(p.Rename("full", "x/sub/full"))
	p.list("x/sub", "deep", "full")
}

// posixDeep: the path is as long as a path may be for a program, nearly.
func posixDeep(p *posix) {
	const depth = 1000
	path := "d"
	p.ok(p.Mkdir(path, 0o755))
	for range depth - 1 {
		path += "/d"
		p.ok(p.Mkdir(path, 0o755))
	}
	p.file(path+"/f", 0o644, "deep")
	p.holds(path+"/f", "deep")
	p.refused("the top below the bottom", p.Rename("d", path+"/x"), syscall.EINVAL)
	p.ok(p.Rename("d", "e"))
	p.holds("e"+path[1:]+"/f", "deep")
}

func posixListing(p *posix) {
	const n = 3000
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("%0*d", 1+i%120, i))
		p.ok(p.Create(want[i], 0o600))
	}
	p.list(".", want...)
	for i := 0; i < n; i += 2 {
		p.ok(p.Remove(want[i]))
	}
	var left []string
	for i := 1; i < n; i += 2 {
		left = append(left, want[i])
	}
	p.list(".", left...)
	_, err := p.List(left[0])
	p.refused("list a file", err, syscall.ENOTDIR)
}
