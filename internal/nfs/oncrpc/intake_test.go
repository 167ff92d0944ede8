package oncrpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// begin serves echo with a short time for records; log collects what is told
// above debug.
func begin(t *testing.T, log io.Writer, conns *atomic.Int64) (dial func() net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	s := &Server{Program: Program{100, 4, echo}, RecordTimeout: 200 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(log, nil)), OnConn: func(n int) { conns.Add(int64(n)) }}
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

func call(xid uint32) func(w *xdr.Writer) {
	return func(w *xdr.Writer) { AppendCall(w, xid, 100, 4, 1, nil); w.Uint32(7) }
}

// A client that begins a record and does not finish it is left; one that only
// has nothing to say is not, however long.
func TestAnUnfinishedRecordEndsTheConnection(t *testing.T) {
	var log bytes.Buffer
	var conns atomic.Int64
	dial := begin(t, &log, &conns)
	idle, slow, slower := dial(), dial(), dial()
	for c, part := range map[net.Conn][]byte{slow: {0x80, 0, 1, 0, 1, 2, 3}, slower: {0x80}} {
		if _, err := c.Write(part); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("after a part of a record: %v, want the connection closed", err)
		}
	}
	for range 2 {
		time.Sleep(300 * time.Millisecond)
		send(t, idle, call(1))
		if _, _, err := receive(t, idle); err != nil {
			t.Errorf("after a while without a word: %v", err)
		}
	}
	w := xdr.NewWriter()
	defer w.Release()
	BeginRecord(w)
	call(2)(w)
	EndRecord(w)
	for _, b := range [][]byte{w.Bytes()[:2], w.Bytes()[2:20], w.Bytes()[20:]} { // in pieces, in time
		if _, err := idle.Write(b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if _, _, err := receive(t, idle); err != nil {
		t.Errorf("a record in pieces: %v", err)
	}
	time.Sleep(300 * time.Millisecond)
	send(t, idle, call(3)) // the deadline of the record in pieces is over
	if _, _, err := receive(t, idle); err != nil {
		t.Errorf("after a record in pieces: %v", err)
	}
}

// Monitors connect and close without a word, or reset: nothing is worth telling.
func TestAConnectionWithoutAWordIsShruggedOff(t *testing.T) {
	var log bytes.Buffer
	var conns atomic.Int64
	dial := begin(t, &log, &conns)
	for i := range 50 {
		c := dial().(*net.TCPConn)
		if i%2 == 0 {
			_ = c.SetLinger(0) // a reset
		}
		c.Close()
	}
	c := dial()
	send(t, c, call(1))
	if _, _, err := receive(t, c); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); conns.Load() != 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are left", conns.Load())
		}
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", log.String())
	}
}
