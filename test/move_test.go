package test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"

	"github.com/holdfast-fs/holdfast/test/harness"
)

// moving is a mount target whose address can move from us to eu, as a floating
// address or a DNS name does, with the clients' route to it.
type moving struct {
	*story
	vers   string // of NFS
	ip     string
	target string // in us
	// reader is where the file is read at the end.
	reader   *harness.Region
	readerFS string
}

// movingNet is a network of which both regions may have addresses.
const movingNet = "10.96.7"

// newMoving is a replicated file system with a mount target in us.
func newMoving(t *testing.T) *moving {
	s := &story{Regions: harness.NewRegions(t), t: t, ctx: t.Context(), scratch: t.TempDir()}
	s.CopyLogs(t)
	s.us, s.eu = s.R[0], s.R[1]
	for i, r := range s.R {
		r.Stop(t)
		// A short lease: nobody waits long for a client that has nothing to say.
		r.Edit(t, fmt.Sprintf("127.11.%d.0/24", i), movingNet+".0/24", "mount_target_port: 2049", "mount_target_port: 2049\n  lease_seconds: 10")
		r.Start(t)
		// The region is its guests' router too. A router of its own does not have
		// the sockets of a server that has closed them: for a minute they would
		// swallow what a client sends to where its address has gone.
		r.NS.Exec(t, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.tcp_early_demux=0")
	}
	s.usFS = s.create("moving")
	s.euFS = s.replicate(s.us, s.usFS, s.eu, "")
	m := &moving{story: s, vers: "4.1", ip: movingNet + ".1", reader: s.eu, readerFS: s.euFS}
	m.us.NS.Exec(t, "ip", "addr", "add", m.ip+"/32", "dev", "lo")
	m.target = m.mountTarget(m.us, m.usFS, "subnet-0000000000000001b")
	return m
}

func (m *moving) mountTarget(r *harness.Region, fsID, subnet string) (id string) {
	m.t.Helper()
	o := must[*efs.CreateMountTargetOutput](m.t)(r.EFS().CreateMountTarget(m.ctx, &efs.CreateMountTargetInput{
		FileSystemId: aws.String(fsID), SubnetId: aws.String(subnet), IpAddress: aws.String(m.ip)}))
	return *o.MountTargetId
}

// leave takes the address from us: packets to it go to eu from now on.
func (m *moving) leave() {
	m.t.Helper()
	m.us.NS.Exec(m.t, "ip", "addr", "del", m.ip+"/32", "dev", "lo")
	m.us.NS.Exec(m.t, "ip", "route", "add", m.ip+"/32", "via", "10.96.9.2")
	m.eu.NS.Exec(m.t, "ip", "route", "add", "10.96.1.0/24", "via", "10.96.9.1")
}

// cut ends the traffic between the regions, join lets it flow again.
func (m *moving) cut()  { m.t.Helper(); m.us.NS.Exec(m.t, "ip", "link", "set", m.Link[0], "down") }
func (m *moving) join() { m.t.Helper(); m.us.NS.Exec(m.t, "ip", "link", "set", m.Link[0], "up") }

// arrive gives it to eu.
func (m *moving) arrive() (mountTarget string) {
	m.t.Helper()
	m.eu.NS.Exec(m.t, "ip", "addr", "add", m.ip+"/32", "dev", "lo")
	return m.mountTarget(m.eu, m.euFS, "subnet-0000000000000002b")
}

// comeBack takes it from eu and gives it to us again.
func (m *moving) comeBack() {
	m.t.Helper()
	m.eu.NS.Exec(m.t, "ip", "addr", "del", m.ip+"/32", "dev", "lo")
	m.us.NS.Exec(m.t, "ip", "route", "del", m.ip+"/32")
	m.us.NS.Exec(m.t, "ip", "addr", "add", m.ip+"/32", "dev", "lo")
	m.mountTarget(m.us, m.usFS, "subnet-0000000000000001b")
}

// lineBytes is the length of the writer's lines: line i is at i*lineBytes, so
// that a line that a failover lost is known by its place. It is a page, because
// a client writes pages: a lost part of one would come back with the rest.
const lineBytes = 4096

// holder mounts the address, holds an open file and a lock and writes lines,
// each synced before it is told in the file "progress". It has another file
// open, of which the rival takes the name away.
func (m *moving) holder() *harness.Running {
	return m.us.Guest(m.t, "holder").Start(m.t, guestLimit, `set -e
mount -t nfs4 -o vers=`+m.vers+` `+m.ip+`:/ /mnt/n; cd /mnt/n
cat >/run/w <<'PERL'
use Fcntl ":flock"; use IO::Handle; $| = 1;
open(my $f, "+>", "log") or die "open: $!"; flock($f, LOCK_EX|LOCK_NB) or die "lock: $!";
open(my $g, "+>", "gone") or die "open: $!"; syswrite($g, "before"); $g->sync or die "fsync: $!";
open(my $p, ">", "`+m.file("progress")+`") or die $!; $p->autoflush(1);
for (my $i = 0; ! -e "`+m.file("stop")+`"; $i++) {
  my $n = syswrite($f, sprintf("%4095d\n", $i)); defined $n && $n == `+strconv.Itoa(lineBytes)+` or die "write $i: $!";
  $f->sync or die "fsync $i: $!";
  seek($p, 0, 0); printf $p "%10d\n", $i;
  select(undef, undef, undef, 0.02);
}
syswrite($g, "after"); $g->sync or die "a file without a name: $!";
flock($f, LOCK_UN) or die "unlock: $!"; close($f) or die "close: $!"; print "released\n";
PERL
perl /run/w
grep ' `+m.ip+`:/ \|^`+m.ip+`:/ ' /proc/mounts; cd /; umount /mnt/n`)
}

// rival tries to get the lock until it is told to stop; it never must.
func (m *moving) rival() *harness.Running {
	return m.us.Guest(m.t, "rival").Start(m.t, guestLimit, `set -e
mount -t nfs4 -o vers=`+m.vers+` `+m.ip+`:/ /mnt/n; cd /mnt/n
rm gone
while [ ! -e `+m.file("stop")+` ]; do if flock -n log true; then echo "the rival got the lock"; exit 1; fi; echo tried >>`+m.file("rival")+`; sleep 0.1; done
echo never`)
}

// progress is the newest line that was acknowledged, -1 for none.
func (m *moving) progress() int {
	b, _ := os.ReadFile(m.file("progress"))
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return -1
	}
	return n
}

