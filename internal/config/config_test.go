package config

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/pki"
)

const good = `region: us-east-1
account_id: "123456789012"
data_dir: data
api:
  credentials:
    - access_key: AKIAAAAAAAAAAAAAAAAA
      secret_key: 0123456789012345
`

func TestDefaultsAreFilledIn(t *testing.T) {
	c, err := Parse([]byte(good), "/etc/holdfast/x.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/etc/holdfast/data" {
		t.Errorf("data_dir is %s: not relative to the file", c.DataDir)
	}
	if c.API.Listen != defaultAPI || c.NFS.Listen != defaultNFS || c.NFS.LeaseSeconds != 30 || c.NFS.GraceSeconds != 30 ||
		c.NFS.MountTargetPort != 2049 || c.Replication.OnPeerUnreachable != "wait" || !*c.Replication.CopySettings {
		t.Errorf("defaults: %+v", c)
	}
}

// TestBadOptionsAreNamed: every problem names line, key, and what is allowed.
func TestRootSquashIsOffUnlessItIsSaid(t *testing.T) {
	for text, want := range map[string]bool{"": false, "nfs: {root_squash: false}\n": false, "nfs: {root_squash: true}\n": true} {
		if c, err := Parse([]byte(good+text), "x.yaml"); err != nil || c.NFS.RootSquash != want {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	for _, c := range []struct{ add, want string }{
		{"colour: red\n", "line 8: unknown key colour"},
		{"nfs:\n  leese_seconds: 3\n", "line 9: unknown key leese_seconds"},
		{"region: us-west-2\n", `line 8: mapping key "region" already defined at line 1`},
		{"nfs: {lease_seconds: 4}\n", "x.yaml:8: nfs.lease_seconds: 4 is out of range: give 5 to 3600"},
		{"nfs:\n  lease_seconds: 3601\n", "x.yaml:9: nfs.lease_seconds: 3601 is out of range"},
		{"nfs: {lease_seconds: many}\n", "line 8: cannot unmarshal !!str `many` into int"},
		{"nfs: {lease_seconds: 60, grace_seconds: 59}\n", "nfs.grace_seconds: 59 is out of range: give 60 to 3600"},
		{"nfs: {mount_target_port: 65536}\n", "nfs.mount_target_port: 65536 is out of range: give 1 to 65535"},
		{"nfs: {listen: 2049}\n", `nfs.listen: "2049" is no address: give HOST:PORT`},
		{"nfs: {listen: \"nfs.example.org:2049\"}\n", "must be an IP address"},
		{"nfs: {listen: \"127.0.0.1:9400\"}\n", "nfs.listen: \"127.0.0.1:9400\" is the address of api.listen too"},
		{"metrics: {listen: \"1:99999\"}\n", "metrics.listen"},
		{"peer: {peers: [{region: us-west-2, url: \"https://h:1\"}]}\n", "peer.listen: is missing"},
		{"peer: {listen: \":1\"}\n", "peer.cert: is missing"},
		{"peer: {listen: \":1\", cert: a, key: b, ca: c, peers: [{region: us-east-1, url: \"https://h:1\"}]}\n", "peer.peers[0].region: \"us-east-1\" is this region"},
		{"peer:\n  listen: \":1\"\n  cert: a\n  key: b\n  ca: c\n  peers:\n    - region: us-west-2\n      url: http://h:1\n", "x.yaml:15: peer.peers[0].url: \"http://h:1\" is not valid: give https://HOST:PORT"},
		{"subnets: [{id: subnet-1, cidr: 10.0.0.0/24}]\n", "subnets[0].id: \"subnet-1\" is not valid"},
		{"subnets: [{id: subnet-00000001, cidr: 10.0.0.1/24}]\n", "subnets[0].cidr: \"10.0.0.1/24\" is not valid"},
		{"subnets: [{id: subnet-00000001, cidr: \"fd00::/64\"}]\n", "IPv4 network"},
		{"subnets: [{id: subnet-00000001}]\n", "subnets[0].cidr: is missing"},
		{"subnets: [{id: subnet-00000001, ipv6_cidr: 10.0.0.0/24}]\n", "subnets[0].ipv6_cidr: \"10.0.0.0/24\" is not valid: give an IPv6 network"},
		{"subnets: [{id: subnet-00000001, ipv6_cidr: \"fd00::1/64\"}]\n", "IPv6 network"},
		{"subnets: [{id: subnet-00000001, ipv6_cidr: \"fe80::/64\"}]\n", "link-local"},
		{"subnets: [{id: subnet-00000001, ipv6_cidr: \"ff02::/64\"}]\n", "multicast"},
		{"subnets: [{id: subnet-00000001, ipv6_cidr: \"::ffff:10.0.0.0/120\"}]\n", "IPv6 network"},
		{"subnets: [{id: subnet-00000001, ipv6_cidr: \"fd00::/16\"}]\n", "/32 to /128"},
		{"subnets: [{id: subnet-00000001, ipv6_cidr: \"fd00:a::/64\"}, {id: subnet-00000002, ipv6_cidr: \"fd00:a::/80\"}]\n", "subnets[1].ipv6_cidr: fd00:a::/80 overlaps with fd00:a::/64"},
		{"security_groups: [{id: sg-00000001, allow: [\"::ffff:10.0.0.0/104\"]}]\n", "security_groups[0].allow[0]"},
		{"subnets: [{id: subnet-00000001, cidr: 10.0.0.0/24}, {id: subnet-00000001, cidr: 10.0.0.0/25}]\n", "subnets[1].cidr: 10.0.0.0/25 overlaps with 10.0.0.0/24"},
		{"subnets: [{id: subnet-00000001, cidr: 10.0.0.0/24, vpc_id: v}]\n", "subnets[0].vpc_id"},
		{"security_groups: [{id: sg-1}]\n", "security_groups[0].id: \"sg-1\" is not valid"},
		{"security_groups: [{id: sg-00000001, vpc_id: v}]\n", "security_groups[0].vpc_id"},
		{"security_groups: [{id: sg-00000001, name: \"a|b\"}]\n", "security_groups[0].name"},
		{"security_groups: [{id: sg-00000001}, {id: sg-00000001, name: b}]\n", "security_groups[1]: \"sg-00000001\" is given twice"},
		{"security_groups: [{id: sg-00000001, name: a}, {id: sg-00000002, name: a}]\n", "names in a VPC"},
		{"security_groups: [{id: sg-00000001, allow: [10.0.0.1/8]}]\n", "security_groups[0].allow[0]: \"10.0.0.1/8\" is not valid"},
		{"security_groups: [{id: sg-00000001, allow: [everybody]}]\n", "0.0.0.0/0 for everybody"},
		{"replication: {on_peer_unreachable: panic}\n", `replication.on_peer_unreachable: "panic" is not valid: give wait or serve`},
		{"replication: {bandwidth_limit: 1000}\n", "replication.bandwidth_limit: 1000 is out of range"},
		{"replication: {bandwidth_limit: -1}\n", "or 0 for no limit"},
		{"scrub: {bytes_per_second: 1000}\n", "scrub.bytes_per_second: 1000 is out of range"},
		{"journal: {history_hours: -1}\n", "journal.history_hours: -1 is out of range"},
		{"journal: {history_bytes: 1000}\n", "journal.history_bytes: 1000 is out of range"},
		{"replication: {copy_settings: perhaps}\n", "line 8"},
		{"replication: {bandwidth_limit: perhaps}\n", "line 8"},
		{"nfs: {tls: {ca_cert: x}}\n", "nfs.tls: ca_cert and ca_key belong together"},
		{"nfs: {tls: {dns_suffix: -x}}\n", `nfs.tls.dns_suffix: "-x" is not valid`},
		{"limits: {nfs_connections: 1}\n", "unknown key limits"},
		{"---\nregion: x\n", "more than one YAML document"},
		{"\t\n", "tab character"},
	} {
		_, err := Parse([]byte(good+c.add), "x.yaml")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("with %q: %v\n  want %s", c.add, err, c.want)
		}
	}
}

func TestEveryProblemIsListed(t *testing.T) {
	_, err := Parse([]byte("region: nowhere\naccount_id: 12\napi: {credentials: [{access_key: short, secret_key: hush}]}\n"), "x.yaml")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"x.yaml:1: region:", "x.yaml:2: account_id:", "data_dir: is missing", "access_key", "secret_key"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hush") {
		t.Error("the error shows a secret")
	}
	if _, err := Parse(nil, "x.yaml"); err == nil || !strings.Contains(err.Error(), "region: is missing") {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a file that is not there was loaded")
	}
}

func TestInitMakesAnInstallationThatLoads(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's here")
	s, err := Init(dir, []string{"us-east-1", "us-west-2"}, Options{Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range s.Regions {
		c, err := Load(r.Config)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.API.Credentials) != 1 || c.API.Credentials[0] != (Credential{AccessKey: s.AccessKey, SecretKey: s.SecretKey, Role: RoleAdmin,
			Principal: "arn:aws:iam::" + s.AccountID + ":user/" + s.AccessKey}) {
			t.Errorf("%s has the keys %v", r.Region, c.API.Credentials)
		}
		if c.Region != r.Region || c.AccountID != s.AccountID || r.Endpoint != "http://"+c.API.Listen || len(c.Peer.Peers) != 1 {
			t.Errorf("%s: %+v", r.Region, c)
		}
		other, err := Load(s.Regions[1-i].Config)
		if err != nil {
			t.Fatal(err)
		}
		if c.Peer.Peers[0].URL != "https://"+other.Peer.Listen || c.NFS.Listen == other.NFS.Listen {
			t.Errorf("%s and %s do not fit: %+v, %+v", c.Region, other.Region, c, other)
		}
		if _, _, err := pki.Load(c.Peer.Cert, c.Peer.Key, c.Peer.CA); err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(r.Serve, `holdfast serve --config '`) {
			t.Errorf("the command is not safe to paste: %s", r.Serve)
		}
	}
	for _, secret := range []string{"credentials", "pki/ca.key", "pki/nfs-ca.key", "pki/us-east-1.key", "pki/us-west-2.key"} {
		st, err := os.Stat(filepath.Join(dir, secret))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", secret, st.Mode(), err)
		}
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "pki"), 0o755); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "pki", "us-east-1.key")
	if err := os.WriteFile(key, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Init(dir, []string{"us-east-1"}, Options{Now: time.Now, Rand: rand.Reader})
	if err == nil || !strings.Contains(err.Error(), key) {
		t.Fatalf("Init: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("written all the same: %q, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "credentials")); err == nil {
		t.Error("credentials were written")
	}
}

