package region

import (
	"crypto/rand"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/config"
	"github.com/holdfast-fs/holdfast/internal/pki"
)

// TestCertificateThatOthersWouldRefuseKeepsTheRegionDown: what is wrong is told
// at the start, by file, not at the first call of another region.
func TestCertificateThatOthersWouldRefuseKeepsTheRegionDown(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authority := func() *pki.Pair {
		ca, err := pki.NewCA(rand.Reader, time.Now(), "test")
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}
	ca, stranger := authority(), authority()
	issued := func(ca *pki.Pair, region string, at time.Time) *pki.Pair {
		p, err := ca.NewRegion(rand.Reader, at, region)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	ours := issued(ca, "us-east-1", time.Now())
	for name, c := range map[string]struct {
		pair  *pki.Pair
		key   []byte
		wrong string // "": it is good
	}{
		"ours":              {ours, ours.Key, ""},
		"another region's":  {issued(ca, "us-west-2", time.Now()), nil, "must name us-east-1"},
		"another authority": {issued(stranger, "us-east-1", time.Now()), nil, "signed by peer.ca"},
		"expired":           {issued(ca, "us-east-1", time.Now().AddDate(-11, 0, 0)), nil, "valid now"},
		"another's key":     {ours, stranger.Key, "key.pem"},
		"no certificate":    {&pki.Pair{Cert: []byte("x")}, ours.Key, "cert.pem"},
	} {
		key := c.key
		if key == nil {
			key = c.pair.Key
		}
		cfg := &config.Config{Region: "us-east-1", Peer: config.Peer{Listen: "127.0.0.1:1", Cert: write("cert.pem", c.pair.Cert), Key: write("key.pem", key), CA: write("ca.pem", ca.Cert)}}
		got, err := loadTLS(cfg)
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) || !strings.Contains(err.Error(), "peer.cert") {
				t.Errorf("%s: %v, want %q", name, err, c.wrong)
			}
			continue
		}
		if err != nil || got.server.MinVersion != tls.VersionTLS13 || got.client.MinVersion != tls.VersionTLS13 || got.server.ClientAuth != tls.RequireAndVerifyClientCert || got.client.RootCAs == nil {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
	}
}
