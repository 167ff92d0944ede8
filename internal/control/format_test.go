package control_test

import (
	"testing"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// TestFormOfSettingsIsFrozen: they are in the journals of replicas, which may be
// of other releases. docs/formats/settings.md describes them.
func TestFormOfSettingsIsFrozen(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		d, err := p.east.Control.CreateAccessPoint(t.Context(), control.CreateAccessPointRequest{FileSystemID: id, ClientToken: "t", Path: "/apps/one",
			Tags: []control.Tag{{Key: "Name", Value: "app"}}, User: &control.PosixUser{UID: 1000, GID: 1000, Groups: []uint32{100}},
			Create: &control.Creation{UID: 1000, GID: 1000, Mode: 0o755}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.east.Control.PutPolicy(t.Context(), id, allowMount, control.Caller{}, false); err != nil {
			t.Fatal(err)
		}
		if err := p.east.Control.SetFileSystemRootSquash(t.Context(), id, true); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{
			"root-squash":          `{"v":1,"enabled":true}`,
			"access-point/" + d.ID: `{"v":1,"token":"t","tags":[{"key":"Name","value":"app"}],"user":{"uid":1000,"gid":1000,"groups":[100]},"path":"/apps/one","create":{"uid":1000,"gid":1000,"mode":493}}`,
			"policy": `{"v":1,"text":"{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"elasticfilesystem:ClientMount\"}}",` +
				`"resource":"arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/` + id + `"}`,
		} {
			if got, err := p.east.Engines.Setting(id, key); err != nil || string(got) != want {
				t.Errorf("%s is %s, %v, want %s", key, got, err, want)
			}
		}
		if secret, err := p.east.Engines.Setting(id, "access-point-secret"); err != nil || len(secret) != 32 {
			t.Errorf("the secret has %d bytes, %v", len(secret), err)
		}
	})
}

// TestRootSquashOfANewerReleaseTakesRightsAway: what is not known is not taken
// for "root is root".
func TestRootSquashOfANewerReleaseTakesRightsAway(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		for value, root := range map[string]bool{`{"v":1,"enabled":false}`: true, `{"v":2,"enabled":false}`: false, `{"v":1,"enabled":false,"but":1}`: false, `x`: false, ``: false} {
			if err := p.east.Engines.SetSetting(t.Context(), id, "root-squash", []byte(value)); err != nil {
				t.Fatal(err)
			}
			if got := p.east.Control.ClientRights(id, control.Client{}).Root; got != root {
				t.Errorf("with %q root is root: %v", value, got)
			}
		}
	})
}
