package region

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/holdfast-fs/holdfast/internal/config"
)

// tlsPair is the configuration of both directions between regions: each side
// shows a certificate of the common authority and checks the other's.
type tlsPair struct{ server, client *tls.Config }

func loadTLS(cfg *config.Config) (tlsPair, error) {
	if cfg.Peer.Listen == "" && len(cfg.Peer.Peers) == 0 {
		return tlsPair{client: &tls.Config{}}, nil // a region that replicates with nobody
	}
	cert, err := tls.LoadX509KeyPair(cfg.Peer.Cert, cfg.Peer.Key)
	if err != nil {
		return tlsPair{}, fmt.Errorf("peer.cert and peer.key: %w", err)
	}
	pem, err := os.ReadFile(cfg.Peer.CA)
	if err != nil {
		return tlsPair{}, fmt.Errorf("peer.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return tlsPair{}, fmt.Errorf("peer.ca: %s holds no certificate in PEM form", cfg.Peer.CA)
	}
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: cfg.Region, Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return tlsPair{}, fmt.Errorf("peer.cert: %s would be refused by the other regions; it must name %s, be valid now and be signed by peer.ca: %w", cfg.Peer.Cert, cfg.Region, err)
	}
	return tlsPair{
		server: &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
			MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}},
		client: &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, MinVersion: tls.VersionTLS13},
	}, nil
}
