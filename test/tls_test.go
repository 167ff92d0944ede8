package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/efs/types"

	"github.com/holdfast-fs/holdfast/test/harness"
)

// tlsMount is a stunnel in front of a Linux client, as the mount helper of EFS
// starts it: it checks the server by its name, and shows a certificate that says
// what is mounted, and by whom.
type tlsMount struct {
	t      *testing.T
	r      *harness.Region
	target string // address of the mount target
	fsID   string
}

// configure writes a stunnel configuration for a port of the client's loopback
// interface. accessPoint and signed may be left out.
func (m *tlsMount) configure(name string, port int, accessPoint string, signed bool) (conf string) {
	m.t.Helper()
	dir := m.t.TempDir()
	access, secret := "", ""
	if signed {
		access, secret = m.r.Keys()
	}
	harness.Run(m.t, "python3", "../internal/control/efsapi/testdata/mount_certificate.py", dir, m.fsID, accessPoint, m.r.Name, access, secret, "",
		time.Now().UTC().Format("20060102T150405Z"))
	conf = filepath.Join(dir, name+".conf")
	text := fmt.Sprintf(`fips = no
foreground = no
pid = %[1]s/pid
output = %[1]s/log
socket = l:SO_REUSEADDR=yes
socket = a:SO_BINDTODEVICE=lo
[efs]
client = yes
accept = 127.0.0.1:%[2]d
connect = %[3]s:2049
sslVersionMin = TLSv1.2
renegotiation = no
TIMEOUTbusy = 20
TIMEOUTclose = 0
TIMEOUTidle = 70
delay = yes
verify = 2
CAfile = %[4]s
checkHost = %[5]s.efs.%[6]s.amazonaws.com
cert = %[1]s/certificate.pem
key = %[1]s/key.pem
`, dir, port, m.target, m.r.MountCA(), m.fsID, m.r.Name)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return conf
}

