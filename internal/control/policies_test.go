package control_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/control"
)

const (
	allowMount = `{"Statement":{"Effect":"Allow","Principal":"*","Action":"elasticfilesystem:ClientMount"}}`
	alice      = "arn:aws:iam::123456789012:user/alice"
	bob        = "arn:aws:iam::123456789012:user/bob"
)

func TestPolicyIsInForceAtOnceAndAtTheReplica(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		rights := func() control.Rights { return p.east.Control.ClientRights(id, control.Client{}) }
		if rights() != (control.Rights{Mount: true, Write: true, Root: true}) {
			t.Errorf("without a policy: %+v", rights())
		}
		dest := p.replicate(p.east, id, p.west, "")
		if _, err := p.east.Control.PutPolicy(t.Context(), id, allowMount, control.Caller{Principal: alice}, false); err != nil {
			t.Fatal(err)
		}
		if rights() != (control.Rights{Mount: true}) {
			t.Errorf("with a policy: %+v", rights())
		}
		p.eventually("the replica has it", func() bool {
			return p.west.Control.ClientRights(dest, control.Client{}) == control.Rights{Mount: true}
		})
		if _, text, err := p.west.Control.DescribePolicy(dest); err != nil || text != allowMount {
			t.Errorf("the replica's policy: %q, %v", text, err)
		}
		p.delete(p.west, id, "")
		p.eventually("promoted", func() bool { return p.west.Engines.Write(dest, "x") == nil })
		if err := p.west.Control.DeletePolicy(t.Context(), dest, control.Caller{Principal: alice}); err != nil {
			t.Fatal(err)
		}
		if r := p.west.Control.ClientRights(dest, control.Client{}); !r.Root {
			t.Errorf("after the deletion: %+v", r)
		}
		if rights() != (control.Rights{Mount: true}) {
			t.Errorf("at the former source: %+v", rights())
		}
	})
}

// TestPolicyMeansTheSameInEveryRegion: the ARN of an access point has a region.
func TestPolicyMeansTheSameInEveryRegion(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		made := p.point(p.east, id, "app")
		text := `{"Statement":{"Effect":"Allow","Principal":"*","Action":"elasticfilesystem:Client*","Resource":"arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/` + id + `",
			"Condition":{"StringEquals":{"elasticfilesystem:AccessPointArn":"` + made.ARN + `"}}}}`
		if _, err := p.east.Control.PutPolicy(t.Context(), id, text, control.Caller{Principal: alice}, false); err != nil {
			t.Fatal(err)
		}
		dest := p.replicate(p.east, id, p.west, "")
		for _, c := range []struct {
			access string
			want   bool
		}{{made.ID, true}, {"fsap-00000000000000000", false}, {"", false}} {
			if r := p.west.Control.ClientRights(dest, control.Client{AccessPoint: c.access}); r.Mount != c.want || r.Root != c.want {
				t.Errorf("by %q in the other region: %+v", c.access, r)
			}
		}
	})
}

func TestPolicyMayNotLockOutItsAuthor(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		put := func(text string, who control.Caller, bypass bool) error {
			_, err := p.east.Control.PutPolicy(t.Context(), id, text, who, bypass)
			return err
		}
		denyAll := `{"Statement":{"Effect":"Deny","Principal":"*","Action":"*"}}`
		wantCode(t, "a policy that denies all", put(denyAll, control.Caller{Principal: alice}, false), control.CodeInvalidPolicy)
		others := `{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"` + alice + `"},"Action":"*"}}`
		if err := put(others, control.Caller{Principal: alice}, false); err != nil {
			t.Errorf("a policy that exempts its author: %v", err)
		}
		wantCode(t, "another one", put(allowMount, control.Caller{Principal: bob}, true), control.CodeAccessDeniedException)
		wantCode(t, "its deletion by another one", p.east.Control.DeletePolicy(t.Context(), id, control.Caller{Principal: bob}), control.CodeAccessDeniedException)
		if err := put(denyAll, control.Caller{Principal: alice}, true); err != nil {
			t.Errorf("with the bypass: %v", err)
		}
		wantCode(t, "after that", put(allowMount, control.Caller{Principal: alice}, false), control.CodeAccessDeniedException)
		root := control.Caller{Principal: "arn:aws:iam::123456789012:root"}
		if err := p.east.Control.DeletePolicy(t.Context(), id, root); err != nil {
			t.Errorf("the way out: %v", err)
		}
		from := `{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}}`
		wantCode(t, "from elsewhere", put(from, control.Caller{Principal: alice, SourceIP: netip.MustParseAddr("192.0.2.1")}, false), control.CodeInvalidPolicy)
		if err := put(from, control.Caller{Principal: alice, SourceIP: netip.MustParseAddr("10.1.1.1")}, false); err != nil {
			t.Errorf("from there: %v", err)
		}
	})
}

// TestPolicyThatCannotBeReadLetsNobodyIn: that of a newer release.
func TestPolicyThatCannotBeReadLetsNobodyIn(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		for _, text := range []string{`{"v":2}`, `{"v":1,"text":"{}","resource":"x"}`, `{"v":1,"text":` + "\"" + strings.ReplaceAll(allowMount, `"`, `\"`) + "\"" + `,"resource":"x","until":1}`, `x`} {
			if err := p.east.Engines.SetSetting(t.Context(), id, "policy", []byte(text)); err != nil {
				t.Fatal(err)
			}
			if r := p.east.Control.ClientRights(id, control.Client{}); r != (control.Rights{}) {
				t.Errorf("%s gives %+v", text, r)
			}
		}
		if r := p.east.Control.ClientRights("fs-00000000000000000", control.Client{}); r != (control.Rights{}) {
			t.Errorf("a file system that is not there gives %+v", r)
		}
	})
}
