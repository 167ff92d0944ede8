package test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"

	"github.com/holdfast-fs/holdfast/test/harness"
)

// TestLinuxMountConforms runs the conformance suite of internal/fstest on a
// mount, with the version that the client takes by itself and with 4.1.
func TestLinuxMountConforms(t *testing.T) {
	harness.Need(t, true, harness.LinuxTools)
	suite := filepath.Join(t.TempDir(), "suite")
	harness.Run(t, "go", "test", "-c", "-o", suite, "github.com/holdfast-fs/holdfast/internal/fstest")
	g := harness.NewRegions(t)
	g.CopyLogs(t)
	us := g.R[0]
	f := must[*efs.CreateFileSystemOutput](t)(us.EFS().CreateFileSystem(t.Context(), &efs.CreateFileSystemInput{CreationToken: aws.String("posix")}))
	out := us.Guest(t, "posix").Run(t, guestLimit, `set -e
run() { mkdir -m 777 /mnt/n/$1; HOLDFAST_POSIX_DIR=/mnt/n/$1 `+suite+` -test.v -test.run TestDirectoryConforms; umount /mnt/n; }
`+mount(us, *f.FileSystemId)+`run a
mount -t nfs4 `+us.NFS+`:/`+*f.FileSystemId+` /mnt/n; grep -o 'vers=[0-9.]*' /proc/mounts; run b`)
	if n := strings.Count(out, "\n--- PASS: TestDirectoryConforms"); n != 2 {
		t.Errorf("%d passes: %s", n, out)
	}
}
