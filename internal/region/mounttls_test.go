package region

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/nfs"
	"github.com/holdfast-fs/holdfast/internal/pki"
)

func TestRegionMakesItsAuthorityOnce(t *testing.T) {
	c := newConfig(t)
	c.NFS.TLS.CACert, c.NFS.TLS.CAKey = "", ""
	file := filepath.Join(c.DataDir, "nfs-tls", "ca.crt")
	var made []byte
	for range 2 {
		r, err := New(c, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil || made != nil && string(b) != string(made) {
			t.Fatalf("the second start has another authority, or none: %v", err)
		}
		made = b
	}
	key := filepath.Join(c.DataDir, "nfs-tls", "ca.key")
	if st, err := os.Stat(key); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", st.Mode(), err)
	}
	if err := os.WriteFile(key, made, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "remove both") {
		t.Errorf("with a key that is none: %v", err)
	}
	c.NFS.TLS.CACert, c.NFS.TLS.CAKey = c.Peer.Cert, c.Peer.Key
	if _, err := New(c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "nfs.tls") || !strings.Contains(err.Error(), "may not sign") {
		t.Errorf("with the certificate of a region: %v", err)
	}
}

// TestCertificatesOfAddresses: the names that the mount helper checks, whether
// the client says which it wants or not.
func TestCertificatesOfAddresses(t *testing.T) {
	c := newConfig(t)
	m, err := newMountTLS(c, nil, func() *control.Control { return nil })
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	m.now = func() time.Time { return now }
	const id = "fs-0123456789abcdef0"
	local := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 2049}
	get := func(root nfs.Root, wanted string) *x509.Certificate {
		t.Helper()
		conf, err := m.TLS(root, local)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := conf.GetCertificate(&tls.ClientHelloInfo{ServerName: wanted})
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf
	}
	base := "efs.us-east-1.amazonaws.com"
	for _, x := range []struct {
		root   nfs.Root
		wanted string
		good   []string
		bad    []string
	}{
		{nfs.FileSystemRoot(id), "", []string{id + "." + base, "us-east-1a." + id + "." + base, "us-east-1b." + id + "." + base, "10.0.0.7"}, []string{"fs-1." + base, "localhost", "10.0.0.8"}},
		{nfs.FileSystemRoot(id), "anything.example", []string{id + "." + base}, []string{"anything.example"}},
		{nfs.PseudoRoot(), "", []string{id + "." + base, "localhost", "10.0.0.7"}, []string{"us-east-1a." + id + "." + base}},
		{nfs.PseudoRoot(), "us-east-1a." + id + "." + base, []string{"us-east-1a." + id + "." + base}, nil},
		{nfs.PseudoRoot(), "us-east-9a." + id + "." + base, nil, []string{"us-east-9a." + id + "." + base}},
		{nfs.PseudoRoot(), "us-east-1a.www." + base, nil, []string{"us-east-1a.www." + base}},
		{nfs.PseudoRoot(), "us-east-1a." + id + ".example", nil, []string{"us-east-1a." + id + ".example"}},
	} {
		leaf := get(x.root, x.wanted)
		for _, name := range x.good {
			if err := leaf.VerifyHostname(name); err != nil {
				t.Errorf("%+v, %q: %v", x.root, x.wanted, err)
			}
		}
		for _, name := range x.bad {
			if leaf.VerifyHostname(name) == nil {
				t.Errorf("%+v, %q: good for %s", x.root, x.wanted, name)
			}
		}
	}
	first := get(nfs.FileSystemRoot(id), "")
	if again := get(nfs.FileSystemRoot(id), ""); again != first {
		t.Error("a certificate is made for each client")
	}
	now = first.NotAfter.Add(-pki.EndpointRenewal)
	if again := get(nfs.FileSystemRoot(id), ""); again == first {
		t.Error("it is not made anew before its end")
	}
}
