package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error says why a document is no policy.
type Error struct{ Reason string }

func (e *Error) Error() string { return e.Reason }

func invalid(format string, args ...any) *Error { return &Error{fmt.Sprintf(format, args...)} }

func where(before string, i int, after string) string { return before + strconv.Itoa(i) + after }

// maxDepth bounds the nesting of a document: a condition's values are on the
// sixth level.
const maxDepth = 8

// decode reads a JSON object. encoding/json alone would take the last of two
// equal members; a policy must mean one thing only.
func decode(text string) (map[string]any, error) {
	if !utf8.ValidString(text) {
		return nil, invalid("the policy is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	v, err := decodeValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, invalid("the policy has more than one JSON value")
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("the policy must be a JSON object")
	}
	return m, nil
}

func decodeValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, invalid("the policy is not JSON: %s", err)
	}
	delim, nested := t.(json.Delim)
	switch {
	case !nested:
		return t, nil
	case depth >= maxDepth:
		return nil, invalid("the policy is nested deeper than %d levels", maxDepth)
	case delim == '[':
		return decodeList(d, depth)
	}
	return decodeMembers(d, depth)
}

func decodeList(d *json.Decoder, depth int) (any, error) {
	list := []any{}
	for d.More() {
		v, err := decodeValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, closing(d)
}

func decodeMembers(d *json.Decoder, depth int) (any, error) {
	m := map[string]any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, invalid("the policy is not JSON: %s", err)
		}
		name, _ := t.(string)
		if _, twice := m[name]; twice {
			return nil, invalid("the member %.60q is given twice", name)
		}
		if m[name], err = decodeValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	return m, closing(d)
}

func closing(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return invalid("the policy is not JSON: %s", err)
	}
	return nil
}

// texts reads a string, or an array of at least one.
func texts(at string, v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) == 0 {
		return nil, invalid("%s must not be empty", at)
	}
	var all []string
	for _, v := range list {
		s, ok := v.(string)
		switch {
		case !ok:
			return nil, invalid("%s must be a string or an array of strings", at)
		case strings.Contains(s, "${"):
			return nil, invalid("%s %.100q: policy variables are not offered by this release of Holdfast", at, s)
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