func (m *moving) tries() int {
	b, _ := os.ReadFile(m.file("rival"))
	return strings.Count(string(b), "\n")
}

// passes waits until the writer has written line n.
func (m *moving) passes(n int, w *harness.Running) {
	m.t.Helper()
	harness.Eventually(m.t, 4*time.Minute, fmt.Sprintf("the writer writes line %d", n), func() error {
		if w.Ended() {
			w.Wait(m.t)
			m.t.Fatalf("the writer has ended: %s", w.Output())
		}
		if p := m.progress(); p < n {
			return fmt.Errorf("line %d: %s", p, w.Output())
		}
		return nil
	})
}

// finish stops both guests and gives the lines that are not in the file.
// Whatever is there must be what was written.
func (m *moving) finish(holder, rival *harness.Running) (lost []int) {
	m.t.Helper()
	if err := os.WriteFile(m.file("stop"), nil, 0o600); err != nil {
		m.t.Fatal(err)
	}
	if out := holder.Wait(m.t); !strings.Contains(out, "released") {
		m.t.Errorf("holder: %s", out)
	}
	if out := rival.Wait(m.t); !strings.Contains(out, "never") {
		m.t.Errorf("rival: %s", out)
	}
	// Not read through the holder's mount: it has in its cache what it wrote,
	// also what the region took with it.
	text := m.reader.Guest(m.t, "reader").Run(m.t, guestLimit, "set -e\n"+mount(m.reader, m.readerFS)+"test ! -e /mnt/n/gone; cat /mnt/n/log")
	if last := m.progress(); len(text) < (last+1)*lineBytes {
		m.t.Errorf("the file has %d bytes, line %d was acknowledged last", len(text), last)
	}
	for i := 0; (i+1)*lineBytes <= len(text); i++ {
		switch line := text[i*lineBytes : (i+1)*lineBytes]; line {
		case fmt.Sprintf("%4095d\n", i):
		case strings.Repeat("\x00", lineBytes):
			lost = append(lost, i)
		default:
			m.t.Fatalf("line %d is %.80q", i, strings.TrimSpace(line))
		}
	}
	return lost
}

// both starts holder and rival and waits until both are at it.
func (m *moving) both() (holder, rival *harness.Running) {
	m.t.Helper()
	holder = m.holder()
	m.passes(20, holder)
	rival = m.rival()
	m.triesMore(3, rival)
	return holder, rival
}

func (m *moving) triesMore(n int, rival *harness.Running) {
	m.t.Helper()
	before := m.tries()
	harness.Eventually(m.t, 4*time.Minute, "the rival tries", func() error {
		if m.tries() < before+n {
			return fmt.Errorf("not yet: %s", rival.Output())
		}
		return nil
	})
}

