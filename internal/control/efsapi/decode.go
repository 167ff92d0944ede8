package efsapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/control/strictjson"
)

// bodyLimits: Destinations is an array of objects in an object; the rest is room
// for what is refused by name.
var bodyLimits = strictjson.Limits{Bytes: maxBodyBytes, Depth: 8}

// decodeObject reads a body that must be one JSON object, or empty.
func decodeObject(body []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return map[string]any{}, nil
	}
	m, err := strictjson.Object(body, bodyLimits)
	if err != nil {
		return nil, badRequest("the body %s", err)
	}
	return m, nil
}

// members reads the members of an object. The first problem sticks; done also
// finds members that nobody asked for. null counts as absent.
type members struct {
	path string // "" or "Tags[0]."
	m    map[string]any
	err  error
}

func (o *members) fail(format string, args ...any) {
	if o.err == nil {
		o.err = badRequest(format, args...)
	}
}

func (o *members) take(name string) (any, bool) {
	v, ok := o.m[name]
	delete(o.m, name)
	return v, ok && v != nil
}

// text reads a string that rule accepts; "" when it is absent.
func (o *members) text(name string, rule *textRule) string {
	v, ok := o.take(name)
	if !ok {
		if rule.required {
			o.fail("%s%s is required: give %s", o.path, name, rule.help)
		}
		return ""
	}
	s, ok := v.(string)
	if !ok {
		o.fail("%s%s must be a string: give %s", o.path, name, rule.help)
		return ""
	}
	if err := rule.check(o.path+name, s); err != nil && o.err == nil {
		o.err = err
	}
	return s
}

func (o *members) boolean(name string) (value, given bool) {
	v, ok := o.take(name)
	if !ok {
		return false, false
	}
	b, ok := v.(bool)
	if !ok {
		o.fail("%s%s must be a boolean: give true or false, without quotes", o.path, name)
	}
	return b, true
}

func (o *members) number(name string) (value float64, given bool) {
	v, ok := o.take(name)
	if !ok {
		return 0, false
	}
	n, isNumber := v.(json.Number)
	value, err := n.Float64()
	if !isNumber || err != nil {
		o.fail("%s%s must be a number: give one, without quotes", o.path, name)
	}
	return value, true
}

// maxInt32 is the largest value of the contract's type integer.
const maxInt32 = 1<<31 - 1

// integer reads a whole number of the bounds; 0 when it is absent.
func (o *members) integer(name string, least, most int64) (value int64, given bool) {
	v, ok := o.take(name)
	if !ok {
		return 0, false
	}
	n, _ := v.(json.Number)
	value, err := n.Int64()
	if err != nil || value < least || value > most {
		o.fail("%s%s must be a whole number: give one from %d to %d", o.path, name, least, most)
	}
	return value, true
}

// object reads an object; the result can be read even when it is absent.
func (o *members) object(name string) (m *members, given bool) {
	v, ok := o.take(name)
	object, is := v.(map[string]any)
	if ok && !is {
		o.fail("%s%s must be an object: give one, such as {\"Name\": \"value\"}", o.path, name)
	}
	return &members{path: o.path + name + ".", m: object}, ok
}

// objects reads an array of objects; given is false when it is absent.
func (o *members) objects(name string) (list []*members, given bool) {
	v, ok := o.take(name)
	if !ok {
		return nil, false
	}
	all, ok := v.([]any)
	if !ok {
		o.fail("%s%s must be an array: give one, such as [{\"Name\": \"value\"}]", o.path, name)
		return nil, true
	}
	for i, e := range all {
		m, ok := e.(map[string]any)
		if !ok {
			o.fail("%s%s[%d] must be an object: give one, such as {\"Name\": \"value\"}", o.path, name, i)
			return nil, true
		}
		list = append(list, &members{path: o.path + name + "[" + itoa(i) + "].", m: m})
	}
	return list, true
}

// texts reads an array of strings that rule accepts.
func (o *members) texts(name string, rule *textRule) (list []string, given bool) {
	v, ok := o.take(name)
	if !ok {
		return nil, false
	}
	all, ok := v.([]any)
	if !ok {
		o.fail("%s%s must be an array of strings: give one, such as [\"value\"]", o.path, name)
	}
	for i, e := range all {
		s, ok := e.(string)
		at := o.path + name + "[" + itoa(i) + "]"
		if !ok {
			o.fail("%s must be a string: give %s", at, rule.help)
		} else if err := rule.check(at, s); err != nil && o.err == nil {
			o.err = err
		}
		list = append(list, s)
	}
	return list, true
}

// done returns the first problem.
func (o *members) done() error {
	if o.err == nil && len(o.m) > 0 {
		names := slices.Sorted(maps.Keys(o.m))
		o.fail("the member(s) %.200s are not known to this operation: leave them out, or correct their names", strings.Join(names, ", "))
	}
	return o.err
}
