package strictjson

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

var limits = Limits{Bytes: 4096, Depth: 3}

func TestWhatIsOneObjectIsRead(t *testing.T) {
	for _, c := range []struct {
		text string
		want map[string]any
	}{
		{`{}`, map[string]any{}},
		{" \t\r\n{ } \n", map[string]any{}},
		{`{"a":null,"b":true,"c":"é😀","d":"\u00e9\ud83d\ude00","e":[],"f":{}}`,
			map[string]any{"a": nil, "b": true, "c": "é😀", "d": "é😀", "e": []any{}, "f": map[string]any{}}},
		{`{"n":[0,-1.5e+10,18446744073709551616]}`, map[string]any{"n": []any{json.Number("0"), json.Number("-1.5e+10"), json.Number("18446744073709551616")}}},
		{`{"n":` + strings.Repeat("9", maxNumber) + `}`, map[string]any{"n": json.Number(strings.Repeat("9", maxNumber))}},
		{`{"a":{"a":{}}}`, map[string]any{"a": map[string]any{"a": map[string]any{}}}},
		{`{"a":[[]]}`, map[string]any{"a": []any{[]any{}}}},
		{`{"a":1,"A":2}`, map[string]any{"a": json.Number("1"), "A": json.Number("2")}}, // names differ by case
		{`{"a":"\\ud800"}`, map[string]any{"a": `\ud800`}},                              // an escaped backslash
		{`{"\ufffd":"�"}`, map[string]any{"�": "�"}},
		{`{"a":"` + strings.Repeat("x", 4096-8) + `"}`, map[string]any{"a": strings.Repeat("x", 4096-8)}},
	} {
		got, err := Object([]byte(c.text), limits)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%.100q: %v, %v", c.text, got, err)
		}
	}
}

func TestWhatMeansMoreThanOneThingIsRefused(t *testing.T) {
	for _, c := range []struct{ text, reason string }{
		{``, "ends too early"}, {` `, "ends too early"}, {`{`, "ends too early"}, {`{"a"`, "ends too early"}, {`{"a":`, "ends too early"}, {`{"a":[1,`, "ends too early"},
		{`null`, "no JSON object"}, {`[]`, "no JSON object"}, {`"a"`, "no JSON object"}, {`7`, "no JSON object"},
		{`{}{}`, "more after"}, {`{} x`, "more after"}, {`{}]`, "more after"}, {"{}\x00", "more after"},
		{`{a:1}`, "not JSON"}, {`{"a":1,}`, "not JSON"}, {`{"a":01}`, "not JSON"}, {`{"a":NaN}`, "not JSON"}, {`{'a':1}`, "not JSON"}, {`{"a":"` + "\n" + `"}`, "not JSON"},
		{`{"a":.5}`, "not JSON"}, {`{"a":1 "b":2}`, "not JSON"}, {`{"a":"\x"}`, "not JSON"}, {`{"a":tru}`, "not JSON"}, {`//c` + "\n" + `{}`, "not JSON"},
		{`{"a":1,"a":1}`, `"a" twice`}, {`{"a":1,"\u0061":2}`, `"a" twice`}, {`{"x":[{"b":1,"c":2,"b":3}]}`, `"b" twice`},
		{"{\"a\":\"\xff\"}", "UTF-8"}, {"{\"\xc3\x28\":1}", "UTF-8"}, {"{\"a\":\"\xed\xa0\x80\"}", "UTF-8"}, {"\xef\xbb\xbf{}", "not JSON"},
		{`{"a":"\ud800"}`, "surrogate"}, {`{"a":"\ud800x"}`, "surrogate"}, {`{"a":"\udc00\ud800"}`, "surrogate"}, {`{"a":"\ud800\ud800"}`, "surrogate"},
		{`{"\uD800":1,"\uD801":2}`, "surrogate"}, {`{"a":"\\\ud800"}`, "surrogate"}, {`{"a":"\ud800\u0041"}`, "surrogate"},
		{`{"a":[[[]]]}`, "deeper than 3"}, {`{"a":{"a":{"a":{}}}}`, "deeper than 3"}, {strings.Repeat(`[`, 4000), "deeper than 3"},
		{`{"n":` + strings.Repeat("9", maxNumber+1) + `}`, "number of 65"}, {`{"n":1e` + strings.Repeat("0", 100) + `}`, "number of 102"},
		{`{"a":"` + strings.Repeat("x", 4096-7) + `"}`, "4097 bytes"}, {strings.Repeat(" ", 5000), "5000 bytes"},
	} {
		m, err := Object([]byte(c.text), limits)
		var e *Error
		if !errors.As(err, &e) || m != nil || !strings.Contains(e.Reason, c.reason) {
			t.Errorf("%.100q: %v, %v, want %q", c.text, m, err, c.reason)
		}
	}
}

// FuzzObject: what is taken, encoding/json takes too, with the same meaning.
func FuzzObject(f *testing.F) {
	for _, s := range []string{``, `{}`, `{"a":[{"b":null}],"a":1}`, `[[[[]]]]`, `{"\ud83d\ude00":"\ud800"}`, `{"a":1e999}`, `{"a":-0.0}{`, `{"a":"\\u"}`, `\`, `\ud800\`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := Object(text, limits)
		var e *Error
		if (err != nil) != (got == nil) || err != nil && (!errors.As(err, &e) || e.Reason == "") {
			t.Fatalf("%q: %v, %v", text, got, err)
		}
		if err != nil {
			return
		}
		var want map[string]any
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.UseNumber()
		if err := d.Decode(&want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %v; for encoding/json %v, %v", text, got, want, err)
		}
	})
}
