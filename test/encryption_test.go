package test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/efs/types"

	"github.com/holdfast-fs/holdfast/test/harness"
)

// secret is in every name and in all bytes of what the encryption story writes.
const secret = "for-nobody-else"

func (s *story) createEncrypted(token string) string {
	s.t.Helper()
	f := must[*efs.CreateFileSystemOutput](s.t)(s.us.EFS().CreateFileSystem(s.t.Context(),
		&efs.CreateFileSystemInput{CreationToken: aws.String(token), Encrypted: aws.Bool(true), KmsKeyId: aws.String("alias/holdfast")}))
	if f.LifeCycleState != types.LifeCycleStateAvailable || !*f.Encrypted || !strings.Contains(*f.KmsKeyId, ":us-east-1:") {
		s.t.Fatalf("made: %s, encrypted %v with %v", f.LifeCycleState, *f.Encrypted, aws.ToString(f.KmsKeyId))
	}
	return *f.FileSystemId
}

// secrets writes files below a directory and gives their content.
func (s *story) secrets(r *harness.Region, id, dir string, n int) map[string][]byte {
	s.t.Helper()
	c := r.Client(s.t, id)
	defer c.Close()
	if err := c.Mkdir(s.t.Context(), dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	all := map[string][]byte{}
	for i := range n {
		name := fmt.Sprintf("%s/%s-%d", dir, secret, i)
		b := bytes.Repeat(fmt.Appendf(nil, "%s %d ", secret, i), 1+i*i*200)
		if err := c.WriteFile(s.t.Context(), name, b, 0o644); err != nil {
			s.t.Fatal(err)
		}
		all[name] = b
	}
	return all
}

// countSecret counts the files below a region's data that hold the secret.
func countSecret(t *testing.T, dir string) (files int, found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(secret)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, found
}

// TestEncryptedThroughALife: an encrypted file system is replicated, killed,
// failed over, salvaged and failed back, and its bytes and names are in no file
// of either region.
func TestEncryptedThroughALife(t *testing.T) {
	s := &story{Regions: harness.NewLocalRegions(t), t: t, ctx: t.Context(), scratch: t.TempDir()}
	s.us, s.eu = s.R[0], s.R[1]
	s.usFS = s.createEncrypted("encrypted")
	want := s.secrets(s.us, s.usFS, "/before", 12)
	s.euFS = s.replicate(s.us, s.usFS, s.eu, "")
	s.equal(s.us, s.usFS, s.eu, s.euFS)
	d := must[*efs.DescribeFileSystemsOutput](t)(s.eu.EFS().DescribeFileSystems(s.ctx, &efs.DescribeFileSystemsInput{FileSystemId: aws.String(s.euFS)}))
	if f := d.FileSystems[0]; !*f.Encrypted || !strings.Contains(aws.ToString(f.KmsKeyId), ":eu-west-1:") {
		t.Errorf("the destination: encrypted %v with %v", *f.Encrypted, aws.ToString(f.KmsKeyId))
	}

	// What eu never sees, and then a failover.
	s.eu.Kill(t)
	lost := s.secrets(s.us, s.usFS, "/only-in-us", 6)
	s.us.Kill(t)
	s.eu.Start(t)
	s.deleteReplication(s.eu, s.usFS)
	for name, b := range s.secrets(s.eu, s.euFS, "/after", 6) {
		want[name] = b
	}
	s.us.Start(t)
	s.becomes(s.us, s.usFS, "superseded")
	s.replicate(s.eu, s.euFS, s.us, s.usFS)
	s.equal(s.eu, s.euFS, s.us, s.usFS)
	s.holds(s.us.Client(t, s.usFS), want)
	have := s.salvaged(s.us, s.usFS)
	for name := range lost {
		if !have[name] {
			t.Errorf("%s is not in the salvage", name)
		}
	}

	for _, r := range s.R {
		r.Check(t) // stops it
		if files, found := countSecret(t, r.DataDir()); files < 10 || len(found) > 0 {
			t.Errorf("%s: of %d files these hold the secret: %v", r.Name, files, found)
		}
	}
	s.copySalvage(lost)
	s.withoutTheKey(want)
}

// copySalvage decrypts what was salvaged.
func (s *story) copySalvage(lost map[string][]byte) {
	s.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(s.us.DataDir(), "file-systems", s.usFS, "salvage", "*"))
	if err != nil || len(dirs) != 1 {
		s.t.Fatalf("salvages: %v, %v", dirs, err)
	}
	to := s.file("salvage")
	if out, err := exec.Command(harness.Binary(s.t), "salvage-copy", dirs[0], to).CombinedOutput(); err == nil || !strings.Contains(string(out), "encryption.keys") {
		s.t.Errorf("copied without the key: %v\n%s", err, out)
	}
	harness.Run(s.t, harness.Binary(s.t), "salvage-copy", "--config", s.us.Config(), dirs[0], to)
	records, err := os.ReadFile(filepath.Join(to, "records.bin"))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, b := range lost {
		if !bytes.Contains(records, []byte(filepath.Base(name))) || !bytes.Contains(records, b[:min(len(b), 1000)]) {
			s.t.Errorf("%s is not in the copy of the salvage", name)
		}
	}
}

// withoutTheKey: a region whose key is gone says so and loses nothing; with the
// key rotated and put back all is there.
func (s *story) withoutTheKey(want map[string][]byte) {
	s.t.Helper()
	t, path := s.t, filepath.Join(filepath.Dir(filepath.Dir(s.us.Config())), "keys", s.us.Name+".key")
	key, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	another := []byte(strings.Repeat("5a", 32) + "\n")
	write := func(b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(another)
	out, err := exec.Command(harness.Binary(t), "check", "--config", s.us.Config(), s.us.DataDir()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "put the key that wrapped it back") {
		t.Errorf("check with another key: %v\n%s", err, out)
	}
	s.us.StartUnready(t)
	harness.Eventually(t, 30*time.Second, "/readyz tells of the key", func() error {
		_, text, err := s.us.Ready()
		if err == nil && !strings.Contains(text, "wrapped with another key") {
			err = errors.New(text)
		}
		return err
	})
	s.us.Stop(t)
	write(append(another, key...)) // as to rotate it
	s.eu.Start(t)
	s.us.Start(t)
	s.follows(s.us, s.usFS)
	s.equal(s.eu, s.euFS, s.us, s.usFS)
	s.holds(s.us.Client(t, s.usFS), want)
}
