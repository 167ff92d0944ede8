package region

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	iofs "io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/config"
	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/efsapi"
	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/nfs"
	"github.com/holdfast-fs/holdfast/internal/pki"
)

// mountTLS is encryption in transit: certificates for the NFS addresses, made
// when they are needed, and what the certificates of clients say.
type mountTLS struct {
	ca      *pki.Pair
	region  string
	suffix  string
	zones   []string
	connect efsapi.Connect
	now     func() time.Time
	// control knows which file systems are replicas of each other; nil before
	// the region has started.
	control func() *control.Control

	mu    sync.Mutex
	certs map[string]*tls.Certificate // by what they are for
}

var _ nfs.Security = (*mountTLS)(nil)

// maxEndpoints bounds the certificates in memory: one for each mount target, and
// as many for names at the shared address. Of more, any are made again.
const maxEndpoints = 4096

func newMountTLS(cfg *config.Config, creds []efsapi.Credential, c func() *control.Control) (*mountTLS, error) {
	ca, err := mountAuthority(cfg)
	if err != nil {
		return nil, err
	}
	m := &mountTLS{ca: ca, region: cfg.Region, suffix: cfg.NFS.TLS.DNSSuffix, now: time.Now, control: c, certs: map[string]*tls.Certificate{},
		connect: efsapi.Connect{Region: cfg.Region, Credentials: creds, Now: time.Now}}
	for _, p := range cfg.Peer.Peers {
		m.connect.Peers = append(m.connect.Peers, p.Region)
	}
	for _, s := range cfg.Subnets {
		if !slices.Contains(m.zones, s.AvailabilityZone) {
			m.zones = append(m.zones, s.AvailabilityZone)
		}
	}
	return m, nil
}

// mountAuthority reads the authority of the configuration, or the one that the
// region made for itself, making it at the first start.
func mountAuthority(cfg *config.Config) (*pki.Pair, error) {
	if t := cfg.NFS.TLS; t.CACert != "" {
		ca, err := readAuthority(t.CACert, t.CAKey)
		if err != nil {
			return nil, fmt.Errorf("nfs.tls: %w", err)
		}
		return ca, nil
	}
	dir := filepath.Join(cfg.DataDir, "nfs-tls")
	cert, key := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	ca, err := readAuthority(cert, key)
	if !errors.Is(err, iofs.ErrNotExist) {
		if err != nil {
			return nil, fmt.Errorf("the authority for encryption in transit: %w; mend the files, or remove both: a new one is made, which clients have to be told of", err)
		}
		return ca, nil
	}
	if ca, err = pki.NewCA(rand.Reader, time.Now(), "Holdfast NFS "+cfg.Region); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make an authority for encryption in transit: %w", err)
	}
	for _, f := range []struct {
		path string
		text []byte
	}{{key, ca.Key}, {cert, ca.Cert}} { // the certificate tells that the key is there
		if err := writeWhole(f.path, f.text); err != nil {
			return nil, fmt.Errorf("make an authority for encryption in transit: %w", err)
		}
	}
	return ca, nil
}

func readAuthority(certFile, keyFile string) (*pki.Pair, error) {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	ca, err := pki.ReadAuthority(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", certFile, keyFile, err)
	}
	return ca, nil
}

// writeWhole writes a secret file that is there whole or not at all.
func writeWhole(path string, text []byte) error {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return disk.SyncDir(disk.Real(), filepath.Dir(path))
}

// TLS implements nfs.Security. The certificate does not depend on what the
// client says that it wants, but at the shared address, which has no one name.
func (m *mountTLS) TLS(root nfs.Root, local net.Addr) (*tls.Config, error) {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Asked for, and never checked against an authority: see efsapi.Connect.
		ClientAuth: tls.RequestClientCert,
		// A resumed session would bring back an identity of which nobody knows
		// whether it still holds.
		SessionTicketsDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return m.certificate(m.names(root.Export, hello.ServerName), local)
		},
	}, nil
}

// names are those of the certificate at an address.
func (m *mountTLS) names(export, wanted string) []string {
	base := "efs." + m.region + "." + m.suffix
	if export != "" {
		names := []string{export + "." + base}
		for _, z := range m.zones {
			names = append(names, z+"."+export+"."+base)
		}
		if c := m.control(); c != nil {
			for _, r := range c.Replicas(export) { // whose clients may come here
				names = append(names, r.FileSystemID+".efs."+r.Region+"."+m.suffix)
			}
		}
		return names
	}
	names := []string{"*." + base, "localhost"}
	// A wildcard stands for one part of a name; ZONE.FS-ID has two.
	if zone, rest, ok := strings.Cut(strings.ToLower(wanted), "."); ok && slices.Contains(m.zones, zone) {
		if id, at, ok := strings.Cut(rest, "."); ok && at == base && fileSystemName(id) {
			names = append(names, zone+"."+rest)
		}
	}
	return names
}

// fileSystemName tells whether s is what a file system may be called.
func fileSystemName(s string) bool {
	hex, ok := strings.CutPrefix(s, "fs-")
	return ok && len(hex) <= 40 && strings.Trim(hex, "0123456789abcdef") == ""
}

// certificate makes a certificate, or gives the one that was made.
func (m *mountTLS) certificate(names []string, local net.Addr) (*tls.Certificate, error) {
	var ips []net.IP
	if a, ok := local.(*net.TCPAddr); ok {
		ips = append(ips, a.IP)
	}
	key := strings.Join(names, " ") + fmt.Sprint(ips)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if c := m.certs[key]; c != nil && now.Add(pki.EndpointRenewal).Before(c.Leaf.NotAfter) {
		return c, nil
	}
	c, err := m.ca.NewEndpoint(rand.Reader, now, names, ips)
	if err != nil {
		return nil, err
	}
	if len(m.certs) >= maxEndpoints {
		for other := range m.certs {
			delete(m.certs, other)
			break
		}
	}
	m.certs[key] = c
	return c, nil
}

// Identify implements nfs.Security. A client that was mounted in another region
// and whose address has moved here names the file system as it is called there,
// and has signed for that region: it means the replica here.
func (m *mountTLS) Identify(root nfs.Root, leaf *x509.Certificate) (nfs.Identity, error) {
	id, err := m.connect.Identify(leaf)
	if err != nil {
		return nfs.Identity{}, err
	}
	here := id.Region == "" || id.Region == m.region
	if c := m.control(); c != nil && id.FileSystem != "" && (!here || id.FileSystem != root.Export) {
		if local := c.WithReplica(control.Replica{FileSystemID: id.FileSystem, Region: m.otherRegion(id.Region)}); local != "" {
			id.FileSystem, here = local, true
		}
	}
	if !here {
		return nfs.Identity{}, fmt.Errorf("its certificate is signed for region %s, and file system %.60q has no replica here", id.Region, id.FileSystem)
	}
	return nfs.Identity{FileSystem: id.FileSystem, AccessPoint: id.AccessPoint, Principal: id.Principal}, nil
}

// otherRegion is the region that a certificate is signed for, "" when it is not
// signed, or signed for this one.
func (m *mountTLS) otherRegion(signed string) string {
	if signed == m.region {
		return ""
	}
	return signed
}
