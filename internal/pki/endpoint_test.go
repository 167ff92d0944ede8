package pki

import (
	"crypto/rand"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"
)

func TestEndpointIsTrustedByItsAuthorityOnly(t *testing.T) {
	now := time.Now()
	ca, err := NewCA(rand.Reader, now, "one")
	if err != nil {
		t.Fatal(err)
	}
	if ca, err = ReadAuthority(ca.Cert, ca.Key); err != nil {
		t.Fatal(err)
	}
	long := "use1-az1." + strings.Repeat("f", 60) + ".example"
	cert, err := ca.NewEndpoint(rand.Reader, now, []string{long, "fs-1.example"}, []net.IP{net.IPv4(10, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Cert)
	for _, name := range []string{long, "fs-1.example", "10.0.0.1"} {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "fs-2.example"}); err == nil {
		t.Error("it is good for another name")
	}
	other, _ := NewCA(rand.Reader, now, "two")
	if _, err := ReadAuthority(ca.Cert, other.Key); err == nil || !strings.Contains(err.Error(), "not that of the certificate") {
		t.Errorf("the key of another authority: %v", err)
	}
	region, _ := ca.NewRegion(rand.Reader, now, "us-east-1")
	for what, p := range map[string][2][]byte{"a region": {region.Cert, region.Key}, "no certificate": {ca.Key, ca.Key}, "no key": {ca.Cert, nil}, "a certificate as key": {ca.Cert, ca.Cert}} {
		if _, err := ReadAuthority(p[0], p[1]); err == nil {
			t.Errorf("%s is taken for an authority", what)
		}
	}
}
