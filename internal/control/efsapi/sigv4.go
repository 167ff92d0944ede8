package efsapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// AWS Signature Version 4: "Signing AWS API requests" in the AWS IAM User
// Guide. The query form is in presigned.go.
const (
	algorithm   = "AWS4-HMAC-SHA256"
	signingName = "elasticfilesystem"
	terminator  = "aws4_request"
	dateForm    = "20060102T150405Z"
	// maxSkew is how far the client's clock may be from ours: AWS's 5 minutes.
	maxSkew = 5 * time.Minute
	// maxAuthBytes bounds an Authorization header: a known form of some 300
	// bytes, with room for many signed headers.
	maxAuthBytes = 4096
)

// authorization is what a request says of its signature.
type authorization struct {
	accessKey     string
	date          string // yyyymmdd
	region        string
	service       string
	signedHeaders []string // lower case, sorted
	signature     []byte

	stamp   string        // dateForm
	token   string        // session token, "" for none
	query   bool          // query form
	expires time.Duration // of the query form, after stamp
}

func denied(code, format string, args ...any) error {
	return &control.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

var signedHeadersForm = regexp.MustCompile(`^[a-z0-9-]+(;[a-z0-9-]+)*$`)

// parseAuthorization reads
//
//	AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=a;b, Signature=hex
func parseAuthorization(header string) (*authorization, error) {
	if len(header) > maxAuthBytes {
		return nil, denied("IncompleteSignatureException", "the Authorization header is longer than %d bytes: sign fewer headers", maxAuthBytes)
	}
	scheme, rest, _ := strings.Cut(header, " ")
	if scheme != algorithm {
		return nil, denied("IncompleteSignatureException", "the Authorization header must begin with %s: sign with Signature Version 4", algorithm)
	}
	parts := map[string]string{}
	for p := range strings.SplitSeq(rest, ",") {
		k, v, ok := strings.Cut(strings.TrimSpace(p), "=")
		if _, twice := parts[k]; !ok || twice {
			return nil, denied("IncompleteSignatureException", "the Authorization header has a part %.60q that is not a single key=value: give Credential, SignedHeaders and Signature", p)
		}
		parts[k] = v
	}
	for _, k := range []string{"Credential", "SignedHeaders", "Signature"} {
		if parts[k] == "" {
			return nil, denied("IncompleteSignatureException", "Authorization header requires '%s' parameter: give Credential, SignedHeaders and Signature.", k)
		}
	}
	return buildAuthorization(parts)
}

func buildAuthorization(parts map[string]string) (*authorization, error) {
	scope := strings.Split(parts["Credential"], "/")
	if len(scope) != 5 || scope[0] == "" || scope[4] != terminator {
		return nil, denied("IncompleteSignatureException", "Credential %.140q is not valid: give KEY/DATE/REGION/%s/%s", parts["Credential"], signingName, terminator)
	}
	signature, err := hex.DecodeString(parts["Signature"])
	if err != nil || len(signature) != sha256.Size {
		return nil, denied("IncompleteSignatureException", "Signature is not valid: give %d hex digits", 2*sha256.Size)
	}
	if !signedHeadersForm.MatchString(parts["SignedHeaders"]) {
		return nil, denied("IncompleteSignatureException", "SignedHeaders is not valid: give names in lower case, separated by ';'")
	}
	names := strings.Split(parts["SignedHeaders"], ";")
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		return nil, denied("IncompleteSignatureException", "SignedHeaders is not valid: give the names sorted and each once")
	}
	return &authorization{accessKey: scope[0], date: scope[1], region: scope[2], service: scope[3],
		signedHeaders: names, signature: signature}, nil
}

// authorizationOf finds the signature in the header or the query.
func (h *handler) authorizationOf(r *http.Request) (*authorization, error) {
	header := r.Header.Values("Authorization")
	if query := r.URL.Query(); query.Has(queryAlgorithm) {
		if len(header) > 0 {
			return nil, denied("IncompleteSignatureException", "the request is signed twice, in the Authorization header and in the query: sign it once")
		}
		return parsePresigned(query)
	}
	if len(header) != 1 {
		return nil, denied("MissingAuthenticationTokenException", "Missing Authentication Token: sign the request with Signature Version 4 in one Authorization header, or in the query (service %s, region %s)", signingName, h.cfg.Region)
	}
	auth, err := parseAuthorization(header[0])
	if err != nil {
		return nil, err
	}
	auth.stamp, auth.token = r.Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Security-Token")
	return auth, nil
}

// identify finds who claims to have signed, before the body is looked at: a
// stranger's is not even read. Whether the claim is true is for verify.
func (h *handler) identify(r *http.Request) (*authorization, Credential, error) {
	auth, err := h.authorizationOf(r)
	if err != nil {
		return nil, Credential{}, err
	}
	cred, known := h.keys[auth.accessKey]
	if !known {
		return nil, cred, denied("UnrecognizedClientException", "The security token included in the request is invalid: access key %.40q is not in the configuration of region %s; use one of api.credentials", auth.accessKey, h.cfg.Region)
	}
	if err := checkToken(cred, auth.token); err != nil {
		return nil, cred, err
	}
	return auth, cred, h.checkScope(r, auth)
}

