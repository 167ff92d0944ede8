package control_test

import (
	"strings"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/controltest"
)

const (
	keyOne = "11111111-2222-3333-4444-555555555555"
	keyTwo = "mrk-0123456789abcdef0123456789abcdef"
)

// withKeys restarts a region with keys.
func (p *pair) withKeys(r *controltest.Region, keys ...control.KMSKey) {
	p.t.Helper()
	p.kill(r)
	r.Config.KMSKeys = keys
	p.start(r)
}

func arnOf(r *controltest.Region, id string) string {
	return "arn:aws:kms:" + r.Name + ":" + controltest.Account + ":key/" + id
}

func TestWhichKeyAFileSystemGets(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		p.withKeys(p.east, control.KMSKey{ID: keyOne, Alias: "alias/holdfast"}, control.KMSKey{ID: keyTwo})
		one, two := arnOf(p.east, keyOne), arnOf(p.east, keyTwo)
		for name, want := range map[string]string{
			"": one, keyOne: one, "alias/holdfast": one, one: one, "alias/aws/elasticfilesystem": one,
			strings.Replace(one, "key/"+keyOne, "alias/holdfast", 1): one,
			keyTwo: two, two: two,
		} {
			d, err := p.east.Control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: "t" + name, Encrypted: true, KMSKey: name})
			if err != nil || d.KMSKey != want || p.east.Engines.KMSKey(d.ID) != want {
				t.Errorf("key %q: %q, made with %q, %v; want %q", name, d.KMSKey, p.east.Engines.KMSKey(d.ID), err, want)
			}
		}
		d, err := p.east.Control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: "plain"})
		if err != nil || d.KMSKey != "" || p.east.Engines.KMSKey(d.ID) != "" {
			t.Errorf("not encrypted: %q, %v", d.KMSKey, err)
		}
		for _, name := range []string{"alias/other", "22222222-2222-3333-4444-555555555555", arnOf(p.west, keyOne), strings.Replace(one, controltest.Account, "999999999999", 1)} {
			_, err := p.east.Control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: "x", Encrypted: true, KMSKey: name})
			wantCode(t, name, err, control.CodeBadRequest)
			if err != nil && !strings.Contains(err.Error(), "alias/holdfast") {
				t.Errorf("%s: the error names no keys: %v", name, err)
			}
		}
		_, err = p.west.Control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: "x", Encrypted: true})
		wantCode(t, "a region without keys", err, control.CodeBadRequest)
		// Who has the name of the default for an alias, has it.
		p.withKeys(p.east, control.KMSKey{ID: keyOne}, control.KMSKey{ID: keyTwo, Alias: "alias/aws/elasticfilesystem"})
		for name, want := range map[string]string{"": one, "alias/aws/elasticfilesystem": two} {
			d, err := p.east.Control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: "named" + name, Encrypted: true, KMSKey: name})
			if err != nil || d.KMSKey != want {
				t.Errorf("key %q: %q, %v; want %q", name, d.KMSKey, err, want)
			}
		}
		// It stays what it was when the keys change.
		p.withKeys(p.east, control.KMSKey{ID: keyTwo})
		all, err := p.east.Control.DescribeFileSystems("", "t")
		if err != nil || len(all) != 1 || all[0].KMSKey != one {
			t.Errorf("after the default has changed: %+v, %v", all, err)
		}
	})
}

// TestWhatIsEncryptedStaysEncrypted across a replication.
func TestWhatIsEncryptedStaysEncrypted(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		p.withKeys(p.east, control.KMSKey{ID: keyOne})
		d, err := p.east.Control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: "e", Encrypted: true})
		if err != nil {
			t.Fatal(err)
		}
		to := control.DestinationRequest{Region: p.west.Name}
		_, err = p.east.Control.CreateReplication(t.Context(), d.ID, to)
		wantCode(t, "the other region has no keys", err, control.CodeBadRequest)

		plain := p.create(p.west, "plain")
		if _, err := p.west.Control.UpdateProtection(plain, control.ProtectionDisabled); err != nil {
			t.Fatal(err)
		}
		_, err = p.east.Control.CreateReplication(t.Context(), d.ID, control.DestinationRequest{Region: p.west.Name, FileSystemID: plain})
		wantCode(t, "an existing one that is not encrypted", err, control.CodeConflict)
		if all, err := p.west.Control.DescribeFileSystems("", ""); err != nil || len(all) != 1 {
			t.Errorf("refused, and left behind: %+v, %v", all, err)
		}

		p.withKeys(p.west, control.KMSKey{ID: keyTwo, Alias: "alias/west"}, control.KMSKey{ID: keyOne})
		dest := p.replicate(p.east, d.ID, p.west, "")
		if got, want := p.west.Engines.KMSKey(dest), arnOf(p.west, keyTwo); got != want {
			t.Errorf("the destination was made with %q, want the default %q", got, want)
		}
		// And back: both are encrypted, each with a key of its region.
		if err := p.west.Control.DeleteReplication(t.Context(), d.ID, ""); err != nil {
			t.Fatal(err)
		}
		p.eventually("the replication is gone", func() bool { return p.status(p.east, d.ID) == control.CodeReplicationNotFound })
		if _, err := p.east.Control.UpdateProtection(d.ID, control.ProtectionDisabled); err != nil {
			t.Fatal(err)
		}
		p.replicate(p.west, dest, p.east, d.ID)
	})
}

func TestKeyOfADestination(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		p.withKeys(p.west, control.KMSKey{ID: keyOne}, control.KMSKey{ID: keyTwo, Alias: "alias/west"})
		for i, c := range []struct{ name, want string }{{"", ""}, {"alias/west", arnOf(p.west, keyTwo)}, {keyOne, arnOf(p.west, keyOne)}} {
			id := p.create(p.east, string(rune('a'+i)))
			r, err := p.east.Control.CreateReplication(t.Context(), id, control.DestinationRequest{Region: p.west.Name, KMSKey: c.name})
			if err != nil {
				t.Fatal(err)
			}
			all, err := p.west.Control.DescribeFileSystems(r.DestinationID, "")
			if err != nil || all[0].KMSKey != c.want {
				t.Errorf("of a source that is not encrypted, with the key %q: %+v, %v", c.name, all, err)
			}
			p.eventually("it is made with that", func() bool { return p.west.Engines.KMSKey(r.DestinationID) == c.want })
		}
		id := p.create(p.east, "x")
		_, err := p.east.Control.CreateReplication(t.Context(), id, control.DestinationRequest{Region: p.west.Name, KMSKey: "alias/none"})
		wantCode(t, "a key that the other region has not", err, control.CodeBadRequest)
		_, err = p.east.Control.CreateReplication(t.Context(), id, control.DestinationRequest{Region: p.west.Name, FileSystemID: "fs-0123456789abcdef0", KMSKey: keyOne})
		wantCode(t, "a key for one that exists", err, control.CodeBadRequest)
	})
}
