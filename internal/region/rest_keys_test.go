package region

import (
	"bytes"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// TestAnEncryptedFileSystemRests: the rest file, which holds settings, is
// encrypted too; the next process reads it, and needs the key for that.
func TestAnEncryptedFileSystemRests(t *testing.T) {
	const secret = "nobody-may-read-this"
	s := newShelf(t)
	s.kmsKey = testKMSKey
	x := s.make(fsOne)
	f := s.touch(x, secret)
	s.ok(s.SetSetting(ctx, fsOne, "policy", []byte(secret)))
	s.asleep(fsOne)
	b, err := disk.ReadFile(s.disk, "/fs/"+fsOne+"/rest.json")
	if err != nil || len(b) < 100 || bytes.Contains(b, []byte(secret)) || bytes.Contains(b, []byte("position")) {
		t.Fatalf("the rest file: %v\n%q", err, b)
	}
	before, _ := s.Stat(fsOne)
	s.restart(fsOne)
	if s.isAwake(fsOne) {
		t.Error("the next process opened what is at rest")
	}
	if after, _ := s.Stat(fsOne); after != before {
		t.Errorf("at rest %+v, in the next process %+v", before, after)
	}
	found := false
	s.ok(s.EachSetting(fsOne, "", func(_ string, v []byte) error {
		found = found || bytes.Equal(v, []byte(secret))
		return nil
	}))
	if !found {
		t.Error("the setting is not known at rest")
	}
	if got, err := s.get(fsOne).door.Lookup(&fs.Cred{}, fs.RootIno, secret); err != nil || got.Ino != f.Ino {
		t.Errorf("after it woke up: %+v, %v", got, err)
	}

	// Without its key it does not start, and says so; with the key it does.
	s.asleep(fsOne)
	s.ok(s.volumes.Close())
	s.keys = keeper{}
	s.clock.Add(time.Second)
	s.begin()
	if err := s.Open(ctx, fsOne, control.RoleWriter, nil); err == nil {
		t.Error("it opened without its key")
	}
	s.keys = keeper{testKMSKey: testKeys().(keeper)[testKMSKey]}
	s.restart(fsOne)
	if _, err := s.get(fsOne).door.Lookup(&fs.Cred{}, fs.RootIno, secret); err != nil {
		t.Errorf("with its key again: %v", err)
	}
}
