package oncrpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func fragment(last bool, b []byte) []byte {
	m := uint32(len(b))
	if last {
		m |= lastFragment
	}
	return append(binary.BigEndian.AppendUint32(nil, m), b...)
}

func TestReadRecordJoinsFragments(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 40000)
	in := append(fragment(false, big[:100]), fragment(false, nil)...)
	in = append(in, fragment(false, big[100:300000])...)
	in = append(in, fragment(true, big[300000:])...)
	in = append(in, fragment(true, []byte("next"))...)
	r := bytes.NewReader(in)
	got, err := ReadRecord(r, 1<<20)
	if err != nil || !bytes.Equal(got, big) {
		t.Fatalf("%v, %d bytes", err, len(got))
	}
	if got, err = ReadRecord(r, 1<<20); err != nil || string(got) != "next" {
		t.Fatalf("%v %q", err, got)
	}
	if _, err = ReadRecord(r, 1<<20); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestReadRecordRefusals(t *testing.T) {
	if _, err := ReadRecord(bytes.NewReader(fragment(true, make([]byte, 101))[:4]), 100); !errors.Is(err, ErrRecordTooBig) {
		t.Errorf("one large fragment: %v", err)
	}
	two := append(fragment(false, make([]byte, 60)), fragment(true, make([]byte, 60))...)
	if _, err := ReadRecord(bytes.NewReader(two), 100); !errors.Is(err, ErrRecordTooBig) {
		t.Errorf("two fragments: %v", err)
	}
	empty := bytes.Repeat(fragment(false, nil), maxFragments+1)
	if _, err := ReadRecord(bytes.NewReader(empty), 100); err == nil {
		t.Error("endless empty fragments are accepted")
	}
	if _, err := ReadRecord(bytes.NewReader(fragment(true, make([]byte, 60))[:30]), 100); err != io.ErrUnexpectedEOF {
		t.Errorf("cut short: %v", err)
	}
}

func TestClaimedLengthCostsNothing(t *testing.T) {
	in := append(binary.BigEndian.AppendUint32(nil, 1<<30|lastFragment), make([]byte, 96)...)
	buf, err := ReadRecord(bytes.NewReader(in), 2<<30)
	if err != io.ErrUnexpectedEOF || cap(buf) > believed {
		t.Errorf("%v, %d bytes taken", err, cap(buf))
	}
}

// serve runs a program that echoes its argument on a loopback listener.
func serve(t *testing.T, h Handler) net.Conn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	s := &Server{Program: Program{100, 4, h}, MaxInFlight: 4}
	go func() { done <- s.Serve(ctx, ln) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
}

func echo(_ context.Context, _ *Conn, call *Call, args *xdr.Reader, w *xdr.Writer) AcceptStat {
	switch call.Proc {
	case 0:
		return Success
	case 1:
		w.Uint32(args.Uint32())
		if call.Sys != nil {
			w.Uint32(call.Sys.UID)
		}
		if args.Bad() {
			return GarbageArgs
		}
		return Success
	case 2:
		panic("a bug")
	}
	return ProcUnavail
}

func send(t *testing.T, c net.Conn, build func(w *xdr.Writer)) {
	t.Helper()
	w := xdr.NewWriter()
	defer w.Release()
	BeginRecord(w)
	build(w)
	EndRecord(w)
	if _, err := c.Write(w.Bytes()); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c net.Conn) (xdr.Reader, uint32, error) {
	t.Helper()
	rec, err := ReadRecord(c, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	r := xdr.NewReader(rec)
	xid, err := ParseReply(&r)
	return r, xid, err
}

func TestCallsAreAnswered(t *testing.T) {
	c := serve(t, echo)
	for _, k := range []struct {
		name                string
		prog, vers, proc    uint32
		want                error
		withoutArgs, garble bool
	}{
		{name: "good", prog: 100, vers: 4, proc: 1},
		{name: "null", prog: 100, vers: 4, proc: 0},
		{name: "program", prog: 101, vers: 4, want: ProgUnavail},
		{name: "version", prog: 100, vers: 3, want: ProgMismatch},
		{name: "procedure", prog: 100, vers: 4, proc: 9, want: ProcUnavail},
		{name: "arguments", prog: 100, vers: 4, proc: 1, withoutArgs: true, want: GarbageArgs},
	} {
		send(t, c, func(w *xdr.Writer) {
			AppendCall(w, 7, k.prog, k.vers, k.proc, &SysCred{Machine: "m", UID: 1000, GID: 5, Groups: []uint32{1, 2}})
			if !k.withoutArgs {
				w.Uint32(42)
			}
		})
		r, xid, err := receive(t, c)
		if xid != 7 || err != k.want {
			t.Errorf("%s: xid %d, %v, want %v", k.name, xid, err, k.want)
		}
		if k.name == "good" && (r.Uint32() != 42 || r.Uint32() != 1000) {
			t.Errorf("%s: wrong result", k.name)
		}
	}
}

func TestBadHeadersAreDenied(t *testing.T) {
	c := serve(t, echo)
	send(t, c, func(w *xdr.Writer) {
		for _, v := range []uint32{1, msgCall, 3, 100, 4, 0, 0, 0, 0, 0} {
			w.Uint32(v)
		}
	})
	var no *denied
	if _, _, err := receive(t, c); !errors.As(err, &no) || no.reject != rejectVersion {
		t.Errorf("rpc version 3: %v", err)
	}
	send(t, c, func(w *xdr.Writer) {
		for _, v := range []uint32{2, msgCall, 2, 100, 4, 0, xdr.AuthGSS, 0, 0, 0} {
			w.Uint32(v)
		}
	})
	if _, _, err := receive(t, c); !errors.As(err, &no) || no.reject != rejectAuth {
		t.Errorf("RPCSEC_GSS: %v", err)
	}
	send(t, c, func(w *xdr.Writer) {
		AppendCall(w, 3, 100, 4, 0, &SysCred{Groups: make([]uint32, MaxGroups+1)})
	})
	if _, _, err := receive(t, c); !errors.As(err, &no) || no.auth != authBadCred {
		t.Errorf("17 groups: %v", err)
	}
}

func TestPanicClosesOnlyItsConnection(t *testing.T) {
	c := serve(t, echo)
	send(t, c, func(w *xdr.Writer) { AppendCall(w, 1, 100, 4, 2, nil) })
	if _, err := ReadRecord(c, 1<<20); err != io.EOF {
		t.Errorf("after a panic: %v, want EOF", err)
	}
	again, err := net.Dial("tcp", c.RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	send(t, again, func(w *xdr.Writer) { AppendCall(w, 1, 100, 4, 0, nil) })
	if _, _, err := receive(t, again); err != nil {
		t.Error(err)
	}
}

func TestManyCallsInFlight(t *testing.T) {
	gate := make(chan struct{})
	c := serve(t, func(_ context.Context, _ *Conn, call *Call, _ *xdr.Reader, w *xdr.Writer) AcceptStat {
		if call.Proc == 1 {
			<-gate
		}
		return Success
	})
	send(t, c, func(w *xdr.Writer) { AppendCall(w, 1, 100, 4, 1, nil) })
	send(t, c, func(w *xdr.Writer) { AppendCall(w, 2, 100, 4, 0, nil) })
	if _, xid, _ := receive(t, c); xid != 2 {
		t.Errorf("first reply is to %d: a slow call holds up a quick one", xid)
	}
	close(gate)
	if _, xid, _ := receive(t, c); xid != 1 {
		t.Errorf("second reply is to %d", xid)
	}
}
