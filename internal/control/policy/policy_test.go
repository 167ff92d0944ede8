package policy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const (
	resource = "arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-0123456789abcdef0"
	point    = "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0"
	alice    = "arn:aws:iam::123456789012:user/alice"
	bob      = "arn:aws:iam::123456789012:user/team/bob"
	stranger = "arn:aws:iam::999999999999:user/alice"
)

func statement1(members string) string {
	return `{"Version":"2012-10-17","Statement":[{` + members + `}]}`
}

func allow(members string) string {
	return statement1(`"Effect":"Allow","Principal":"*","Action":"elasticfilesystem:ClientMount"` + members)
}

func when(condition string) string { return allow(`,"Condition":{` + condition + `}`) }

func parse(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse(text, resource)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

// noon is when every request is made.
var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func from(ip string) *Request { return &Request{SourceIP: netip.MustParseAddr(ip), Now: noon} }
func by(arn string) *Request  { return &Request{Principal: arn, Now: noon} }
func in(arn string) *Request  { return &Request{AccessPoint: arn, Now: noon} }

var anybody = &Request{Now: noon}

func TestPrincipals(t *testing.T) {
	one := func(p string) string {
		return statement1(`"Effect":"Allow","Principal":` + p + `,"Action":"elasticfilesystem:ClientMount"`)
	}
	for _, c := range []struct {
		principal string
		is, isNot []*Request
	}{
		{`"*"`, []*Request{anybody, by(alice), by(stranger)}, nil},
		{`{"AWS":"*"}`, []*Request{anybody, by(alice)}, nil},
		{`{"AWS":["*"]}`, []*Request{anybody}, nil},
		{`{"AWS":"123456789012"}`, []*Request{by(alice), by(bob)}, []*Request{anybody, by(stranger)}},
		{`{"AWS":"arn:aws:iam::123456789012:root"}`, []*Request{by(alice)}, []*Request{anybody, by(stranger)}},
		{`{"AWS":"` + alice + `"}`, []*Request{by(alice)}, []*Request{anybody, by(bob), by(stranger)}},
		{`{"AWS":["` + alice + `","999999999999"]}`, []*Request{by(alice), by(stranger)}, []*Request{anybody, by(bob)}},
	} {
		p := parse(t, one(c.principal))
		for _, r := range c.is {
			if !p.Allowed(ClientMount, r) {
				t.Errorf("%s is not %q", c.principal, r.Principal)
			}
		}
		for _, r := range c.isNot {
			if p.Allowed(ClientMount, r) {
				t.Errorf("%s is %q", c.principal, r.Principal)
			}
		}
	}
}

func TestDenyWinsAndNotPrincipal(t *testing.T) {
	p := parse(t, `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*"},
		{"Effect":"Deny","NotPrincipal":{"AWS":"`+alice+`"},"Action":"elasticfilesystem:ClientWrite"}]}`)
	for _, c := range []struct {
		action string
		r      *Request
		want   bool
	}{
		{ClientMount, anybody, true}, {ClientWrite, anybody, false}, {ClientWrite, by(bob), false}, {ClientWrite, by(alice), true},
	} {
		if got := p.Allowed(c.action, c.r); got != c.want {
			t.Errorf("%s by %q: %v", c.action, c.r.Principal, got)
		}
	}
	if !p.Denied(ClientWrite, anybody) || p.Denied(ClientMount, anybody) || p.Denied(ClientWrite, by(alice)) {
		t.Error("what is denied is not told")
	}
	if q := parse(t, statement1(`"Effect":"Deny","Principal":"*","Action":"elasticfilesystem:ClientWrite"`)); q.Allowed(ClientMount, anybody) {
		t.Error("what no statement allows is allowed")
	}
}

func TestActions(t *testing.T) {
	for _, c := range []struct {
		action              string
		mount, write, root1 bool
	}{
		{`"Action":"*"`, true, true, true},
		{`"Action":"elasticfilesystem:*"`, true, true, true},
		{`"Action":"elasticfilesystem:Client*"`, true, true, true},
		{`"Action":"ELASTICFILESYSTEM:clientmount"`, true, false, false},
		{`"Action":["elasticfilesystem:ClientMount","elasticfilesystem:ClientWrite"]`, true, true, false},
		{`"Action":"elasticfilesystem:Client?????"`, true, true, false},
		{`"NotAction":"elasticfilesystem:ClientRootAccess"`, true, true, false},
	} {
		p := parse(t, statement1(`"Effect":"Allow","Principal":"*",`+c.action))
		if m, w, r := p.Allowed(ClientMount, anybody), p.Allowed(ClientWrite, anybody), p.Allowed(ClientRootAccess, anybody); m != c.mount || w != c.write || r != c.root1 {
			t.Errorf("%s allows mount %v, write %v, root %v", c.action, m, w, r)
		}
	}
}

func TestConditions(t *testing.T) {
	secure, mounted := &Request{Secure: true, Now: noon}, &Request{MountTarget: true, Now: noon}
	for _, c := range []struct {
		condition string
		r         *Request
		want      bool
	}{
		{`"Bool":{"aws:SecureTransport":"true"}`, secure, true},
		{`"Bool":{"aws:SecureTransport":true}`, secure, true},
		{`"Bool":{"AWS:securetransport":"True"}`, anybody, false},
		{`"Bool":{"aws:SecureTransport":"false"}`, anybody, true},
		{`"BoolIfExists":{"aws:SecureTransport":"true"}`, anybody, false},
		{`"StringEquals":{"aws:SecureTransport":"true"}`, secure, true},
		{`"Bool":{"elasticfilesystem:AccessedViaMountTarget":"true"}`, mounted, true},
		{`"Bool":{"elasticfilesystem:AccessedViaMountTarget":"true"}`, anybody, false},
		{`"IpAddress":{"aws:SourceIp":["10.0.0.0/8","192.0.2.1"]}`, from("10.1.2.3"), true},
		{`"IpAddress":{"aws:SourceIp":["10.0.0.0/8","192.0.2.1"]}`, from("::ffff:192.0.2.1"), true},
		{`"IpAddress":{"aws:SourceIp":["10.0.0.0/8","192.0.2.1"]}`, from("192.0.2.2"), false},
		{`"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, anybody, false},
		{`"IpAddress":{"aws:SourceIp":"2001:db8::/32"}`, from("2001:db8::1"), true},
		{`"NotIpAddress":{"aws:SourceIp":["10.0.0.0/8","192.0.2.1"]}`, from("192.0.2.1"), false},
		{`"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, from("192.0.2.1"), true},
		{`"StringLike":{"elasticfilesystem:AccessPointArn":"*access-point/fsap-*"}`, in(point), true},
		{`"StringEquals":{"elasticfilesystem:AccessPointArn":"` + point + `"}`, in(point), true},
		{`"StringEquals":{"elasticfilesystem:AccessPointArn":"` + point + `"}`, anybody, false},
		{`"StringEqualsIfExists":{"elasticfilesystem:AccessPointArn":"` + point + `"}`, anybody, true},
		{`"StringNotEquals":{"elasticfilesystem:AccessPointArn":"` + point + `"}`, anybody, true},
		{`"StringNotEquals":{"elasticfilesystem:AccessPointArn":"` + point + `"}`, in(point), false},
		{`"ArnLike":{"elasticfilesystem:AccessPointArn":"arn:aws:elasticfilesystem:*:123456789012:access-point/*"}`, in(point), true},
		{`"ArnLike":{"elasticfilesystem:AccessPointArn":"arn:*:access-point/*:a:b:c"}`, in(point), false},
		{`"ArnNotLike":{"elasticfilesystem:AccessPointArn":"arn:aws:elasticfilesystem:*:*:access-point/*"}`, in(point), false},
		{`"Null":{"elasticfilesystem:AccessPointArn":"true"}`, anybody, true},
		{`"Null":{"elasticfilesystem:AccessPointArn":"true"}`, in(point), false},
		{`"Null":{"elasticfilesystem:AccessPointArn":false}`, in(point), true},
		{`"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::*:user/team/*"}`, by(bob), true},
		{`"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::*:user/team/*"}`, anybody, false},
		{`"StringEquals":{"aws:PrincipalAccount":["1","123456789012"]}`, by(bob), true},
		{`"StringNotEquals":{"aws:PrincipalAccount":["1","123456789012"]}`, by(bob), false},
		{`"StringEqualsIgnoreCase":{"aws:PrincipalArn":"ARN:AWS:IAM::123456789012:USER/ALICE"}`, by(alice), true},
		{`"StringNotLike":{"aws:PrincipalArn":"*alice"}`, by(alice), false},
		{`"DateLessThan":{"aws:CurrentTime":"2026-11-27T12:00:01Z"}`, anybody, true},
		{`"DateLessThan":{"aws:CurrentTime":"2026-11-27T12:00:00Z"}`, anybody, false},
		{`"DateLessThanEquals":{"aws:CurrentTime":"2026-11-27T12:00:00Z"}`, anybody, true},
		{`"DateGreaterThan":{"aws:CurrentTime":"2026-11-27"}`, anybody, true},
		{`"DateGreaterThanEquals":{"aws:EpochTime":1795780800}`, anybody, true},
		{`"DateNotEquals":{"aws:CurrentTime":["2026-11-27T12:00:00Z","2026-01-01"]}`, anybody, false},
		// All of several conditions have to hold.
		{`"Bool":{"aws:SecureTransport":"true","elasticfilesystem:AccessedViaMountTarget":"true"}`, secure, false},
		{`"Bool":{"aws:SecureTransport":"true"},"Null":{"aws:PrincipalArn":"true"}`, secure, true},
	} {
		if got := parse(t, when(c.condition)).Allowed(ClientMount, c.r); got != c.want {
			t.Errorf("%s with %+v: %v", c.condition, *c.r, got)
		}
	}
}

func TestInvalidPoliciesAreRefusedWithTheReason(t *testing.T) {
	for _, c := range []struct{ text, reason string }{
		{``, "not JSON"}, {`{`, "not JSON"}, {`[]`, "JSON object"}, {`{} {}`, "more after"}, {"{\"Id\":\"\xff\"}", "UTF-8"},
		{`{"Statement":[],"Statement":[]}`, "twice"},
		{strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20), "nested"},
		{`{"Version":"2020-01-01","Statement":{}}`, "Version"}, {`{"Version":7,"Statement":{}}`, "Version"},
		{`{"Id":7,"Statement":{}}`, "Id"}, {`{"Colour":"red"}`, "Colour"},
		{`{}`, "Statement is required"}, {`{"Statement":[]}`, "at least one"}, {`{"Statement":[1]}`, "Statement[0]"},
		{`{"Statement":[` + strings.Repeat(`{},`, MaxStatements) + `{}]}`, "at most"},
		{allow(`,"Sid":7`), "Sid"}, {allow(`,"Sid":"!"`), "Sid"}, {allow(`,"Extra":1`), "Extra"},
		{statement1(`"Principal":"*","Action":"*"`), "Effect"},
		{statement1(`"Effect":"allow","Principal":"*","Action":"*"`), "Effect"},
		{statement1(`"Effect":"Allow","Action":"*"`), "Principal"},
		{statement1(`"Effect":"Allow","Principal":"*","NotPrincipal":"*","Action":"*"`), "exactly one"},
		{statement1(`"Effect":"Allow","NotPrincipal":{"AWS":"123456789012"},"Action":"*"`), "NotPrincipal"},
		{statement1(`"Effect":"Allow","Principal":"alice","Action":"*"`), "Principal"},
		{statement1(`"Effect":"Allow","Principal":["*"],"Action":"*"`), "Principal"},
		{statement1(`"Effect":"Allow","Principal":{"Service":"x"},"Action":"*"`), "Service"},
		{statement1(`"Effect":"Allow","Principal":{},"Action":"*"`), "AWS"},
		{statement1(`"Effect":"Allow","Principal":{"AWS":[]},"Action":"*"`), "empty"},
		{statement1(`"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/*"},"Action":"*"`), "wildcards"},
		{statement1(`"Effect":"Allow","Principal":{"AWS":"12345"},"Action":"*"`), "12 digits"},
		{statement1(`"Effect":"Allow","Principal":"*"`), "Action"},
		{statement1(`"Effect":"Allow","Principal":"*","Action":"*","NotAction":"*"`), "exactly one"},
		{statement1(`"Effect":"Allow","Principal":"*","Action":"elasticfilesystem:DescribeTags"`), "DescribeTags"},
		{statement1(`"Effect":"Allow","Principal":"*","Action":"s3:*"`), "s3"},
		{statement1(`"Effect":"Allow","Principal":"*","Action":[7]`), "strings"},
		{allow(`,"Resource":"arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-1"`), "not this file system"},
		{allow(`,"Resource":[]`), "Resource"}, {allow(`,"NotResource":"*"`), "NotResource"},
		{allow(`,"Condition":[]`), "Condition"}, {when(`"Bool":{}`), "Bool"}, {when(`"Bool":7`), "Bool"},
		{when(`"Bools":{"aws:SecureTransport":"true"}`), "Bools"}, {when(`"NullIfExists":{"aws:SecureTransport":"true"}`), "NullIfExists"},
		{when(`"ForAnyValue:StringEquals":{"aws:PrincipalArn":"x"}`), "ForAnyValue"},
		{when(`"Bool":{"aws:SecureTransport":"yes"}`), "true or false"}, {when(`"Bool":{"aws:SecureTransport":[]}`), "empty"},
		{when(`"Bool":{"aws:SourceIp":"true"}`), "cannot be used"}, {when(`"IpAddress":{"aws:PrincipalArn":"10.0.0.0/8"}`), "cannot be used"},
		{when(`"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}`), "network"}, {when(`"IpAddress":{"aws:SourceIp":"fe80::1%eth0"}`), "network"},
		{when(`"ArnLike":{"aws:PrincipalArn":"*"}`), "6 parts"}, {when(`"DateLessThan":{"aws:CurrentTime":"noon"}`), "no time"},
		{when(`"StringEquals":{"aws:UserAgent":"x"}`), "aws:UserAgent"}, {when(`"StringEquals":{"aws:PrincipalArn":"${aws:userid}"}`), "variables"},
		{`{"Statement":[{"Sid":"a","Effect":"Deny","Principal":"*","Action":"*"},{"Sid":"a","Effect":"Deny","Principal":"*","Action":"*"}]}`, "another statement"},
	} {
		_, err := Parse(c.text, resource)
		var invalid *Error
		if !errors.As(err, &invalid) || !strings.Contains(invalid.Reason, c.reason) {
			t.Errorf("%.200s: %v, want a reason with %q", c.text, err, c.reason)
		}
	}
}

func TestResourceOfThePolicy(t *testing.T) {
	for _, r := range []string{`"*"`, `"` + resource + `"`, `["arn:aws:elasticfilesystem:*:*:file-system/*"]`} {
		parse(t, allow(`,"Resource":`+r))
	}
}

func TestGlobTakesNoTime(t *testing.T) {
	// Backtracking over every star would not end within the test's deadline.
	if glob(strings.Repeat("*a", 5000)+"b", strings.Repeat("a", 20000)) {
		t.Error("it matches")
	}
}

// FuzzParse: whatever is read can be evaluated, and an explicit deny wins.
func FuzzParse(f *testing.F) {
	f.Add(allow(``))
	f.Add(when(`"Bool":{"aws:SecureTransport":"true"},"NotIpAddress":{"aws:SourceIp":["10.0.0.0/8"]},"DateLessThan":{"aws:EpochTime":7}`))
	f.Add(statement1(`"Effect":"Deny","NotPrincipal":{"AWS":["` + alice + `","123456789012"]},"NotAction":["*Mount"],"Resource":"*"`))
	requests := []*Request{anybody, by(alice), in(point), from("10.0.0.1"), {Secure: true, MountTarget: true, Now: noon}}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text, resource)
		if err != nil {
			var invalid *Error
			if !errors.As(err, &invalid) || invalid.Reason == "" {
				t.Errorf("%q is refused without a reason: %v", text, err)
			}
			return
		}
		for _, r := range requests {
			for _, a := range actions {
				if p.Allowed(a, r) && p.Denied(a, r) {
					t.Errorf("%q both allows and denies %s", text, a)
				}
			}
		}
	})
}

func BenchmarkAllowed(b *testing.B) {
	p := parse(b, `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":["elasticfilesystem:ClientMount","elasticfilesystem:ClientWrite"],"Condition":{"Bool":{"elasticfilesystem:AccessedViaMountTarget":"true"}}},
		{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`)
	r := &Request{Secure: true, MountTarget: true, SourceIP: netip.MustParseAddr("10.0.0.1"), Now: noon}
	for b.Loop() {
		if !p.Allowed(ClientWrite, r) {
			b.Fatal("not allowed")
		}
	}
}
