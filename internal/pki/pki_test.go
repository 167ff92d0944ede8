package pki_test

import (
	"crypto/rand"
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/pki"
)

// install writes a region's files and returns its TLS configurations.
func install(t *testing.T, ca *pki.Pair, region string) (server, client *tls.Config) {
	t.Helper()
	p, err := ca.NewRegion(rand.Reader, time.Now(), region, "localhost", "127.0.0.1", "::1")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"crt": p.Cert, "key": p.Key, "ca": ca.Cert} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server, client, err = pki.Load(filepath.Join(dir, "crt"), filepath.Join(dir, "key"), filepath.Join(dir, "ca"))
	if err != nil {
		t.Fatal(err)
	}
	return server, client
}

// shake lets a client call a server that it takes for the region name.
func shake(t *testing.T, server, client *tls.Config, name string) (caller string, clientErr, serverErr error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = conn.Close() }()
		tc := conn.(*tls.Conn)
		if err = tc.Handshake(); err == nil {
			s := tc.ConnectionState()
			caller, err = pki.RegionOf(&s)
		}
		done <- err
	}()
	client = client.Clone()
	client.ServerName = name
	conn, clientErr := tls.Dial("tcp", l.Addr().String(), client)
	if clientErr == nil {
		_, clientErr = conn.Read(make([]byte, 1)) // TLS 1.3: a refusal comes after the handshake
		if clientErr != nil && clientErr.Error() == "EOF" {
			clientErr = nil
		}
		_ = conn.Close()
	}
	serverErr = <-done
	return caller, clientErr, serverErr
}

func newCA(t *testing.T) *pki.Pair {
	t.Helper()
	ca, err := pki.NewCA(rand.Reader, time.Now(), "test authority")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestRegionsOfOneAuthorityKnowEachOther(t *testing.T) {
	ca := newCA(t)
	server, _ := install(t, ca, "us-east-1")
	_, client := install(t, ca, "us-west-2")
	for _, name := range []string{"us-east-1", "localhost", "127.0.0.1"} {
		caller, clientErr, serverErr := shake(t, server, client, name)
		if clientErr != nil || serverErr != nil || caller != "us-west-2" {
			t.Errorf("as %s: %v, %v, caller %q", name, clientErr, serverErr, caller)
		}
	}
	if _, clientErr, _ := shake(t, server, client, "eu-west-1"); clientErr == nil {
		t.Error("a server was taken for another region")
	}
}

func TestStrangersAreRefused(t *testing.T) {
	server, trusted := install(t, newCA(t), "us-east-1")
	_, stranger := install(t, newCA(t), "us-east-1")
	if _, clientErr, serverErr := shake(t, server, stranger, "us-east-1"); clientErr == nil || serverErr == nil {
		t.Error("a server of another authority was accepted")
	}
	stranger.RootCAs = trusted.RootCAs
	if _, _, serverErr := shake(t, server, stranger, "us-east-1"); serverErr == nil {
		t.Error("a client of another authority was accepted")
	}
	nobody := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: trusted.RootCAs}
	if _, _, serverErr := shake(t, server, nobody, "us-east-1"); serverErr == nil {
		t.Error("a client without certificate was accepted")
	}
	if _, err := pki.RegionOf(nil); err == nil {
		t.Error("a connection without TLS has a region")
	}
}

func TestLoadSaysWhichFileIsBad(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.pem")
	if err := os.WriteFile(bad, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := pki.Load(bad, bad, bad); err == nil {
		t.Error("nonsense was loaded")
	}
}
