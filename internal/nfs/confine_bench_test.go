package nfs

import (
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/fstest"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// BenchmarkEnter is the check of a handle that comes in: of a plain mount, and
// through an access point, of a file ten directories below its root.
func BenchmarkEnter(b *testing.B) {
	x := fstest.NewRefOf(fs.Lineage{'a'}, time.Now)
	dir, root := fs.Ino(fs.RootIno), fs.Ino(0)
	m := uint32(0o755)
	add := func(name fs.Name, t fs.Type) fs.Ino {
		res, err := x.Create(b.Context(), &fs.CreateRequest{Parent: dir, Name: name, Type: t, Attrs: fs.AttrChange{Mode: &m}})
		if err != nil {
			b.Fatal(err)
		}
		return res.Attr.Ino
	}
	for i := range 11 {
		dir = add("d", fs.TypeDir)
		if i == 0 {
			root = dir
		}
	}
	ino := add("f", fs.TypeRegular)
	point := &AccessPoint{ID: app, Path: "/d", Secret: []byte("0123456789abcdef0123456789abcdef")}
	for name, v := range map[string]*view{"plain": newView(rootA()), "access-point": {root: rootA(), point: point, rootIno: root}} {
		b.Run(name, func(b *testing.B) {
			c := &compound{s: &Server{}, view: v, ctx: b.Context()}
			o := object{fileObject, Export{Name: fsA, FS: x}, ino}
			c.cur = o
			c.foundAt(ino, fs.TypeRegular, dir, "f")
			h := c.handleOf(&o)
			b.ReportAllocs()
			for b.Loop() {
				if st := c.mayEnter(h, &o); st != xdr.OK {
					b.Fatal(st)
				}
			}
		})
	}
}
