package efsapi_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/holdfast-fs/holdfast/internal/control/controltest"
	"github.com/holdfast-fs/holdfast/internal/control/efsapi"
)

// presign gives a request its signature in the query.
func (a *api) presign(method, path, expires string, body []byte, creds aws.Credentials) *http.Request {
	a.t.Helper()
	r := httptest.NewRequest(method, "http://efs.local/2015-02-01"+path, bytes.NewReader(body))
	q := r.URL.Query()
	q.Set("X-Amz-Expires", expires)
	r.URL.RawQuery = q.Encode()
	sum := sha256.Sum256(body)
	uri, headers, err := v4.NewSigner().PresignHTTP(a.t.Context(), creds, r, hex.EncodeToString(sum[:]), "elasticfilesystem", "us-east-1", a.now)
	if err != nil {
		a.t.Fatal(err)
	}
	signed := httptest.NewRequest(method, uri, bytes.NewReader(body))
	for k, v := range headers {
		signed.Header[k] = v
	}
	return signed
}

var keys = aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}

func TestPresignedRequests(t *testing.T) {
	a := newAPI(t)
	start := a.now
	id := a.create("a")
	if w := a.do(a.presign("GET", "/file-systems?FileSystemId="+id, "3600", nil, keys)); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), id) {
		t.Errorf("GET: %d %s", w.Code, w.Body)
	}
	if w := a.do(a.presign("POST", "/file-systems", "60", []byte(`{"CreationToken":"b"}`), keys)); w.Code != http.StatusCreated {
		t.Errorf("POST with a body: %d %s", w.Code, w.Body)
	}
	old := func(after time.Duration) *httptest.ResponseRecorder {
		a.now = start
		r := a.presign("GET", "/file-systems", "3600", nil, keys)
		a.now = start.Add(after)
		defer func() { a.now = start }()
		return a.do(r)
	}
	if w := old(time.Hour); w.Code != http.StatusOK {
		t.Errorf("at its last moment: %d %s", w.Code, w.Body)
	}
	checkError(t, old(time.Hour+time.Second), "expired", "InvalidSignatureException")
	checkError(t, old(-6*time.Minute), "not yet valid", "InvalidSignatureException")
	for name, c := range map[string]struct {
		change func(*http.Request)
		code   string
	}{
		"another query":     {func(r *http.Request) { r.URL.RawQuery += "&MaxItems=1" }, "InvalidSignatureException"},
		"longer validity":   {func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "3600", "7200", 1) }, "InvalidSignatureException"},
		"another method":    {func(r *http.Request) { r.Method = "DELETE" }, "InvalidSignatureException"},
		"another path":      {func(r *http.Request) { r.URL.Path += "x" }, "InvalidSignatureException"},
		"another host":      {func(r *http.Request) { r.Host = "other" }, "InvalidSignatureException"},
		"a body":            {func(r *http.Request) { r.Body = http.NoBody; r.Header.Set("X-Amz-Content-Sha256", "x") }, "InvalidSignatureException"},
		"a session token":   {func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Security-Token=x" }, "UnrecognizedClientException"},
		"a parameter twice": {func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Date=x" }, "IncompleteSignatureException"},
		"a header too":      {func(r *http.Request) { r.Header.Set("Authorization", "x") }, "IncompleteSignatureException"},
		"no signature":      {func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Signature=", "x=", 1) }, "IncompleteSignatureException"},
		"no time":           {func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Date=", "x=", 1) }, "InvalidSignatureException"},
		"too long validity": {func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "3600", "604801", 1) }, "IncompleteSignatureException"},
		"no validity":       {func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "=3600", "=x", 1) }, "IncompleteSignatureException"},
		"negative validity": {func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "=3600", "=-1", 1) }, "IncompleteSignatureException"},
		"another algorithm": {func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "AWS4-HMAC", "AWS5-HMAC", 1) }, "IncompleteSignatureException"},
		"an unknown key":    {func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, accessKey, "AKIAUNKNOWN", 1) }, "UnrecognizedClientException"},
		"an unsigned header": {func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "SignedHeaders=host", "SignedHeaders=x", 1)
		}, "InvalidSignatureException"},
	} {
		r := a.presign("GET", "/file-systems", "3600", nil, keys)
		c.change(r)
		checkError(t, a.do(r), name, c.code)
	}
}