// TestTLSMountThroughStunnel is a Linux client behind Debian's stunnel: an
// access point, a policy that asks for TLS and for a principal, and what is
// refused.
func TestTLSMountThroughStunnel(t *testing.T) {
	tools := map[string]string{"stunnel": "stunnel4", "openssl": "openssl", "python3": "python3"}
	for tool, pkg := range harness.LinuxTools {
		tools[tool] = pkg
	}
	harness.Need(t, true, tools)
	g := harness.NewRegions(t)
	g.CopyLogs(t)
	us, c, ctx := g.R[0], g.R[0].EFS(), t.Context()
	fsID := *must[*efs.CreateFileSystemOutput](t)(c.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: aws.String("tls")})).FileSystemId
	guest := us.Guest(t, "tls")
	target := us.MountTarget(t, fsID)
	m := &tlsMount{t: t, r: us, target: target, fsID: fsID}
	app := must[*efs.CreateAccessPointOutput](t)(c.CreateAccessPoint(ctx, &efs.CreateAccessPointInput{FileSystemId: &fsID, ClientToken: aws.String("app"),
		PosixUser: &types.PosixUser{Uid: aws.Int64(1234), Gid: aws.Int64(5678)}, RootDirectory: &types.RootDirectory{Path: aws.String("/apps/one"),
			CreationInfo: &types.CreationInfo{OwnerUid: aws.Int64(1234), OwnerGid: aws.Int64(5678), Permissions: aws.String("0750")}}}))
	access, _ := us.Keys()
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":"*","Action":"elasticfilesystem:ClientMount","Condition":{"Bool":{"aws:SecureTransport":"true","elasticfilesystem:AccessedViaMountTarget":"true"}}},
		{"Effect":"Allow","Principal":"*","Action":"elasticfilesystem:ClientWrite","Condition":{"StringEquals":{"elasticfilesystem:AccessPointArn":"%s"}}},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::%s:user/%s"},"Action":"elasticfilesystem:Client*"},
		{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`,
		*app.AccessPointArn, *app.OwnerId, access)
	must[*efs.PutFileSystemPolicyOutput](t)(c.PutFileSystemPolicy(ctx, &efs.PutFileSystemPolicyInput{FileSystemId: &fsID, Policy: &policy}))

	script := fmt.Sprintf(`set -e
for f in %s %s %s; do stunnel $f; done
sleep 0.5
mkdir -p /mnt/ap /mnt/any /mnt/me
on() { mount -t nfs4 -o vers=4.1,noresvport,port=$1 127.0.0.1:/ $2; }
if mount -t nfs4 -o vers=4.1 %s:/ /mnt/n 2>/tmp/plain; then echo "a plain mount came in"; exit 1; fi
on 20491 /mnt/me;  echo secret >/mnt/me/outside; chmod 600 /mnt/me/outside
on 20492 /mnt/ap;  cd /mnt/ap; [ -z "$(ls -A)" ]
cp -a --no-preserve=ownership /usr/include/linux/netfilter tree; diff -r /usr/include/linux/netfilter tree
[ "$(stat -c %%u:%%g tree)" = 1234:5678 ]; [ "$(stat -c %%u:%%g:%%a /mnt/me/apps/one)" = 1234:5678:750 ]
ls -a .. >/dev/null; ! ls ../outside 2>/dev/null; ! chown 0 tree 2>/dev/null
mkdir d; mv tree d/t; ln d/t/nf_tables.h d/link; rm -r d/t; cmp d/link /usr/include/linux/netfilter/nf_tables.h
diff -r /mnt/ap /mnt/me/apps/one; cd /
on 20493 /mnt/any; ls /mnt/any | grep -q outside
! touch /mnt/any/x 2>/tmp/touch; grep -q 'Read-only' /tmp/touch; ! cat /mnt/any/outside 2>/dev/null
umount /mnt/any /mnt/ap /mnt/me; echo told
`, m.configure("me", 20491, "", true), m.configure("ap", 20492, *app.AccessPointId, false), m.configure("any", 20493, "", false), target)
	if out := guest.Run(t, guestLimit, script); !strings.Contains(out, "told") {
		t.Errorf("the guest: %s", out)
	}
}

// TestTLSServerIsWhoItSays: the certificate of a mount target has the names that
// clients check, and openssl verifies it without being told a name.
func TestTLSServerIsWhoItSays(t *testing.T) {
	harness.Need(t, true, map[string]string{"openssl": "openssl", "ip": "iproute2"})
	g := harness.NewRegions(t)
	g.CopyLogs(t)
	us := g.R[0]
	fsID := *must[*efs.CreateFileSystemOutput](t)(us.EFS().CreateFileSystem(t.Context(), &efs.CreateFileSystemInput{CreationToken: aws.String("tls")})).FileSystemId
	target := us.MountTarget(t, fsID)
	base := fsID + ".efs." + us.Name + ".amazonaws.com"
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		for _, check := range [][]string{{"-verify_hostname", base}, {"-verify_hostname", us.Name + "a." + base}, {"-verify_ip", target}} {
			args := append([]string{"openssl", "s_client", "-connect", target + ":2049", "-CAfile", us.MountCA(), "-verify_return_error", "-noservername", "-brief", version}, check...)
			cmd := us.NS.Command(t.Context(), args...)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "Verification: OK") {
				t.Errorf("%v: %v\n%s", args, err, out)
			}
		}
	}
	out, err := us.NS.Command(t.Context(), "openssl", "s_client", "-connect", target+":2049", "-tls1_1", "-brief", "-cipher", "ALL:@SECLEVEL=0").CombinedOutput()
	if err == nil {
		t.Errorf("TLS 1.1 is spoken:\n%s", out)
	}
}

// TestAccessPointsAndPolicyFollowAFailover: the other region knows them by the
// same ids, lets in by them, and refuses what was deleted.
func TestAccessPointsAndPolicyFollowAFailover(t *testing.T) {
	harness.Need(t, true, map[string]string{"openssl": "openssl", "python3": "python3", "ip": "iproute2"})
	g := harness.NewRegions(t)
	g.CopyLogs(t)
	us, eu, ctx := g.R[0], g.R[1], t.Context()
	fsID := *must[*efs.CreateFileSystemOutput](t)(us.EFS().CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: aws.String("f")})).FileSystemId
	var points []string
	for _, token := range []string{"stays", "goes"} {
		p := must[*efs.CreateAccessPointOutput](t)(us.EFS().CreateAccessPoint(ctx, &efs.CreateAccessPointInput{FileSystemId: &fsID, ClientToken: &token, PosixUser: &types.PosixUser{Uid: aws.Int64(1), Gid: aws.Int64(2)}}))
		points = append(points, *p.AccessPointId)
	}
	policy := `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"elasticfilesystem:Client*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}]}`
	must[*efs.PutFileSystemPolicyOutput](t)(us.EFS().PutFileSystemPolicy(ctx, &efs.PutFileSystemPolicyInput{FileSystemId: &fsID, Policy: &policy}))
	r := must[*efs.CreateReplicationConfigurationOutput](t)(us.EFS().CreateReplicationConfiguration(ctx, &efs.CreateReplicationConfigurationInput{SourceFileSystemId: &fsID,
		Destinations: []types.DestinationToCreate{{Region: &eu.Name}}}))
	dest := *r.Destinations[0].FileSystemId
	known := func(want int) {
		t.Helper()
		harness.Eventually(t, time.Minute, fmt.Sprintf("the destination has %d access points", want), func() error {
			out, err := eu.EFS().DescribeAccessPoints(ctx, &efs.DescribeAccessPointsInput{FileSystemId: &dest})
			if err == nil && len(out.AccessPoints) != want {
				err = fmt.Errorf("%d access points", len(out.AccessPoints))
			}
			return err
		})
	}
	known(2)
	must[*efs.DeleteAccessPointOutput](t)(us.EFS().DeleteAccessPoint(ctx, &efs.DeleteAccessPointInput{AccessPointId: &points[1]}))
	known(1)
	us.Kill(t)
	must[*efs.DeleteReplicationConfigurationOutput](t)(eu.EFS().DeleteReplicationConfiguration(ctx, &efs.DeleteReplicationConfigurationInput{SourceFileSystemId: &fsID}))
	harness.Eventually(t, time.Minute, "the access point can be changed in the other region", func() error {
		_, err := eu.EFS().TagResource(ctx, &efs.TagResourceInput{ResourceId: &points[0], Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("n")}}})
		return err
	})
	if out := must[*efs.DescribeFileSystemPolicyOutput](t)(eu.EFS().DescribeFileSystemPolicy(ctx, &efs.DescribeFileSystemPolicyInput{FileSystemId: &dest})); *out.Policy != policy {
		t.Errorf("the policy is %s", *out.Policy)
	}
	m := &tlsMount{t: t, r: eu, target: eu.MountTarget(t, dest), fsID: dest}
	for i, want := range []bool{true, false} {
		dir := filepath.Dir(m.configure("x", 1, points[i], true))
		// The client says nothing more after the handshake, and ends when its input does.
		cmd := eu.NS.Command(ctx, "sh", "-c", "sleep 1 | openssl s_client -connect "+m.target+":2049 -CAfile "+eu.MountCA()+" -verify_return_error -tls1_2 -brief -cert "+dir+"/certificate.pem -key "+dir+"/key.pem")
		if out, err := cmd.CombinedOutput(); (err == nil) != want {
			t.Errorf("by %s, which exists: %v: %v\n%s", points[i], want, err, out)
		}
	}
}

