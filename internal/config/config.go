// Package config is the configuration of a region: one YAML file, and the
// files of a new installation (Init). It imports nothing of ours but pki.
package config

import (
	"net/netip"
	"time"
)

// Config is a region's configuration, complete and checked: defaults are
// filled in, paths are absolute or relative to the working directory.
type Config struct {
	// Region is the region's name in the form of AWS's, e.g. us-east-1. Needed.
	Region string `yaml:"region"`
	// AccountID is the account that owns everything: 12 digits, the same in
	// all regions. Needed.
	AccountID string `yaml:"account_id"`
	// DataDir holds all data of the region. Needed.
	DataDir string `yaml:"data_dir"`

	API         API         `yaml:"api"`
	NFS         NFS         `yaml:"nfs"`
	Peer        Peer        `yaml:"peer"`
	Metrics     Metrics     `yaml:"metrics"`
	Subnets     []Subnet    `yaml:"subnets"`
	Replication Replication `yaml:"replication"`
}

// API is the endpoint of the EFS API.
type API struct {
	// Listen is HOST:PORT. Default 127.0.0.1:9400.
	Listen string `yaml:"listen"`
	// Credentials are the keys that may call. At least one is needed here or
	// in CredentialsFile; after Load, those of the file are among them.
	Credentials []Credential `yaml:"credentials"`
	// CredentialsFile has the form of ~/.aws/credentials; every profile counts.
	CredentialsFile string `yaml:"credentials_file"`
}

// Credential is an access key of 16 to 128 letters, digits and '_', with a
// secret of 16 to 128 characters.
type Credential struct {
	AccessKey string `yaml:"access_key"`
	SecretKey string `yaml:"secret_key"`
}

// NFS is the NFSv4.1 service.
type NFS struct {
	// Listen is HOST:PORT of the address that exports all file systems.
	// Default 127.0.0.1:2049.
	Listen string `yaml:"listen"`
	// LeaseSeconds is how long a client's state lives without a word from it,
	// 5 to 3600. Default 30.
	LeaseSeconds int `yaml:"lease_seconds"`
	// GraceSeconds is how long clients may reclaim after a restart,
	// LeaseSeconds to 3600. Default LeaseSeconds.
	GraceSeconds int `yaml:"grace_seconds"`
	// MountTargetPort is the port of mount targets on their own addresses.
	// Default 2049.
	MountTargetPort int `yaml:"mount_target_port"`
}

// Lease and Grace are the times as durations.
func (n NFS) Lease() time.Duration { return time.Duration(n.LeaseSeconds) * time.Second }

// Grace is the time to reclaim.
func (n NFS) Grace() time.Duration { return time.Duration(n.GraceSeconds) * time.Second }

// Peer is the endpoint for other regions, mutual TLS. Without Listen the region
// replicates with nobody.
type Peer struct {
	Listen string       `yaml:"listen"` // HOST:PORT
	Cert   string       `yaml:"cert"`   // PEM files
	Key    string       `yaml:"key"`
	CA     string       `yaml:"ca"`
	Peers  []PeerRegion `yaml:"peers"`
}

// PeerRegion is where another region's peer endpoint is.
type PeerRegion struct {
	Region string `yaml:"region"`
	URL    string `yaml:"url"` // https://HOST:PORT
}

// Metrics is the endpoint of Prometheus metrics, /healthz and /readyz.
type Metrics struct {
	// Listen is HOST:PORT; empty means no endpoint.
	Listen string `yaml:"listen"`
}

// Subnet is a range of addresses that mount targets may have.
type Subnet struct {
	ID                 string `yaml:"id"`                   // subnet- and 8 to 40 hex digits
	CIDR               string `yaml:"cidr"`                 // IPv4, e.g. 10.0.1.0/24
	AvailabilityZone   string `yaml:"availability_zone"`    // default: region and "a"
	AvailabilityZoneID string `yaml:"availability_zone_id"` // default: AvailabilityZone
	VPCID              string `yaml:"vpc_id"`               // default: vpc-00000000
}

// Prefix is CIDR as a value; it is valid after Load.
func (s Subnet) Prefix() netip.Prefix {
	p, _ := netip.ParsePrefix(s.CIDR)
	return p
}

// Values of OnPeerUnreachable.
const (
	PeerWait  = "wait"
	PeerServe = "serve"
)

// Replication sets what replications do.
type Replication struct {
	// OnPeerUnreachable says what a source does after a restart while its
	// destination's region does not answer: "wait" (default) accepts no
	// changes until it answers, "serve" does after 10 seconds.
	OnPeerUnreachable string `yaml:"on_peer_unreachable"`
	// BandwidthLimit is bytes per second for each replication, 0 (default)
	// for none, otherwise 65536 at least.
	BandwidthLimit int64 `yaml:"bandwidth_limit"`
}

// Defaults, and bounds that are not EFS's.
const (
	defaultAPI   = "127.0.0.1:9400"
	defaultNFS   = "127.0.0.1:2049"
	nfsPort      = 2049
	defaultLease = 30
	minLease     = 5 // shorter, a busy client loses its state
	maxSeconds   = 3600
	minBandwidth = 64 << 10 // one batch within seconds
)

func (c *Config) setDefaults() {
	setDefault(&c.API.Listen, defaultAPI)
	setDefault(&c.NFS.Listen, defaultNFS)
	setDefault(&c.NFS.LeaseSeconds, defaultLease)
	setDefault(&c.NFS.GraceSeconds, c.NFS.LeaseSeconds)
	setDefault(&c.NFS.MountTargetPort, nfsPort)
	setDefault(&c.Replication.OnPeerUnreachable, PeerWait)
	for i := range c.Subnets {
		s := &c.Subnets[i]
		setDefault(&s.AvailabilityZone, c.Region+"a")
		setDefault(&s.AvailabilityZoneID, s.AvailabilityZone)
		setDefault(&s.VPCID, "vpc-00000000")
	}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