// staff is an API with a credential of each role, and one with a session token.
func staff(t *testing.T) (*api, map[efsapi.Role]aws.Credentials) {
	a := newAPI(t)
	creds := map[efsapi.Role]aws.Credentials{}
	var all []efsapi.Credential
	for i, role := range []efsapi.Role{efsapi.RoleReadOnly, efsapi.RoleOperator, efsapi.RoleAdmin} {
		c := efsapi.Credential{AccessKey: "AKIA000000000000000" + string(rune('A'+i)), SecretKey: secretKey, Role: role}
		all = append(all, c)
		creds[role] = aws.Credentials{AccessKeyID: c.AccessKey, SecretAccessKey: c.SecretKey}
	}
	all = append(all, efsapi.Credential{AccessKey: "ASIA0000000000000000", SecretKey: secretKey, SessionToken: "the/token+x="})
	h, err := efsapi.New(efsapi.Config{Control: a.region.Control, Region: "us-east-1", Now: func() time.Time { return a.now },
		Rand: controltest.NewRand(1, 1), Credentials: all, Audit: a.note})
	if err != nil {
		t.Fatal(err)
	}
	a.h = h
	return a, creds
}

func (a *api) sendAs(c aws.Credentials, method, path, body string) *httptest.ResponseRecorder {
	a.t.Helper()
	return a.do(a.presign(method, path, "60", []byte(body), c))
}

func TestRoles(t *testing.T) {
	a, creds := staff(t)
	const create = `{"CreationToken":"a"}`
	checkError(t, a.sendAs(creds[efsapi.RoleReadOnly], "POST", "/file-systems", create), "creation by a reader", "AccessDeniedException")
	if w := a.sendAs(creds[efsapi.RoleOperator], "POST", "/file-systems", create); w.Code != http.StatusCreated {
		t.Fatalf("creation by an operator: %d %s", w.Code, w.Body)
	}
	if w := a.sendAs(creds[efsapi.RoleReadOnly], "GET", "/file-systems", ""); w.Code != http.StatusOK {
		t.Errorf("a list by a reader: %d %s", w.Code, w.Body)
	}
	all, err := a.region.Control.DescribeFileSystems("", "a")
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	for _, role := range []efsapi.Role{efsapi.RoleReadOnly, efsapi.RoleOperator} {
		checkError(t, a.sendAs(creds[role], "DELETE", "/file-systems/"+all[0].ID, ""), "deletion by "+string(role), "AccessDeniedException")
	}
	if w := a.sendAs(creds[efsapi.RoleAdmin], "DELETE", "/file-systems/"+all[0].ID, ""); w.Code != http.StatusNoContent {
		t.Errorf("deletion by an admin: %d %s", w.Code, w.Body)
	}
	checkError(t, a.sendAs(creds[efsapi.RoleReadOnly], "GET", "/nothing", ""), "an unknown call", "UnknownOperationException")
}

func TestSessionTokensAreCompared(t *testing.T) {
	a, creds := staff(t)
	c := aws.Credentials{AccessKeyID: "ASIA0000000000000000", SecretAccessKey: secretKey, SessionToken: "the/token+x="}
	if w := a.sendAs(c, "GET", "/file-systems", ""); w.Code != http.StatusOK {
		t.Errorf("with its token: %d %s", w.Code, w.Body)
	}
	for name, token := range map[string]string{"none": "", "another": "the/token+x", "longer": "the/token+x=="} {
		c.SessionToken = token
		checkError(t, a.sendAs(c, "GET", "/file-systems", ""), name, "UnrecognizedClientException")
	}
	c = creds[efsapi.RoleAdmin]
	c.SessionToken = "x"
	checkError(t, a.sendAs(c, "GET", "/file-systems", ""), "a token for a key without", "UnrecognizedClientException")
}