// TestMountSurvivesAFailover: a process holds an open file and a lock and
// writes; its region dies while the other one lags; that takes over data and
// address. The process goes on without a remount and without an error, nobody
// else gets its lock, and the file has every line but those that were lost with
// the region, which are its newest.
func TestMountSurvivesAFailover(t *testing.T) {
	harness.Need(t, true, harness.LinuxTools)
	m := newMoving(t)
	holder, rival := m.both()
	m.cut()
	before := m.progress()
	m.passes(before+10, holder)
	m.us.Kill(t)
	last := m.progress()
	m.deleteReplication(m.eu, m.usFS)
	m.join()
	m.leave()
	m.arrive()
	m.passes(last+40, holder)
	m.triesMore(5, rival)
	lost := m.finish(holder, rival)
	t.Logf("the link was cut at line %d; acknowledged at the kill: %d; lost with the region: %v", before, last, lost)
	if len(lost) == 0 || lost[0] < before-1 || lost[len(lost)-1] != last || len(lost) != last-lost[0]+1 {
		t.Errorf("lost lines %v: want the newest up to %d, from about %d on", lost, last, before)
	}
}

// TestSwitchoverLosesNothing: as above, but planned. The clients are cut off
// first, then the replication is deleted, which drains it, then the address
// arrives in the other region.
func TestSwitchoverLosesNothing(t *testing.T) {
	for _, vers := range []string{"4.1", "4.0"} {
		t.Run(vers, func(t *testing.T) { switchover(t, vers) })
	}
}

func switchover(t *testing.T, vers string) {
	harness.Need(t, true, harness.LinuxTools)
	m := newMoving(t)
	m.vers = vers
	holder, rival := m.both()
	must[*efs.DeleteMountTargetOutput](t)(m.us.EFS().DeleteMountTarget(t.Context(), &efs.DeleteMountTargetInput{MountTargetId: aws.String(m.target)}))
	m.leave()
	m.deleteReplication(m.us, m.usFS)
	m.becomes(m.eu, m.euFS, "writer")
	last := m.progress()
	m.arrive()
	m.passes(last+40, holder)
	m.triesMore(5, rival)
	if lost := m.finish(holder, rival); len(lost) > 0 {
		t.Errorf("lost lines: %v", lost)
	}
}

// TestMountGoesThereAndBack: a switchover, and a failback with the same mount.
// The first region's server has run all the time and remembers the clients.
func TestMountGoesThereAndBack(t *testing.T) {
	harness.Need(t, true, harness.LinuxTools)
	m := newMoving(t)
	holder, rival := m.both()
	must[*efs.DeleteMountTargetOutput](t)(m.us.EFS().DeleteMountTarget(t.Context(), &efs.DeleteMountTargetInput{MountTargetId: aws.String(m.target)}))
	m.leave()
	m.deleteReplication(m.us, m.usFS)
	m.becomes(m.eu, m.euFS, "writer")
	last := m.progress()
	there := m.arrive()
	m.passes(last+40, holder)
	m.triesMore(3, rival)

	m.replicate(m.eu, m.euFS, m.us, m.usFS)
	must[*efs.DeleteMountTargetOutput](t)(m.eu.EFS().DeleteMountTarget(t.Context(), &efs.DeleteMountTargetInput{MountTargetId: aws.String(there)}))
	m.deleteReplication(m.eu, m.euFS)
	m.becomes(m.us, m.usFS, "writer")
	last = m.progress()
	m.comeBack()
	m.passes(last+40, holder)
	m.triesMore(3, rival)
	m.reader, m.readerFS = m.us, m.usFS
	if lost := m.finish(holder, rival); len(lost) > 0 {
		t.Errorf("lost lines: %v", lost)
	}
}

// TestAddressMovesBeforeTheFailover: the clients arrive at a destination that
// cannot give them back what they had. They wait until it is promoted.
func TestAddressMovesBeforeTheFailover(t *testing.T) {
	harness.Need(t, true, harness.LinuxTools)
	m := newMoving(t)
	holder, rival := m.both()
	m.us.Kill(t)
	time.Sleep(2 * time.Second) // the writer notes a line only after its answer came
	last := m.progress()
	m.leave()
	m.arrive()
	time.Sleep(8 * time.Second) // the clients have long arrived when it is promoted
	if p := m.progress(); p > last {
		t.Fatalf("line %d was written in a destination, %d was the last before the kill", p, last)
	}
	m.deleteReplication(m.eu, m.usFS)
	m.passes(last+40, holder)
	m.triesMore(5, rival)
	t.Logf("lost: %v", m.finish(holder, rival))
}
