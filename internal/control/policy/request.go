package policy

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Request is who asks and how.
type Request struct {
	// Principal is the ARN of who signed, "" for an anonymous client.
	Principal string
	// Secure: by TLS.
	Secure   bool
	SourceIP netip.Addr
	// AccessPoint is the ARN of the access point, "" for none.
	AccessPoint string
	// MountTarget: by a mount target, and not by the shared address.
	MountTarget bool
	Now         time.Time
}

// kind is what the values of a condition key are.
type kind int

const (
	kindString kind = iota
	kindBool
	kindIP
	kindARN
	kindTime
)

// key is a condition key: how its value is told; ok is false when a request
// does not have it.
type key struct {
	name  string
	kind  kind
	value func(r *Request) (v string, ok bool)
}

func boolean(b bool) (string, bool) { return strconv.FormatBool(b), true }

// keys are those of EFS's documentation, and those of who asks and when.
var keys = map[string]key{
	"aws:securetransport": {"aws:SecureTransport", kindBool, func(r *Request) (string, bool) { return boolean(r.Secure) }},
	"aws:sourceip": {"aws:SourceIp", kindIP, func(r *Request) (string, bool) {
		return r.SourceIP.Unmap().String(), r.SourceIP.IsValid()
	}},
	"elasticfilesystem:accesspointarn": {"elasticfilesystem:AccessPointArn", kindARN, func(r *Request) (string, bool) {
		return r.AccessPoint, r.AccessPoint != ""
	}},
	"elasticfilesystem:accessedviamounttarget": {"elasticfilesystem:AccessedViaMountTarget", kindBool, func(r *Request) (string, bool) {
		return boolean(r.MountTarget)
	}},
	"aws:principalarn": {"aws:PrincipalArn", kindARN, func(r *Request) (string, bool) { return r.Principal, r.Principal != "" }},
	"aws:principalaccount": {"aws:PrincipalAccount", kindString, func(r *Request) (string, bool) {
		return accountOf(r.Principal), r.Principal != ""
	}},
	"aws:currenttime": {"aws:CurrentTime", kindTime, func(r *Request) (string, bool) {
		return r.Now.UTC().Format(time.RFC3339), true
	}},
	"aws:epochtime": {"aws:EpochTime", kindTime, func(r *Request) (string, bool) {
		return strconv.FormatInt(r.Now.Unix(), 10), true
	}},
}

// accountOf is the account in an ARN.
func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}

func lower(s string) string { return strings.ToLower(s) }
