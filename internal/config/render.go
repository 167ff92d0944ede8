package config

import (
	"fmt"
	"strings"
)

// subnetID is the id of a region's subnet in a new installation.
func subnetID(i int, zone string) string { return fmt.Sprintf("subnet-%016x%s", i+1, zone) }

// zoneID abbreviates as AWS does: us-east-1, zone 1 is use1-az1.
func zoneID(region string, n int) string {
	short := strings.NewReplacer("north", "n", "south", "s", "east", "e", "west", "w", "central", "c", "-", "").Replace(region)
	return fmt.Sprintf("%s-az%d", short, n)
}

// render writes the configuration of the i-th region, with the words that an
// operator needs to change it.
func render(account string, regions []string, ports []Ports, i, mountTargetPort int, keyID string) string {
	region, p := regions[i], ports[i]
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Holdfast, region %s. Paths are relative to this file.", region)
	line("region: %s", region)
	line("account_id: \"%s\"", account)
	line("data_dir: data")
	line("")
	line("# The EFS API. Requests are signed; the keys are in the file, each with its")
	line("# holdfast_role: read-only, operator or admin (default).")
	line("api:\n  listen: 127.0.0.1:%d\n  credentials_file: ../credentials", p.API)
	line("  # audit_log: audit.log # one line of JSON for each request; SIGHUP opens it anew")
	line("")
	line("# NFSv4.1: this address exports every file system as /fs-...;")
	line("# a mount target has an address of its own, and its file system at /.")
	line("nfs:\n  listen: 127.0.0.1:%d\n  mount_target_port: %d", p.NFS, mountTargetPort)
	line("  # The same ports take TLS. Clients trust ca_cert; the names in the certificates")
	line("  # end with efs.%s.DNS_SUFFIX.", region)
	line("  tls:\n    ca_cert: ../pki/nfs-ca.crt\n    ca_key: ../pki/nfs-ca.key\n    dns_suffix: %s", defaultDNS)
	line("")
	line("# The other regions, over mutual TLS.")
	line("peer:\n  listen: 127.0.0.1:%d\n  cert: ../pki/%s.crt\n  key: ../pki/%s.key\n  ca: ../pki/ca.crt", p.Peer, region, region)
	if len(regions) > 1 {
		line("  peers:")
	}
	for j, other := range regions {
		if j != i {
			line("    - region: %s\n      url: https://127.0.0.1:%d", other, ports[j].Peer)
		}
	}
	line("")
	line("# Prometheus metrics, /healthz and /readyz.")
	line("metrics:\n  listen: 127.0.0.1:%d", p.Metrics)
	line("")
	line("# Where mount targets get their addresses. The loopback network needs no root;")
	line("# for clients on other machines give networks whose addresses this machine has.")
	line("subnets:")
	for n, zone := range []string{"a", "b"} {
		line("  - id: %s\n    cidr: 127.%d.%d.0/24\n    availability_zone: %s%s\n    availability_zone_id: %s\n    vpc_id: vpc-%08x",
			subnetID(i, zone), 10+n, i, region, zone, zoneID(region, n+1), i+1)
	}
	line("")
	line("# Who may connect to mount targets; without groups everybody.")
	line("# security_groups:")
	line("#   - {id: sg-00000001, name: default, vpc_id: vpc-%08x, allow: [127.0.0.0/8]}", i+1)
	line("")
	line("replication:")
	line("  # wait: after a restart, a source accepts changes when its destination's region")
	line("  # has answered; serve: after 10 seconds in any case.")
	line("  on_peer_unreachable: wait")
	line("  copy_settings: true # tags of a source follow to its destination")
	line("  bandwidth_limit: 0 # bytes per second for each replication; 0: none")
	line("")
	line("journal:")
	line("  history_hours: %d # how long records of changes are kept", defaultHours)
	line("")
	line("# The keys that encrypted file systems (create-file-system --encrypted) are made")
	line("# with. Keep a copy of the file elsewhere: without it their data is gone.")
	line("encryption:")
	line("  keys:")
	line("    - id: %s\n      alias: alias/holdfast\n      file: ../keys/%s.key", keyID, region)
	line("")
	line("scrub:")
	line("  bytes_per_second: %d # all data is read once a day to find damage; 0: never", defaultScrub)
	return b.String()
}
