package policy

import "strings"

// glob matches s with a pattern in which * stands for any characters and ? for
// one. It goes back to the last * only, so it takes at most len(pattern) times
// len(s) steps.
func glob(pattern, s string) bool {
	p, i, star, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// arnParts are the parts of an ARN: arn:partition:service:region:account:resource.
const arnParts = 6

// globARN matches two ARNs part by part: a * goes over no colon but those of
// the resource.
func globARN(pattern, arn string) bool {
	a, b := strings.SplitN(pattern, ":", arnParts), strings.SplitN(arn, ":", arnParts)
	if len(a) != arnParts || len(b) != arnParts {
		return false
	}
	for i := range a {
		if !glob(a[i], b[i]) {
			return false
		}
	}
	return true
}
