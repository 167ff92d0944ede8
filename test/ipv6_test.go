package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/efs/types"

	"github.com/holdfast-fs/holdfast/test/harness"
)

// TestMountTargetWithBothFamilies: a Linux client mounts one mount target by its
// IPv6 address and by its IPv4 address; its certificate is good for
// either, and its security groups know both families.
func TestMountTargetWithBothFamilies(t *testing.T) {
	tools := map[string]string{"openssl": "openssl"}
	for tool, pkg := range harness.LinuxTools {
		tools[tool] = pkg
	}
	harness.Need(t, true, tools)
	g := harness.NewRegions(t)
	g.CopyLogs(t)
	us, ctx := g.R[0], t.Context()
	us.Stop(t)
	us.Edit(t, "- id: subnet-0000000000000001a\n", "- id: subnet-0000000000000001a\n    ipv6_cidr: fd00:96::/64\n",
		"subnets:", "security_groups:\n  - {id: sg-00000004, name: four, vpc_id: vpc-00000001, allow: [0.0.0.0/0]}\n  - {id: sg-00000006, name: six, vpc_id: vpc-00000001, allow: [\"fd00:97::/64\"]}\nsubnets:")
	us.Start(t)
	c := us.EFS()
	fsID := *must[*efs.CreateFileSystemOutput](t)(c.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: aws.String("six")})).FileSystemId
	guest := us.Guest(t, "six")
	const ip, ip6 = "10.96.1.200", "fd00:96::200"
	us.NS.Exec(t, "ip", "addr", "add", ip+"/32", "dev", "lo")
	us.NS.Exec(t, "ip", "addr", "add", ip6+"/128", "dev", "lo")
	us.NS.Exec(t, "ip", "addr", "add", "fd00:97::1/64", "dev", guest.Tap, "nodad")
	m := must[*efs.CreateMountTargetOutput](t)(c.CreateMountTarget(ctx, &efs.CreateMountTargetInput{FileSystemId: &fsID, SubnetId: aws.String("subnet-0000000000000001a"),
		IpAddressType: types.IpAddressTypeDualStack, IpAddress: aws.String(ip), Ipv6Address: aws.String(ip6), SecurityGroups: []string{"sg-00000004", "sg-00000006"}}))
	if *m.IpAddress != ip || *m.Ipv6Address != ip6 {
		t.Fatalf("%+v", m)
	}
	for _, from := range []struct {
		address, target string
		admitted        bool
	}{{ip, ip, true}, {"[fd00:97::1]", "[" + ip6 + "]", true}, {"[" + ip6 + "]", "[" + ip6 + "]", false}} {
		args := []string{"openssl", "s_client", "-bind", from.address + ":0", "-connect", from.target + ":2049", "-CAfile", us.MountCA(), "-verify_return_error", "-brief",
			"-verify_ip", strings.Trim(from.target, "[]")}
		out, err := us.NS.Command(ctx, args...).CombinedOutput()
		if (err == nil && strings.Contains(string(out), "Verification: OK")) != from.admitted {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	if out := guest.Run(t, guestLimit, fmt.Sprintf(`set -e
insmod /usr/lib/uml/modules/$(uname -r)/kernel/lib/crc-ccitt.ko || true
insmod /usr/lib/uml/modules/$(uname -r)/kernel/net/ipv6/ipv6.ko
ip -6 addr add fd00:97::2/64 dev vec0 nodad; ip -6 route add default via fd00:97::1
mkdir -p /mnt/four /mnt/six
mount -t nfs4 -o vers=4.1 '[%[2]s]:/' /mnt/six
cp -a --no-preserve=ownership /usr/include/linux/netfilter /mnt/six/tree
mount -t nfs4 -o vers=4.1 %[1]s:/ /mnt/four
diff -r /usr/include/linux/netfilter /mnt/four/tree
umount /mnt/four; cat /proc/mounts >/run/mounts; umount /mnt/six; grep '%[2]s' /run/mounts; rm /run/mounts; echo told
`, ip, ip6)); !strings.Contains(out, "told") || !strings.Contains(out, "addr="+ip6) {
		t.Errorf("the guest: %s", out)
	}
}
