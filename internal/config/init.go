package config

import (
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-fs/holdfast/internal/pki"
)

// Ports of a region on the loopback interface.
type Ports struct {
	API     int
	NFS     int
	Peer    int
	Metrics int
}

// Options of Init. Now and Rand are needed.
type Options struct {
	Now  func() time.Time
	Rand io.Reader // for keys; crypto/rand.Reader
	// BasePort is the API port of the first region; NFS, peer and metrics
	// follow it, the next region is 100 further. Default 9400.
	BasePort int
	// Ports, if given, are the ports of each region; BasePort is not used then.
	Ports []Ports
	// MountTargetPort is the port of mount targets. Default 2049.
	MountTargetPort int
	// AccountID is the account of all regions. Default 12 random digits.
	AccountID string
}

const (
	defaultBasePort = 9400
	regionPortStep  = 100
	// maxRegions keeps ports and loopback networks of regions apart.
	maxRegions = 50
)

// Summary tells what Init made and how to go on.
type Summary struct {
	Dir         string
	AccountID   string
	AccessKey   string
	SecretKey   string // secret
	Credentials string // file
	Regions     []RegionSummary
}

// RegionSummary is one region of a Summary.
type RegionSummary struct {
	Region   string
	Config   string // file
	Serve    string // the command that serves it
	Endpoint string // URL of its EFS API
	NFS      string // HOST:PORT
	Metrics  string // URL
	Subnets  []string
}

// Exports are the shell lines that let the AWS CLI, SDKs and Terraform use a
// region. CLIs before 1.29.20 and 2.13.0 know no AWS_ENDPOINT_URL_EFS: give
// them --endpoint-url.
func (s *Summary) Exports(r RegionSummary) []string {
	return []string{
		"export AWS_ACCESS_KEY_ID=" + s.AccessKey,
		"export AWS_SECRET_ACCESS_KEY=" + s.SecretKey,
		"export AWS_DEFAULT_REGION=" + r.Region,
		"export AWS_ENDPOINT_URL_EFS=" + r.Endpoint,
	}
}

// Init makes an installation for one machine in dir:
//
//	REGION/holdfast.yaml        per region
//	pki/ca.crt ca.key           the certificate authority
//	pki/REGION.crt REGION.key   per region
//	pki/nfs-ca.crt nfs-ca.key   the authority for encryption in transit
//	keys/REGION.key             the key for encryption at rest
//	credentials                 a key for the API, in the form of ~/.aws/credentials
//
// It overwrites nothing: when any of these exists, it changes nothing and says
// which. Secrets can be read by their owner only.
func Init(dir string, regions []string, o Options) (*Summary, error) {
	if err := checkRegions(regions); err != nil {
		return nil, err
	}
	ports, err := o.ports(len(regions))
	if err != nil {
		return nil, err
	}
	s := &Summary{Dir: dir, AccountID: o.AccountID, Credentials: filepath.Join(dir, "credentials")}
	if err := s.makeKeys(o.Rand); err != nil {
		return nil, err
	}
	if !accountForm.MatchString(s.AccountID) {
		return nil, fmt.Errorf("account id %q is not valid: give 12 digits", s.AccountID)
	}
	p := &plan{dir: dir}
	p.add("credentials", 0o600, fmt.Sprintf("# Holdfast, account %s\n[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", s.AccountID, s.AccessKey, s.SecretKey))
	if err := p.addPKI(o, regions); err != nil {
		return nil, err
	}
	for i, region := range regions {
		id, err := p.addKey(o.Rand, region)
		if err != nil {
			return nil, err
		}
		text := render(s.AccountID, regions, ports, i, o.mountTargetPort(), id)
		if _, err := Parse([]byte(text), region+"/holdfast.yaml"); err != nil {
			return nil, fmt.Errorf("the options lead to a configuration that is not valid: %w", err)
		}
		p.add(filepath.Join(region, "holdfast.yaml"), 0o644, text)
		s.Regions = append(s.Regions, summarise(dir, region, i, ports[i]))
	}
	return s, p.write()
}

func checkRegions(regions []string) error {
	if len(regions) == 0 || len(regions) > maxRegions {
		return fmt.Errorf("%d regions: give 1 to %d", len(regions), maxRegions)
	}
	for i, r := range regions {
		if !regionForm.MatchString(r) {
			return fmt.Errorf("region %.60q is not valid: give a name in the form of AWS's regions, such as us-east-1", r)
		}
		if slices.Contains(regions[:i], r) {
			return fmt.Errorf("region %s is given twice", r)
		}
	}
	return nil
}

func (o *Options) mountTargetPort() int {
	if o.MountTargetPort == 0 {
		return nfsPort
	}
	return o.MountTargetPort
}

