package test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"

	"github.com/holdfast-fs/holdfast/test/harness"
)

// fairScript takes a lock, holds it for 20 ms and takes it again at once, until
// somebody says stop. It prints the longest wait and how often it had the lock.
const fairScript = `import fcntl, os, sys, time
f = os.open("lock", os.O_CREAT | os.O_RDWR)
base, name = sys.argv[1], sys.argv[2]
while not os.path.exists(base + "/go"): time.sleep(0.05)
turns, worst = 0, 0.0
while not os.path.exists(base + "/stop"):
    t = time.monotonic()
    fcntl.lockf(f, fcntl.LOCK_EX)
    worst = max(worst, time.monotonic() - t)
    time.sleep(0.02)
    fcntl.lockf(f, fcntl.LOCK_UN)
    turns += 1
    open(base + "/" + name, "w").write("%d %.1f" % (turns, worst))
`

// TestNobodyWaitsForALockForEver: two processes on each of two Linux clients
// take one lock again and again. Whoever lets it go wants it again at once, and
// without a queue would have it before the others ask again.
func TestNobodyWaitsForALockForEver(t *testing.T) {
	for _, c := range []struct {
		version string
		most    float64 // seconds that anybody may wait
		least   int     // turns of everybody
	}{
		{"4.2", 10, 20}, // on a busy machine; without a queue the four waited 15 to 62 s, and one had 10 turns
		{"4.0", 20, 3},  // nobody can be told there: who waits asks after a second, then after two, four, ...
	} {
		t.Run(c.version, func(t *testing.T) {
			harness.Need(t, true, harness.LinuxTools)
			g := harness.NewRegions(t)
			g.CopyLogs(t)
			us := g.R[0]
			f := must[*efs.CreateFileSystemOutput](t)(us.EFS().CreateFileSystem(t.Context(), &efs.CreateFileSystemInput{CreationToken: aws.String("fair")}))
			dir := t.TempDir()
			file := func(n string) string { return dir + "/" + n }
			if err := os.WriteFile(file("fair.py"), []byte(fairScript), 0o600); err != nil {
				t.Fatal(err)
			}
			var guests []*harness.Running
			names := []string{"a1", "a2", "b1", "b2"}
			for _, host := range []string{"a", "b"} {
				guests = append(guests, us.Guest(t, host).Start(t, guestLimit, fmt.Sprintf(`set -e
mount -t nfs4 -o vers=%s %s:/%s /mnt/n; cd /mnt/n
for p in 1 2; do python3 %s %s %s$p & done; touch %s; wait; cd /; umount /mnt/n
`, c.version, us.NFS, *f.FileSystemId, file("fair.py"), dir, host, file("ready-"+host))))
			}
			harness.Eventually(t, 3*time.Minute, "both clients are there", func() error {
				_, err := os.Stat(file("ready-a"))
				if err == nil {
					_, err = os.Stat(file("ready-b"))
				}
				return err
			})
			touch(t, file("go"))
			time.Sleep(40 * time.Second)
			touch(t, file("stop"))
			for _, r := range guests {
				r.Wait(t)
			}
			for _, n := range names {
				b, _ := os.ReadFile(file(n))
				var turns int
				var worst float64
				if _, err := fmt.Sscan(strings.TrimSpace(string(b)), &turns, &worst); err != nil {
					t.Fatalf("%s never had the lock (%q)", n, b)
				}
				t.Logf("%s: %s had the lock %d times and waited for it %.1f s at most", c.version, n, turns, worst)
				if turns < c.least || worst > c.most {
					t.Errorf("%s starves: at least %d times and %.0f s at most is fair", n, c.least, c.most)
				}
			}
		})
	}
}

func touch(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
