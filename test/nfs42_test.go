package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-fs/holdfast/test/harness"
)

// script42 uses what NFSv4.2 adds, by a mount without a version option. $out
// is a directory of the host.
const script42 = `cd /mnt/n
grep ' /mnt/n ' /proc/mounts | grep -q vers=4.2 || { grep /mnt/n /proc/mounts; exit 1; }
dd if=/dev/urandom of=a bs=1M count=8 status=none
cp --reflink=always a clone; cmp a clone
printf changed | dd of=clone conv=notrunc bs=1 seek=5000 status=none; ! cmp -s a clone
fallocate -l 3M grown; [ "$(stat -c %s grown)" = 3145728 ]
cp a punched; fallocate -p -o 1M -l 2M punched
python3 - <<'PY'
import os
f = os.open("punched", os.O_RDONLY)
size = os.fstat(f).st_size
got = [os.lseek(f, 0, os.SEEK_HOLE), os.lseek(f, 1 << 20, os.SEEK_DATA), os.lseek(f, 3 << 20, os.SEEK_HOLE)]
assert got == [1 << 20, 3 << 20, size], got
try:
    os.lseek(os.open("grown", os.O_RDONLY), 0, os.SEEK_DATA)
    assert False, "data where there is none"
except OSError as e:
    assert e.errno == 6, e
a, b = os.open("a", os.O_RDONLY), os.open("copied", os.O_CREAT | os.O_RDWR)
n = 0
while n < size:
    n += os.copy_file_range(a, b, size - n)
PY
cmp a copied
truncate -s 20G sparse; printf end | dd of=sparse conv=notrunc bs=1 seek=15000000000 status=none
cp --sparse=always sparse sparse2
python3 - <<'PY'
import os
f = os.open("sparse2", os.O_RDONLY)
at = os.lseek(f, 0, os.SEEK_DATA)
assert os.fstat(f).st_size == 20 << 30 and 15000000000 - at < 1 << 20, at
PY
mkdir d; umask 027; : >masked; umask 022; [ "$(stat -c %a masked)" = 640 ]
setfattr -n user.color -v blue a; setfattr -n user.empty a; setfattr -n user.dir -v x d
[ "$(getfattr --only-values -n user.color a)" = blue ]
getfattr -d a | grep -c user. | grep -qx 2
setfattr -x user.empty a; ! getfattr -n user.empty a 2>/dev/null
! setfattr -n user.big -v "$(head -c 70000 /dev/zero | tr '\0' x)" a 2>/dev/null
sync; cd /
`

func TestNFS42ThroughALinuxMount(t *testing.T) {
	tools := map[string]string{"setfattr": "attr", "python3": "python3"}
	for tool, pkg := range harness.LinuxTools {
		tools[tool] = pkg
	}
	harness.Need(t, true, tools)
	s := newStory(t)
	mounted := func(r *harness.Region, fsID string) string {
		return fmt.Sprintf("set -e\nmount -t nfs4 %s:/%s /mnt/n\n", r.NFS, fsID)
	}
	attrs := func(to string) string {
		return fmt.Sprintf("(cd /mnt/n && getfattr -d a d && stat -c '%%n %%s %%a' * && sha256sum a clone grown punched copied) >%s\n", s.file(to))
	}
	s.us.Guest(t, "v42").Run(t, guestLimit, mounted(s.us, s.usFS)+script42+attrs("source"))
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	s.eu.Guest(t, "v42d").Run(t, guestLimit, mounted(s.eu, s.euFS)+attrs("destination"))
	want, got := s.read("source"), s.read("destination")
	if want != got || !strings.Contains(want, "user.color") {
		t.Errorf("the destination differs: %s", firstDifference(want, got))
	}
}
