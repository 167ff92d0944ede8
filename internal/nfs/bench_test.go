package nfs

import (
	"context"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/nfs/oncrpc"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// BenchmarkGetAttr is what most requests of Linux look like, without network.
func BenchmarkGetAttr(b *testing.B) {
	bench(b, []op{putA(), getAttr(xdr.AttrType, xdr.AttrChange, xdr.AttrSize, xdr.AttrFSID, xdr.AttrFileID, xdr.AttrMode,
		xdr.AttrNumLinks, xdr.AttrOwner, xdr.AttrOwnerGroup, xdr.AttrRawDev, xdr.AttrSpaceUsed, xdr.AttrTimeAccess, xdr.AttrTimeMetadata,
		xdr.AttrTimeModify, xdr.AttrMountedOnFileID)})
}

// BenchmarkOpenClose opens and closes one file.
func BenchmarkOpenClose(b *testing.B) {
	bench(b, []op{putA(), open(openSpec{name: "f", how: unchecked(mode(0o644))}), closeFile(file{id: xdr.CurrentStateID})})
}

// BenchmarkWrite writes 1 MiB.
func BenchmarkWrite(b *testing.B) {
	b.SetBytes(maxIO)
	bench(b, []op{putA(), open(openSpec{name: "f", access: xdr.ShareBoth, how: unchecked(mode(0o644))}),
		write(xdr.CurrentStateID, 0, xdr.Unstable, make([]byte, maxIO)), closeFile(file{id: xdr.CurrentStateID})})
}

func bench(b *testing.B, ops []op) {
	s, _ := fuzzSite(b)
	p := &peer{owner: "bench"}
	res, _ := compoundOf(s, encode([]op{p.exchangeID(0)}))
	r := parse(res)
	r.next(xdr.OpExchangeID)
	client, seq := r.Uint64(), r.Uint32()
	res, _ = compoundOf(s, encode([]op{createSession(client, seq)}))
	r = parse(res)
	r.next(xdr.OpCreateSession)
	p.session = r.SessionID()
	compoundOf(s, encode([]op{p.sequence(0, 1), reclaimComplete()}))
	body := encode(append([]op{p.sequence(0, 0)}, ops...))
	const seqAt = 4 + 4 + 4 + 4 + 4 + 16 // tag, minor version, count, operation, session
	call := &oncrpc.Call{Sys: &oncrpc.SysCred{}}
	b.ReportAllocs()
	for n := uint32(2); b.Loop(); n++ {
		body[seqAt], body[seqAt+1], body[seqAt+2], body[seqAt+3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
		w := xdr.NewWriter()
		args := xdr.NewReader(body)
		s.compound(context.Background(), &view{}, call, &args, w)
		if st := parse(w.Bytes()).status; st != xdr.OK {
			b.Fatal(st)
		}
		w.Release()
	}
}
