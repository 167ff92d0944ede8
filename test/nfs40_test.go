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

// script40 is everyday work by NFSv4.0: a tree, git, share reservations and
// locks as Linux makes them, names that are gone while their files are open.
const script40 = `cd /mnt/n
grep ' /mnt/n ' /proc/mounts | grep -q vers=4.0 || { grep /mnt/n /proc/mounts; exit 1; }
cp -a /usr/include/linux tree; diff -r /usr/include/linux tree
git init -q repo; cd repo; git config user.email a@b; git config user.name a
cp -a ../tree/n* .; git add .; git commit -qm one; echo more >>nfs.h; git commit -qam two; git gc -q; git fsck --strict; cd ..
git clone -q repo copy; diff -r -x .git repo copy
python3 - <<'PY'
import fcntl, os, subprocess, sys
f = os.open("locked", os.O_CREAT | os.O_RDWR)
fcntl.lockf(f, fcntl.LOCK_EX, 100, 0)
fcntl.lockf(f, fcntl.LOCK_SH, 50, 25)
fcntl.lockf(f, fcntl.LOCK_UN, 10, 30)
other = """
import fcntl, os
f = os.open("locked", os.O_RDWR)
def tryLock(how, n, at):
    try:
        fcntl.lockf(f, how | fcntl.LOCK_NB, n, at)
        return True
    except OSError:
        return False
got = [tryLock(fcntl.LOCK_EX, 10, 0), tryLock(fcntl.LOCK_EX, 10, 30), tryLock(fcntl.LOCK_SH, 5, 25), tryLock(fcntl.LOCK_EX, 5, 45), tryLock(fcntl.LOCK_EX, 0, 100)]
assert got == [False, True, True, False, True], got
"""
subprocess.run([sys.executable, "-c", other], check=True)
os.close(f)
g = os.open("gone", os.O_CREAT | os.O_RDWR)
os.unlink("gone")
os.write(g, b"still here")
assert os.pread(g, 100, 0) == b"still here"
for n in range(300):
    fs = [os.open("many%d" % i, os.O_CREAT | os.O_RDWR | (os.O_EXCL if n == 0 else 0)) for i in range(5)]
    ro = os.open("many0", os.O_RDONLY)
    for x in fs: os.close(x)
    os.close(ro)
PY
exec 9>lock; flock 9; ! flock -n lock true; flock -u 9; flock -n lock true; exec 9>&-
mv tree renamed; rm -r renamed copy; ls
sync; cd /; umount /mnt/n
`

func mount40(r *harness.Region, fsID string) string {
	return fmt.Sprintf("set -e\nmount -t nfs4 -o vers=4.0 %s:/%s /mnt/n\n", r.NFS, fsID)
}

// startWith40 is a running region with a file system.
func startWith40(t *testing.T) (us *harness.Region, fsID string) {
	t.Helper()
	tools := map[string]string{"python3": "python3", "git": "git"}
	for tool, pkg := range harness.LinuxTools {
		tools[tool] = pkg
	}
	harness.Need(t, true, tools)
	g := harness.NewRegions(t)
	g.CopyLogs(t)
	f := must[*efs.CreateFileSystemOutput](t)(g.R[0].EFS().CreateFileSystem(t.Context(), &efs.CreateFileSystemInput{CreationToken: aws.String("v40")}))
	return g.R[0], *f.FileSystemId
}

func TestNFS40ThroughALinuxMount(t *testing.T) {
	us, fsID := startWith40(t)
	us.Guest(t, "v40").Run(t, guestLimit, mount40(us, fsID)+script40)
}

// TestNFS40ClientLivesThroughARestart: two processes on one client hold a lock
// and an open file and write; the server is killed; both go on after grace, and
// another client never gets the lock.
func TestNFS40ClientLivesThroughARestart(t *testing.T) {
	us, fsID := startWith40(t)
	dir := t.TempDir()
	file := func(n string) string { return dir + "/" + n }
	exists := func(n string) func() error { return func() error { _, err := os.Stat(file(n)); return err } }

	holder := us.Guest(t, "h40").Start(t, guestLimit, mount40(us, fsID)+`cd /mnt/n
exec 9>lock; flock -n 9
exec 8<>gone; echo before >&8; rm gone
i=0
while [ ! -e `+file("stop")+` ]; do i=$((i+1)); echo "line $i" >>log; sync log; echo $i >`+file("progress")+`; sleep 0.05; done
seq -f 'line %.0f' $i | cmp - log
while [ ! -e `+file("gave-up")+` ]; do sleep 0.1; done
[ "$(cat /proc/self/fd/8)" = before ]; echo released`)
	harness.Eventually(t, 3*time.Minute, "the holder writes", exists("progress"))
	rival := us.Guest(t, "r40").Start(t, guestLimit, mount40(us, fsID)+`cd /mnt/n
while [ ! -e `+file("stop")+` ]; do if flock -n lock true; then echo "the rival got the lock"; touch `+file("gave-up")+`; exit 1; fi; echo tried >>`+file("rival")+`; sleep 0.1; done
echo never; touch `+file("gave-up")+"\n")
	harness.Eventually(t, 3*time.Minute, "the rival tries", exists("rival"))

	progress := func() string { b, _ := os.ReadFile(file("progress")); return strings.TrimSpace(string(b)) }
	us.Kill(t)
	before := progress()
	us.Start(t)
	harness.Eventually(t, 3*time.Minute, "the holder goes on after the restart", func() error {
		if p := progress(); p == before || p == "" {
			return fmt.Errorf("still at %s", p)
		}
		return nil
	})
	if err := os.WriteFile(file("stop"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := holder.Wait(t); !strings.Contains(out, "released") {
		t.Errorf("holder: %s", out)
	}
	if out := rival.Wait(t); !strings.Contains(out, "never") {
		t.Errorf("rival: %s", out)
	}
}