func TestAuditTellsWhoWhatWhenWhereAndHowItEnded(t *testing.T) {
	a, creds := staff(t)
	a.sendAs(creds[efsapi.RoleOperator], "POST", "/file-systems", `{"CreationToken":"a"}`)
	a.sendAs(creds[efsapi.RoleReadOnly], "POST", "/file-systems", `{"CreationToken":"b"}`)
	a.do(httptest.NewRequest("GET", "http://efs.local/2015-02-01/"+long(5000), nil))
	all, _ := a.region.Control.DescribeFileSystems("", "")
	if len(a.audit) != 3 || len(all) != 1 {
		t.Fatalf("%+v", a.audit)
	}
	for i, w := range []efsapi.AuditRecord{
		{AccessKey: "AKIA000000000000000B", Role: efsapi.RoleOperator, Action: "CreateFileSystem", Method: "POST", Path: "/2015-02-01/file-systems", Resource: all[0].ID, Status: 201},
		{AccessKey: "AKIA000000000000000A", Role: efsapi.RoleReadOnly, Action: "CreateFileSystem", Method: "POST", Path: "/2015-02-01/file-systems", Status: 403, Error: "AccessDeniedException"},
		{Method: "GET", Path: "/2015-02-01/" + long(500), Status: 403, Error: "MissingAuthenticationTokenException"},
	} {
		got := a.audit[i]
		if got.RequestID == "" || got.Source == "" || !got.Time.Equal(a.now) {
			t.Errorf("%d: %+v", i, got)
		}
		w.RequestID, w.Source, w.Time, w.Region = got.RequestID, got.Source, got.Time, "us-east-1"
		if got != w {
			t.Errorf("%d: %+v, want %+v", i, got, w)
		}
	}
}

// endless is a body without end that counts what is read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return copy(p, strings.Repeat(" ", len(p))), nil
}

// TestBodiesAreBoundedBeforeTheyAreHashed: of a stranger nothing is read, of a
// known key not more than the largest request.
func TestBodiesAreBoundedBeforeTheyAreHashed(t *testing.T) {
	a := newAPI(t)
	for name, c := range map[string]struct {
		change func(*http.Request)
		code   string
		most   int
	}{
		"not signed":    {func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException", 0},
		"unknown key":   {replaceAuth(accessKey, "AKIAUNKNOWN"), "UnrecognizedClientException", 0},
		"a token":       {func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }, "UnrecognizedClientException", 0},
		"other service": {replaceAuth("elasticfilesystem", "s3"), "InvalidSignatureException", 0},
		"an old date":   {func(r *http.Request) { r.Header.Set("X-Amz-Date", "20260101T000000Z") }, "InvalidSignatureException", 0},
		"a known key":   {func(*http.Request) {}, "BadRequest", 512 << 10},
	} {
		r := a.request("POST", "/file-systems", nil)
		body := &endless{}
		r.Body, r.ContentLength = io.NopCloser(body), -1
		c.change(r)
		checkError(t, a.do(r), name, c.code)
		if body.read > c.most {
			t.Errorf("%s: %d bytes were read, more than %d", name, body.read, c.most)
		}
	}
}

// TestRolesOfEveryOperation: who reads changes nothing, and an operator does
// nothing that is for admins; the audit log has the refusal.
func TestRolesOfEveryOperation(t *testing.T) {
	a, creds := staff(t)
	forAdmins := []string{"DeleteFileSystem", "PutFileSystemPolicy", "DeleteFileSystemPolicy", "PutAccountPreferences"}
	for _, o := range readContract(t).Operations {
		base := members{}
		for k, v := range bases[o.Name][0] {
			base[k] = v
			if s, ok := v.(string); ok {
				base[k] = fill(s, map[string]string{"fs": noSuchFS, "plain": noSuchFS, "src": noSuchFS, "mt": "fsmt-00000000000000000", "ap": noSuchAP})
			}
		}
		path, body := o.compose(t, base)
		for role, may := range map[efsapi.Role]bool{
			efsapi.RoleReadOnly: o.Method == "GET",
			efsapi.RoleOperator: !slices.Contains(forAdmins, o.Name),
			efsapi.RoleAdmin:    true,
		} {
			w := a.sendAs(creds[role], o.Method, path, body)
			line := a.audit[len(a.audit)-1]
			if line.Action != o.Name || line.Role != role || line.Status != w.Code {
				t.Errorf("%s by %s is %+v in the audit log", o.Name, role, line)
			}
			if may == (line.Error == "AccessDeniedException") {
				t.Errorf("%s by %s: %d %s", o.Name, role, w.Code, w.Body)
			}
			if !may {
				checkError(t, w, o.Name+" by "+string(role), "AccessDeniedException")
			}
		}
	}
}

