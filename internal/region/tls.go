package region

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/holdfast-fs/holdfast/internal/config"
	"github.com/holdfast-fs/holdfast/internal/pki"
)

// tlsPair is the configuration of both directions between regions: each side
// shows a certificate of the common authority and checks the other's.
type tlsPair struct{ server, client *tls.Config }

// loadTLS reads the certificate of the region, and refuses one that the others
// would refuse.
func loadTLS(cfg *config.Config) (tlsPair, error) {
	if cfg.Peer.Listen == "" && len(cfg.Peer.Peers) == 0 {
		return tlsPair{client: &tls.Config{}}, nil // a region that replicates with nobody
	}
	server, client, err := pki.Load(cfg.Peer.Cert, cfg.Peer.Key, cfg.Peer.CA)
	if err != nil {
		return tlsPair{}, fmt.Errorf("peer.cert, peer.key and peer.ca: %w", err)
	}
	own := client.Certificates[0].Leaf
	if _, err := own.Verify(x509.VerifyOptions{DNSName: cfg.Region, Roots: client.RootCAs, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return tlsPair{}, fmt.Errorf("peer.cert: %s would be refused by the other regions; it must name %s, be valid now and be signed by peer.ca: %w", cfg.Peer.Cert, cfg.Region, err)
	}
	server.NextProtos = []string{"http/1.1"} // a stream of a replication takes a connection of its own
	return tlsPair{server: server, client: client}, nil
}
