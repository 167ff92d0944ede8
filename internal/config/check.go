package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The forms of EFS's API contract, and of AWS's access keys.
var (
	regionForm    = regexp.MustCompile(`^[a-z]{2}-((iso[a-z]?-)|(gov-))?[a-z]+-?[0-9]?$`)
	accountForm   = regexp.MustCompile(`^[0-9]{12}$`)
	subnetForm    = regexp.MustCompile(`^subnet-[0-9a-f]{8,40}$`)
	groupForm     = regexp.MustCompile(`^sg-[0-9a-f]{8,40}$`)
	groupNameForm = regexp.MustCompile(`^[a-zA-Z0-9._ /()#,@+=&;{}!$*:\[\]-]{1,255}$`)
	tokenForm     = regexp.MustCompile(`^[!-~]{0,1000}$`) // RE2's longest repetition
	vpcForm       = regexp.MustCompile(`^vpc-[0-9a-f]{8,40}$`)
	accessKeyForm = regexp.MustCompile(`^[A-Za-z0-9_]{16,128}$`)
	secretForm    = regexp.MustCompile(`^[!-~]{16,128}$`)
)

var (
	principalForm = regexp.MustCompile(`^arn:aws[-a-z]*:(iam::[0-9]{12}:(root|(user|role)/[^*?\s]{1,576})|sts::[0-9]{12}:(assumed-role|federated-user)/[^*?\s]{1,576})$`)
	dnsForm       = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

const principalHelp = "the ARN of a user, a role or the root of an account, such as arn:aws:iam::123456789012:user/alice"

var roles = []string{RoleReadOnly, RoleOperator, RoleAdmin}

// checker collects the problems of a configuration.
type checker struct {
	path     string
	root     *yaml.Node
	problems []error
}

func (k *checker) bad(key, format string, args ...any) {
	k.problems = append(k.problems, fmt.Errorf("%s:%d: %s: %s", k.path, line(k.root, key), key, fmt.Sprintf(format, args...)))
}

func (k *checker) form(key, value string, form *regexp.Regexp, want string) {
	switch {
	case value == "":
		k.bad(key, "is missing: give %s", want)
	case !form.MatchString(value):
		k.bad(key, "%.80q is not valid: give %s", value, want)
	}
}

func (k *checker) between(key string, v, least, most int) {
	if v < least || v > most {
		k.bad(key, "%d is out of range: give %d to %d", v, least, most)
	}
}

func (k *checker) address(key, value string) {
	host, port, err := net.SplitHostPort(value)
	n, numberErr := strconv.Atoi(port)
	if err != nil || numberErr != nil || n < 0 || n > 65535 {
		k.bad(key, "%.80q is no address: give HOST:PORT, such as 127.0.0.1:9400, or :9400 for all addresses", value)
		return
	}
	if host != "" && host != "localhost" && net.ParseIP(host) == nil {
		k.bad(key, "%.80q: the host to listen on must be an IP address, localhost or empty", value)
	}
}

func (k *checker) config(c *Config) {
	k.form("region", c.Region, regionForm, "a name in the form of AWS's regions, such as us-east-1")
	k.form("account_id", c.AccountID, accountForm, "12 digits")
	if c.DataDir == "" {
		k.bad("data_dir", "is missing: give the directory for the region's data")
	}
	k.api(&c.API)
	k.address("nfs.listen", c.NFS.Listen)
	k.between("nfs.lease_seconds", c.NFS.LeaseSeconds, minLease, maxSeconds)
	k.between("nfs.grace_seconds", c.NFS.GraceSeconds, c.NFS.LeaseSeconds, maxSeconds)
	k.between("nfs.mount_target_port", c.NFS.MountTargetPort, 1, 65535)
	k.tls(&c.NFS.TLS)
	k.peer(c)
	if c.Metrics.Listen != "" {
		k.address("metrics.listen", c.Metrics.Listen)
	}
	k.subnets(c.Subnets)
	k.groups(c.SecurityGroups)
	k.replication(&c.Replication)
	k.scrub(&c.Scrub)
	k.journal(&c.Journal)
	k.encryption(&c.Encryption)
	k.listeners(c)
}

func (k *checker) api(a *API) {
	k.address("api.listen", a.Listen)
	if len(a.Credentials) == 0 && a.CredentialsFile == "" {
		k.bad("api.credentials", "is missing: give at least one {access_key, secret_key}, or credentials_file; without a key nobody could call the API")
	}
	seen := map[string]bool{}
	for i, c := range a.Credentials {
		at := fmt.Sprintf("api.credentials[%d]", i)
		k.form(at+".access_key", c.AccessKey, accessKeyForm, "16 to 128 letters, digits or '_'")
		if !secretForm.MatchString(c.SecretKey) { // never shown
			k.bad(at+".secret_key", "is not valid: give 16 to 128 visible ASCII characters")
		}
		if seen[c.AccessKey] {
			k.bad(at+".access_key", "%q is given twice", c.AccessKey)
		}
		seen[c.AccessKey] = true
		if !tokenForm.MatchString(c.SessionToken) { // never shown
			k.bad(at+".session_token", "is not valid: give at most 1000 visible ASCII characters")
		}
		if !slices.Contains(roles, c.Role) {
			k.bad(at+".role", "%.40q is not valid: give one of %s", c.Role, strings.Join(roles, ", "))
		}
		if !principalForm.MatchString(c.Principal) {
			k.bad(at+".principal", "%.140q is not valid: give %s", c.Principal, principalHelp)
		}
	}
}

func (k *checker) tls(t *TLS) {
	if (t.CACert == "") != (t.CAKey == "") {
		k.bad("nfs.tls", "ca_cert and ca_key belong together: give both, or none for an authority that the region makes")
	}
	if len(t.DNSSuffix) > 128 || !dnsForm.MatchString(t.DNSSuffix) {
		k.bad("nfs.tls.dns_suffix", "%.140q is not valid: give the end of a DNS name, such as amazonaws.com", t.DNSSuffix)
	}
}

func (k *checker) peer(c *Config) {
	p := &c.Peer
	if p.Listen == "" {
		if len(p.Peers) > 0 {
			k.bad("peer.listen", "is missing: with peer.peers this region must be reachable for them; give HOST:PORT")
		}
		return
	}
	k.address("peer.listen", p.Listen)
	for _, f := range []struct{ key, value string }{{"peer.cert", p.Cert}, {"peer.key", p.Key}, {"peer.ca", p.CA}} {
		if f.value == "" {
			k.bad(f.key, "is missing: regions talk over mutual TLS; give a PEM file (holdfast init makes them)")
		}
	}
	seen := map[string]bool{c.Region: true}
	for i, r := range p.Peers {
		at := fmt.Sprintf("peer.peers[%d]", i)
		k.form(at+".region", r.Region, regionForm, "the name of the other region, such as us-west-2")
		if seen[r.Region] {
			k.bad(at+".region", "%q is this region or given twice: give each other region once", r.Region)
		}
		seen[r.Region] = true
		u, err := url.Parse(r.URL)
		if err != nil || u.Scheme != "https" || u.Port() == "" || u.Hostname() == "" || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.User != nil {
			k.bad(at+".url", "%.120q is not valid: give https://HOST:PORT of the other region's peer.listen", r.URL)
		}
	}
}

func (k *checker) subnets(all []Subnet) {
	ids := map[string]bool{}
	var used []netip.Prefix
	for i, s := range all {
		at := fmt.Sprintf("subnets[%d]", i)
		k.form(at+".id", s.ID, subnetForm, "subnet- and 8 to 40 hex digits")
		k.form(at+".vpc_id", s.VPCID, vpcForm, "vpc- and 8 to 40 hex digits")
		if ids[s.ID] {
			k.bad(at+".id", "%q is given twice", s.ID)
		}
		ids[s.ID] = true
		if s.CIDR == "" && s.IPv6CIDR == "" {
			k.bad(at+".cidr", "is missing: give an IPv4 network such as 10.0.1.0/24, or ipv6_cidr, or both")
		}
		for _, n := range subnetNetworks(s) {
			p, err := netip.ParsePrefix(n.text)
			if err != nil || p != p.Masked() || !n.fits(p) {
				k.bad(at+n.key, "%.60q is not valid: give %s", n.text, n.help)
				continue
			}
			for _, o := range used {
				if o.Overlaps(p) {
					k.bad(at+n.key, "%s overlaps with %s: subnets must be apart", p, o)
				}
			}
			used = append(used, p)
		}
	}
}

// subnetNetwork is a network of a subnet as it is written, and what it must be.
type subnetNetwork struct {
	key, text string
	fits      func(netip.Prefix) bool
	help      string
}

// subnetNetworks are those that are given.
func subnetNetworks(s Subnet) (all []subnetNetwork) {
	if s.CIDR != "" {
		all = append(all, subnetNetwork{".cidr", s.CIDR, func(p netip.Prefix) bool { return p.Addr().Is4() && p.Bits() >= 8 },
			"an IPv4 network of /8 to /32 without host bits, such as 10.0.1.0/24"})
	}
	if s.IPv6CIDR != "" {
		all = append(all, subnetNetwork{".ipv6_cidr", s.IPv6CIDR, func(p netip.Prefix) bool {
			return p.Addr().Is6() && !p.Addr().Is4In6() && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() && p.Bits() >= 32
		}, "an IPv6 network of /32 to /128 without host bits, neither link-local nor multicast, such as fd00:a::/64"})
	}
	return all
}

func (k *checker) groups(all []SecurityGroup) {
	seen := map[string]bool{}
	for i, g := range all {
		at := fmt.Sprintf("security_groups[%d]", i)
		k.form(at+".id", g.ID, groupForm, "sg- and 8 to 40 hex digits")
		k.form(at+".vpc_id", g.VPCID, vpcForm, "vpc- and 8 to 40 hex digits")
		k.form(at+".name", g.Name, groupNameForm, "1 to 255 letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*")
		if len(g.Description) > 255 {
			k.bad(at+".description", "has %d bytes: at most 255 are possible", len(g.Description))
		}
		for _, unique := range []string{g.ID, g.VPCID + " " + g.Name} {
			if seen[unique] {
				k.bad(at, "%q is given twice: ids are unique, and names in a VPC", unique)
			}
			seen[unique] = true
		}
		for j, a := range g.Allow {
			// One of IPv4 within IPv6 would admit nobody: addresses are compared as what they are.
			if p, err := netip.ParsePrefix(a); err != nil || p != p.Masked() || p.Addr().Is4In6() {
				k.bad(fmt.Sprintf("%s.allow[%d]", at, j), "%.60q is not valid: give a network without host bits, such as 10.0.0.0/8 or fd00:a::/64, or 0.0.0.0/0 for everybody with IPv4 and ::/0 with IPv6", a)
			}
		}
	}
}

func (k *checker) scrub(s *Scrub) {
	if n := *s.BytesPerSecond; n < 0 || n > 0 && n < minBandwidth {
		k.bad("scrub.bytes_per_second", "%d is out of range: give bytes per second, %d at least, or 0 for no scrub", n, minBandwidth)
	}
}

func (k *checker) journal(j *Journal) {
	if j.HistoryHours < 1 || j.HistoryHours > maxHours {
		k.bad("journal.history_hours", "%d is out of range: give 1 to %d", j.HistoryHours, maxHours)
	}
	if j.HistoryBytes != 0 && j.HistoryBytes < minHistory {
		k.bad("journal.history_bytes", "%d is out of range: give %d at least, or 0 for a twentieth of the disk", j.HistoryBytes, minHistory)
	}
}

func (k *checker) replication(r *Replication) {
	if r.OnPeerUnreachable != PeerWait && r.OnPeerUnreachable != PeerServe {
		k.bad("replication.on_peer_unreachable", "%.40q is not valid: give %s or %s", r.OnPeerUnreachable, PeerWait, PeerServe)
	}
	if r.BandwidthLimit < 0 || r.BandwidthLimit > 0 && r.BandwidthLimit < minBandwidth {
		k.bad("replication.bandwidth_limit", "%d is out of range: give bytes per second, %d at least, or 0 for no limit", r.BandwidthLimit, minBandwidth)
	}
}

// listeners finds two services on one address; port 0 is any free one.
func (k *checker) listeners(c *Config) {
	seen := map[string]string{}
	for _, l := range []struct{ key, value string }{{"api.listen", c.API.Listen}, {"nfs.listen", c.NFS.Listen},
		{"peer.listen", c.Peer.Listen}, {"metrics.listen", c.Metrics.Listen}} {
		_, port, err := net.SplitHostPort(l.value)
		if err != nil || port == "0" {
			continue
		}
		if other := seen[l.value]; other != "" {
			k.bad(l.key, "%q is the address of %s too: give each its own", l.value, other)
		}
		seen[l.value] = l.key
	}
}
