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

	API     API      `yaml:"api"`
	NFS     NFS      `yaml:"nfs"`
	Peer    Peer     `yaml:"peer"`
	Metrics Metrics  `yaml:"metrics"`
	Subnets []Subnet `yaml:"subnets"`
	// SecurityGroups limit who may connect to mount targets.
	SecurityGroups []SecurityGroup `yaml:"security_groups"`
	Replication    Replication     `yaml:"replication"`
	Scrub          Scrub           `yaml:"scrub"`
	Journal        Journal         `yaml:"journal"`
	Encryption     Encryption      `yaml:"encryption"`
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
	// AuditLog is a file that gets one line of JSON for each request. It is
	// opened anew on SIGHUP, so that it can be rotated. Empty: none.
	AuditLog string `yaml:"audit_log"`
}

// The values of Credential.Role.
const (
	RoleReadOnly = "read-only" // describes and lists
	RoleOperator = "operator"  // all but the deletion of file systems, policies and preferences
	RoleAdmin    = "admin"     // everything
)

// Credential is an access key of 16 to 128 letters, digits and '_', with a
// secret of 16 to 128 characters.
type Credential struct {
	AccessKey string `yaml:"access_key"`
	SecretKey string `yaml:"secret_key"`
	// SessionToken, if set, must come with every request of this key.
	SessionToken string `yaml:"session_token"`
	// Role is RoleReadOnly, RoleOperator or RoleAdmin, the default.
	Role string `yaml:"role"`
	// Principal is the ARN by which file system policies know who has the key:
	// of a user, a role, or the root of the account, whom no policy locks out.
	// Default arn:aws:iam::ACCOUNT:user/ACCESS_KEY.
	Principal string `yaml:"principal"`
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
	// RootSquash makes a client's root nobody (65534) on the shared address, and
	// on mount targets without a setting of their own. Default false.
	RootSquash bool `yaml:"root_squash"`
	TLS        TLS  `yaml:"tls"`
}

// TLS is encryption in transit: every NFS address takes TLS beside plain NFS.
type TLS struct {
	// CACert and CAKey are PEM files of the authority that signs what the
	// addresses show. Clients trust the first. Without them the region makes an
	// authority of its own in DataDir.
	CACert string `yaml:"ca_cert"`
	CAKey  string `yaml:"ca_key"`
	// DNSSuffix ends the names in the certificates:
	// FS-ID.efs.REGION.SUFFIX. Default amazonaws.com, which the mount helper of
	// EFS expects.
	DNSSuffix string `yaml:"dns_suffix"`
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
	CIDR               string `yaml:"cidr"`                 // IPv4, e.g. 10.0.1.0/24; "" for a subnet of IPv6 only
	IPv6CIDR           string `yaml:"ipv6_cidr"`            // e.g. fd00:a::/64; "" for a subnet of IPv4 only
	AvailabilityZone   string `yaml:"availability_zone"`    // default: region and "a"
	AvailabilityZoneID string `yaml:"availability_zone_id"` // default: AvailabilityZone
	VPCID              string `yaml:"vpc_id"`               // default: vpc-00000000
}

// Prefix is CIDR as a value; after Load it is valid unless there is none.
func (s Subnet) Prefix() netip.Prefix {
	p, _ := netip.ParsePrefix(s.CIDR)
	return p
}

// IPv6Prefix is IPv6CIDR as a value; after Load it is valid unless there is none.
func (s Subnet) IPv6Prefix() netip.Prefix {
	p, _ := netip.ParsePrefix(s.IPv6CIDR)
	return p
}

// SecurityGroup is a list of networks whose addresses may connect to the mount
// targets that name it. A mount target that names none has the group "default"
// of its VPC; without such a group everybody may connect to it.
type SecurityGroup struct {
	ID          string   `yaml:"id"`   // sg- and 8 to 40 hex digits
	Name        string   `yaml:"name"` // default: ID
	Description string   `yaml:"description"`
	VPCID       string   `yaml:"vpc_id"` // default: vpc-00000000
	Allow       []string `yaml:"allow"`  // networks such as 10.0.0.0/8; none: nobody
}

