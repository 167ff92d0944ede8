package policy

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/control/strictjson"
)

// Error says why a document is no policy.
type Error struct{ Reason string }

func (e *Error) Error() string { return e.Reason }

func invalid(format string, args ...any) *Error { return &Error{fmt.Sprintf(format, args...)} }

func where(before string, i int, after string) string { return before + strconv.Itoa(i) + after }

// limits of a document: EFS's 20,000 characters, each of at most 4 bytes; a
// condition's values are on the sixth level.
var limits = strictjson.Limits{Bytes: 4 * 20000, Depth: 8}

// decode reads a JSON object.
func decode(text string) (map[string]any, error) {
	m, err := strictjson.Object([]byte(text), limits)
	if err != nil {
		return nil, invalid("the policy %s", err)
	}
	return m, nil
}

// texts reads a string, or an array of at least one.
func texts(at string, v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) == 0 {
		return nil, invalid("%s must not be empty: give at least one", at)
	}
	var all []string
	for _, v := range list {
		s, ok := v.(string)
		switch {
		case !ok:
			return nil, invalid("%s is no text: give a string or an array of strings", at)
		case strings.Contains(s, "${"):
			return nil, invalid("%s %.100q: policy variables are not offered by this release of Holdfast: write the value", at, s)
		}
		all = append(all, s)
	}
	return all, nil
}

// scalars reads the values of a condition: strings, and true, false and numbers
// written without quotes.
func scalars(at string, v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	plain := make([]any, 0, len(list))
	for _, v := range list {
		switch v := v.(type) {
		case bool:
			plain = append(plain, strconv.FormatBool(v))
		case json.Number:
			plain = append(plain, v.String())
		default:
			plain = append(plain, v)
		}
	}
	return texts(at, plain)
}