func (o *Options) ports(n int) ([]Ports, error) {
	if o.Ports != nil {
		if len(o.Ports) != n {
			return nil, fmt.Errorf("ports for %d regions are given, there are %d", len(o.Ports), n)
		}
		return o.Ports, nil
	}
	base := o.BasePort
	if base == 0 {
		base = defaultBasePort
	}
	if last := base + regionPortStep*(n-1) + 3; base < 1 || last > 65535 {
		return nil, fmt.Errorf("base port %d: %d regions need the ports %d to %d; give a base port from 1 to %d", base, n, base, last, 65535-(last-base))
	}
	var all []Ports
	for i := range n {
		p := base + regionPortStep*i
		all = append(all, Ports{API: p, NFS: p + 1, Peer: p + 2, Metrics: p + 3})
	}
	return all, nil
}

// makeKeys makes access key and secret in the form of AWS's, and the account id.
func (s *Summary) makeKeys(rand io.Reader) error {
	b := make([]byte, 10+30+12)
	if _, err := io.ReadFull(rand, b); err != nil {
		return fmt.Errorf("read randomness for the access key: %w", err)
	}
	s.AccessKey = "AKIA" + base32.StdEncoding.EncodeToString(b[:10])
	s.SecretKey = base64.RawURLEncoding.EncodeToString(b[10:40])
	if s.AccountID == "" {
		digits := make([]byte, 12)
		for i, v := range b[40:] {
			digits[i] = '0' + v%10
		}
		digits[0] = '1' + b[40]%9 // never a leading zero, which YAML and people lose
		s.AccountID = string(digits)
	}
	return nil
}

func summarise(dir, region string, i int, p Ports) RegionSummary {
	r := RegionSummary{Region: region, Config: filepath.Join(dir, region, "holdfast.yaml"),
		Endpoint: fmt.Sprintf("http://127.0.0.1:%d", p.API), NFS: fmt.Sprintf("127.0.0.1:%d", p.NFS),
		Metrics: fmt.Sprintf("http://127.0.0.1:%d/metrics", p.Metrics), Subnets: []string{subnetID(i, "a"), subnetID(i, "b")}}
	r.Serve = "holdfast serve --config " + shellQuote(r.Config)
	return r
}

// shellQuote makes a path safe to paste.
func shellQuote(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+@%:,=", r)
	}) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

// plan is the files to be written.
type plan struct {
	dir   string
	files []plannedFile
}

type plannedFile struct {
	path string
	mode os.FileMode
	text []byte
}

func (p *plan) add(path string, mode os.FileMode, text string) {
	p.files = append(p.files, plannedFile{filepath.Join(p.dir, path), mode, []byte(text)})
}

func (p *plan) addPKI(o Options, regions []string) error {
	ca, err := pki.NewCA(o.Rand, o.Now(), "Holdfast regions")
	if err != nil {
		return err
	}
	p.add("pki/ca.crt", 0o644, string(ca.Cert))
	p.add("pki/ca.key", 0o600, string(ca.Key))
	mounts, err := pki.NewCA(o.Rand, o.Now(), "Holdfast NFS")
	if err != nil {
		return err
	}
	p.add("pki/nfs-ca.crt", 0o644, string(mounts.Cert))
	p.add("pki/nfs-ca.key", 0o600, string(mounts.Key))
	for _, r := range regions {
		pair, err := ca.NewRegion(o.Rand, o.Now(), r, "localhost", "127.0.0.1", "::1")
		if err != nil {
			return err
		}
		p.add("pki/"+r+".crt", 0o644, string(pair.Cert))
		p.add("pki/"+r+".key", 0o600, string(pair.Key))
	}
	return nil
}

// addKey makes a region's key for encryption at rest, and an id for it.
func (p *plan) addKey(rand io.Reader, region string) (id string, err error) {
	b := make([]byte, 16+32)
	if _, err := io.ReadFull(rand, b); err != nil {
		return "", fmt.Errorf("read randomness for a key: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // a random UUID (RFC 9562, section 5.4)
	id = fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
	p.add("keys/"+region+".key", 0o600, fmt.Sprintf("# Wraps the data keys of encrypted file systems in %s: keep a copy elsewhere.\n# To rotate it, put a new one (openssl rand -hex 32) on a line above.\n%x\n", region, b[16:]))
	return id, nil
}

// write checks that nothing is there, then writes everything. O_EXCL holds the
// promise even against somebody who writes at the same time.
func (p *plan) write() error {
	var there []string
	for _, f := range p.files {
		if _, err := os.Lstat(f.path); err == nil {
			there = append(there, f.path)
		} else if !errors.Is(err, iofs.ErrNotExist) {
			return fmt.Errorf("look for %s: %w", f.path, err)
		}
	}
	if len(there) > 0 {
		return fmt.Errorf("nothing was written, because these files exist: %s; give another directory or remove them", strings.Join(there, ", "))
	}
	for _, f := range p.files {
		if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
			return fmt.Errorf("make the directory of %s: %w", f.path, err)
		}
		if err := writeNew(f); err != nil {
			return err
		}
	}
	return nil
}

func writeNew(f plannedFile) error {
	w, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	_, err = w.Write(f.text)
	err = errors.Join(err, w.Sync(), w.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	return nil
}