func TestInitRefusesBadOptions(t *testing.T) {
	ok := Options{Now: time.Now, Rand: rand.Reader}
	with := func(change func(*Options)) Options { o := ok; change(&o); return o }
	for name, c := range map[string]struct {
		regions []string
		o       Options
	}{
		"no region":     {nil, ok},
		"twice":         {[]string{"us-east-1", "us-east-1"}, ok},
		"a path":        {[]string{"../x"}, ok},
		"high port":     {[]string{"us-east-1"}, with(func(o *Options) { o.BasePort = 65533 })},
		"too few ports": {[]string{"us-east-1"}, with(func(o *Options) { o.Ports = []Ports{} })},
		"equal ports":   {[]string{"us-east-1"}, with(func(o *Options) { o.Ports = []Ports{{1, 1, 1, 1}} })},
		"account":       {[]string{"us-east-1"}, with(func(o *Options) { o.AccountID = "12" })},
		"no mount port": {[]string{"us-east-1"}, with(func(o *Options) { o.MountTargetPort = -1 })},
		"no randomness": {[]string{"us-east-1"}, with(func(o *Options) { o.Rand = strings.NewReader("") })},
		"too many":      {make([]string, 51), ok},
	} {
		dir := t.TempDir()
		if _, err := Init(dir, c.regions, c.o); err == nil {
			t.Errorf("%s: no error", name)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: files were written", name)
		}
	}
}

