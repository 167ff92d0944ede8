package policy

import (
	"maps"
	"slices"
	"strings"
)

// condition is one key under one operator, with its values.
type condition struct {
	key      key
	op       operator
	values   []value
	ifExists bool // holds for a request without the key
}

// holds: one of the values matches; with a negated operator, none does.
func (c *condition) holds(r *Request) bool {
	have, ok := c.key.value(r)
	switch {
	case c.op.null:
		return slices.ContainsFunc(c.values, func(v value) bool { return v.missing == !ok })
	case !ok:
		return c.ifExists || c.op.negated
	}
	return slices.ContainsFunc(c.values, func(v value) bool { return c.op.match(have, v) }) != c.op.negated
}

// suffixIfExists lets a condition hold for requests without the key.
const suffixIfExists = "IfExists"

func readConditions(at string, m map[string]any) ([]condition, error) {
	v, given := m["Condition"]
	if !given {
		return nil, nil
	}
	at += ".Condition"
	ops, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("%s must be an object: give {operator: {key: values}}", at)
	}
	var all []condition
	for _, name := range slices.Sorted(maps.Keys(ops)) {
		more, err := readOperator(at, name, ops[name])
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

func readOperator(at, name string, v any) ([]condition, error) {
	if strings.HasPrefix(name, "ForAllValues:") || strings.HasPrefix(name, "ForAnyValue:") {
		return nil, invalid("%s: %.60s is for keys with several values, and none of a client's has: use the operator without it", at, name)
	}
	base, ifExists := strings.CutSuffix(name, suffixIfExists)
	op, ok := operators[base]
	if !ok || ifExists && op.null {
		return nil, invalid("%s: the operator %.60q is not known: use one of %s, most of them also with IfExists", at, name, operatorNames())
	}
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		return nil, invalid("%s.%s must be an object: give {key: values}", at, name)
	}
	var all []condition
	for _, k := range slices.Sorted(maps.Keys(m)) {
		c := condition{op: op, ifExists: ifExists}
		if c.key, ok = keys[lower(k)]; !ok {
			return nil, invalid("%s.%s: the key %.100q is not known: use one of %s", at, name, k, keyNames())
		}
		if !slices.Contains(op.kinds, c.key.kind) {
			return nil, invalid("%s.%s: the operator cannot be used with %s: use one for its type", at, name, c.key.name)
		}
		list, err := scalars(at+"."+name+"."+k, m[k])
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			v, err := op.read(s)
			if err != nil {
				return nil, invalid("%s.%s.%s: %s", at, name, k, err)
			}
			c.values = append(c.values, v)
		}
		all = append(all, c)
	}
	return all, nil
}

func operatorNames() string { return strings.Join(slices.Sorted(maps.Keys(operators)), ", ") }

func keyNames() string {
	var all []string
	for _, k := range keys {
		all = append(all, k.name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
