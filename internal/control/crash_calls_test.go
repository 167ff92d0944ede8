package control_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/controltest"
)

// crashCall is a call of the API in the middle of which a region crashes.
type crashCall struct {
	name  string // operation, and what is particular
	setup func(*pair) map[string]string
	call  func(p *pair, ids map[string]string) error
	// peer: the other region takes part, and crashes too.
	peer bool
	// settled: other outcomes than none and all that an operator can
	// understand, by a part of what the regions show.
	settled []string
}

const crashPolicy = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"elasticfilesystem:ClientMount"}]}`

// withFile makes a file system in the east that has one of everything.
func withFile(p *pair) map[string]string {
	ctx, c := p.t.Context(), p.east.Control
	ids := map[string]string{"fs": p.create(p.east, "a")}
	p.write(p.east, ids["fs"], "one")
	m, err := c.CreateMountTarget(ctx, control.CreateMountTargetRequest{FileSystemID: ids["fs"], SubnetID: "subnet-0000000000000001a"})
	if err != nil {
		p.t.Fatal(err)
	}
	ids["mt"] = m.ID
	a, err := c.CreateAccessPoint(ctx, control.CreateAccessPointRequest{FileSystemID: ids["fs"], ClientToken: "t", Tags: []control.Tag{{Key: "old", Value: "1"}}})
	if err != nil {
		p.t.Fatal(err)
	}
	ids["ap"] = a.ID
	if _, err := c.PutPolicy(ctx, ids["fs"], crashPolicy, control.Caller{Principal: "arn:aws:iam::123456789012:user/x"}, false); err != nil {
		p.t.Fatal(err)
	}
	return ids
}

func plain(p *pair) map[string]string {
	return map[string]string{"fs": p.create(p.east, "a")}
}

func replicated(p *pair) map[string]string {
	ids := plain(p)
	p.write(p.east, ids["fs"], "one")
	ids["dst"] = p.replicate(p.east, ids["fs"], p.west, "")
	p.eventually("the word arrives", func() bool {
		p.west.Engines.Stat(ids["dst"])
		return len(p.west.Engines.Words(ids["dst"])) == 1
	})
	return ids
}

var somebody = control.Caller{Principal: "arn:aws:iam::123456789012:user/x"}

// crashCalls are all calls that change something.
var crashCalls = []crashCall{
	{name: "CreateFileSystem", setup: func(*pair) map[string]string { return nil }, call: func(p *pair, _ map[string]string) error {
		_, err := p.east.Control.CreateFileSystem(p.t.Context(), control.CreateFileSystemRequest{CreationToken: "a", Tags: []control.Tag{{Key: "Name", Value: "x"}}})
		return err
	}},
	{name: "UpdateFileSystem", setup: plain, call: func(p *pair, ids map[string]string) error {
		_, err := p.east.Control.UpdateFileSystem(ids["fs"], "provisioned", 12)
		return err
	}},
	{name: "UpdateFileSystemProtection", setup: plain, call: func(p *pair, ids map[string]string) error {
		_, err := p.east.Control.UpdateProtection(ids["fs"], control.ProtectionDisabled)
		return err
	}},
	{name: "DeleteFileSystem", setup: plain, call: func(p *pair, ids map[string]string) error {
		return p.east.Control.DeleteFileSystem(p.t.Context(), ids["fs"])
	}},
	{name: "CreateMountTarget", setup: plain, call: func(p *pair, ids map[string]string) error {
		_, err := p.east.Control.CreateMountTarget(p.t.Context(), control.CreateMountTargetRequest{FileSystemID: ids["fs"], SubnetID: "subnet-0000000000000001a"})
		return err
	}},
	{name: "DeleteMountTarget", setup: withFile, call: func(p *pair, ids map[string]string) error {
		return p.east.Control.DeleteMountTarget(p.t.Context(), ids["mt"])
	}},
	{name: "ModifyMountTargetSecurityGroups", setup: withFile, call: func(p *pair, ids map[string]string) error {
		return p.east.Control.ModifySecurityGroups(p.t.Context(), ids["mt"], []string{"sg-0000000000000001a"})
	}},
	{name: "HoldfastRootSquash", setup: withFile, call: func(p *pair, ids map[string]string) error {
		return p.east.Control.SetRootSquash(p.t.Context(), ids["mt"], control.DefaultRootSquash(true))
	}},
	{name: "HoldfastRootSquash of a file system", setup: plain, call: func(p *pair, ids map[string]string) error {
		return p.east.Control.SetFileSystemRootSquash(p.t.Context(), ids["fs"], true)
	}},
	{name: "CreateAccessPoint", setup: plain, call: func(p *pair, ids map[string]string) error {
		_, err := p.east.Control.CreateAccessPoint(p.t.Context(), control.CreateAccessPointRequest{FileSystemID: ids["fs"], ClientToken: "t", Path: "/a"})
		return err
	}},
	{name: "DeleteAccessPoint", setup: withFile, call: func(p *pair, ids map[string]string) error {
		return p.east.Control.DeleteAccessPoint(p.t.Context(), ids["ap"])
	}},
	{name: "PutFileSystemPolicy", setup: plain, call: func(p *pair, ids map[string]string) error {
		_, err := p.east.Control.PutPolicy(p.t.Context(), ids["fs"], crashPolicy, somebody, false)
		return err
	}},
	{name: "DeleteFileSystemPolicy", setup: withFile, call: func(p *pair, ids map[string]string) error {
		return p.east.Control.DeletePolicy(p.t.Context(), ids["fs"], somebody)
	}},
	{name: "TagResource", setup: plain, call: func(p *pair, ids map[string]string) error {
		return p.east.Control.TagResource(p.t.Context(), ids["fs"], []control.Tag{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}})
	}},
	{name: "TagResource of an access point", setup: withFile, call: func(p *pair, ids map[string]string) error {
		return p.east.Control.TagResource(p.t.Context(), ids["ap"], []control.Tag{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}})
	}},
	{name: "UntagResource of an access point", setup: withFile, call: func(p *pair, ids map[string]string) error {
		return p.east.Control.UntagResource(p.t.Context(), ids["ap"], []string{"old"})
	}},
	{name: "CreateReplicationConfiguration", setup: plain, peer: true, call: func(p *pair, ids map[string]string) error {
		_, err := p.east.Control.CreateReplication(p.t.Context(), ids["fs"], control.DestinationRequest{Region: "us-west-2"})
		return err
	}},
	{name: "CreateReplicationConfiguration to an existing one", peer: true, setup: func(p *pair) map[string]string {
		ids := plain(p)
		ids["dst"] = p.create(p.west, "b")
		if _, err := p.west.Control.UpdateProtection(ids["dst"], control.ProtectionDisabled); err != nil {
			p.t.Fatal(err)
		}
		return ids
	}, call: func(p *pair, ids map[string]string) error {
		_, err := p.east.Control.CreateReplication(p.t.Context(), ids["fs"], control.DestinationRequest{Region: "us-west-2", FileSystemID: ids["dst"]})
		return err
		// Undone, the destination has got back its protection: nobody takes it over by mistake.
	}, settled: []string{"fs-2 available ENABLED"}},
	{name: "DeleteReplicationConfiguration", setup: replicated, peer: true, call: func(p *pair, ids map[string]string) error {
		return p.east.Control.DeleteReplication(p.t.Context(), ids["fs"], "")
	}},
	{name: "DeleteReplicationConfiguration at the destination", setup: replicated, peer: true, call: func(p *pair, ids map[string]string) error {
		return p.west.Control.DeleteReplication(p.t.Context(), ids["fs"], "")
	}},
	{name: "DeleteReplicationConfiguration at the source only", setup: replicated, call: func(p *pair, ids map[string]string) error {
		return p.east.Control.DeleteReplication(p.t.Context(), ids["fs"], control.DeleteLocalOnly)
	}},
	{name: "DeleteReplicationConfiguration at the destination only", setup: replicated, peer: true, call: func(p *pair, ids map[string]string) error {
		return p.west.Control.DeleteReplication(p.t.Context(), ids["fs"], control.DeleteLocalOnly)
	}},
}

// unchanging are the operations that have nothing to keep: what they may set is
// what there is; and the old names of others.
var unchanging = []string{"PutLifecycleConfiguration", "PutBackupPolicy", "PutAccountPreferences", "CreateTags", "DeleteTags"}

// TestEveryChangeIsAmongTheCrashes compares the list with the API's.
func TestEveryChangeIsAmongTheCrashes(t *testing.T) {
	text, err := os.ReadFile("efsapi/testdata/api.json")
	if err != nil {
		t.Fatal(err)
	}
	var api struct {
		Operations []struct{ Name, Method string }
	}
	if err := json.Unmarshal(text, &api); err != nil {
		t.Fatal(err)
	}
	changes := 0
	for _, o := range api.Operations {
		if o.Method == "GET" || slices.Contains(unchanging, o.Name) {
			continue
		}
		changes++
		if !slices.ContainsFunc(crashCalls, func(c crashCall) bool { return strings.HasPrefix(c.name, o.Name) }) {
			t.Errorf("%s is not among the calls that a crash interrupts", o.Name)
		}
	}
	if changes < 15 {
		t.Errorf("%d operations change something: mend this test", changes)
	}
}

// interruption is a place in a call at which a region crashes.
type interruption struct {
	west    bool // crashes, not the east
	engine  bool // at a call of the engines, not at an append of the catalog
	applied bool // what was under way has its effect
	n       int
}

// TestCrashInTheMiddleOfEveryCall crashes the region of a call, and the other
// one if it takes part, at every append of its catalog and at every call of its
// engines, with the effect lost and kept. After the restart the call has had
// its whole effect or none; if it was answered, the whole; and calling again
// leads to the whole.
func TestCrashInTheMiddleOfEveryCall(t *testing.T) {
	for _, c := range crashCalls {
		t.Run(c.name, func(t *testing.T) {
			var before, after string
			inTwoRegions(t, func(_ *testing.T, p *pair) {
				ids := c.setup(p)
				p.atRest()
				before = p.shown()
				if err := c.call(p, ids); err != nil {
					p.t.Fatal(err)
				}
				p.atRest()
				after = p.shown()
			})
			if before == after {
				t.Fatal("the call changes nothing that is shown: this test would find nothing")
			}
			crashes := 0
			for _, west := range []bool{false, true} {
				for _, engine := range []bool{false, true} {
					for _, applied := range []bool{false, true} {
						if west && !c.peer {
							continue
						}
						for n := 1; ; n++ {
							if !interrupted(t, &c, interruption{west, engine, applied, n}, before, after) {
								break
							}
							crashes++
						}
					}
				}
			}
			if crashes == 0 {
				t.Error("no crash happened")
			}
		})
	}
}

// interrupted reports whether the call was long enough to crash there.
func interrupted(t *testing.T, c *crashCall, at interruption, before, after string) (crashed bool) {
	inTwoRegions(t, func(_ *testing.T, p *pair) {
		ids := c.setup(p)
		p.atRest()
		victim := p.east
		if at.west {
			victim = p.west
		}
		p.crashAt(victim, at)
		err := c.call(p, ids)
		time.Sleep(5 * time.Second) // what the call began goes on, and may crash
		if crashed = victim.Log.Crashed() || victim.Engines.Crashed(); !crashed {
			return
		}
		p.kill(victim)
		p.start(victim)
		p.atRest()
		now := p.shown()
		understood := slices.ContainsFunc(c.settled, func(part string) bool { return strings.Contains(now, part) })
		switch {
		case understood:
			return
		case now != before && now != after:
			p.t.Errorf("%+v left it half done:\n%s\nwas\n%s\nand without a crash\n%s", at, now, before, after)
		case err == nil && now != after:
			p.t.Errorf("%+v: the call was answered, and its effect is lost:\n%s\nwant\n%s", at, now, after)
		}
		if err := c.call(p, ids); err != nil && now != after {
			p.t.Errorf("%+v: calling again: %v", at, err)
		}
		p.atRest()
		if now := p.shown(); now != after {
			p.t.Errorf("%+v: after calling again:\n%s\nwant\n%s", at, now, after)
		}
	})
	return crashed && !t.Failed()
}

func (p *pair) crashAt(victim *controltest.Region, at interruption) {
	if at.engine {
		victim.Engines.CrashAt(at.n, at.applied, func() {
			victim.Log.Crash()
			p.net.Attach(victim.Name, nil)
		})
		return
	}
	victim.Log.CrashAt(at.n, at.applied, func() {
		victim.Engines.Kill()
		p.net.Attach(victim.Name, nil)
	})
}

var anyID = regexp.MustCompile(`\b(fs|fsmt|fsap)-[0-9a-f]{17}\b`)

// shown is what the users of both regions see, with ids by the order in which
// they appear, and without times.
func (p *pair) shown() string {
	p.t.Helper()
	var b strings.Builder
	for _, r := range []*controltest.Region{p.east, p.west} {
		fmt.Fprintf(&b, "%s\n", r.Name)
		all, err := r.Control.DescribeFileSystems("", "")
		if err != nil {
			p.t.Fatal(err)
		}
		for _, f := range all {
			fmt.Fprintf(&b, " %s %s %s %s %v %v %s\n", f.ID, f.State, f.Protection, f.ThroughputMode, f.Provisioned, f.Tags, f.Message)
			mounts, err := r.Control.DescribeMountTargets(f.ID, "", "")
			if err != nil {
				p.t.Fatal(err)
			}
			for _, m := range mounts {
				squash, own, _ := r.Control.DescribeRootSquash(m.ID)
				fmt.Fprintf(&b, "  %s %s %v %v %v %v\n", m.ID, m.State, m.Addresses(), m.SecurityGroups, squash, own)
			}
			points, _, err := r.Control.PageOfAccessPoints(f.ID, "", 100)
			if err != nil {
				p.t.Fatal(err)
			}
			for _, a := range points {
				fmt.Fprintf(&b, "  %s %s %s %v\n", a.ID, a.ClientToken, a.Path, a.Tags)
				if _, secret, err := r.Control.ClientAccessPoint(f.ID, a.ID); err != nil || len(secret) == 0 {
					fmt.Fprintf(&b, "   cannot be entered: %v\n", err)
				}
			}
			_, policy, _ := r.Control.DescribePolicy(f.ID)
			squash, _ := r.Control.FileSystemRootSquash(f.ID)
			fmt.Fprintf(&b, "  policy %s, root squash %v\n", policy, squash)
			reps, _ := r.Control.DescribeReplications(f.ID)
			for _, d := range reps {
				fmt.Fprintf(&b, "  %s to %s in %s is %s %s\n", d.SourceID, d.DestinationID, d.DestRegion, d.Status, d.StatusMessage)
			}
		}
	}
	seen := map[string]string{}
	return anyID.ReplaceAllStringFunc(b.String(), func(id string) string {
		if seen[id] == "" {
			kind, _, _ := strings.Cut(id, "-")
			seen[id] = fmt.Sprintf("%s-%d", kind, len(seen)+1)
		}
		return seen[id]
	})
}
