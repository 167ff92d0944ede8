// Package pki makes the certificates with which regions know each other: a
// certificate authority of one's own and one certificate per region, for both
// ends of TLS. It also loads them. It imports nothing of ours.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"time"
)

// Lifetimes of what is made. There is no renewal yet, so they are long; who
// needs shorter ones brings certificates of another authority.
const (
	caYears     = 20
	regionYears = 10
	// backdate lets clocks that are behind accept a new certificate.
	backdate = time.Hour
)

// Pair is a certificate with its key, in PEM.
type Pair struct {
	Cert []byte
	Key  []byte // secret

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes an authority. It may sign regions and nothing below them.
func NewCA(rand io.Reader, now time.Time, name string) (*Pair, error) {
	t, err := template(rand, now, name, caYears)
	if err != nil {
		return nil, err
	}
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	return issue(rand, t, nil)
}

// NewRegion makes a region's certificate, signed by ca, for client and server
// use. The region's name is its common name and first DNS name: by it the other
// regions know who calls. hosts are further names or addresses of its endpoints.
func (ca *Pair) NewRegion(rand io.Reader, now time.Time, region string, hosts ...string) (*Pair, error) {
	t, err := template(rand, now, region, regionYears)
	if err != nil {
		return nil, err
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	t.DNSNames = []string{region}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return issue(rand, t, ca)
}

func template(rand io.Reader, now time.Time, name string, years int) (*x509.Certificate, error) {
	serial := make([]byte, 16)
	if _, err := io.ReadFull(rand, serial); err != nil {
		return nil, fmt.Errorf("read randomness for a serial number: %w", err)
	}
	serial[0] &= 0x7f // positive
	return &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial),
		Subject:   pkix.Name{CommonName: name, Organization: []string{"Holdfast"}},
		NotBefore: now.Add(-backdate), NotAfter: now.AddDate(years, 0, 0)}, nil
}

// issue signs t with ca, or with itself when ca is nil.
func issue(rand io.Reader, t *x509.Certificate, ca *Pair) (*Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand)
	if err != nil {
		return nil, fmt.Errorf("make a key for %s: %w", t.Subject.CommonName, err)
	}
	parent, signer := t, key
	if ca != nil {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand, t, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %s: %w", t.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back the certificate of %s: %w", t.Subject.CommonName, err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key of %s: %w", t.Subject.CommonName, err)
	}
	return &Pair{cert: cert, key: key,
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})}, nil
}

// Load reads a region's certificate and key and the authority that it trusts,
// from PEM files. The two configurations are TLS 1.3 with a certificate from
// both ends. As a client, set ServerName to the other region's name.
func Load(certFile, keyFile, caFile string) (server, client *tls.Config, err error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("load the certificate %s with the key %s: %w", certFile, keyFile, err)
	}
	pemCA, err := os.ReadFile(caFile)
	if err != nil {
		return nil, nil, fmt.Errorf("load the certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pemCA) {
		return nil, nil, fmt.Errorf("load the certificate authority: %s holds no certificate in PEM", caFile)
	}
	server = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert},
		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	client = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: pool}
	return server, client, nil
}

// RegionOf tells which region is at the other end of a connection on which both
// ends have verified certificates.
func RegionOf(s *tls.ConnectionState) (string, error) {
	if s == nil || len(s.VerifiedChains) == 0 || len(s.PeerCertificates) == 0 {
		return "", errors.New("the other end has shown no certificate of our authority")
	}
	name := s.PeerCertificates[0].Subject.CommonName
	if name == "" {
		return "", errors.New("the certificate of the other end names no region as its common name")
	}
	return name, nil
}
