package harness

import (
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"
)

// Keys are the access key and the secret of the installation.
func (r *Region) Keys() (access, secret string) { return r.keys.AccessKey, r.keys.SecretKey }

// MountCA is the file of the authority that clients trust for encryption in
// transit.
func (r *Region) MountCA() string {
	return filepath.Join(filepath.Dir(filepath.Dir(r.conf)), "pki", "nfs-ca.crt")
}

// MountTarget gives a file system an address of its own, which guests reach.
func (r *Region) MountTarget(t testing.TB, fsID string) (ip string) {
	t.Helper()
	ip = r.net + ".200" // beyond those of the guests
	r.NS.Exec(t, "ip", "addr", "add", ip+"/32", "dev", "lo")
	subnet := "subnet-0000000000000001a"
	if r.Name != regionNames[0] {
		subnet = "subnet-0000000000000002a"
	}
	_, err := r.EFS().CreateMountTarget(t.Context(), &efs.CreateMountTargetInput{FileSystemId: aws.String(fsID), SubnetId: aws.String(subnet), IpAddress: aws.String(ip)})
	if err != nil {
		t.Fatal(err)
	}
	return ip
}
