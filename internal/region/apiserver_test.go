package region

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory, so that time can be fake.
type pipes struct {
	ch   chan net.Conn
	done chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.ch:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.ch <- server
	return client
}

// TestSlowClientsOfTheAPIAreLetGo: whoever sends half a request, or none, loses
// the connection; a handler that takes its time does not.
func TestSlowClientsOfTheAPIAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{ch: make(chan net.Conn), done: make(chan struct{})}
		methods := make(chan string, 10)
		srv := apiServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			methods <- r.Method
			if _, err := io.ReadAll(r.Body); err != nil {
				return
			}
			select {
			case <-time.After(time.Hour): // of fake time: longer than every patience
			case <-r.Context().Done():
			}
			fmt.Fprint(w, "done")
		}), slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- serveHTTP(l, srv)(ctx) }()
		for what, c := range map[string]struct {
			text  string
			lives time.Duration
		}{
			"nothing":       {"", headerPatience},
			"half a header": {"POST / HT", headerPatience},
			"half a body":   {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{", bodyPatience},
		} {
			conn, begin := l.dial(), time.Now()
			if c.text != "" {
				if _, err := io.WriteString(conn, c.text); err != nil {
					t.Fatal(err)
				}
			}
			_, _ = io.ReadAll(conn)
			if lived := time.Since(begin); lived < c.lives || lived > c.lives+time.Second {
				t.Errorf("%s: the connection lived %s, want %s", what, lived, c.lives)
			}
			_ = conn.Close()
		}
		conn, begin := l.dial(), time.Now()
		if _, err := io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if lived := time.Since(begin); err != nil || !strings.Contains(string(answer), "done") || lived < time.Hour+idlePatience || lived > time.Hour+idlePatience+time.Second {
			t.Errorf("a slow handler: %q after %s, %v", answer, lived, err)
		}
		_ = conn.Close()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if a, b := <-methods, <-methods; a != "POST" || b != "OPTIONS" {
			t.Errorf("the handler saw %s, %s", a, b)
		}
	})
}