func TestCredentialsFile(t *testing.T) {
	all, err := parseCredentials("# c\n[default]\naws_access_key_id=AKIAAAAAAAAAAAAAAAAA\naws_secret_access_key = 0123456789012345=\nregion = x\n\n[two]\naws_access_key_id = AKIABBBBBBBBBBBBBBBB\naws_secret_access_key = 0123456789012346\n")
	if err != nil || len(all) != 2 || all[0].SecretKey != "0123456789012345=" {
		t.Errorf("%v, %v", all, err)
	}
	one := "[p]\naws_access_key_id = AKIAAAAAAAAAAAAAAAAA\naws_secret_access_key = 0123456789012345\n"
	if all[0].Role != RoleAdmin || all[0].SessionToken != "" {
		t.Errorf("defaults: %+v", all[0])
	}
	if all, err := parseCredentials(one + "aws_session_token = a=b\nholdfast_role = read-only\n"); err != nil || all[0].Role != RoleReadOnly || all[0].SessionToken != "a=b" {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err := parseCredentials(one + "holdfast_principal = arn:aws:iam::123456789012:role/a=b\n"); err != nil || all[0].Principal != "arn:aws:iam::123456789012:role/a=b" {
		t.Errorf("%+v, %v", all, err)
	}
	for _, bad := range []string{one + "holdfast_principal = alice", one + "holdfast_principal = arn:aws:iam::1:user/a", one + "holdfast_principal = arn:aws:iam::123456789012:user/*", one + "holdfast_role = king", one + "aws_session_token = ü", "", "x", "a=b", "[p]", "[p]\naws_access_key_id=AKIAAAAAAAAAAAAAAAAA", "[p]\naws_access_key_id=a b"} {
		if _, err := parseCredentials(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("peer: {peers: [{url: x}]}\nsubnets: [1]\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := Parse(raw, "x.yaml")
		if err == nil && (c.Region == "" || c.AccountID == "" || c.DataDir == "") {
			t.Errorf("%q is taken for a configuration", raw)
		}
	})
}
