package control_test

import (
	"testing"
	"testing/synctest"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/controltest"
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

// TestRootSquashFollowsItsReplica: that of a file system holds in every region,
// and needs no rebuilding after a failover.
func TestRootSquashFollowsItsReplica(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		isRoot := func(r *controltest.Region, id string) bool {
			return r.Control.ClientRights(id, control.Client{}).Root
		}
		if !isRoot(p.east, id) {
			t.Fatal("root is squashed without a setting")
		}
		dest := p.replicate(p.east, id, p.west, "")
		if err := p.east.Control.SetFileSystemRootSquash(t.Context(), id, true); err != nil {
			t.Fatal(err)
		}
		if isRoot(p.east, id) {
			t.Error("when the call returns, root is root")
		}
		p.eventually("the replica has it", func() bool { return !isRoot(p.west, dest) })
		if on, err := p.west.Control.FileSystemRootSquash(dest); err != nil || !on {
			t.Errorf("the replica tells %v, %v", on, err)
		}
		wantCode(t, "a setting on the replica", p.west.Control.SetFileSystemRootSquash(t.Context(), dest, false), control.CodeIncorrectState)
		p.kill(p.east)
		p.delete(p.west, id, "")
		p.kill(p.west)
		p.start(p.west)
		p.eventually("promoted", func() bool { return p.west.Engines.Write(dest, "x") == nil })
		if isRoot(p.west, dest) {
			t.Error("after the failover and a restart root is root")
		}
		// It adds to a policy, and does not grant what the policy does not.
		if _, err := p.west.Control.PutPolicy(t.Context(), dest, allowMount, control.Caller{Principal: alice}, false); err != nil {
			t.Fatal(err)
		}
		if got := p.west.Control.ClientRights(dest, control.Client{}); got != (control.Rights{Mount: true}) {
			t.Errorf("with a policy: %+v", got)
		}
		if err := p.west.Control.DeletePolicy(t.Context(), dest, control.Caller{Principal: alice}); err != nil {
			t.Fatal(err)
		}
		if err := p.west.Control.SetFileSystemRootSquash(t.Context(), dest, false); err != nil {
			t.Fatal(err)
		}
		if !isRoot(p.west, dest) {
			t.Error("root is squashed after the setting is gone")
		}
		_, err := p.west.Control.FileSystemRootSquash("fs-00000000000000000")
		wantCode(t, "no such file system", err, control.CodeFileSystemNotFound)
	})
}

// TestRootSquashStaysWithItsSourceOnRequest: copy_settings: false.
func TestRootSquashStaysWithItsSourceOnRequest(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		p.kill(p.east)
		p.east.Config.KeepSettings = true
		p.start(p.east)
		id := p.create(p.east, "a")
		if err := p.east.Control.SetFileSystemRootSquash(t.Context(), id, true); err != nil {
			t.Fatal(err)
		}
		dest := p.replicate(p.east, id, p.west, "")
		p.write(p.east, id, "one")
		p.eventually("the word arrives", func() bool { p.west.Engines.Stat(dest); return len(p.west.Engines.Words(dest)) == 1 })
		if on, err := p.west.Control.FileSystemRootSquash(dest); err != nil || on {
			t.Errorf("the destination has %v, %v", on, err)
		}
	})
}
