package efsapi_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/controltest"
	"github.com/holdfast-fs/holdfast/internal/control/efsapi"
)

// api is the API of one region, called without a network.
type api struct {
	t      testing.TB
	h      http.Handler
	region *controltest.Region
	west   *controltest.Region // its peer
	world  *controltest.World
	now    time.Time
	mu     sync.Mutex // of audit
	audit  []efsapi.AuditRecord
}

func newAPI(t testing.TB) *api {
	t.Helper()
	return newAPIWith(t, func(*control.Config) {})
}

// newAPIWith is newAPI with another configuration of the region.
func newAPIWith(t testing.TB, change func(*control.Config)) *api {
	t.Helper()
	world, _, regions := controltest.NewRegions(3, "us-east-1", "us-west-2")
	change(&regions[0].Config)
	for _, r := range regions {
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Control.Close() })
	}
	a := &api{t: t, region: regions[0], west: regions[1], world: world, now: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
	h, err := efsapi.New(efsapi.Config{Control: regions[0].Control, Region: "us-east-1", Now: func() time.Time { return a.now },
		Rand: controltest.NewRand(1, 1), Credentials: []efsapi.Credential{{AccessKey: accessKey, SecretKey: secretKey}},
		Audit: a.note})
	if err != nil {
		t.Fatal(err)
	}
	a.h = h
	return a
}

func (a *api) note(r efsapi.AuditRecord) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.audit = append(a.audit, r)
}

func (a *api) sign(r *http.Request, body []byte, at time.Time) {
	a.t.Helper()
	sum := sha256.Sum256(body)
	err := v4.NewSigner().SignHTTP(a.t.Context(), aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}, r,
		hex.EncodeToString(sum[:]), "elasticfilesystem", "us-east-1", at)
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *api) request(method, path string, body []byte) *http.Request {
	r := httptest.NewRequest(method, "http://efs.local/2015-02-01"+path, bytes.NewReader(body))
	a.sign(r, body, a.now)
	return r
}

func (a *api) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	a.h.ServeHTTP(w, r)
	return w
}

func (a *api) send(method, path, body string) *httptest.ResponseRecorder {
	return a.do(a.request(method, path, []byte(body)))
}