// Prefixes is Allow as values; they are valid after Load.
func (g SecurityGroup) Prefixes() []netip.Prefix {
	var all []netip.Prefix
	for _, a := range g.Allow {
		if p, err := netip.ParsePrefix(a); err == nil {
			all = append(all, p)
		}
	}
	return all
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
	// CopySettings: what is set on a source, today its tags, follows to its
	// destination. Default true.
	CopySettings *bool `yaml:"copy_settings"`
}

// Scrub is the reading of all data to find damage early.
type Scrub struct {
	// BytesPerSecond bounds it, 0 (no scrub) or 65536 at least. Default 8 MiB.
	BytesPerSecond *int64 `yaml:"bytes_per_second"`
}

// Journal says how much of the history of changes is kept after it was
// carried out and replicated. A replica that is left behind the history comes
// back by comparing trees, which reads all of both, instead of by what changed.
type Journal struct {
	// HistoryHours that records are kept, 1 to 8760. Default 168: a week.
	HistoryHours int `yaml:"history_hours"`
	// HistoryBytes of records for each file system at most, 64 MiB at least, 0
	// for a twentieth of the disk (default). Four times as much is kept for a
	// replica that has not received it.
	HistoryBytes int64 `yaml:"history_bytes"`
}

// HistoryAge is HistoryHours as a duration.
func (j Journal) HistoryAge() time.Duration { return time.Duration(j.HistoryHours) * time.Hour }

// Defaults, and bounds that are not EFS's.
const (
	defaultAPI   = "127.0.0.1:9400"
	defaultNFS   = "127.0.0.1:2049"
	nfsPort      = 2049
	defaultVPC   = "vpc-00000000"
	defaultDNS   = "amazonaws.com"
	defaultLease = 30
	minLease     = 5 // shorter, a busy client loses its state
	maxSeconds   = 3600
	minBandwidth = 64 << 10 // one batch within seconds
	defaultHours = 7 * 24
	maxHours     = 365 * 24
	minHistory   = 64 << 20 // some segments
	defaultScrub = 8 << 20  // a TiB within two days, and no disk is busy with it
)

func (c *Config) setDefaults() {
	setDefault(&c.API.Listen, defaultAPI)
	setDefault(&c.NFS.Listen, defaultNFS)
	setDefault(&c.NFS.LeaseSeconds, defaultLease)
	setDefault(&c.NFS.GraceSeconds, c.NFS.LeaseSeconds)
	setDefault(&c.NFS.MountTargetPort, nfsPort)
	setDefault(&c.NFS.TLS.DNSSuffix, defaultDNS)
	setDefault(&c.Replication.OnPeerUnreachable, PeerWait)
	setDefault(&c.Journal.HistoryHours, defaultHours)
	if c.Replication.CopySettings == nil {
		yes := true
		c.Replication.CopySettings = &yes
	}
	if c.Scrub.BytesPerSecond == nil {
		rate := int64(defaultScrub)
		c.Scrub.BytesPerSecond = &rate
	}
	for i := range c.Subnets {
		s := &c.Subnets[i]
		setDefault(&s.AvailabilityZone, c.Region+"a")
		setDefault(&s.AvailabilityZoneID, s.AvailabilityZone)
		setDefault(&s.VPCID, defaultVPC)
	}
	for i := range c.SecurityGroups {
		g := &c.SecurityGroups[i]
		setDefault(&g.Name, g.ID)
		setDefault(&g.VPCID, defaultVPC)
	}
	for i := range c.Encryption.Keys {
		setDefault(&c.Encryption.Keys[i].TimeoutSeconds, defaultKeyTimeout)
	}
	for i := range c.API.Credentials {
		setDefault(&c.API.Credentials[i].Role, RoleAdmin)
		c.API.Credentials[i].setPrincipal(c.AccountID)
	}
}

// setPrincipal gives a key without a principal one of its own.
func (c *Credential) setPrincipal(account string) {
	setDefault(&c.Principal, "arn:aws:iam::"+account+":user/"+c.AccessKey)
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
