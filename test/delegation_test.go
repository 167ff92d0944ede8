package test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"

	"github.com/holdfast-fs/holdfast/test/harness"
)

// TestLinuxReturnsDelegations: a client that reads a file over and over has a
// delegation of it and asks nobody; another writes, and the first sees it.
func TestLinuxReturnsDelegations(t *testing.T) {
	harness.Need(t, true, harness.LinuxTools)
	g := harness.NewRegions(t)
	g.CopyLogs(t)
	us := g.R[0]
	f := must[*efs.CreateFileSystemOutput](t)(us.EFS().CreateFileSystem(context.Background(), &efs.CreateFileSystemInput{CreationToken: aws.String("deleg")}))
	dir := t.TempDir()
	mounted := fmt.Sprintf("set -e\nmount -t nfs4 %s:/%s /mnt/n\ncd /mnt/n\n", us.NFS, *f.FileSystemId)
	const rounds = 4
	reader := us.Guest(t, "reader").Start(t, guestLimit, mounted+fmt.Sprintf(`
until [ -e gen ]; do sleep 0.1; done
for i in $(seq %d); do
  until [ "$(cat gen)" = "$i" ]; do sleep 0.02; done
  for j in $(seq 5); do cat gen >/dev/null; done
  echo $i >%s/seen
done
cd /; awk '/DELEGRETURN:/ { print "returned", $2 }' /proc/self/mountstats`, rounds, dir))
	us.Guest(t, "writer").Run(t, guestLimit, mounted+fmt.Sprintf(`
echo 0 >gen
for i in $(seq %d); do
  echo $i >gen
  until [ "$(cat %s/seen 2>/dev/null)" = "$i" ]; do sleep 0.05; done
done`, rounds, dir))
	if out := reader.Wait(t); !strings.Contains(out, "returned") || strings.Contains(out, "returned 0\n") {
		t.Errorf("no delegation was ever returned: %s", out)
	}
}
