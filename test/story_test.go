// Package test holds the end-to-end tests: real processes, a real Linux NFS
// client, the AWS CLI.
package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/efs/types"

	"github.com/holdfast-fs/holdfast/test/harness"
)

// guestLimit is far more than a script needs on an idle machine.
const guestLimit = 15 * time.Minute

func mount(r *harness.Region, fsID string) string {
	return fmt.Sprintf("mount -t nfs4 -o vers=4.1 %s:/%s /mnt/n\n", r.NFS, fsID)
}

// sums is a script that writes names, types, modes and contents below a
// directory of the mount into a file.
func sums(dir, to string) string {
	return fmt.Sprintf(`(cd /mnt/n/%s && find . -printf '%%P %%y %%m %%U:%%G %%s %%l\n' | sed -E 's/ d ([0-9]+) ([0-9:]+) [0-9]+ / d \1 \2 /' | LC_ALL=C sort && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) >%s
`, dir, to)
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// story is a replicated file system between two regions.
type story struct {
	*harness.Regions
	t       testing.TB
	ctx     context.Context
	us, eu  *harness.Region
	usFS    string
	euFS    string
	scratch string
}

func newStory(t *testing.T) *story {
	s := &story{Regions: harness.NewRegions(t), t: t, ctx: context.Background(), scratch: t.TempDir()}
	s.CopyLogs(t)
	s.us, s.eu = s.R[0], s.R[1]
	f := must[*efs.CreateFileSystemOutput](t)(s.us.EFS().CreateFileSystem(s.ctx, &efs.CreateFileSystemInput{CreationToken: aws.String("story")}))
	s.usFS = *f.FileSystemId
	s.euFS = s.replicate(s.us, s.usFS, s.eu, "")
	return s
}

// replicate creates a replication and waits until the destination is whole.
func (s *story) replicate(from *harness.Region, id string, to *harness.Region, existing string) string {
	s.t.Helper()
	d := types.DestinationToCreate{Region: aws.String(to.Name)}
	if existing != "" {
		d.FileSystemId = aws.String(existing)
		must[*efs.UpdateFileSystemProtectionOutput](s.t)(to.EFS().UpdateFileSystemProtection(s.ctx, &efs.UpdateFileSystemProtectionInput{
			FileSystemId: aws.String(existing), ReplicationOverwriteProtection: types.ReplicationOverwriteProtectionDisabled}))
	}
	r := must[*efs.CreateReplicationConfigurationOutput](s.t)(from.EFS().CreateReplicationConfiguration(s.ctx,
		&efs.CreateReplicationConfigurationInput{SourceFileSystemId: aws.String(id), Destinations: []types.DestinationToCreate{d}}))
	dest := *r.Destinations[0].FileSystemId
	harness.Eventually(s.t, time.Minute, "the destination follows", func() error {
		var st status
		if err := to.TryGet("file-systems/"+dest, &st); err != nil {
			return err
		}
		if !st.Replication.Following {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	return dest
}

type status struct {
	Role        string `json:"role"`
	DurableSeq  uint64 `json:"durable_seq"`
	Replication struct {
		Connected    bool    `json:"connected"`
		Following    bool    `json:"following"`
		LagSeconds   float64 `json:"lag_seconds"`
		Error        string  `json:"error"`
		Problem      string  `json:"problem"`
		LastTransfer struct {
			Kind      string `json:"kind"`
			BytesWire uint64 `json:"bytes_wire"`
		} `json:"last_transfer"`
	} `json:"replication"`
}

type hash struct {
	Position string `json:"position"`
	Hash     string `json:"hash"`
	Keys     uint64 `json:"keys"`
}

// equal waits until the destination stands where the source stands and
// compares the hashes of both trees.
func (s *story) equal(from *harness.Region, id string, to *harness.Region, dest string) {
	s.t.Helper()
	harness.Eventually(s.t, time.Minute, "both regions have equal trees at one position", func() error {
		var a, b hash
		from.Get(s.t, "file-systems/"+id+"/hash", &a)
		to.Get(s.t, "file-systems/"+dest+"/hash", &b)
		if a != b {
			return fmt.Errorf("source %+v, destination %+v", a, b)
		}
		return nil
	})
}

func (s *story) deleteReplication(r *harness.Region, source string) {
	s.t.Helper()
	must[*efs.DeleteReplicationConfigurationOutput](s.t)(r.EFS().DeleteReplicationConfiguration(s.ctx,
		&efs.DeleteReplicationConfigurationInput{SourceFileSystemId: aws.String(source)}))
	harness.Eventually(s.t, time.Minute, "the replication is gone", func() error {
		_, err := r.EFS().DescribeReplicationConfigurations(s.ctx, &efs.DescribeReplicationConfigurationsInput{FileSystemId: aws.String(source)})
		var gone *types.ReplicationNotFound
		if errors.As(err, &gone) {
			return nil
		}
		return fmt.Errorf("describe: %v", err)
	})
}

func (s *story) file(name string) string { return filepath.Join(s.scratch, name) }

// goCache is a compiler's cache that has what a small program needs of the
// standard library: a guest needs minutes to compile that, and it is not what
// is tested.
func (s *story) goCache() string {
	s.t.Helper()
	dir := s.t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.invalid/m\ngo 1.21\n", "main.go": "package main\nimport \"fmt\"\nfunc main() { fmt.Println() }\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	cache := filepath.Join(dir, "cache")
	cmd := exec.Command("/usr/local/go/bin/go", "build", "-o", "m", ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOCACHE="+cache)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("build for the cache: %v\n%s", err, out)
	}
	return cache
}

func (s *story) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.file(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// TestStoryThroughALinuxMount is the story of `holdfast demo` through a kernel
// mount: copy a real tree, work in it with git and the Go compiler, lose the
// primary, fail over, work on, fail back.
func TestStoryThroughALinuxMount(t *testing.T) {
	harness.Need(t, true, harness.LinuxTools)
	s := newStory(t)

	// The primary at work.
	s.us.Guest(t, "us-client").Run(t, guestLimit, `set -ex
`+mount(s.us, s.usFS)+`
chmod 777 /mnt/n
mkdir -p /mnt/n/src/cmd && cd /usr/local/go/src
printf '%s\n' * cmd/* | grep -vx cmd | xargs -P 8 -I{} cp -a {} /mnt/n/src/{}
cd /mnt/n/src/net
git init -q . && git config user.email t@example.invalid && git config user.name t
git add . && git commit -qm one && git fsck --full --strict
mkdir /mnt/n/mod && cd /mnt/n/mod
printf 'module example.invalid/m\ngo 1.21\n' >go.mod
printf 'package main\nimport "fmt"\nfunc main() { fmt.Println("built on the mount") }\n' >main.go
GOFLAGS=-mod=mod GOCACHE=`+s.goCache()+` GOTMPDIR=/run go build -o m . && ./m | grep -q 'built on the mount'
cd / && sync
`+sums("", s.file("us1"))+`
umount /mnt/n`)
	s.equal(s.us, s.usFS, s.eu, s.euFS)

	// The secondary shows the same tree, read-only.
	s.eu.Guest(t, "eu-reader").Run(t, guestLimit, `set -ex
`+mount(s.eu, s.euFS)+sums("", s.file("eu1"))+`
if touch /mnt/n/x 2>/run/err; then echo "a destination took a write"; exit 1; fi
grep -qi 'read-only' /run/err
(cd /mnt/n/src/net && git fsck --full --strict) `)
	if a, b := s.read("us1"), s.read("eu1"); a != b {
		t.Fatal("the trees differ between the regions: " + firstDifference(a, b))
	}

	// A writer in the primary, which is killed under it.
	acked := s.file("acked")
	writer := s.us.Guest(t, "us-writer").Start(t, guestLimit, `set -e
`+mount(s.us, s.usFS)+`mkdir /mnt/n/w
for i in $(seq 1 100000); do echo "content $i" >/mnt/n/w/$i; sync /mnt/n/w/$i; echo $i >>`+acked+`; done`)
	harness.Eventually(t, 5*time.Minute, "the writer writes", func() error {
		b, err := os.ReadFile(acked)
		if n := strings.Count(string(b), "\n"); n < 50 {
			return fmt.Errorf("%d acknowledged, %v, %s", n, err, writer.Output())
		}
		return nil
	})
	s.us.Kill(t)
	ackedAtKill := strings.Fields(s.read("acked"))

	// Failover: with the primary dead, without waiting for it.
	s.deleteReplication(s.eu, s.usFS)
	s.eu.Guest(t, "eu-writer").Run(t, guestLimit, `set -ex
`+mount(s.eu, s.euFS)+`ls /mnt/n/w >`+s.file("survived")+`
for i in $(cat `+s.file("survived")+`); do [ "$(cat /mnt/n/w/$i)" = "content $i" ] || echo "$i" >>`+s.file("torn")+`; done
cd /mnt/n && echo "written in eu" >eu-file && mv src/net/http src/http-moved && rm -r src/archive && echo changed >>src/fmt/print.go
cd /mnt/n/mod && ./m
cd / && umount /mnt/n`)
	survived := make(map[string]bool)
	for _, f := range strings.Fields(s.read("survived")) {
		survived[f] = true
	}
	var lost []string
	for _, f := range ackedAtKill {
		if !survived[f] {
			lost = append(lost, f)
		}
	}
	t.Logf("acknowledged at the kill: %d, lost: %d", len(ackedAtKill), len(lost))
	if b, err := os.ReadFile(s.file("torn")); err == nil {
		// The newest file may have been cut between its creation and its data.
		if torn := strings.Fields(string(b)); len(torn) > 1 {
			t.Fatalf("files without their content at the failover: %v", torn)
		}
	}

	// The old primary comes back and refuses writes until somebody decides.
	s.us.Start(t)
	harness.Eventually(t, time.Minute, "the old primary knows that it is superseded", func() error {
		var st status
		s.us.Get(t, "file-systems/"+s.usFS, &st)
		if st.Role != "superseded" {
			return errors.New(st.Role)
		}
		return nil
	})

	// Failback: the new primary to the old one.
	s.replicate(s.eu, s.euFS, s.us, s.usFS)
	s.equal(s.eu, s.euFS, s.us, s.usFS)
	var st status
	s.us.Get(t, "file-systems/"+s.usFS, &st)
	t.Logf("resync: %+v", st.Replication.LastTransfer)
	if lt := st.Replication.LastTransfer; lt.Kind != "resync" && lt.Kind != "" || lt.BytesWire > 20<<20 {
		t.Errorf("the failback transferred %+v: want only what changed", lt)
	}
	s.salvageHolds(lost)

	// The last step of the article: the first direction again.
	s.deleteReplication(s.eu, s.euFS)
	s.replicate(s.us, s.usFS, s.eu, s.euFS)
	s.us.Guest(t, "us-last").Run(t, guestLimit, `set -ex
`+mount(s.us, s.usFS)+`grep -q "written in eu" /mnt/n/eu-file; test -d /mnt/n/src/http-moved; test ! -e /mnt/n/src/archive
echo "back home" >/mnt/n/home-file; sync
(cd /mnt/n/src/fmt && tail -1 print.go | grep -q changed)
umount /mnt/n`)
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	s.us.Check(t)
	s.eu.Check(t)
}

func (s *story) salvageHolds(lost []string) {
	s.t.Helper()
	have := s.salvaged(s.us, s.usFS)
	for _, f := range lost {
		if !have["/w/"+f] {
			s.t.Errorf("file %s was acknowledged and lost, but the salvage does not have it (it has %d paths)", f, len(have))
		}
	}
}

func firstDifference(a, b string) string {
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(la), len(lb)) {
		if la[i] != lb[i] {
			return "line " + strconv.Itoa(i+1) + ":\n" + la[i] + "\n" + lb[i]
		}
	}
	return fmt.Sprintf("%d and %d lines", len(la), len(lb))
}
