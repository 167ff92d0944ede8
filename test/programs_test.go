package test

import (
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"

	"github.com/holdfast-fs/holdfast/test/harness"
)

// programs are small jobs of real programs on a mount that check their own
// work. Each runs in a directory of its own, $D, and is over in a minute.
var programs = []struct {
	name   string
	tools  map[string]string
	script string
}{
	{"git", map[string]string{"git": "git"}, `
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.invalid GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.invalid
mkdir /run/src; cp -r /usr/local/go/src/net/http /run/src; cd /run/src
git init -q .; git add .; git commit -qm one
git clone -q --bare /run/src $D/bare.git; git -C $D/bare.git fsck --full --strict
git clone -q $D/bare.git $D/clone; cd $D/clone
for i in 1 2 3; do echo $i >>file; git add file; git commit -qm $i; done
git gc -q; git push -q origin HEAD; git fsck --full --strict; git -C $D/bare.git fsck --full --strict
diff -r --exclude=.git /run/src $D/clone | grep -v 'Only in .*: file$' && exit 1; true`},

	{"sqlite", map[string]string{"sqlite3": "sqlite3"}, `
cd $D; sqlite3 a.db 'create table t(w int, i int, primary key(w,i))'
writer() { for i in $(seq 40); do echo ".timeout 60000
begin immediate; insert into t values($1,$i); commit;"; done | sqlite3 -bail a.db; }
for w in 1 2 3; do writer $w & p="$p $!"; done
for x in $p; do wait $x; done
[ "$(sqlite3 a.db 'select count(*) from t; pragma integrity_check')" = "$(printf '120\nok')" ]
sqlite3 a.db 'vacuum; pragma integrity_check' | grep -qx ok`},

	{"fio", map[string]string{"fio": "fio"}, `
common="--directory=$D --size=16m --bsrange=512-64k --blockalign=512 --numjobs=2 --verify=crc32c --verify_fatal=1 --ioengine=psync --group_reporting --fallocate=none"
fio --name=random --rw=randwrite --end_fsync=1 $common
fio --name=mixed --rw=randrw --fsync=32 --randseed=7 $common
fio --name=direct --rw=randwrite --direct=1 $common`},

	{"postgresql", map[string]string{"/usr/lib/postgresql": "postgresql"}, `
B=$(echo /usr/lib/postgresql/*/bin | awk '{print $NF}'); chown postgres: $D; mkdir /run/pg; chown postgres: /run/pg
mkdir /dev/shm; mount -t tmpfs shm /dev/shm -o mode=1777
as() { (cd $D; setpriv --reuid=postgres --regid=postgres --clear-groups env HOME=/run/pg "$@"); }
pg() { as $B/pg_ctl -s -w -t 120 -D $D/data -l $D/log "$@"; }
sql() { as $B/psql -h /run/pg -qAt -c "$1" postgres; }
as $B/initdb -k -A trust -D $D/data >/dev/null
printf "unix_socket_directories = '/run/pg'\nlisten_addresses = ''\nmax_wal_size = '64MB'\n" >>$D/data/postgresql.conf
pg start; as $B/pgbench -h /run/pg -q -i -s 1 postgres
as $B/pgbench -h /run/pg -n -c 3 -t 60 postgres
pg stop -m immediate; pg start
[ "$(sql 'select sum(abalance) from pgbench_accounts')" = "$(sql 'select sum(delta) from pgbench_history')" ]
[ "$(sql 'select count(*) from pgbench_history')" = 180 ]
pg stop -m fast; as $B/pg_checksums -c -D $D/data`},
}

// TestRealProgramsOnALinuxMount: they run, and find their data whole.
func TestRealProgramsOnALinuxMount(t *testing.T) {
	harness.Need(t, true, harness.LinuxTools)
	g := harness.NewRegions(t)
	g.CopyLogs(t)
	us := g.R[0]
	f := must[*efs.CreateFileSystemOutput](t)(us.EFS().CreateFileSystem(t.Context(), &efs.CreateFileSystemInput{CreationToken: aws.String("programs")}))
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			harness.Need(t, true, there(p.tools))
			us.Guest(t, p.name).Run(t, guestLimit, `set -ex -o pipefail
`+mount(us, *f.FileSystemId)+`D=/mnt/n/`+p.name+`; mkdir $D
`+p.script+`
cd /; umount /mnt/n`)
		})
	}
}

// there replaces files that exist, which are no programs in the PATH.
func there(tools map[string]string) map[string]string {
	m := maps.Clone(tools)
	for name := range tools {
		if found, _ := filepath.Glob(name + "/*"); strings.HasPrefix(name, "/") && len(found) > 0 {
			delete(m, name)
		}
	}
	return m
}

// TestTwoClientsAppendUnderALock: no line is torn or lost, and each client
// sees what the other has written when it gets the lock.
func TestTwoClientsAppendUnderALock(t *testing.T) {
	harness.Need(t, true, harness.LinuxTools)
	const lines = 40
	g := harness.NewRegions(t)
	g.CopyLogs(t)
	us := g.R[0]
	f := must[*efs.CreateFileSystemOutput](t)(us.EFS().CreateFileSystem(t.Context(), &efs.CreateFileSystemInput{CreationToken: aws.String("append")}))
	dir := t.TempDir()
	var clients []*harness.Running
	for _, name := range []string{"one", "two"} {
		clients = append(clients, us.Guest(t, name).Start(t, guestLimit, fmt.Sprintf(`set -e
%scd /mnt/n; touch %[2]s/%[3]s; while [ ! -e %[2]s/one ] || [ ! -e %[2]s/two ]; do sleep 0.1; done
for i in $(seq %[4]d); do
  (flock 9; [ -e log ] || : >log; n=$(wc -l <log); echo "$n %[3]s $i" >>log) 9>>lock
done`, mount(us, *f.FileSystemId), dir, name, lines)))
	}
	for _, c := range clients {
		c.Wait(t)
	}
	b, err := us.Client(t, *f.FileSystemId).ReadFile(t.Context(), "/log")
	if err != nil {
		t.Fatal(err)
	}
	next := map[string]int{"one": 1, "two": 1}
	all := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	for i, line := range all {
		var n, seq int
		var who string
		if _, err := fmt.Sscanf(line, "%d %s %d", &n, &who, &seq); err != nil || n != i || seq != next[who] {
			t.Fatalf("line %d is %q, %v; next of each: %v", i, line, err, next)
		}
		next[who]++
	}
	if len(all) != 2*lines {
		t.Errorf("%d lines, want %d", len(all), 2*lines)
	}
}
