package efsapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// query reads the parameters of a request. The first problem sticks.
type query struct {
	values url.Values
	err    error
}

func queryOf(r *http.Request) *query { return &query{values: r.URL.Query()} }

func (q *query) fail(format string, args ...any) {
	if q.err == nil {
		q.err = badRequest(format, args...)
	}
}

// text reads a parameter; "" when it is absent.
func (q *query) text(name string, rule *textRule) string {
	all, given := q.values[name]
	if !given {
		return ""
	}
	if len(all) > 1 {
		q.fail("the parameter %s is given %d times: give it once", name, len(all))
		return ""
	}
	if err := rule.check(name, all[0]); err != nil && q.err == nil {
		q.err = err
	}
	return all[0]
}

// pageSize is the number of items in a page, EFS's.
const pageSize = 100

// limit reads MaxItems or MaxResults; more than pageSize is pageSize, as EFS has it.
func (q *query) limit(name string) int {
	s := q.text(name, &textRule{min: 1, max: 20, help: "a number from 1"})
	if s == "" {
		return pageSize
	}
	n, err := strconv.ParseUint(s, 10, 31) // no sign
	if err != nil || n < 1 {
		q.fail("%s %.20q is not valid: give a number from 1 to 2147483647", name, s)
		return pageSize
	}
	return min(int(n), pageSize)
}

func (q *query) done() error { return q.err }

// page cuts the part after the token out of items, which are sorted by key. The
// token is the key of the last item of the page before, so that items that come
// and go between two pages move no others.
func page[T any](items []T, key func(T) string, after string, limit int) (part []T, next string) {
	start, _ := slices.BinarySearchFunc(items, after, func(item T, after string) int {
		if key(item) <= after {
			return -1
		}
		return 1
	})
	items = items[start:]
	if len(items) <= limit {
		return items, ""
	}
	return items[:limit], key(items[limit-1])
}
