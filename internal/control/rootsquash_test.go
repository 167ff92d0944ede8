package control_test

import (
	"testing"
	"testing/synctest"

	"github.com/holdfast-fs/holdfast/internal/control"
)

func TestRootSquashReachesTheListenerAndSurvivesARestart(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		l := p.withListeners()
		id := p.create(p.east, "a")
		one, err := p.mount(id, "subnet-0000000000000001a", "")
		if err != nil {
			t.Fatal(err)
		}
		two, err := p.mount(id, "subnet-0000000000000001b", "")
		if err != nil {
			t.Fatal(err)
		}
		want := control.RootSquash{Enabled: true, UID: 1000, GID: 100}
		if err := p.east.Control.SetRootSquash(t.Context(), one.ID, want); err != nil {
			t.Fatal(err)
		}
		if got := l.admitted(one.ID); got.Squash != want || !got.Everybody {
			t.Errorf("when the call returns, the listener has %s", got)
		}
		if got := l.admitted(two.ID).Squash; got.Enabled {
			t.Errorf("the other mount target has %s", got)
		}
		p.east.Config.RootSquash = true // for those without a setting of their own
		l = p.withListeners()
		synctest.Wait() // the start does not wait for mount targets
		if got := l.admitted(one.ID).Squash; got != want {
			t.Errorf("after a restart, the listener has %s", got)
		}
		if got := l.admitted(two.ID).Squash; got != control.DefaultRootSquash(true) {
			t.Errorf("the configuration's is not in force at another mount target: %s", got)
		}
		if err := p.east.Control.SetRootSquash(t.Context(), two.ID, control.DefaultRootSquash(false)); err != nil {
			t.Fatal(err)
		}
		if got, own, err := p.east.Control.DescribeRootSquash(two.ID); err != nil || !own || got.Enabled {
			t.Errorf("a setting of its own: %s, own %v, %v", got, own, err)
		}
		if got := l.admitted(two.ID).Squash; got.Enabled {
			t.Errorf("its own setting is not in force: %s", got)
		}
	})
}

func TestRootSquashRefusals(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		p.withListeners()
		m, err := p.mount(p.create(p.east, "a"), "subnet-0000000000000001a", "")
		if err != nil {
			t.Fatal(err)
		}
		on := control.DefaultRootSquash(true)
		wantCode(t, "no such mount target", p.east.Control.SetRootSquash(t.Context(), "fsmt-00000000000000000", on), control.CodeMountTargetNotFound)
		wantCode(t, "no id", p.east.Control.SetRootSquash(t.Context(), "x", on), control.CodeBadRequest)
		for _, bad := range []control.RootSquash{{Enabled: true, GID: 1}, {Enabled: true, UID: 1}} {
			wantCode(t, "root as root", p.east.Control.SetRootSquash(t.Context(), m.ID, bad), control.CodeBadRequest)
		}
		if _, _, err := p.east.Control.DescribeRootSquash("fsmt-00000000000000000"); err == nil {
			t.Error("a mount target that is not there has a setting")
		}
	})
}
