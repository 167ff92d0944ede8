package oncrpc

import (
	"bytes"
	"context"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// FuzzConnection feeds bytes to the reading side of a connection: every record
// is answered or ends the connection, and an answer is one whole record.
func FuzzConnection(f *testing.F) {
	w := xdr.NewWriter()
	BeginRecord(w)
	AppendCall(w, 7, 100, 4, 1, &SysCred{Machine: "m", Groups: []uint32{1}})
	w.Uint32(42)
	EndRecord(w)
	f.Add(bytes.Clone(w.Bytes()))
	f.Add(append(fragment(false, []byte{0, 0, 0, 1}), fragment(true, []byte{0, 0, 0, 0, 0, 0, 0, 2})...))
	s := &Server{Program: Program{100, 4, func(_ context.Context, _ *Conn, _ *Call, args *xdr.Reader, w *xdr.Writer) AcceptStat {
		w.Uint32(args.Uint32())
		return Success
	}}}
	s.defaults()
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			rec, err := ReadRecord(r, 1<<16)
			if err != nil {
				return
			}
			reply := s.answer(t.Context(), &Conn{}, rec)
			if reply == nil {
				return
			}
			out, err := ReadRecord(bytes.NewReader(reply.Bytes()), 1<<16)
			if err != nil || len(out)+markSize != reply.Len() {
				t.Fatalf("the answer is no record: %v", err)
			}
		}
	})
}
