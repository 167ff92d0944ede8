// Package strictjson reads JSON that strangers send, so that it means one thing
// only. encoding/json alone takes the last of two equal members, puts U+FFFD in
// the place of bytes and escapes that are no characters, and has no bound on
// what it builds. It imports nothing of ours.
package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// Limits of a text. Zero means none of that kind is taken: give all of them.
type Limits struct {
	Bytes int // of the whole text
	Depth int // of objects and arrays within each other, the outermost one included
}

// maxNumber bounds a number, in characters: 20 are enough for 64 bits, the rest
// is room for fractions and exponents that people write. encoding/json would
// keep a number of any length, whose conversion takes time for each digit.
const maxNumber = 64

// Error says what is wrong with a text. It reads on after a name for the text:
// "the body " + "is not valid UTF-8: ...".
type Error struct{ Reason string }

func (e *Error) Error() string { return e.Reason }

func bad(format string, args ...any) *Error { return &Error{fmt.Sprintf(format, args...)} }

// Object reads one JSON object. Its values are string, bool, json.Number, nil,
// []any and map[string]any; they belong to the caller. Every error is an
// *Error: for what is no JSON (RFC 8259) or no object, and, stricter than the
// RFC, for a member that is given twice (also when it is escaped differently),
// bytes that are no UTF-8, half a surrogate pair in an escape, numbers of more
// than 64 characters, and what is beyond the limits. It may be called
// concurrently.
func Object(text []byte, l Limits) (map[string]any, error) {
	switch {
	case len(text) > l.Bytes:
		return nil, bad("has %d bytes: give at most %d", len(text), l.Bytes)
	case !utf8.Valid(text):
		return nil, bad("is not valid UTF-8: encode it so")
	case halfPair(text):
		return nil, bad(`has half a surrogate pair (\ud800 to \udfff): write both halves, or the character itself`)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	r := reader{d: d, depth: l.Depth}
	v, err := r.value(1)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, bad("has more after its first JSON value: give one JSON object")
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, bad("is no JSON object: give one, such as {\"Name\": \"value\"}")
	}
	return m, nil
}

type reader struct {
	d     *json.Decoder
	depth int
}

// value reads a value whose objects and arrays are at a depth.
func (r *reader) value(depth int) (any, error) {
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	delim, nested := t.(json.Delim)
	switch {
	case !nested:
		return t, nil
	case depth > r.depth:
		return nil, bad("is nested deeper than %d levels: give what the documentation shows", r.depth)
	case delim == '[':
		return r.list(depth)
	}
	return r.members(depth)
}

func (r *reader) list(depth int) (any, error) {
	list := []any{}
	for r.d.More() {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := r.token() // the closing bracket
	return list, err
}

func (r *reader) members(depth int) (any, error) {
	m := map[string]any{}
	for r.d.More() {
		t, err := r.token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		if _, twice := m[name]; twice {
			return nil, bad("has the member %.60q twice: give it once", name)
		}
		if m[name], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	_, err := r.token() // the closing brace
	return m, err
}

func (r *reader) token() (json.Token, error) {
	t, err := r.d.Token()
	if err != nil {
		return nil, bad("is not JSON at byte %d: %s; correct it", r.d.InputOffset(), reason(err))
	}
	if n, ok := t.(json.Number); ok && len(n) > maxNumber {
		return nil, bad("has a number of %d characters at byte %d: give at most %d", len(n), r.d.InputOffset(), maxNumber)
	}
	return t, nil
}

// reason tells an end that came too early in words.
func reason(err error) string {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return "it ends too early"
	}
	return err.Error()
}

// halfPair finds an escape of UTF-16's surrogates that is not a pair, which
// encoding/json reads as U+FFFD: different texts would become equal. In a text
// that is JSON a backslash is only in strings, and begins an escape.
func halfPair(text []byte) bool {
	for i := 0; i+1 < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		switch unit := escaped(text, i); {
		case unit < 0xd800 || unit > 0xdfff:
		case unit > 0xdbff: // the second half comes first
			return true
		default:
			if low := i + 5; low >= len(text) || text[low] != '\\' || escaped(text, low+1) < 0xdc00 || escaped(text, low+1) > 0xdfff {
				return true
			}
			i += 10
		}
	}
	return false
}

// escaped reads uXXXX at i; 0 when that is not there.
func escaped(text []byte, i int) uint64 {
	if i+5 > len(text) || text[i] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(text[i+1:i+5]), 16, 16)
	if err != nil {
		return 0
	}
	return n
}
