// Package policy reads and evaluates file system policies: the part of the IAM
// policy language that EFS has for its clients. It is pure; what it cannot
// evaluate it refuses to read, so that no statement is believed to protect and
// does not.
package policy

import "slices"

// The actions that a policy decides about. Those of clients are enforced by the
// NFS server, the other two by the API: only an explicit Deny counts there.
const (
	ClientMount      = "elasticfilesystem:ClientMount"
	ClientWrite      = "elasticfilesystem:ClientWrite"
	ClientRootAccess = "elasticfilesystem:ClientRootAccess"
	PutPolicy        = "elasticfilesystem:PutFileSystemPolicy"
	DeletePolicy     = "elasticfilesystem:DeleteFileSystemPolicy"
)

var actions = []string{ClientMount, ClientWrite, ClientRootAccess, PutPolicy, DeletePolicy}

// Policy is a policy document that can be evaluated. It is never changed.
type Policy struct {
	statements []statement
}

type statement struct {
	allow      bool
	principals principals
	actions    []string // patterns, lower case
	notActions bool     // all but these
	conditions []condition
}

// Allowed tells whether the policy allows an action: some statement allows it
// and none denies it.
func (p *Policy) Allowed(action string, r *Request) bool {
	allowed := false
	for i := range p.statements {
		s := &p.statements[i]
		switch {
		case !s.matches(action, r):
		case !s.allow:
			return false
		default:
			allowed = true
		}
	}
	return allowed
}

// Denied tells whether a statement denies an action, whatever others allow.
func (p *Policy) Denied(action string, r *Request) bool {
	return slices.ContainsFunc(p.statements, func(s statement) bool { return !s.allow && s.matches(action, r) })
}

func (s *statement) matches(action string, r *Request) bool {
	if s.covers(action) == s.notActions || !s.principals.match(r) {
		return false
	}
	for i := range s.conditions {
		if !s.conditions[i].holds(r) {
			return false
		}
	}
	return true
}

func (s *statement) covers(action string) bool {
	action = lower(action)
	return slices.ContainsFunc(s.actions, func(pattern string) bool { return glob(pattern, action) })
}
