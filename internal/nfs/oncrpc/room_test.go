package oncrpc

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

const largeReply = 1 << 20

// roomy serves, with room for four large requests and four large replies of
// which one host may have two.
func roomy(t *testing.T) (rooms *Rooms, dial func(from string) net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rooms = newRooms(4, 2)
	s := &Server{Rooms: rooms, Program: Program{100, 4, func(_ context.Context, _ *Conn, call *Call, args *xdr.Reader, w *xdr.Writer) AcceptStat {
		if call.Proc == 1 {
			w.Reserve(largeReply)
		}
		if call.Proc == 2 {
			w.Reserve(largeReply)
			panic("a bug")
		}
		return Success
	}}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(rooms.requests.hosts)+len(rooms.replies.hosts) != 0 {
			t.Errorf("hosts are remembered that have gone: %v", rooms.requests.hosts)
		}
	})
	return rooms, func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Skip("no second loopback address: ", err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

func becomes(t *testing.T, what string, n func() int, want int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); n() != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d, want %d", what, n(), want)
		}
	}
}

func bulky(xid, proc uint32) func(w *xdr.Writer) {
	return func(w *xdr.Writer) {
		AppendCall(w, xid, 100, 4, proc, nil)
		w.Opaque(make([]byte, 100_000))
	}
}

// However many large requests a host begins and does not finish, they take its
// share of the memory, and others are served.
func TestUnfinishedLargeRequestsTakeTheShareOfTheirHost(t *testing.T) {
	rooms, dial := roomy(t)
	var stuck []net.Conn
	for range 10 {
		c := dial("127.0.0.2")
		if _, err := c.Write(append([]byte{0x80, 0x0f, 0, 0}, make([]byte, 64<<10)...)); err != nil {
			t.Fatal(err)
		}
		stuck = append(stuck, c)
	}
	used := func() int { return len(rooms.requests.all) }
	becomes(t, "large requests under way", used, 2)
	other := dial("127.0.0.3")
	for xid := range uint32(5) {
		send(t, other, bulky(xid, 0))
		if _, got, err := receive(t, other); got != xid || err != nil {
			t.Fatalf("xid %d, %v", got, err)
		}
	}
	if n := used(); n > 3 {
		t.Errorf("%d large requests under way", n)
	}
	for _, c := range stuck {
		c.Close()
	}
	becomes(t, "large requests after their clients have gone", used, 0)
}

// However many large replies a host asks for and does not read, likewise.
func TestUnreadLargeRepliesTakeTheShareOfTheirHost(t *testing.T) {
	rooms, dial := roomy(t)
	stuck := dial("127.0.0.2")
	for xid := range uint32(60) {
		send(t, stuck, func(w *xdr.Writer) { AppendCall(w, xid, 100, 4, 1, nil) })
	}
	used := func() int { return len(rooms.replies.all) }
	becomes(t, "large replies under way", used, 2)
	other := dial("127.0.0.3")
	for xid := range uint32(3) {
		send(t, other, func(w *xdr.Writer) { AppendCall(w, xid, 100, 4, 1, nil) })
		rec, err := ReadRecord(other, 2<<20)
		if err != nil || len(rec) < largeReply {
			t.Fatalf("%d bytes, %v", len(rec), err)
		}
	}
	stuck.Close()
	becomes(t, "large replies after their client has gone", used, 0)
}

func TestAPanicLeavesNoRoomTaken(t *testing.T) {
	rooms, dial := roomy(t)
	for range 5 {
		c := dial("127.0.0.2")
		send(t, c, bulky(1, 2))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("an answer after a panic")
		}
	}
	becomes(t, "rooms taken", func() int { return len(rooms.requests.all) + len(rooms.replies.all) }, 0)
}
