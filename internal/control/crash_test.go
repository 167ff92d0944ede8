package control_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/controltest"
)

// story is everything that writes to a catalog, in one go. Its calls may fail:
// one of the regions crashes on the way and is restarted.
func (p *pair) story() {
	ctx := p.t.Context()
	d, err := p.east.Control.CreateFileSystem(ctx, control.CreateFileSystemRequest{CreationToken: "a"})
	if err != nil {
		return
	}
	_ = p.east.Engines.Write(d.ID, "one")
	_, _ = p.east.Control.CreateMountTarget(ctx, control.CreateMountTargetRequest{FileSystemID: d.ID, SubnetID: "subnet-0000000000000001a"})
	r, err := p.east.Control.CreateReplication(ctx, d.ID, control.DestinationRequest{Region: "us-west-2"})
	if err != nil {
		return
	}
	time.Sleep(3 * time.Second)
	_ = p.east.Engines.Write(d.ID, "two")
	_ = p.west.Control.DeleteReplication(ctx, d.ID, "")
	time.Sleep(3 * time.Second)
	_, _ = p.east.Control.UpdateProtection(d.ID, control.ProtectionDisabled)
	if _, err := p.west.Control.CreateReplication(ctx, r.DestinationID, control.DestinationRequest{Region: "us-east-1", FileSystemID: d.ID}); err != nil {
		return
	}
	time.Sleep(3 * time.Second)
	_ = p.west.Control.DeleteReplication(ctx, r.DestinationID, "")
	time.Sleep(3 * time.Second)
	_ = p.west.Control.DeleteFileSystem(ctx, r.DestinationID)
}

// TestCrashBetweenAnyTwoSteps crashes either region at every append of its
// catalog, once with the entry lost and once with it kept but unreported. After
// the restart both regions must come to rest in a state that an operator can
// understand.
func TestCrashBetweenAnyTwoSteps(t *testing.T) {
	for _, crashEast := range []bool{true, false} {
		for _, keep := range []bool{false, true} {
			for n := 1; crashAt(t, n, keep, crashEast); n++ {
				if n > 100 {
					t.Fatal("the story never ends")
				}
			}
		}
	}
}

// crashAt reports whether the story was long enough to crash.
func crashAt(t *testing.T, n int, keep, crashEast bool) (crashed bool) {
	t.Run(fmt.Sprintf("east=%v keep=%v append=%d", crashEast, keep, n), func(t *testing.T) {
		inTwoRegions(t, func(t *testing.T, p *pair) {
			victim := p.west
			if crashEast {
				victim = p.east
			}
			victim.Log.CrashAt(n, keep, func() {
				victim.Engines.Kill()
				p.net.Attach(victim.Name, nil)
			})
			p.story()
			if crashed = victim.Log.Crashed(); !crashed {
				return
			}
			p.kill(victim)
			p.start(victim)
			p.atRest()
		})
	})
	return crashed && !t.Failed()
}

// atRest waits until nothing is under way and checks that the two regions agree.
func (p *pair) atRest() {
	p.t.Helper()
	p.eventually("rest", func() bool {
		before := p.east.Log.Len() + p.west.Log.Len()
		time.Sleep(time.Minute) // longer than any call between regions
		synctest.Wait()
		return before == p.east.Log.Len()+p.west.Log.Len()
	})
	for _, r := range []*controltest.Region{p.east, p.west} {
		p.checkRegion(r)
	}
	p.checkAgreement(p.east, p.west)
	p.checkAgreement(p.west, p.east)
}

// checkRegion: catalog and disk hold the same file systems; every one is either
// writable or part of a replication that says why not.
func (p *pair) checkRegion(r *controltest.Region) {
	p.t.Helper()
	if bad := r.Control.Problems(); len(bad) != 0 {
		p.t.Errorf("%s has problems: %v", r.Name, bad)
	}
	all, _ := r.Control.DescribeFileSystems("", "")
	var ids []string
	for _, f := range all {
		ids = append(ids, f.ID)
		if f.State != control.Available && f.State != control.Failed {
			p.t.Errorf("%s in %s is %s for ever", f.ID, r.Name, f.State)
		}
		err := r.Engines.Write(f.ID, "probe")
		reps, describeErr := r.Control.DescribeReplications(f.ID)
		if err != nil && f.State == control.Available && describeErr != nil {
			p.t.Errorf("%s in %s is not writable (%v) and in no replication", f.ID, r.Name, err)
		}
		isDestination := describeErr == nil && reps[0].DestinationID == f.ID
		if isDestination && err == nil {
			p.t.Errorf("the destination %s in %s is writable", f.ID, r.Name)
		}
		if isDestination != (f.Protection == control.ProtectionReplicating) && f.State == control.Available {
			p.t.Errorf("%s in %s has protection %s; destination: %v", f.ID, r.Name, f.Protection, isDestination)
		}
	}
	if disk := r.Engines.IDs(); !slices.Equal(disk, ids) {
		p.t.Errorf("%s has %q on its disk, %q in its catalog", r.Name, disk, ids)
	}
}

