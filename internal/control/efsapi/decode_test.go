package efsapi

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func FuzzAuthorization(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/elasticfilesystem/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("0a", 32))
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request,SignedHeaders=,Signature=")
	f.Add("AWS4-HMAC-SHA256 Credential=////,Credential=a,=,")
	f.Add("Basic x")
	f.Fuzz(func(t *testing.T, header string) {
		a, err := parseAuthorization(header)
		if (a == nil) == (err == nil) {
			t.Fatalf("%q: %v, %v", header, a, err)
		}
		if a != nil && (a.accessKey == "" || len(a.signature) != 32 || len(a.signedHeaders) == 0) {
			t.Errorf("%q was read as %+v", header, a)
		}
	})
}

func FuzzPresigned(f *testing.F) {
	f.Add("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/elasticfilesystem/aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=" + strings.Repeat("0a", 32))
	f.Add("X-Amz-Algorithm=a&X-Amz-Algorithm=b")
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		a, err := parsePresigned(values)
		if (a == nil) == (err == nil) {
			t.Fatalf("%q: %v, %v", query, a, err)
		}
		if a != nil && (a.accessKey == "" || len(a.signature) != 32 || a.expires <= 0 || a.expires > maxExpires || !a.query) {
			t.Errorf("%q was read as %+v", query, a)
		}
	})
}

// FuzzWildcard compares with a regular expression.
func FuzzWildcard(f *testing.F) {
	for _, s := range [][2]string{{"*", ""}, {"a*b?c", "axxbyc"}, {"**a", "ba"}, {"?", ""}, {"*a*a*", "aXa"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		for _, c := range pattern + s {
			if c < ' ' || c > '~' {
				return // bytes and characters are one in what the configuration has
			}
		}
		plain := regexp.QuoteMeta(pattern)
		plain = strings.ReplaceAll(strings.ReplaceAll(plain, `\*`, `.*`), `\?`, `.`)
		if want := regexp.MustCompile("^" + plain + "$").MatchString(s); wildcard(pattern, s) != want {
			t.Errorf("%q and %q: want %v", pattern, s, want)
		}
	})
}

// FuzzBodies feeds every decoder of a body. What the strict decoder takes,
// encoding/json takes too.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{``, `{}`, `{"a":[{"b":null}],"a":1}`, `[[[[[[[[[[]]]]]]]]]]`, `{"CreationToken":"a","Tags":[{"Key":"é","Value":""}]}`,
		`{"Destinations":[{"Region":"us-west-2"}]}`, `{"FileSystemId":"fs-00000000","SubnetId":"subnet-00000000"}`,
		`{"ReplicationOverwriteProtection":"ENABLED"}`, `{"\ud800":1}`, `{"a":1e999}`,
		`{"ClientToken":"t","FileSystemId":"fs-00000000","PosixUser":{"Uid":1,"Gid":4294967295,"SecondaryGids":[0]},"RootDirectory":{"Path":"/a/b","CreationInfo":{"OwnerUid":0,"OwnerGid":0,"Permissions":"0755"}}}`,
		`{"ThroughputMode":"provisioned","ProvisionedThroughputInMibps":1.5}`, `{"SecurityGroups":["sg-00000000"]}`, `{"TagKeys":["a"]}`,
		`{"LifecyclePolicies":[{"TransitionToIA":"AFTER_7_DAYS"}]}`, `{"LifecyclePolicies":[]}`, `{"BackupPolicy":{"Status":"DISABLED"}}`, `{"Policy":"{}"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if m, err := decodeObject(body); err == nil && len(m) > 0 {
			var v map[string]any
			if err := json.Unmarshal(body, &v); err != nil && !strings.Contains(err.Error(), "cannot unmarshal number") {
				t.Errorf("%q was taken, encoding/json says %v", body, err)
			}
		}
		if r, err := parseCreateFileSystem(body); err == nil && r.CreationToken == "" {
			t.Errorf("%q gives no token", body)
		}
		if r, err := parseCreateMountTarget(body); err == nil && (r.FileSystemID == "" || r.SubnetID == "") {
			t.Errorf("%q gives %+v", body, r)
		}
		if p, err := parseProtection(body); err == nil && p == "" {
			t.Errorf("%q gives no protection", body)
		}
		_, _ = parseCreateReplication(body)
		if r, err := parseAccessPoint(body); err == nil && (r.FileSystemID == "" || r.ClientToken == "") {
			t.Errorf("%q gives %+v", body, r)
		}
		if _, rate, err := parseUpdate(body); err == nil && rate != 0 && !(rate >= 1 && rate <= maxProvisioned) {
			t.Errorf("%q gives %v MiB/s", body, rate)
		}
		if groups, err := parseSecurityGroups(body); err == nil && len(groups) > maxSecurityGroups {
			t.Errorf("%d groups", len(groups))
		}
		if keys, err := parseTagKeys(body); err == nil && (len(keys) == 0 || len(keys) > 50) {
			t.Errorf("%d keys", len(keys))
		}
		if m, err := decodeObject(body); err == nil && parseLifecycle(body) == nil && len(m) != 1 {
			t.Errorf("%q is taken for a lifecycle configuration", body)
		}
		_ = parseBackup(body)
		if text, _, err := parsePolicy(body); err == nil && text == "" {
			t.Errorf("%q gives no policy", body)
		}
		if tags, err := parseTags(body); err == nil && len(tags) > 50 {
			t.Errorf("%d tags", len(tags))
		}
	})
}
