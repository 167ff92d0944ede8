package policy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// value is a value of a condition, read for its operator.
type value struct {
	text    string
	network netip.Prefix
	time    time.Time
	missing bool // of Null
}

// operator is how the values of a condition are compared.
type operator struct {
	kinds   []kind
	negated bool
	null    bool // asks whether there is a value at all
	read    func(string) (value, error)
	match   func(have string, want value) bool
}

var (
	anyKind   = []kind{kindString, kindBool, kindIP, kindARN, kindTime}
	operators = map[string]operator{
		"StringEquals":              {kinds: anyKind, read: plain, match: equal},
		"StringNotEquals":           {kinds: anyKind, read: plain, match: equal, negated: true},
		"StringEqualsIgnoreCase":    {kinds: anyKind, read: plain, match: equalFold},
		"StringNotEqualsIgnoreCase": {kinds: anyKind, read: plain, match: equalFold, negated: true},
		"StringLike":                {kinds: anyKind, read: plain, match: like},
		"StringNotLike":             {kinds: anyKind, read: plain, match: like, negated: true},
		"ArnEquals":                 {kinds: []kind{kindARN}, read: readARN, match: likeARN},
		"ArnLike":                   {kinds: []kind{kindARN}, read: readARN, match: likeARN},
		"ArnNotEquals":              {kinds: []kind{kindARN}, read: readARN, match: likeARN, negated: true},
		"ArnNotLike":                {kinds: []kind{kindARN}, read: readARN, match: likeARN, negated: true},
		"Bool":                      {kinds: []kind{kindBool}, read: readBool, match: equal},
		"IpAddress":                 {kinds: []kind{kindIP}, read: readNetwork, match: within},
		"NotIpAddress":              {kinds: []kind{kindIP}, read: readNetwork, match: within, negated: true},
		"DateEquals":                dates(func(c int) bool { return c == 0 }),
		"DateNotEquals":             not(dates(func(c int) bool { return c == 0 })),
		"DateLessThan":              dates(func(c int) bool { return c < 0 }),
		"DateLessThanEquals":        dates(func(c int) bool { return c <= 0 }),
		"DateGreaterThan":           dates(func(c int) bool { return c > 0 }),
		"DateGreaterThanEquals":     dates(func(c int) bool { return c >= 0 }),
		"Null":                      {kinds: anyKind, null: true, read: readMissing},
	}
)

func plain(s string) (value, error) { return value{text: s}, nil }

func equal(have string, want value) bool     { return have == want.text }
func equalFold(have string, want value) bool { return strings.EqualFold(have, want.text) }
func like(have string, want value) bool      { return glob(want.text, have) }
func likeARN(have string, want value) bool   { return globARN(want.text, have) }

func readARN(s string) (value, error) {
	if n := len(strings.SplitN(s, ":", arnParts)); n != arnParts {
		return value{}, fmt.Errorf("%.100q is no ARN, nor a pattern of one: give 6 parts with colons between them", s)
	}
	return value{text: s}, nil
}

func readBool(s string) (value, error) {
	s = lower(s)
	if s != "true" && s != "false" {
		return value{}, fmt.Errorf("%.40q is no boolean: give true or false", s)
	}
	return value{text: s}, nil
}

func readMissing(s string) (value, error) {
	v, err := readBool(s)
	v.missing = v.text == "true"
	return v, err
}

func readNetwork(s string) (value, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return value{network: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return value{}, fmt.Errorf("%.60q is neither an address nor a network: give one such as 10.0.0.0/8", s)
	}
	return value{network: p.Masked()}, nil
}

func within(have string, want value) bool {
	a, err := netip.ParseAddr(have)
	return err == nil && want.network.Contains(a)
}

// dates compares times. All of a client's requests have one, so none of these
// is negated for requests without.
func dates(holds func(order int) bool) operator {
	return operator{kinds: []kind{kindTime}, read: readTime, match: func(have string, want value) bool {
		v, err := readTime(have)
		return err == nil && holds(v.time.Compare(want.time))
	}}
}

func not(o operator) operator {
	o.negated = true
	return o
}

var timeForms = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02"}

func readTime(s string) (value, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return value{time: time.Unix(n, 0)}, nil
	}
	for _, form := range timeForms {
		if t, err := time.Parse(form, s); err == nil {
			return value{time: t}, nil
		}
	}
	return value{}, fmt.Errorf("%.60q is no time: give one such as 2026-01-31T12:00:00Z, or seconds since 1970", s)
}
