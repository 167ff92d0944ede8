package efsapi

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The query form of a signature: the parameters of the Authorization header
// travel in the query, with a time until which they are valid.
const (
	queryAlgorithm = "X-Amz-Algorithm"
	queryExpires   = "X-Amz-Expires"
	querySignature = "X-Amz-Signature"
	queryPrefix    = "X-Amz-"
	// maxExpires is AWS's longest time: 7 days.
	maxExpires = 7 * 24 * time.Hour
)

// parsePresigned reads
//
//	?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=KEY/DATE/REGION/SERVICE/aws4_request&X-Amz-Date=...
//	&X-Amz-Expires=SECONDS&X-Amz-SignedHeaders=a;b&X-Amz-Signature=hex[&X-Amz-Security-Token=...]
func parsePresigned(query url.Values) (*authorization, error) {
	for name, all := range query {
		if strings.HasPrefix(name, queryPrefix) && len(all) != 1 {
			return nil, denied("IncompleteSignatureException", "the parameter %.60q is given %d times: give it once", name, len(all))
		}
	}
	if query.Get(queryAlgorithm) != algorithm {
		return nil, denied("IncompleteSignatureException", "%s must be %s: sign with Signature Version 4", queryAlgorithm, algorithm)
	}
	parts := map[string]string{"Credential": query.Get("X-Amz-Credential"), "SignedHeaders": query.Get("X-Amz-SignedHeaders"), "Signature": query.Get(querySignature)}
	for name, v := range parts {
		if v == "" {
			return nil, denied("IncompleteSignatureException", "the query has no parameter X-Amz-%s: sign anew", name)
		}
	}
	auth, err := buildAuthorization(parts)
	if err != nil {
		return nil, err
	}
	seconds, err := strconv.ParseInt(query.Get(queryExpires), 10, 32)
	auth.expires = time.Duration(seconds) * time.Second
	if err != nil || seconds < 1 || auth.expires > maxExpires {
		return nil, denied("IncompleteSignatureException", "%s %.20q is not valid: give a number of seconds from 1 to %d", queryExpires, query.Get(queryExpires), int(maxExpires.Seconds()))
	}
	auth.query, auth.stamp, auth.token = true, query.Get("X-Amz-Date"), query.Get("X-Amz-Security-Token")
	return auth, nil
}

// removeSignature leaves the operation only its own parameters.
func removeSignature(r *http.Request, auth *authorization) {
	if !auth.query {
		return
	}
	values := r.URL.Query()
	for name := range values {
		if strings.HasPrefix(name, queryPrefix) {
			values.Del(name)
		}
	}
	r.URL.RawQuery = values.Encode()
}