// TestAccessPointLivesThroughARestart: a client behind stunnel has a file open
// and locked through an access point; the server is killed; it goes on.
func TestAccessPointLivesThroughARestart(t *testing.T) {
	tools := map[string]string{"stunnel": "stunnel4", "openssl": "openssl", "python3": "python3"}
	for tool, pkg := range harness.LinuxTools {
		tools[tool] = pkg
	}
	harness.Need(t, true, tools)
	g := harness.NewRegions(t)
	g.CopyLogs(t)
	us, c, ctx := g.R[0], g.R[0].EFS(), t.Context()
	fsID := *must[*efs.CreateFileSystemOutput](t)(c.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: aws.String("tls")})).FileSystemId
	guest := us.Guest(t, "tlsr")
	m := &tlsMount{t: t, r: us, target: us.MountTarget(t, fsID), fsID: fsID}
	app := must[*efs.CreateAccessPointOutput](t)(c.CreateAccessPoint(ctx, &efs.CreateAccessPointInput{FileSystemId: &fsID, ClientToken: aws.String("app"),
		PosixUser: &types.PosixUser{Uid: aws.Int64(1), Gid: aws.Int64(2)}, RootDirectory: &types.RootDirectory{Path: aws.String("/app"),
			CreationInfo: &types.CreationInfo{OwnerUid: aws.Int64(1), OwnerGid: aws.Int64(2), Permissions: aws.String("0700")}}}))
	dir := t.TempDir()
	file := func(n string) string { return filepath.Join(dir, n) }
	running := guest.Start(t, guestLimit, fmt.Sprintf(`set -e
stunnel %[1]s; sleep 0.5
mount -t nfs4 -o vers=4.1,noresvport,port=20490 127.0.0.1:/ /mnt/n; cd /mnt/n
exec 9>lock; flock -n 9; echo one >log; exec 8>>log; echo two >&8
exec 7<>gone; echo gone >&7; rm gone
touch %[2]s
while [ ! -e %[3]s ]; do sleep 0.1; done
echo three >&8; mkdir after; mv log after/log; [ "$(cat after/log)" = "$(printf 'one\ntwo\nthree')" ]
[ "$(cat /proc/self/fd/7)" = gone ]; ! flock -n lock true; flock -u 9; flock -n lock true
[ "$(stat -c %%u after/log)" = 1 ]; exec 7>&- 8>&- 9>&-; cd /; umount /mnt/n; echo told
`, m.configure("ap", 20490, *app.AccessPointId, true), file("ready"), file("go")))
	harness.Eventually(t, guestLimit, "the client works", func() error { _, err := os.Stat(file("ready")); return err })
	us.Kill(t)
	us.Start(t)
	if err := os.WriteFile(file("go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := running.Wait(t); !strings.Contains(out, "told") {
		t.Errorf("the guest: %s", out)
	}
}

