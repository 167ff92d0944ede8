package nfs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// keeper is an Access and a Security for tests. A client's certificate says who
// it is in its common name: "FILE-SYSTEM ACCESS-POINT PRINCIPAL", each "-" for
// none.
type keeper struct {
	cert tls.Certificate

	mu     sync.Mutex
	points map[string]*AccessPoint
	rights func(export string, c Caller) Rights
	rate   float64
}

func newKeeper(t testing.TB) *keeper {
	return &keeper{cert: certificate(t, "server"), points: map[string]*AccessPoint{}}
}

func certificate(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, x, x, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (k *keeper) TLS(Root, net.Addr) (*tls.Config, error) {
	return &tls.Config{Certificates: []tls.Certificate{k.cert}, ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true}, nil
}

func (k *keeper) Identify(_ Root, leaf *x509.Certificate) (id Identity, err error) {
	parts := strings.Fields(leaf.Subject.CommonName)
	if len(parts) != 3 {
		return id, errors.New("no identity")
	}
	for i, to := range []*string{&id.FileSystem, &id.AccessPoint, &id.Principal} {
		if parts[i] != "-" {
			*to = parts[i]
		}
	}
	return id, nil
}

func (k *keeper) AccessPoint(_, id string) (*AccessPoint, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.points[id]; p != nil {
		return p, nil
	}
	return nil, errors.New("no such access point")
}

func (k *keeper) Rights(export string, c Caller) Rights {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rights == nil {
		return allRights
	}
	return k.rights(export, c)
}

func (k *keeper) Throughput(string) float64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rate
}

func (k *keeper) limit(rate float64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rate = rate
}

func (k *keeper) allow(fn func(export string, c Caller) Rights) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rights = fn
}

func (k *keeper) point(id, path string, user *fs.Cred, create *fs.AttrChange) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.points[id] = &AccessPoint{ID: id, Path: path, User: user, Create: create, Secret: []byte("secret")}
}

func (k *keeper) drop(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.points, id)
}

// guardedSite is a site with a keeper.
func guardedSite(t *testing.T) (*site, *keeper) {
	k := newKeeper(t)
	s := &site{T: t, access: k, security: k}
	s.init()
	return s, k
}

// tls dials with TLS; identity "" shows no certificate.
func (s *site) tls(root Root, owner, identity string) (*peer, error) {
	s.Helper()
	tcp, err := net.Dial("tcp", s.addr[root])
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { tcp.Close() })
	return s.overTLS(tcp, owner, identity)
}

func (s *site) overTLS(tcp net.Conn, owner, identity string) (*peer, error) {
	s.Helper()
	conf := &tls.Config{InsecureSkipVerify: true}
	if identity != "" {
		conf.Certificates = []tls.Certificate{certificate(s, identity)}
	}
	conn := tls.Client(tcp, conf)
	if err := conn.Handshake(); err != nil {
		return nil, err
	}
	return &peer{T: s.T, conn: conn, owner: owner}, nil
}

// mountTLS makes a client with a session.
func (s *site) mountTLS(root Root, owner, identity string) *peer {
	s.Helper()
	p, err := s.tls(root, owner, identity)
	if err != nil {
		s.Fatal(err)
	}
	p.connect()
	p.must(reclaimComplete())
	return p
}

// closed tells that the server has ended the connection.
func (p *peer) closed() bool {
	p.Helper()
	_ = p.conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err := io.Copy(io.Discard, p.conn)
	var timeout net.Error
	return !(errors.As(err, &timeout) && timeout.Timeout())
}

// handle looks names up from the root and returns the handle of the last.
func (p *peer) handle(names ...string) []byte {
	p.Helper()
	ops := []op{putRoot()}
	for _, n := range names {
		ops = append(ops, lookup(n))
	}
	res := p.must(append(ops, getFH())...)
	p.ok(res, xdr.OpPutRootFH)
	for range names {
		p.ok(res, xdr.OpLookup)
	}
	p.ok(res, xdr.OpGetFH)
	return append([]byte(nil), res.Opaque(128)...)
}
