package control

import (
	"context"
	"errors"
	"testing"
)

// unreadable are settings that have changed and cannot be read.
type unreadable struct{ version uint64 }

var errUnreadable = errors.New("it does not wake up")

func (u unreadable) SetSetting(context.Context, string, string, []byte) error { return errUnreadable }
func (u unreadable) SettingsSince(_ string, version uint64) ([]string, uint64, bool, bool) {
	return nil, u.version, version != u.version, true
}
func (u unreadable) Setting(string, string) ([]byte, error) { return nil, errUnreadable }
func (u unreadable) EachSetting(string, string, func(string, []byte) error) error {
	return errUnreadable
}

// TestCopyThatCannotBeReadAnewKeepsItsPolicy: a client whose request has found the
// copy up to date, and looks at the policy while another request reads it anew in
// vain, must not find that there is none, by which everybody may do everything.
func TestCopyThatCannotBeReadAnewKeepsItsPolicy(t *testing.T) {
	s := &fsSettings{id: "fs-1", version: 1, points: map[string]*AccessPoint{"fsap-1": {ID: "fsap-1"}}, byToken: map[string]string{},
		policy: &filePolicy{}, secret: []byte("secret"), squash: true}
	if err := s.refresh(unreadable{2}, ""); !errors.Is(err, errUnreadable) {
		t.Fatalf("refresh: %v, want %v", err, errUnreadable)
	}
	if s.currentPolicy() == nil || s.point("fsap-1") == nil || !s.rootSquashed() || string(s.secret) != "secret" {
		t.Errorf("after reading in vain: policy %v, access point %v, squash %v, secret %q; all must stay", s.currentPolicy(), s.point("fsap-1"), s.rootSquashed(), s.secret)
	}
	if err := s.refresh(unreadable{2}, ""); !errors.Is(err, errUnreadable) {
		t.Errorf("the next refresh: %v, want that it is tried again", err)
	}
	if err := s.refresh(unreadable{1}, "other/"); !errors.Is(err, errUnreadable) {
		t.Errorf("with another prefix: %v, want that it is tried again", err)
	}
}
