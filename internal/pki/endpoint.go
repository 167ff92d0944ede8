package pki

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// endpointDays is the lifetime of an endpoint's certificate. It lives in memory
// and is made anew long before its end.
const endpointDays = 90

// EndpointRenewal is how long before its end an endpoint's certificate is to be
// made anew.
const EndpointRenewal = endpointDays / 3 * 24 * time.Hour

// ReadAuthority reads an authority with its key, in PEM.
func ReadAuthority(cert, key []byte) (*Pair, error) {
	block, _ := pem.Decode(cert)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("the certificate is not in PEM form")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	if !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("the certificate of %q may not sign others", c.Subject.CommonName)
	}
	if block, _ = pem.Decode(key); block == nil {
		return nil, errors.New("the key is not in PEM form")
	}
	k, err := parseKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	if !k.PublicKey.Equal(c.PublicKey) {
		return nil, errors.New("the key is not that of the certificate")
	}
	return &Pair{Cert: cert, Key: key, cert: c, key: k}, nil
}

func parseKey(der []byte) (*ecdsa.PrivateKey, error) {
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k, nil
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	ec, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key is no ECDSA key: make an authority with one, such as holdfast init does")
	}
	return ec, nil
}

// NewEndpoint makes a certificate for a server with these names and addresses,
// with its chain.
func (ca *Pair) NewEndpoint(rand io.Reader, now time.Time, names []string, ips []net.IP) (*tls.Certificate, error) {
	t, err := template(rand, now, names[0], 0)
	if err != nil {
		return nil, err
	}
	if len(t.Subject.CommonName) > maxCommonName {
		t.Subject.CommonName = t.Subject.CommonName[:maxCommonName]
	}
	t.NotAfter = now.AddDate(0, 0, endpointDays)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	t.DNSNames, t.IPAddresses = names, ips
	p, err := issue(rand, t, ca)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{p.cert.Raw, ca.cert.Raw}, PrivateKey: p.key, Leaf: p.cert}, nil
}

// maxCommonName is X.520's bound; the names that count are elsewhere.
const maxCommonName = 64
