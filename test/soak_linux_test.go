package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-fs/holdfast/test/harness"
)

// A Linux client in the soak: a guest that writes files on a mount while
// regions are killed, cut off and promoted. What its close calls acknowledged it
// tells outside of the mount, in a file of the host.

const (
	linuxDir   = "/linux"
	linuxFiles = 12
	// linuxEvery: a guest takes some seconds to boot, so it is not there always.
	linuxEvery = 3
)

// canRunLinux tells whether guests can be run here.
func (s *soak) canRunLinux() bool {
	if s.us.NS == nil {
		return false
	}
	for tool := range harness.LinuxTools {
		if _, err := exec.LookPath(tool); err != nil {
			return false
		}
	}
	return true
}

// linuxText is the content that the guest writes as its i-th change of a run.
func linuxText(run, i int) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("linux-%d-%d ", run, i), 1+i%300))
}

const linuxScript = `cd /mnt/n%[1]s
i=0
while [ ! -e %[2]s/stop ]; do
  i=$((i+1)); n=f$((RANDOM %% %[3]d))
  printf -v pad '%%*s' $((1+i%%300)) ''
  printf '%%s' "${pad// /linux-%[4]d-$i }" >$n
  echo "$n $i" >>%[2]s/acked
done
cd /; umount /mnt/n
`

// linux is a guest at work; nil when it is not its turn.
type linux struct {
	s     *soak
	h     *worker
	run   int
	guest *harness.Running
}

// startLinux boots a guest that mounts the region that writes, and waits until
// it has written something.
func (s *soak) startLinux() *linux {
	s.t.Helper()
	s.linuxTurn++
	if s.linux == nil || s.linuxTurn%linuxEvery != 0 {
		return nil
	}
	l := &linux{s: s, h: s.linux, run: s.linuxTurn}
	r := s.here()
	// The script learns its directory, which the host can read, from where it is.
	l.guest = r.Guest(s.t, fmt.Sprintf("soak%d", l.run)).Start(s.t, guestLimit, "set -e\nd=$(dirname $0)\n"+mount(r, s.id[s.at])+
		fmt.Sprintf(linuxScript, linuxDir, "$d", linuxFiles, l.run))
	harness.Eventually(s.t, 2*time.Minute, "the Linux client writes", func() error {
		if l.guest.Ended() {
			l.guest.Wait(s.t)
		}
		_, err := os.Stat(filepath.Join(l.guest.Dir, "acked"))
		return err
	})
	return l
}

// stop ends the guest after the change under way, and takes what it was told.
func (l *linux) stop() {
	if l == nil {
		return
	}
	t := l.s.t
	t.Helper()
	if err := os.WriteFile(filepath.Join(l.guest.Dir, "stop"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.guest.Wait(t)
	b, err := os.ReadFile(filepath.Join(l.guest.Dir, "acked"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		var name string
		var i int
		if _, err := fmt.Sscan(line, &name, &i); err != nil {
			t.Fatalf("the guest says %q: %v", line, err)
		}
		op := change{name: name, data: linuxText(l.run, i)}
		l.h.ops = append(l.h.ops, op)
		op.apply(l.h.now)
		l.h.all++
		n++
	}
	l.s.seen["changes by a Linux client"] += n
}
