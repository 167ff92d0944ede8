package efsapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// canonicalRequest is the text that a signature is over:
//
//	method \n path \n query \n header:value\n... \n signed headers \n payload hash
//
// The path is what was on the wire, encoded once more, as every service but S3
// has it.
//
// The signature itself, in the query form, is not part of it.
func canonicalRequest(r *http.Request, signed []string, payload string, order queryOrder) (string, error) {
	query, err := canonicalQuery(r.URL.RawQuery, order)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(r.Method + "\n" + uriEncode(r.URL.EscapedPath(), true) + "\n" + query + "\n")
	for _, name := range signed {
		b.WriteString(name + ":" + headerValue(r, name) + "\n")
	}
	b.WriteString("\n" + strings.Join(signed, ";") + "\n" + payload)
	return b.String(), nil
}

func headerValue(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	var values []string
	for _, v := range r.Header.Values(name) {
		values = append(values, strings.Join(strings.Fields(v), " "))
	}
	return strings.Join(values, ",")
}

// queryOrder is an order of the parameters in the canonical query. AWS's text
// sorts after encoding, and botocore does; the SDKs for Go sort before it. The
// two differ for tag keys such as "a:b" and "a0". Either covers all parameters.
type queryOrder func(a, b [2]string) int

var queryOrders = []queryOrder{
	func(a, b [2]string) int { return comparePairs(encodePair(a), encodePair(b)) },
	comparePairs,
}

func comparePairs(a, b [2]string) int {
	if c := strings.Compare(a[0], b[0]); c != 0 {
		return c
	}
	return strings.Compare(a[1], b[1])
}

func encodePair(p [2]string) [2]string {
	return [2]string{uriEncode(p[0], false), uriEncode(p[1], false)}
}

// canonicalQuery encodes and sorts the parameters.
func canonicalQuery(raw string, order queryOrder) (string, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return "", badRequest("the query cannot be read: %s; encode its parameters", err)
	}
	var pairs [][2]string
	for k, all := range values {
		if k == querySignature {
			continue
		}
		for _, v := range all {
			pairs = append(pairs, [2]string{k, v})
		}
	}
	slices.SortFunc(pairs, order)
	lines := make([]string, 0, len(pairs))
	for _, p := range pairs {
		p = encodePair(p)
		lines = append(lines, p[0]+"="+p[1])
	}
	return strings.Join(lines, "&"), nil
}

const upperHex = "0123456789ABCDEF"

// uriEncode leaves only RFC 3986's unreserved characters, and '/' if told so.
func uriEncode(s string, slash bool) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			c == '-' || c == '_' || c == '.' || c == '~' || slash && c == '/' {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
	}
	return b.String()
}
