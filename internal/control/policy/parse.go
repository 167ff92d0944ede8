package policy

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// MaxStatements bounds a policy: a document of EFS's 20,000 characters has
// hardly more, and each is looked at for every request of a client.
const MaxStatements = 200

// Parse reads a policy document for the file system with an ARN. An error is an
// *Error, which says what is wrong and where.
//
// Every Resource has to cover the file system, which is then all that a policy
// of it is about: the document goes with the replicas of a file system, which
// have other ARNs.
func Parse(text, resource string) (*Policy, error) {
	m, err := decode(text)
	if err != nil {
		return nil, err
	}
	if err := known("the policy", m, "Version", "Id", "Statement"); err != nil {
		return nil, err
	}
	if v, given := m["Version"]; given && v != "2012-10-17" && v != "2008-10-17" {
		return nil, invalid(`Version must be a known one: give "2012-10-17" or "2008-10-17"`)
	}
	if id, given := m["Id"]; given {
		if _, ok := id.(string); !ok {
			return nil, invalid("Id must be a string: give one, or leave it out")
		}
	}
	return readStatements(m["Statement"], resource)
}

func readStatements(v any, resource string) (*Policy, error) {
	list, ok := v.([]any)
	if one, is := v.(map[string]any); is {
		list, ok = []any{one}, true
	}
	if !ok || len(list) == 0 {
		return nil, invalid("Statement is required: give an object, or an array of at least one")
	}
	if len(list) > MaxStatements {
		return nil, invalid("Statement has %d statements: give at most %d", len(list), MaxStatements)
	}
	p := &Policy{}
	sids := map[string]bool{}
	for i, v := range list {
		m, ok := v.(map[string]any)
		at := where("Statement[", i, "]")
		if !ok {
			return nil, invalid("%s must be an object: give one with Effect, Principal and Action", at)
		}
		s, err := readStatement(at, m, resource)
		if err != nil {
			return nil, err
		}
		if sid, _ := m["Sid"].(string); sid != "" {
			if sids[sid] {
				return nil, invalid("%s.Sid %.60q is that of another statement: give each its own", at, sid)
			}
			sids[sid] = true
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

var sidForm = regexp.MustCompile(`^[A-Za-z0-9 _-]*$`)

func readStatement(at string, m map[string]any, resource string) (s statement, err error) {
	if err := known(at, m, "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "Condition"); err != nil {
		return s, err
	}
	if sid, given := m["Sid"]; given {
		if text, ok := sid.(string); !ok || !sidForm.MatchString(text) {
			return s, invalid("%s.Sid must be a string of letters, digits, spaces, - and _: give one, or leave it out", at)
		}
	}
	switch m["Effect"] {
	case "Allow":
		s.allow = true
	case "Deny":
	default:
		return s, invalid(`%s.Effect must be known: give "Allow" or "Deny"`, at)
	}
	if s.principals, err = readWhom(at, m, s.allow); err != nil {
		return s, err
	}
	if s.actions, s.notActions, err = readActions(at, m); err != nil {
		return s, err
	}
	if err := readResource(at, m, resource); err != nil {
		return s, err
	}
	s.conditions, err = readConditions(at, m)
	return s, err
}

func readWhom(at string, m map[string]any, allow bool) (p principals, err error) {
	whom, given := m["Principal"]
	others, but := m["NotPrincipal"]
	switch {
	case given == but:
		return p, invalid("%s must have exactly one of Principal and NotPrincipal: give one", at)
	case given:
		return readPrincipals(at+".Principal", whom)
	case allow:
		return p, invalid("%s: NotPrincipal with Allow would let in everybody else, anonymous clients too: use Principal, or Deny", at)
	}
	p, err = readPrincipals(at+".NotPrincipal", others)
	p.not = true
	return p, err
}

func readActions(at string, m map[string]any) (patterns []string, not bool, err error) {
	these, given := m["Action"]
	others, not := m["NotAction"]
	name := ".Action"
	switch {
	case given == not:
		return nil, false, invalid("%s must have exactly one of Action and NotAction: give one", at)
	case not:
		these, name = others, ".NotAction"
	}
	list, err := texts(at+name, these)
	if err != nil {
		return nil, false, err
	}
	for _, s := range list {
		pattern := lower(s)
		if !slices.ContainsFunc(actions, func(a string) bool { return glob(pattern, lower(a)) }) {
			return nil, false, invalid("%s%s %.100q is no action that a file system policy decides about here: use %s, and patterns of them; who may call the API is decided by the roles of the credentials", at, name, s, strings.Join(actions, ", "))
		}
		patterns = append(patterns, pattern)
	}
	return patterns, not, nil
}

func readResource(at string, m map[string]any, resource string) error {
	v, given := m["Resource"]
	if !given {
		return nil
	}
	list, err := texts(at+".Resource", v)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s != "*" && !globARN(s, resource) {
			return invalid("%s.Resource %.140q is not this file system: leave Resource out, or give %s", at, s, resource)
		}
	}
	return nil
}

// known refuses members that would have no effect.
func known(at string, m map[string]any, names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(names, name) {
			return invalid("%s has a member %.60q that is not known: use only %s", at, name, strings.Join(names, ", "))
		}
	}
	return nil
}