// TestSignatureCannotBeMovedToOtherHeaders: a header that is not signed does not
// count, and one that is cannot be changed, doubled or taken away.
func TestSignatureCannotBeMovedToOtherHeaders(t *testing.T) {
	a := newAPI(t)
	id := a.create("a")
	path := "/file-systems?FileSystemId=" + id
	for name, change := range map[string]func(*http.Request){
		"a second date": func(r *http.Request) { r.Header.Add("X-Amz-Date", r.Header.Get("X-Amz-Date")) },
		"a date in the past": func(r *http.Request) {
			r.Header["X-Amz-Date"] = append([]string{"20200101T000000Z"}, r.Header["X-Amz-Date"]...)
		},
		"more signed headers":  replaceAuth("SignedHeaders=host", "SignedHeaders=accept;host"),
		"fewer signed headers": replaceAuth("host;x-amz-date", "host"),
		"another key's scope":  replaceAuth("/us-east-1/", "/us-east-1a/"),
		"an upper-case name":   replaceAuth("host;x-amz-date", "Host;x-amz-date"),
		"a signature twice": func(r *http.Request) {
			r.Header.Set("Authorization", r.Header.Get("Authorization")+", Signature="+strings.Repeat("0", 64))
		},
		"a key twice": func(r *http.Request) {
			r.Header.Set("Authorization", r.Header.Get("Authorization")+", Credential=x/20260101/us-east-1/elasticfilesystem/aws4_request")
		},
	} {
		r := a.request("GET", path, nil)
		change(r)
		if w := a.do(r); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	// What is not signed does not change the meaning either.
	for name, value := range map[string]string{"X-Http-Method-Override": "DELETE", "X-Original-Url": "/2015-02-01/account-preferences", "X-Forwarded-Host": "other", "X-Amzn-Requestid": "mine"} {
		r := a.request("GET", path, nil)
		r.Header.Set(name, value)
		if w := a.do(r); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), id) || w.Header().Get("X-Amzn-Requestid") == value {
			t.Errorf("with %s: %d %s", name, w.Code, w.Body)
		}
	}
}

// TestAFaultInTheCodeIsAnswered: the caller and the audit log are told, and the
// next request is served.
func TestAFaultInTheCodeIsAnswered(t *testing.T) {
	a := newAPI(t)
	var log bytes.Buffer
	h, err := efsapi.New(efsapi.Config{Control: a.region.Control, Region: "us-east-1", Now: func() time.Time { return a.now }, Rand: controltest.NewRand(1, 1),
		Credentials: []efsapi.Credential{{AccessKey: accessKey, SecretKey: secretKey}}, Audit: a.note, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Extensions: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a bug") }), ExtensionPrefix: "/2015-02-01/bug/"})
	if err != nil {
		t.Fatal(err)
	}
	a.h = h
	w := a.send("GET", "/bug/x", "")
	checkError(t, w, "a bug", "InternalServerError")
	if line := a.audit[len(a.audit)-1]; w.Code != 500 || line.Status != 500 || line.Error != "InternalServerError" {
		t.Errorf("%d, in the audit log %+v", w.Code, line)
	}
	if !strings.Contains(log.String(), "a bug") || !strings.Contains(log.String(), w.Header().Get("x-amzn-RequestId")) {
		t.Errorf("the log does not tell: %s", log.String())
	}
	if w := a.send("GET", "/file-systems", ""); w.Code != 200 {
		t.Errorf("the next request: %d", w.Code)
	}
}
