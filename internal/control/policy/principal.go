package policy

import (
	"regexp"
	"slices"
)

// principals is whom a statement is about.
type principals struct {
	everybody bool     // anonymous clients too
	accounts  []string // everybody who signed as one of theirs
	arns      []string
	not       bool // everybody but these
}

func (p *principals) match(r *Request) bool {
	is := p.everybody || r.Principal != "" &&
		(slices.Contains(p.arns, r.Principal) || slices.Contains(p.accounts, accountOf(r.Principal)))
	return is != p.not
}

var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	rootForm    = regexp.MustCompile(`^arn:aws[-a-z]*:iam::([0-9]{12}):root$`)
	iamForm     = regexp.MustCompile(`^arn:aws[-a-z]*:(iam::[0-9]{12}:(user|role)/[^*?]{1,576}|sts::[0-9]{12}:(assumed-role|federated-user)/[^*?]{1,576})$`)
)

// readPrincipals reads Principal or NotPrincipal: "*" or {"AWS": ...}.
func readPrincipals(at string, v any) (p principals, err error) {
	if s, ok := v.(string); ok {
		if s != "*" {
			return p, invalid(`%s %.100q is not valid: give "*" or {"AWS": ...}`, at, s)
		}
		p.everybody = true
		return p, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return p, invalid(`%s must name somebody: give "*" or an object such as {"AWS": "*"}`, at)
	}
	for name := range m {
		if name != "AWS" {
			return p, invalid("%s has %.60q: give only AWS, as no other principals mount file systems here", at, name)
		}
	}
	list, err := texts(at+".AWS", m["AWS"])
	if err != nil {
		return p, err
	}
	for _, s := range list {
		if err := p.add(at+".AWS", s); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *principals) add(at, s string) error {
	root := rootForm.FindStringSubmatch(s)
	switch {
	case s == "*":
		p.everybody = true
	case accountForm.MatchString(s):
		p.accounts = append(p.accounts, s)
	case root != nil:
		p.accounts = append(p.accounts, root[1])
	case iamForm.MatchString(s):
		p.arns = append(p.arns, s)
	default:
		return invalid(`%s %.140q is not valid: give "*", an account of 12 digits, or the ARN of an account's root, a user or a role without wildcards (they belong into a Condition on aws:PrincipalArn)`, at, s)
	}
	return nil
}
