package control_test

import (
	"net/netip"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/control"
)

const (
	groupOffice = "sg-0000000000000001a"
	groupNobody = "sg-0000000000000001b"
)

// admitted is who the listener of a mount target lets in.
func (l *listeners) admitted(id string) control.Admission {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to[id]
}

func TestSecurityGroupsReachTheListenerAndSurviveARestart(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		l := p.withListeners()
		id := p.create(p.east, "a")
		m, err := p.mount(id, "subnet-0000000000000001a", "")
		if err != nil {
			t.Fatal(err)
		}
		if !l.admitted(m.ID).Everybody {
			t.Error("without a group, and without a default group in the VPC, not everybody is admitted")
		}
		if err := p.east.Control.ModifySecurityGroups(t.Context(), m.ID, []string{groupOffice, groupNobody}); err != nil {
			t.Fatal(err)
		}
		office := control.Admission{From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00:b::/64")}}
		if got := l.admitted(m.ID); got.String() != office.String() {
			t.Errorf("when the call returns, %s are admitted", got)
		}
		l = p.withListeners()
		if got := l.admitted(m.ID); got.String() != office.String() {
			t.Errorf("after a restart, %s are admitted", got)
		}
		p.east.Config.SecurityGroups = nil
		l = p.withListeners()
		if got := l.admitted(m.ID); got.Everybody || len(got.From) != 0 {
			t.Errorf("a group that was taken out of the configuration admits %s", got)
		}
		if err := p.east.Control.ModifySecurityGroups(t.Context(), m.ID, nil); err != nil {
			t.Error(err)
		}
		if !l.admitted(m.ID).Everybody {
			t.Error("an empty list does not set the default")
		}
	})
}

func TestDefaultGroupOfTheVPC(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		p.east.Config.SecurityGroups = append(p.east.Config.SecurityGroups, control.SecurityGroup{ID: "sg-0000000000000001c", Name: "default", VPCID: "vpc-00000001"})
		l := p.withListeners()
		m, err := p.mount(p.create(p.east, "a"), "subnet-0000000000000001a", "")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.east.Control.DescribeSecurityGroups(m.ID); err != nil || len(got) != 1 || got[0] != "sg-0000000000000001c" {
			t.Errorf("groups %q, %v", got, err)
		}
		if got := l.admitted(m.ID); got.Everybody {
			t.Errorf("%s are admitted", got)
		}
		if err := p.east.Control.DeleteMountTarget(t.Context(), m.ID); err != nil {
			t.Fatal(err)
		}
		_, err = p.east.Control.DescribeSecurityGroups(m.ID)
		wantCode(t, "groups of a deleted mount target", err, control.CodeMountTargetNotFound)
	})
}

func TestAdmission(t *testing.T) {
	a := control.Admission{From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for ip, want := range map[string]bool{"10.1.2.3": true, "11.0.0.1": false, "::ffff:10.1.2.3": true, "::ffff:11.0.0.1": false, "fd00::1": true, "fe80::1": false} {
		if a.Admits(netip.MustParseAddr(ip)) != want {
			t.Errorf("%s: %v", ip, !want)
		}
	}
	if (control.Admission{}).Admits(netip.Addr{}) || !(control.Admission{Everybody: true}).Admits(netip.Addr{}) {
		t.Error("the zero address")
	}
}