// checkAgreement: what one side has, the other has too, or it says ERROR.
func (p *pair) checkAgreement(a, b *controltest.Region) {
	p.t.Helper()
	reps, _ := a.Control.DescribeReplications("")
	for _, r := range reps {
		others, err := b.Control.DescribeReplications(r.SourceID)
		switch {
		case r.Status == control.StatusError:
		case err != nil:
			p.t.Errorf("%s has a replication of %s that is %s; %s has none: %v", a.Name, r.SourceID, r.Status, b.Name, err)
		case others[0].Status != r.Status || others[0].DestinationID != r.DestinationID:
			p.t.Errorf("%s says %+v; %s says %+v", a.Name, r, b.Name, others[0])
		case r.Status != control.StatusEnabled:
			p.t.Errorf("%s rests in %s", r.SourceID, r.Status)
		}
	}
}

func TestCatalogTakesNothingAfterItsLogFailed(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		p.create(p.east, "a")
		p.east.Log.CrashAt(1, false, nil)
		for _, token := range []string{"b", "c"} {
			_, err := p.east.Control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: token})
			wantCode(t, "creating "+token, err, control.CodeInternal)
		}
		all, err := p.east.Control.DescribeFileSystems("", "")
		if len(all) != 1 || err != nil {
			t.Errorf("reading: %v, %v", all, err)
		}
	})
}

func TestUnknownEntriesAreRefusedByName(t *testing.T) {
	for _, c := range []struct{ entry, want string }{
		{`{"v":1,"changes":[{"kind":"access-point","id":"fsap-1","value":{}}]}`, `access-point`},
		{`{"v":2,"changes":[]}`, `version 2`},
		{`{"v":1,"changes":[{"kind":"file-system","id":"fs-1","value":{"quota":1}}]}`, `quota`},
	} {
		log := &controltest.Log{}
		if err := log.Append([]byte(c.entry)); err != nil {
			t.Fatal(err)
		}
		_, _, all := controltest.NewRegions(1, "us-east-1")
		cfg := all[0].Config
		cfg.Log = log
		_, err := control.New(cfg)
		if err == nil || !contains(err.Error(), c.want) {
			t.Errorf("opening %s: %v, want an error that names %s", c.entry, err, c.want)
		}
	}
}

func TestLogIsRewrittenWhenItGrows(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		for i := range 3000 {
			if err := p.east.Control.TagResource(t.Context(), id, []control.Tag{{Key: "n", Value: fmt.Sprint(i)}}); err != nil {
				t.Fatal(err)
			}
		}
		if n := p.east.Log.Len(); n > 1100 {
			t.Errorf("%d entries for one file system", n)
		}
		p.kill(p.east)
		p.start(p.east)
		tags, err := p.east.Control.ListTags(id)
		if err != nil || len(tags) != 1 || tags[0].Value != "2999" {
			t.Errorf("after the restart: %v, %v", tags, err)
		}
	})
}

func TestEngineThatDoesNotOpenHoldsUpNobodyElse(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		p.kill(p.east)
		p.east.Engines.Fail("Open", errors.New("segment 3 is corrupt"))
		p.start(p.east)
		if bad := p.east.Control.Problems(); bad[id] == nil {
			t.Errorf("problems: %v", bad)
		}
		p.east.Engines.Fail("Open", nil)
		p.eventually("it opens by itself", func() bool { return p.east.Engines.Write(id, "x") == nil })
		p.eventually("no problems", func() bool { return len(p.east.Control.Problems()) == 0 })
	})
}
