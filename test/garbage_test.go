package test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/config"
	"github.com/holdfast-fs/holdfast/test/harness"
)

// maxGrowth is far less than what the garbage's length fields ask for, and
// more than the collector leaves lying about.
const maxGrowth = 96 << 20

// TestGarbageHarmsNobody: random bytes, plain and inside what each protocol
// wraps around, to every port of a region, while a client works. Nothing
// crashes, no connection hangs for ever, memory stays, the client sees nothing.
func TestGarbageHarmsNobody(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := newLocalStory(t)
	hs := hammers(t, s.us, s.usFS, 2, seed)
	cfg, err := config.Load(s.us.Config())
	if err != nil {
		t.Fatal(err)
	}
	tlsConf := peerTLS(t, s.eu.Config())
	dial := func(addr string) dialer {
		return func() (net.Conn, error) { return net.DialTimeout("tcp", addr, 5*time.Second) }
	}
	targets := map[string]dialer{
		"api": dial(cfg.API.Listen), "nfs": dial(cfg.NFS.Listen), "metrics": dial(cfg.Metrics.Listen), "peer": dial(cfg.Peer.Listen),
		"peer with a certificate": func() (net.Conn, error) {
			return tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", cfg.Peer.Listen, tlsConf)
		},
	}
	atWork(t, hs, func() { throw(t, targets, seed, 20) }) // warm
	before := s.us.RSS(t)
	atWork(t, hs, func() { throw(t, targets, seed+1, 150) })
	if grown := s.us.RSS(t) - before; grown > maxGrowth {
		t.Errorf("the region grew by %d MiB", grown>>20)
	}
	for _, h := range hs {
		if err := h.check(t.Context(), hs[0].c); err != nil {
			t.Error(err)
		}
	}
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	s.us.Stop(t)
	log, err := os.ReadFile(s.us.Log)
	if err != nil || strings.Contains(string(log), "panic") {
		t.Errorf("the log tells of a panic (%v):\n%.4000s", err, log)
	}
}

// peerTLS is what a region shows to others.
func peerTLS(t *testing.T, conf string) *tls.Config {
	t.Helper()
	cfg, err := config.Load(conf)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(cfg.Peer.Cert, cfg.Peer.Key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Clean(cfg.Peer.CA))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ServerName: "localhost"}
}

type dialer func() (net.Conn, error)

// throw opens n connections to each target, several at once.
func throw(t *testing.T, targets map[string]dialer, seed uint64, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for name, dial := range targets {
		for worker := range 4 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, uint64(worker)))
				for i := worker; i < n; i += 4 {
					c, err := dial()
					if err != nil {
						t.Errorf("%s does not answer any more: %v", name, err)
						return
					}
					_ = c.SetDeadline(time.Now().Add(20 * time.Second))
					_, _ = c.Write(garbage(rnd, i)) // the server may hang up
					if w, ok := c.(interface{ CloseWrite() error }); ok && i%2 == 0 {
						_ = w.CloseWrite()
						_, _ = io.Copy(io.Discard, io.LimitReader(c, 1<<20))
					}
					c.Close()
				}
			})
		}
	}
	wg.Wait()
}

// garbage is a request that is wrong in one of several ways.
func garbage(rnd *rand.Rand, kind int) []byte {
	junk := make([]byte, rnd.IntN(8000))
	for i := range junk {
		junk[i] = byte(rnd.Uint32())
	}
	mark := func(n uint32, b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), b...) }
	call := []byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0x86, 0xa3, 0, 0, 0, 4, 0, 0, 0, 1, // a COMPOUND of NFS 4
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // no credentials
	compound := func(ops uint32) []byte {
		b := append(append([]byte{}, call...), 0, 0, 0, 0, 0, 0, 0, 1)
		b = binary.BigEndian.AppendUint32(b, ops)
		return append(b, junk...)
	}
	paths := []string{"/2015-02-01/file-systems", "/2015-02-01/file-systems/fs-1/x", "/holdfast/v1/file-systems/fs-1", "/metrics", "/peer/v1/", "/%00%ff", "/.."}
	path := paths[rnd.IntN(len(paths))]
	switch kind % 9 {
	case 0:
		return junk
	case 1: // a record of 2 GiB
		return mark(0xffffffff, junk)
	case 2: // fragments without an end
		return mark(0x7fffffff, junk)
	case 3:
		return mark(0x80000000|uint32(len(call)+len(junk)), append(append([]byte{}, call...), junk...))
	case 4: // 4 billion operations
		b := compound(0xffffffff)
		return mark(0x80000000|uint32(len(b)), b)
	case 5: // an operation with a length that is not there
		b := append(compound(3)[:len(call)+12], 0, 0, 0, 15, 0xff, 0xff, 0xff, 0xf0)
		return mark(0x80000000|uint32(len(b)), b)
	case 6:
		return []byte(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000000000000\r\nAuthorization: AWS4-HMAC-SHA256 Credential=%x\r\n\r\n%s", path, junk[:min(len(junk), 40)], junk))
	case 7:
		return []byte(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\nX: %s", path, strings.Repeat("y", rnd.IntN(2<<20))))
	default:
		return []byte(fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n%s", path, junk))
	}
}

// TestTwoServesDoNotShareData, and what else is refused with a reason.
func TestTwoServesDoNotShareData(t *testing.T) {
	g := harness.NewLocalRegions(t)
	out, err := g.R[0].Again(t)
	if err == nil || !strings.Contains(out, "lock") && !strings.Contains(out, "in use") {
		t.Errorf("a second serve on the same data: %v\n%s", err, out)
	}
	if status, text, err := g.R[0].Ready(); status != 200 {
		t.Errorf("the first one suffered: %d %s %v", status, text, err)
	}
}