// verify says why a request is not from somebody who has a key, or nil.
func (h *handler) verify(r *http.Request, body []byte, auth *authorization, cred Credential) error {
	for _, order := range queryOrders {
		want, err := signatureOf(r, body, auth, cred.SecretKey, order)
		if err != nil {
			return err
		}
		if hmac.Equal(want, auth.signature) {
			c := callOf(r)
			c.accessKey, c.role, c.principal = cred.AccessKey, cred.Role, cred.Principal
			removeSignature(r, auth)
			return nil
		}
	}
	return denied("InvalidSignatureException", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.")
}

// checkToken compares the session token with the credential's. Both are hashed
// first, so that the time tells nothing, the length included.
func checkToken(cred Credential, token string) error {
	given, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(cred.SessionToken))
	switch {
	case hmac.Equal(given[:], want[:]):
		return nil
	case cred.SessionToken == "":
		return denied("UnrecognizedClientException", "The security token included in the request is invalid: access key %s has no session token in the configuration; use it without AWS_SESSION_TOKEN", cred.AccessKey)
	}
	return denied("UnrecognizedClientException", "The security token included in the request is invalid: access key %s has a session token in the configuration; give it (AWS_SESSION_TOKEN)", cred.AccessKey)
}

// service is the signing name that a request must have.
func (h *handler) service(r *http.Request) string {
	if isEC2(r) {
		return ec2SigningName
	}
	return signingName
}

// checkScope checks date, region, service and that what matters is signed.
func (h *handler) checkScope(r *http.Request, auth *authorization) error {
	if auth.region != h.cfg.Region && !h.meansBothRegions(r, auth.region) {
		return denied("InvalidSignatureException", "Credential should be scoped to a valid region, not '%.40s': this endpoint serves %s; set AWS_DEFAULT_REGION or --region to it", auth.region, h.cfg.Region)
	}
	if want := h.service(r); auth.service != want {
		return denied("InvalidSignatureException", "Credential should be scoped to correct service: sign for '%s', not '%.40s'", want, auth.service)
	}
	needed := []string{"host", "x-amz-date"}
	if auth.query {
		needed = needed[:1] // the whole query is signed
	}
	for _, name := range needed {
		if !slices.Contains(auth.signedHeaders, name) {
			return denied("InvalidSignatureException", "the header %s is not signed: send it, and name it in SignedHeaders", name)
		}
	}
	return h.checkTime(auth)
}

// meansBothRegions accepts what is signed for a peer region and has the same
// result here. Terraform knows one endpoint of EFS, and ends a replication in
// the destination's region first: with a signature for that region, at the
// endpoint of the source's. A deletion on one side only is none of these.
func (h *handler) meansBothRegions(r *http.Request, region string) bool {
	if !slices.Contains(h.cfg.Control.PeerRegions(), region) {
		return false
	}
	_, pattern := h.mux.Handler(r)
	switch h.byPattern[pattern].name {
	case "DescribeReplicationConfigurations":
		return true
	case "DeleteReplicationConfiguration":
		return r.URL.Query().Get("deletionMode") != control.DeleteLocalOnly
	}
	return false
}

func (h *handler) checkTime(auth *authorization) error {
	at, err := time.Parse(dateForm, auth.stamp)
	if err != nil || auth.stamp[:8] != auth.date {
		return denied("InvalidSignatureException", "x-amz-date %.40q is not valid: give the form 20060102T150405Z, with the date of the credential, %.20q", auth.stamp, auth.date)
	}
	now := h.cfg.Now().UTC()
	if auth.query && now.Sub(at) > auth.expires {
		return denied("InvalidSignatureException", "Signature expired: it was valid for %s from %s, and the time of region %s is %s; sign anew",
			auth.expires, auth.stamp, h.cfg.Region, now.Format(dateForm))
	}
	if skew := now.Sub(at); skew < -maxSkew || !auth.query && skew > maxSkew {
		return denied("InvalidSignatureException", "Signature expired or not yet current: %s is %s away from the time of region %s, %s; set the clock (%s are allowed)",
			auth.stamp, skew.Abs().Round(time.Second), h.cfg.Region, now.Format(dateForm), maxSkew)
	}
	return nil
}

// signatureOf is the signature that the request should have.
func signatureOf(r *http.Request, body []byte, auth *authorization, secret string, order queryOrder) ([]byte, error) {
	sum := sha256.Sum256(body)
	payload := hex.EncodeToString(sum[:])
	if claimed := r.Header.Get("X-Amz-Content-Sha256"); claimed != "" && claimed != payload {
		return nil, denied("InvalidSignatureException", "x-amz-content-sha256 is %.64q, not the SHA-256 of the body (%s): sign the body; UNSIGNED-PAYLOAD is for S3 only", claimed, payload)
	}
	canonical, err := canonicalRequest(r, auth.signedHeaders, payload, order)
	if err != nil {
		return nil, err
	}
	hashed := sha256.Sum256([]byte(canonical))
	scope := auth.date + "/" + auth.region + "/" + auth.service + "/" + terminator
	toSign := algorithm + "\n" + auth.stamp + "\n" + scope + "\n" + hex.EncodeToString(hashed[:])
	key := mac([]byte("AWS4"+secret), auth.date)
	key = mac(key, auth.region)
	key = mac(key, auth.service)
	return mac(mac(key, terminator), toSign), nil
}

func mac(key []byte, data string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(data))
	return m.Sum(nil)
}
