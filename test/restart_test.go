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

// TestLinuxClientLivesThroughARestart: a process holds an open file, an open
// file without a name and a lock, and writes in a loop; the server is killed and
// started again; the loop goes on, and a second client never gets the lock.
func TestLinuxClientLivesThroughARestart(t *testing.T) {
	harness.Need(t, true, harness.LinuxTools)
	g := harness.NewRegions(t)
	g.CopyLogs(t)
	us := g.R[0]
	f := must[*efs.CreateFileSystemOutput](t)(us.EFS().CreateFileSystem(t.Context(), &efs.CreateFileSystemInput{CreationToken: aws.String("restart")}))
	dir := t.TempDir()
	file := func(n string) string { return dir + "/" + n }

	holder := us.Guest(t, "holder").Start(t, guestLimit, `set -e
`+mount(us, *f.FileSystemId)+`cd /mnt/n
exec 9>lock; flock -n 9
exec 8>gone; echo before >&8; rm gone
i=0
while [ ! -e `+file("stop")+` ]; do i=$((i+1)); echo "line $i" >>log; sync log; echo $i >`+file("progress")+`; sleep 0.05; done
echo after >&8; [ "$(cat /proc/self/fd/8 2>/dev/null || cat <&8 || true)" != x ]
wc -l <log; echo $i
[ "$(wc -l <log)" = "$i" ]; seq -f 'line %.0f' $i | cmp - log
exec 9>&-; echo released`)
	progress := func() string { b, _ := os.ReadFile(file("progress")); return strings.TrimSpace(string(b)) }
	harness.Eventually(t, 3*time.Minute, "the holder writes", func() error {
		if progress() == "" {
			return fmt.Errorf("nothing yet: %s", holder.Output())
		}
		return nil
	})
	rival := us.Guest(t, "rival").Start(t, guestLimit, `set -e
`+mount(us, *f.FileSystemId)+`cd /mnt/n
while [ ! -e `+file("stop")+` ]; do if flock -n lock true; then echo "the rival got the lock"; exit 1; fi; echo tried >>`+file("rival")+`; sleep 0.1; done
echo never`)
	harness.Eventually(t, 3*time.Minute, "the rival tries", func() error { _, err := os.ReadFile(file("rival")); return err })

	for range 2 {
		us.Kill(t)
		before := progress()
		us.Start(t)
		harness.Eventually(t, 3*time.Minute, "the holder goes on after the restart", func() error {
			if p := progress(); p == before || p == "" {
				return fmt.Errorf("still at %s", p)
			}
			return nil
		})
	}
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

// TestReplicationGoesOnAfterCutsAndRestarts: the link is cut, then each side is
// killed; the destination resumes from its position each time.
func TestReplicationGoesOnAfterCutsAndRestarts(t *testing.T) {
	harness.Need(t, true, harness.LinuxTools)
	s := newStory(t)
	write := func(name string) {
		t.Helper()
		s.us.Guest(t, "c-"+name).Run(t, guestLimit, `set -e
`+mount(s.us, s.usFS)+`for i in $(seq 1 50); do echo "`+name+` $i" >/mnt/n/`+name+`$i; done; umount /mnt/n`)
	}
	link := func(state string) { t.Helper(); s.us.NS.Exec(t, "ip", "link", "set", s.Link[0], state) }

	link("down")
	write("cut")
	harness.Eventually(t, time.Minute, "the destination notices the cut", func() error {
		var st status
		s.eu.Get(t, "file-systems/"+s.euFS, &st)
		if st.Replication.Connected {
			return fmt.Errorf("still connected")
		}
		return nil
	})
	link("up")
	s.equal(s.us, s.usFS, s.eu, s.euFS)

	s.eu.Kill(t)
	write("while-eu-was-down")
	s.eu.Start(t)
	s.equal(s.us, s.usFS, s.eu, s.euFS)

	s.us.Kill(t)
	s.us.Start(t)
	write("after-us-restart")
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	var st status
	s.eu.Get(t, "file-systems/"+s.euFS, &st)
	if k := st.Replication.LastTransfer.Kind; k != "" {
		t.Errorf("a %s was made: a destination must resume from its position", k)
	}
	s.us.Stop(t)
	s.eu.Stop(t)
}

// TestMountTargetExportsItsFileSystemAtRoot: an address of its own, "/" is the
// file system, and the shared address has it under its name.
func TestMountTargetExportsItsFileSystemAtRoot(t *testing.T) {
	harness.Need(t, true, harness.LinuxTools)
	g := harness.NewRegions(t)
	g.CopyLogs(t)
	us := g.R[0]
	f := must[*efs.CreateFileSystemOutput](t)(us.EFS().CreateFileSystem(t.Context(), &efs.CreateFileSystemInput{CreationToken: aws.String("mt")}))
	ip := strings.TrimSuffix(us.NFS, ".1") + ".200"
	us.NS.Exec(t, "ip", "addr", "add", ip+"/32", "dev", "lo")
	m := must[*efs.CreateMountTargetOutput](t)(us.EFS().CreateMountTarget(t.Context(), &efs.CreateMountTargetInput{
		FileSystemId: f.FileSystemId, SubnetId: aws.String("subnet-0000000000000001a"), IpAddress: aws.String(ip)}))
	us.Guest(t, "mt").Run(t, guestLimit, `set -ex
mount -t nfs4 -o vers=4.1 `+ip+`:/ /mnt/n; mkdir /mnt/n/d; echo hello >/mnt/n/d/f; umount /mnt/n
mount -t nfs4 -o vers=4.1 `+us.NFS+`:/ /mnt/n; ls /mnt/n | grep -qx `+*f.FileSystemId+`; grep -q hello /mnt/n/`+*f.FileSystemId+`/d/f; umount /mnt/n
mount -t nfs4 -o vers=4.1 `+ip+`:/d /mnt/n; grep -q hello /mnt/n/f; umount /mnt/n`)
	us.Put(t, "mount-targets/"+*m.MountTargetId+"/root-squash", `{"enabled": true, "anonymous_uid": 1234}`)
	us.Guest(t, "squash").Run(t, guestLimit, `set -ex
mount -t nfs4 `+us.NFS+`:/`+*f.FileSystemId+` /mnt/n; mkdir -m 777 /mnt/n/open; echo secret >/mnt/n/s; chmod 600 /mnt/n/s; umount /mnt/n
mount -t nfs4 `+ip+`:/ /mnt/n; ! touch /mnt/n/x; ! cat /mnt/n/s; ! chown 5 /mnt/n/d; ! rm /mnt/n/s
touch /mnt/n/open/mine; [ "$(stat -c %u:%g /mnt/n/open/mine)" = 1234:65534 ]; umount /mnt/n`)
	us.Put(t, "mount-targets/"+*m.MountTargetId+"/root-squash", `{"enabled": false}`)
	us.Kill(t)
	us.Start(t)
	us.Guest(t, "mt2").Run(t, guestLimit, `set -ex
mount -t nfs4 -o vers=4.1 `+ip+`:/ /mnt/n; grep -q hello /mnt/n/d/f; umount /mnt/n`)
	must[*efs.DeleteMountTargetOutput](t)(us.EFS().DeleteMountTarget(t.Context(), &efs.DeleteMountTargetInput{MountTargetId: m.MountTargetId}))
	harness.Eventually(t, time.Minute, "nobody listens on the mount target's address any more", func() error {
		c, err := us.NS.Dial(t.Context(), "tcp", ip+":2049")
		if err == nil {
			c.Close()
			return fmt.Errorf("somebody does")
		}
		return nil
	})
}
