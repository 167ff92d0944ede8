package nfs

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// TestACompoundKeepsReadyWhatItEnters: from when it enters until it ends; and
// who lists all file systems enters none.
func TestACompoundKeepsReadyWhatItEnters(t *testing.T) {
	s := newSite(t)
	var now, ever, most atomic.Int64
	var trouble atomic.Pointer[error]
	s.stop()
	s.list[0].Use = func(context.Context) (func(), error) {
		if err := trouble.Load(); err != nil {
			return nil, *err
		}
		ever.Add(1)
		most.Store(max(most.Load(), now.Add(1)))
		return func() { now.Add(-1) }, nil
	}
	s.start()
	c := s.mount("c")
	enters := func(what string, n int64, st xdr.Status, ops ...op) {
		t.Helper()
		ever.Store(0)
		most.Store(0)
		if got := c.status(ops...); got != st {
			t.Errorf("%s: %v, want %v", what, got, st)
		}
		if ever.Load() != n || most.Load() != n || now.Load() != 0 {
			t.Errorf("%s: entered %d times, %d at once, %d were not let go; want %d", what, ever.Load(), most.Load(), now.Load(), n)
		}
	}
	enters("by a handle", 1, xdr.OK, putA(), getAttr(xdr.AttrSize))
	enters("twice", 2, xdr.OK, putA(), getAttr(xdr.AttrSize), putRoot(), lookup(fsA), getAttr(xdr.AttrSize))
	enters("with an error", 1, xdr.ErrNoEnt, putA(), lookup("missing"))
	enters("a listing", 0, xdr.OK, putRoot(), readDir(0, xdr.Verifier{}, 8192, xdr.AttrFileID, xdr.AttrMode))
	enters("the other one", 0, xdr.OK, put(fs.Lineage{'b'}, fs.RootIno), getAttr(xdr.AttrSize))
	for err, want := range map[error]xdr.Status{fs.ErrDelay: xdr.ErrDelay, fs.ErrIO: xdr.ErrIO, errors.New("broken"): xdr.ErrIO} {
		trouble.Store(&err)
		enters("not ready", 0, want, putA(), getAttr(xdr.AttrSize))
		enters("not ready, by name", 0, want, putRoot(), lookup(fsA))
	}
}