// create makes a file system and returns its id.
func (a *api) create(token string) string {
	a.t.Helper()
	w := a.send("POST", "/file-systems", `{"CreationToken":"`+token+`"}`)
	var made struct {
		ID string `json:"FileSystemId"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil || w.Code != http.StatusCreated {
		a.t.Fatalf("create: %d %s", w.Code, w.Body)
	}
	return made.ID
}

// checkError checks the form that every error has.
func checkError(t testing.TB, w *httptest.ResponseRecorder, what, code string) {
	t.Helper()
	var body struct{ ErrorCode, Message string }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Errorf("%s: the body is no JSON: %q", what, w.Body)
	}
	got := w.Header().Get("X-Amzn-ErrorType")
	if got != body.ErrorCode || body.Message == "" || w.Header().Get("x-amzn-RequestId") == "" || w.Code < 400 {
		t.Errorf("%s: %d, type %q, body %s", what, w.Code, got, w.Body)
	}
	if got != code {
		t.Errorf("%s: %s (%s), want %s", what, got, body.Message, code)
	}
	checkTold(t, what, w, "")
}

func long(n int) string { return strings.Repeat("x", n) }

func tags(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`{"Key":"k%d","Value":"v"}`, i))
	}
	return "[" + strings.Join(all, ",") + "]"
}

func TestBadBodiesAreBadRequests(t *testing.T) {
	a := newAPI(t)
	id := a.create("a")
	create := func(member string) string { return `{"CreationToken":"t",` + member + `}` }
	mount := func(member string) string {
		return `{"FileSystemId":"` + id + `","SubnetId":"` + subnetA + `",` + member + `}`
	}
	destination := func(d string) string { return `{"Destinations":[` + d + `]}` }
	replication := "/file-systems/" + id + "/replication-configuration"
	for _, c := range []struct{ method, path, body, code string }{
		{"POST", "/file-systems", ``, "BadRequest"},
		{"POST", "/file-systems", `{`, "BadRequest"},
		{"POST", "/file-systems", `[]`, "BadRequest"},
		{"POST", "/file-systems", `"x"`, "BadRequest"},
		{"POST", "/file-systems", `{} {}`, "BadRequest"},
		{"POST", "/file-systems", "{\"CreationToken\":\"\xff\"}", "BadRequest"},
		{"POST", "/file-systems", `{"CreationToken":"a"},`, "BadRequest"},
		{"POST", "/file-systems", `{"creationtoken":"a"}`, "BadRequest"},
		{"POST", "/file-systems", `{"CreationToken":"b","CreationToken":"c"}`, "BadRequest"},
		{"POST", "/file-systems", `{"CreationToken":""}`, "BadRequest"},
		{"POST", "/file-systems", `{"CreationToken":null}`, "BadRequest"},
		{"POST", "/file-systems", `{"CreationToken":7}`, "BadRequest"},
		{"POST", "/file-systems", `{"CreationToken":"` + long(65) + `"}`, "BadRequest"},
		{"POST", "/file-systems", create(`"Colour":"red"`), "BadRequest"},
		{"POST", "/file-systems", create(`"PerformanceMode":"fast"`), "BadRequest"},
		{"POST", "/file-systems", create(`"PerformanceMode":"maxIO","ThroughputMode":"elastic"`), "BadRequest"},
		{"POST", "/file-systems", create(`"ThroughputMode":"provisioned"`), "BadRequest"},
		{"POST", "/file-systems", create(`"ProvisionedThroughputInMibps":1.5`), "BadRequest"},
		{"POST", "/file-systems", create(`"ProvisionedThroughputInMibps":"x"`), "BadRequest"},
		{"POST", "/file-systems", create(`"Encrypted":true`), "BadRequest"},
		{"POST", "/file-systems", create(`"Encrypted":"yes"`), "BadRequest"},
		{"POST", "/file-systems", create(`"KmsKeyId":"alias/x"`), "BadRequest"},
		{"POST", "/file-systems", create(`"Backup":true`), "BadRequest"},
		{"POST", "/file-systems", create(`"AvailabilityZoneName":"us-east-1a"`), "UnsupportedAvailabilityZone"},
		{"POST", "/file-systems", create(`"Tags":{}`), "BadRequest"},
		{"POST", "/file-systems", create(`"Tags":["a"]`), "BadRequest"},
		{"POST", "/file-systems", create(`"Tags":[{"Key":"a"}]`), "BadRequest"},
		{"POST", "/file-systems", create(`"Tags":[{"Value":"a"}]`), "BadRequest"},
		{"POST", "/file-systems", create(`"Tags":[{"Key":"a","Value":"b","More":1}]`), "BadRequest"},
		{"POST", "/file-systems", create(`"Tags":[{"Key":"a","Value":"b"},{"Key":"a","Value":"c"}]`), "BadRequest"},
		{"POST", "/file-systems", create(`"Tags":[{"Key":"","Value":"b"}]`), "BadRequest"},
		{"POST", "/file-systems", create(`"Tags":[{"Key":"aWs:x","Value":"b"}]`), "BadRequest"},
		{"POST", "/file-systems", create(`"Tags":[{"Key":"a<b","Value":"b"}]`), "BadRequest"},
		{"POST", "/file-systems", create(`"Tags":[{"Key":"` + long(129) + `","Value":"b"}]`), "BadRequest"},
		{"POST", "/file-systems", create(`"Tags":[{"Key":"a","Value":"` + long(257) + `"}]`), "BadRequest"},
		{"POST", "/file-systems", create(`"Tags":` + tags(51)), "BadRequest"},
		{"POST", "/file-systems", strings.Repeat(`[`, 100000), "BadRequest"},
		{"POST", "/file-systems", create(`"Tags":` + strings.Repeat(`[`, 20) + strings.Repeat(`]`, 20)), "BadRequest"},
		{"POST", "/file-systems", create(`"KmsKeyId":"` + long(300<<10) + `"`), "BadRequest"},
		{"GET", "/file-systems?MaxItems=0", "", "BadRequest"},
		{"GET", "/file-systems?MaxItems=x", "", "BadRequest"},
		{"GET", "/file-systems?MaxItems=99999999999", "", "BadRequest"},
		{"GET", "/file-systems?MaxItems=1&MaxItems=2", "", "BadRequest"},
		{"GET", "/file-systems?Marker=", "", "BadRequest"},
		{"GET", "/file-systems?Marker=" + long(129), "", "BadRequest"},
		{"GET", "/file-systems?FileSystemId=fs-1", "", "BadRequest"},
		{"GET", "/file-systems?filesystemid=" + id, "", "BadRequest"},
		{"GET", "/file-systems?FileSystemId=" + noSuchFS, "", "FileSystemNotFound"},
		{"GET", "/file-systems?FileSystemId=arn:aws:elasticfilesystem:eu-west-1:123456789012:file-system/" + id, "", "FileSystemNotFound"},
		{"PUT", "/file-systems/" + id + "/protection", `{}`, "BadRequest"},
		{"PUT", "/file-systems/" + id + "/protection", `{"ReplicationOverwriteProtection":"REPLICATING"}`, "BadRequest"},
		{"PUT", "/file-systems/" + id + "/protection", `{"ReplicationOverwriteProtection":"MAYBE"}`, "BadRequest"},
		{"PUT", "/file-systems/fs-x/protection", `{"ReplicationOverwriteProtection":"ENABLED"}`, "BadRequest"},
		{"PUT", "/file-systems/" + noSuchFS + "/protection", `{"ReplicationOverwriteProtection":"ENABLED"}`, "FileSystemNotFound"},
		{"DELETE", "/file-systems/x", "", "BadRequest"},
		{"DELETE", "/file-systems/" + noSuchFS, "", "FileSystemNotFound"},
		{"POST", "/mount-targets", `{}`, "BadRequest"},
		{"POST", "/mount-targets", `{"FileSystemId":"` + id + `"}`, "BadRequest"},
		{"POST", "/mount-targets", `{"FileSystemId":"` + id + `","SubnetId":"subnet-1"}`, "BadRequest"},
		{"POST", "/mount-targets", `{"FileSystemId":"` + noSuchFS + `","SubnetId":"` + subnetA + `"}`, "FileSystemNotFound"},
		{"POST", "/mount-targets", mount(`"IpAddress":"1.2.3.4"`), "BadRequest"},
		{"POST", "/mount-targets", mount(`"IpAddress":"127.10.0.0"`), "BadRequest"},
		{"POST", "/mount-targets", mount(`"IpAddress":"127.10.0.255"`), "BadRequest"},
		{"POST", "/mount-targets", mount(`"IpAddress":"127.10.0.999"`), "BadRequest"},
		{"POST", "/mount-targets", mount(`"IpAddress":"localhost"`), "BadRequest"},
		{"POST", "/mount-targets", mount(`"Ipv6Address":"::1"`), "BadRequest"},
		{"POST", "/mount-targets", mount(`"IpAddressType":"IPV6_ONLY","IpAddress":"127.10.0.9"`), "BadRequest"},
		{"POST", "/mount-targets", mount(`"SecurityGroups":["sg-00000001"]`), "SecurityGroupNotFound"},
		{"POST", "/mount-targets", mount(`"SecurityGroups":["x"]`), "BadRequest"},
		{"POST", "/mount-targets", mount(`"SecurityGroups":"sg"`), "BadRequest"},
		{"GET", "/mount-targets", "", "BadRequest"},
		{"GET", "/mount-targets?FileSystemId=" + id + "&MountTargetId=fsmt-00000000000000000", "", "BadRequest"},
		{"GET", "/mount-targets?MountTargetId=fsmt-00000000000000000", "", "MountTargetNotFound"},
		{"GET", "/mount-targets?AccessPointId=fsap-00000000000000000", "", "AccessPointNotFound"},
		{"DELETE", "/mount-targets/fsmt-1", "", "BadRequest"},
		{"DELETE", "/mount-targets/fsmt-00000000000000000", "", "MountTargetNotFound"},
		{"POST", replication, `{}`, "BadRequest"},
		{"POST", replication, `{"Destinations":[]}`, "BadRequest"},
		{"POST", replication, `{"Destinations":[{"Region":"us-west-2"},{"Region":"us-west-2"}]}`, "BadRequest"},
		{"POST", replication, destination(`{}`), "BadRequest"},
		{"POST", replication, destination(`{"Region":"mars"}`), "BadRequest"},
		{"POST", replication, destination(`{"Region":"us-east-1"}`), "BadRequest"},
		{"POST", replication, destination(`{"Region":"us-west-2","KmsKeyId":"x"}`), "BadRequest"},
		{"POST", replication, destination(`{"Region":"us-west-2","RoleArn":"x"}`), "BadRequest"},
		{"POST", replication, destination(`{"Region":"us-west-2","AvailabilityZoneName":"x"}`), "UnsupportedAvailabilityZone"},
		{"POST", replication, destination(`{"Region":"us-west-2","FileSystemId":"x"}`), "BadRequest"},
		{"POST", replication, destination(`{"Region":"us-west-2","FileSystemId":"` + noSuchFS + `"}`), "FileSystemNotFound"},
		{"GET", "/file-systems/replication-configurations?FileSystemId=" + id, "", "ReplicationNotFound"},
		{"GET", "/file-systems/replication-configurations?FileSystemId=" + noSuchFS, "", "FileSystemNotFound"},
		{"GET", "/file-systems/replication-configurations?MaxResults=0", "", "BadRequest"},
		{"DELETE", replication, "", "ReplicationNotFound"},
		{"DELETE", replication + "?deletionMode=SOME", "", "BadRequest"},
		{"DELETE", replication + "?DeletionMode=ALL_CONFIGURATIONS", "", "BadRequest"},
		{"POST", "/resource-tags/" + id, `{}`, "BadRequest"},
		{"POST", "/resource-tags/" + id, `{"Tags":7}`, "BadRequest"},
		{"POST", "/resource-tags/x", `{"Tags":[]}`, "BadRequest"},
		{"POST", "/resource-tags/" + noSuchFS, `{"Tags":[{"Key":"a","Value":"b"}]}`, "FileSystemNotFound"},
		{"DELETE", "/resource-tags/" + id, "", "BadRequest"},
		{"DELETE", "/resource-tags/" + id + "?tagKeys=" + long(129), "", "BadRequest"},
		{"DELETE", "/resource-tags/" + id + "?" + strings.Repeat("tagKeys=a&", 51), "", "BadRequest"},
		{"GET", "/resource-tags/fsap-00000000000000000", "", "AccessPointNotFound"},
		{"GET", "/resource-tags/" + id + "?NextToken=" + long(129), "", "BadRequest"},
		{"GET", "/file-systems/" + id, "", "UnknownOperationException"},
		{"GET", "/tags/" + id + "/x", "", "UnknownOperationException"},
		{"PATCH", "/file-systems", "", "UnknownOperationException"},
		{"GET", "//file-systems", "", "UnknownOperationException"},
		{"GET", "/file-systems/../file-systems", "", "UnknownOperationException"},
		{"GET", "/", "", "UnknownOperationException"},
	} {
		checkError(t, a.send(c.method, c.path, c.body), fmt.Sprintf("%s %.100s %.150s", c.method, c.path, c.body), c.code)
	}
	if all, err := a.region.Control.DescribeFileSystems("", ""); len(all) != 1 || err != nil {
		t.Errorf("a refused request made something: %+v, %v", all, err)
	}
}

func TestLargestRequestsAreAccepted(t *testing.T) {
	a := newAPI(t)
	w := a.send("POST", "/file-systems", `{"CreationToken":"`+long(64)+`","Encrypted":false,"Backup":false,"PerformanceMode":"maxIO","ThroughputMode":"bursting","KmsKeyId":null,"Tags":`+tags(50)+`}`)
	if w.Code != http.StatusCreated {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	id := a.create("b")
	key, value := strings.Repeat("é", 128), strings.Repeat("é", 256)
	if w := a.send("POST", "/resource-tags/"+id, `{"Tags":[{"Key":"`+key+`","Value":"`+value+`"}]}`); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for i := range control.MaxTags - 1 {
		_ = a.send("POST", "/resource-tags/"+id, fmt.Sprintf(`{"Tags":[{"Key":"%d","Value":"x"}]}`, i))
	}
	checkError(t, a.send("POST", "/resource-tags/"+id, `{"Tags":[{"Key":"last","Value":"x"}]}`), "the 51st tag", "BadRequest")
}

// TestLongestTags: 50 tags of full length fit, of file systems, access points
// and replicas alike, as long as a character is a byte; the bound of bytes is
// told beyond.
func TestLongestTags(t *testing.T) {
	a := newAPI(t)
	full := func(char string) string {
		var all []string
		for i := range control.MaxTags {
			all = append(all, fmt.Sprintf(`{"Key":"%02d%s","Value":"%s"}`, i, strings.Repeat(char, 126), strings.Repeat(char, 256)))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	id := a.create("a")
	for what, w := range map[string]*httptest.ResponseRecorder{
		"tagging":                      a.send("POST", "/resource-tags/"+id, `{"Tags":`+full("x")+`}`),
		"a new file system":            a.send("POST", "/file-systems", `{"CreationToken":"b","Tags":`+full("y")+`}`),
		"a new access point":           a.send("POST", "/access-points", `{"ClientToken":"t","FileSystemId":"`+id+`","Tags":`+full("z")+`}`),
		"a replication of the longest": a.send("POST", "/file-systems/"+id+"/replication-configuration", `{"Destinations":[{"Region":"us-west-2"}]}`),
	} {
		if w.Code >= 300 {
			t.Errorf("%s: %d %.300s", what, w.Code, w.Body)
		}
	}
	other := a.create("c")
	w := a.send("POST", "/resource-tags/"+other, `{"Tags":`+full("\u00e9")+`}`)
	checkError(t, w, "tags of characters of two bytes", "BadRequest")
	checkTold(t, "tags of characters of two bytes", w, "32768")
	if w := a.send("GET", "/resource-tags/"+other, ""); w.Body.String() != `{"Tags":[]}`+"\n" {
		t.Errorf("some are there: %.100s", w.Body)
	}
}

func TestSignatureCoversEverything(t *testing.T) {
	a := newAPI(t)
	body := []byte(`{"CreationToken":"t"}`)
	for name, c := range map[string]struct {
		change func(*http.Request)
		code   string
	}{
		"method":          {func(r *http.Request) { r.Method = "PUT" }, "InvalidSignatureException"},
		"path":            {func(r *http.Request) { r.URL.Path += "x" }, "InvalidSignatureException"},
		"query":           {func(r *http.Request) { r.URL.RawQuery = "a=b" }, "InvalidSignatureException"},
		"host":            {func(r *http.Request) { r.Host = "other" }, "InvalidSignatureException"},
		"body":            {func(r *http.Request) { r.Body = http.NoBody }, "InvalidSignatureException"},
		"date":            {func(r *http.Request) { r.Header.Set("X-Amz-Date", a.now.Add(time.Second).Format("20060102T150405Z")) }, "InvalidSignatureException"},
		"date form":       {func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") }, "InvalidSignatureException"},
		"no date":         {func(r *http.Request) { r.Header.Del("X-Amz-Date") }, "InvalidSignatureException"},
		"payload hash":    {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, "InvalidSignatureException"},
		"no header":       {func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException"},
		"two headers":     {func(r *http.Request) { r.Header.Add("Authorization", "x") }, "MissingAuthenticationTokenException"},
		"basic":           {func(r *http.Request) { r.SetBasicAuth("a", "b") }, "IncompleteSignatureException"},
		"presigned":       {func(r *http.Request) { r.Header.Del("Authorization"); r.URL.RawQuery = "X-Amz-Signature=00" }, "MissingAuthenticationTokenException"},
		"other service":   {replaceAuth("elasticfilesystem", "s3"), "InvalidSignatureException"},
		"other region":    {replaceAuth("us-east-1", "us-west-2"), "InvalidSignatureException"},
		"other algorithm": {replaceAuth("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), "IncompleteSignatureException"},
		"unsigned host":   {replaceAuth("host;", ""), "InvalidSignatureException"},
		"unsorted":        {replaceAuth("host;x-amz-date", "x-amz-date;host"), "IncompleteSignatureException"},
		"short signature": {replaceAuth("Signature=", "Signature=00"), "IncompleteSignatureException"},
	} {
		r := a.request("POST", "/file-systems", body)
		c.change(r)
		w := a.do(r)
		checkError(t, w, name, c.code)
		if w.Code != http.StatusForbidden {
			t.Errorf("%s: status %d", name, w.Code)
		}
	}
}

func replaceAuth(old, with string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, with, 1))
	}
}

func TestUnreadableQueryIsABadRequest(t *testing.T) {
	a := newAPI(t)
	r := a.request("GET", "/file-systems", nil)
	r.URL.RawQuery = "a=%zz"
	checkError(t, a.do(r), "%zz in the query", "BadRequest")
}

func TestClockSkew(t *testing.T) {
	a := newAPI(t)
	for _, c := range []struct {
		skew time.Duration
		ok   bool
	}{{5 * time.Minute, true}, {-5 * time.Minute, true}, {5*time.Minute + time.Second, false}, {-5*time.Minute - time.Second, false}} {
		r := httptest.NewRequest("GET", "http://efs.local/2015-02-01/file-systems", nil)
		a.sign(r, nil, a.now.Add(c.skew))
		if w := a.do(r); (w.Code == http.StatusOK) != c.ok {
			t.Errorf("a clock that is off by %s: %d %s", c.skew, w.Code, w.Body)
		}
	}
}

func TestTimestampsAreNumbers(t *testing.T) {
	a := newAPI(t)
	a.create("a")
	w := a.send("GET", "/file-systems", "")
	var page struct {
		FileSystems []struct{ CreationTime json.Number }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || len(page.FileSystems) != 1 {
		t.Errorf("%v: %s", err, w.Body)
	}
}

// FuzzRequest sends signed requests: whatever they hold, the answer is a
// success or an error that EFS documents, never a fault of ours.
func FuzzRequest(f *testing.F) {
	a := newAPI(f)
	id := a.create("seed")
	for _, s := range []struct{ method, path, body string }{
		{"POST", "/file-systems", `{"CreationToken":"a","Tags":[{"Key":"a","Value":"b"}]}`},
		{"GET", "/file-systems?MaxItems=3&Marker=x", ""},
		{"PUT", "/file-systems/" + id + "/protection", `{"ReplicationOverwriteProtection":"DISABLED"}`},
		{"POST", "/mount-targets", `{"FileSystemId":"` + id + `","SubnetId":"` + subnetA + `","IpAddress":"127.10.0.9"}`},
		{"POST", "/file-systems/" + id + "/replication-configuration", `{"Destinations":[{"Region":"us-west-2","FileSystemId":"fs-00000000"}]}`},
		{"DELETE", "/resource-tags/" + id + "?tagKeys=a&tagKeys=b", ""},
		{"GET", "/resource-tags/arn:aws:elasticfilesystem:us-east-1:123456789012:file-system%2F" + id, ""},
	} {
		f.Add(s.method, s.path, []byte(s.body))
	}
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://efs.local/2015-02-01"+path, bytes.NewReader(body))
		if err != nil || method == "" || r.Host != "efs.local" {
			return
		}
		local := &api{t: t, h: a.h, now: a.now}
		local.sign(r, body, a.now)
		w := local.do(r)
		if w.Code >= 500 {
			t.Errorf("%s %q %q: %d %s", method, path, body, w.Code, w.Body)
		}
		if code := w.Header().Get("X-Amzn-ErrorType"); w.Code >= 300 && code == "" || code == "InvalidSignatureException" {
			t.Errorf("%s %q %q: %d %q %s", method, path, body, w.Code, code, w.Body)
		}
	})
}
