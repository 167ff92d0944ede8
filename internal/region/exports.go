package region

import (
	"sort"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs"
)

// The volumes are what NFS exports. A destination appears once it is whole.

// List implements nfs.Exports.
func (v *volumes) List() []nfs.Export {
	v.mu.RLock()
	defer v.mu.RUnlock()
	l := make([]nfs.Export, 0, len(v.m))
	for _, x := range v.m {
		if x.whole() {
			l = append(l, x.export())
		}
	}
	sort.Slice(l, func(i, j int) bool { return l[i].Name < l[j].Name })
	return l
}

// ByName implements nfs.Exports.
func (v *volumes) ByName(name string) (nfs.Export, bool) {
	x := v.get(name)
	if x == nil || !x.whole() {
		return nfs.Export{}, false
	}
	return x.export(), true
}

func (x *volume) export() nfs.Export { return nfs.Export{Name: x.id, FS: x.door, Use: x.door.keep} }

// whole: there is a complete tree, open or at rest.
func (x *volume) whole() bool {
	e, r := x.look()
	defer x.looked(e)
	return e != nil && e.Whole() || r != nil
}

// ByLineage implements nfs.Exports. It is asked for every file handle, so the
// answer is kept and only checked.
func (v *volumes) ByLineage(l fs.Lineage) (nfs.Export, bool) {
	if id, ok := v.lineages.Load(l); ok {
		if x, ok := v.ByName(id.(string)); ok && x.FS.Lineage() == l {
			return x, true
		}
		v.lineages.Delete(l)
	}
	for _, x := range v.List() {
		if x.FS.Lineage() == l {
			v.lineages.Store(l, x.Name)
			return x, true
		}
	}
	return nfs.Export{}, false
}
