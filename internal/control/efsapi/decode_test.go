package efsapi

import (
	"encoding/json"
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

// FuzzBodies feeds every decoder of a body. What the strict decoder takes,
// encoding/json takes too.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{``, `{}`, `{"a":[{"b":null}],"a":1}`, `[[[[[[[[[[]]]]]]]]]]`, `{"CreationToken":"a","Tags":[{"Key":"é","Value":""}]}`,
		`{"Destinations":[{"Region":"us-west-2"}]}`, `{"FileSystemId":"fs-00000000","SubnetId":"subnet-00000000"}`,
		`{"ReplicationOverwriteProtection":"ENABLED"}`, `{"\ud800":1}`, `{"a":1e999}`} {
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
		if tags, err := parseTags(body); err == nil && len(tags) > 50 {
			t.Errorf("%d tags", len(tags))
		}
	})
}