// TestTLSMountMovesWithItsAddress: a client behind stunnel, signed and through an
// access point, has a file open and locked while its address goes to the other
// region. It names the file system as it is called in the first one, and goes
// on without a remount.
func TestTLSMountMovesWithItsAddress(t *testing.T) {
	tools := map[string]string{"stunnel": "stunnel4", "openssl": "openssl", "python3": "python3"}
	for tool, pkg := range harness.LinuxTools {
		tools[tool] = pkg
	}
	harness.Need(t, true, tools)
	m := newMoving(t)
	app := must[*efs.CreateAccessPointOutput](t)(m.us.EFS().CreateAccessPoint(t.Context(), &efs.CreateAccessPointInput{FileSystemId: &m.usFS, ClientToken: aws.String("app"),
		PosixUser: &types.PosixUser{Uid: aws.Int64(1), Gid: aws.Int64(2)}, RootDirectory: &types.RootDirectory{Path: aws.String("/app"),
			CreationInfo: &types.CreationInfo{OwnerUid: aws.Int64(1), OwnerGid: aws.Int64(2), Permissions: aws.String("0700")}}}))
	tls := &tlsMount{t: t, r: m.us, target: m.ip, fsID: m.usFS}
	holder := m.us.Guest(t, "tlsm").Start(t, guestLimit, fmt.Sprintf(`set -e
stunnel %[1]s; sleep 0.5
mount -t nfs4 -o vers=4.1,noresvport,port=20490 127.0.0.1:/ /mnt/n; cd /mnt/n
exec 9>lock; flock -n 9; exec 8>>log; i=0
while [ ! -e %[2]s ]; do echo "line $i" >&8; sync log; echo $i >%[3]s; i=$((i+1)); sleep 0.05; done
for n in $(seq 0 $((i-1))); do echo "line $n"; done | cmp - log
[ "$(stat -c %%u log)" = 1 ]; exec 9>&- 8>&-; cd /; umount /mnt/n; echo released
`, tls.configure("ap", 20490, *app.AccessPointId, true), m.file("stop"), m.file("progress")))
	m.passes(20, holder)
	must[*efs.DeleteMountTargetOutput](t)(m.us.EFS().DeleteMountTarget(t.Context(), &efs.DeleteMountTargetInput{MountTargetId: aws.String(m.target)}))
	m.leave()
	m.deleteReplication(m.us, m.usFS)
	m.becomes(m.eu, m.euFS, "writer")
	last := m.progress()
	m.arrive()
	m.passes(last+20, holder)
	if err := os.WriteFile(m.file("stop"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := holder.Wait(t); !strings.Contains(out, "released") {
		t.Errorf("holder: %s", out)
	}
}
