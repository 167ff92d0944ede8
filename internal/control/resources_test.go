package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/controltest"
)

// listeners is a control.Listeners that remembers.
type listeners struct {
	mu   sync.Mutex
	open map[string]string // mount target -> address
	to   map[string]control.Admission
	fail error
}

func (l *listeners) Listen(_ context.Context, id, fsID string, ips []string, admit control.Admission) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	l.open[id], l.to[id] = fsID+"@"+strings.Join(ips, "+"), admit
	return nil
}

func (l *listeners) Close(_ context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, id)
	return nil
}

func (l *listeners) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

func (l *listeners) list() (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.open {
		all = append(all, a)
	}
	slices.Sort(all)
	return all
}

// withListeners restarts the east with listeners that a test can look at.
func (p *pair) withListeners() *listeners {
	p.t.Helper()
	l := &listeners{open: map[string]string{}, to: map[string]control.Admission{}}
	had := 0
	if old, ok := p.east.Config.Listeners.(*listeners); ok {
		had = len(old.list())
	}
	p.kill(p.east)
	p.east.Config.Listeners = l
	p.start(p.east)
	// A started region opens its listeners one after the other.
	p.eventually("it listens again", func() bool { return len(l.list()) == had })
	return l
}

func (p *pair) mount(fsID, subnet, ip string) (control.MountTargetDescription, error) {
	return p.east.Control.CreateMountTarget(p.t.Context(), control.CreateMountTargetRequest{FileSystemID: fsID, SubnetID: subnet, IPAddress: ip})
}

func TestMountTargetsListenAndSurviveARestart(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		l := p.withListeners()
		id := p.create(p.east, "a")
		m, err := p.mount(id, "subnet-0000000000000001a", "")
		if err != nil || m.State != control.Available || m.IPAddress != "127.10.0.1" {
			t.Fatalf("%+v, %v", m, err)
		}
		want := []string{id + "@127.10.0.1"}
		if got := l.list(); !slices.Equal(got, want) {
			t.Errorf("listening: %q", got)
		}
		p.kill(p.east)
		l.open = map[string]string{}
		p.start(p.east)
		p.eventually("it listens again", func() bool { return slices.Equal(l.list(), want) })
		if err := p.east.Control.DeleteMountTarget(t.Context(), m.ID); err != nil || len(l.list()) != 0 {
			t.Errorf("after the deletion: %v, listening %q", err, l.list())
		}
		wantCode(t, "deleting it again", p.east.Control.DeleteMountTarget(t.Context(), m.ID), control.CodeMountTargetNotFound)
	})
}

func TestMountTargetThatCannotListenIsUndone(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		l := p.withListeners()
		id := p.create(p.east, "a")
		l.set(errors.New("bind: cannot assign requested address"))
		_, err := p.mount(id, "subnet-0000000000000001a", "")
		wantCode(t, "an address that the host lacks", err, control.CodeInternal)
		if !strings.Contains(err.Error(), "cannot assign requested address") {
			t.Errorf("the cause is not named: %v", err)
		}
		p.eventually("nothing is left", func() bool {
			all, err := p.east.Control.DescribeMountTargets(id, "", "")
			return err == nil && len(all) == 0
		})
		l.set(nil)
		if _, err := p.mount(id, "subnet-0000000000000001a", ""); err != nil {
			t.Error(err)
		}
		if err := p.east.Control.DeleteFileSystem(t.Context(), id); codeOf(err) != control.CodeFileSystemInUse {
			t.Error(err)
		}
	})
}

func TestListenerThatFailsAfterARestartShowsAsError(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		l := p.withListeners()
		id := p.create(p.east, "a")
		m, err := p.mount(id, "subnet-0000000000000001a", "")
		if err != nil {
			t.Fatal(err)
		}
		p.kill(p.east)
		l.set(errors.New("bind: address already in use"))
		p.start(p.east)
		state := func() control.LifeCycle {
			all, err := p.east.Control.DescribeMountTargets("", "", m.ID)
			if err != nil {
				t.Fatal(err)
			}
			return all[0].State
		}
		p.eventually("error", func() bool { return state() == control.Failed })
		p.write(p.east, id, "the file system works")
		l.set(nil)
		p.eventually("available", func() bool { return state() == control.Available })
	})
}

func TestMountTargetAddresses(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		const a, b = "subnet-0000000000000001a", "subnet-0000000000000001b" // b is a /30: two hosts
		ids := []string{p.create(p.east, "1"), p.create(p.east, "2"), p.create(p.east, "3")}
		for _, c := range []struct{ fs, subnet, ip, want string }{
			{ids[0], a, "127.10.0.1", "127.10.0.1"},
			{ids[1], a, "127.10.0.1", control.CodeIPAddressInUse},
			{ids[1], a, "", "127.10.0.2"},
			{ids[1], a, "127.10.0.77", control.CodeMountTargetConflict},
			{ids[1], b, "127.11.0.0", control.CodeBadRequest},
			{ids[1], b, "127.11.0.3", control.CodeBadRequest},
			{ids[1], b, "127.10.0.3", control.CodeBadRequest},
			{ids[1], b, "127.11.0.2", "127.11.0.2"},
			{ids[0], b, "", "127.11.0.1"},
			{ids[2], b, "", control.CodeNoFreeAddresses},
			{ids[2], "subnet-99999999", "", control.CodeSubnetNotFound},
			{"fs-00000000000000000", a, "", control.CodeFileSystemNotFound},
		} {
			m, err := p.mount(c.fs, c.subnet, c.ip)
			got := m.IPAddress
			if err != nil {
				got = codeOf(err)
			}
			if got != c.want {
				t.Errorf("%s in %s at %q: %s (%v), want %s", c.fs, c.subnet, c.ip, got, err, c.want)
			}
		}
	})
}

func TestFileSystemsSurviveARestart(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		d, err := p.east.Control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: "a", ThroughputMode: "elastic",
			Tags: []control.Tag{{Key: "Name", Value: "home"}, {Key: "b", Value: "c"}}})
		if err != nil {
			t.Fatal(err)
		}
		p.write(p.east, d.ID, "one")
		p.kill(p.east)
		p.start(p.east)
		all, err := p.east.Control.DescribeFileSystems("", "a")
		if err != nil || len(all) != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		f := all[0]
		if f.ID != d.ID || f.Name != "home" || f.ThroughputMode != "elastic" || f.PerformanceMode != "generalPurpose" || f.SizeBytes != 100 ||
			f.State != control.Available || f.Protection != control.ProtectionEnabled || !f.CreationTime.Equal(d.CreationTime) || len(f.Tags) != 2 {
			t.Errorf("after the restart: %+v", f)
		}
		p.write(p.east, d.ID, "two")
	})
}

func TestEqualTokensMakeOneFileSystem(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		var wg sync.WaitGroup
		results := make([]string, 20)
		for i := range results {
			wg.Go(func() {
				_, err := p.east.Control.CreateFileSystem(p.t.Context(), control.CreateFileSystemRequest{CreationToken: "a"})
				results[i] = codeOf(err)
			})
		}
		wg.Wait()
		slices.Sort(results)
		if results[0] != "" || results[1] != control.CodeFileSystemExists || len(p.east.Engines.IDs()) != 1 {
			t.Errorf("results %q, on the disk %q", results, p.east.Engines.IDs())
		}
	})
}

func TestCreationThatFailsIsTriedAgain(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		p.east.Engines.Fail("Create", errors.New("no space left on device"))
		d, err := p.east.Control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: "a"})
		if err != nil || d.State != control.Creating {
			t.Fatalf("%+v, %v", d, err)
		}
		_, err = p.mount(d.ID, "subnet-0000000000000001a", "")
		wantCode(t, "a mount target of it", err, control.CodeIncorrectState)
		p.east.Engines.Fail("Create", nil)
		p.eventually("available", func() bool { return p.east.Engines.Write(d.ID, "x") == nil })
	})
}

func TestTooManyFileSystems(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		for i := range control.MaxFileSystems {
			p.create(p.east, fmt.Sprint(i))
		}
		_, err := p.east.Control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: "one more"})
		wantCode(t, "one more", err, control.CodeFileSystemLimit)
	})
}

func TestTagsTogetherAreBounded(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		id := p.create(p.east, "a")
		var tags []control.Tag
		for i := range control.MaxTags {
			tags = append(tags, control.Tag{Key: fmt.Sprint(i), Value: strings.Repeat("\U00020000", 256)})
		}
		wantCode(t, "51 KiB of tags", p.east.Control.TagResource(t.Context(), id, tags), control.CodeBadRequest)
		if err := p.east.Control.TagResource(t.Context(), id, tags[:30]); err != nil {
			t.Error(err)
		}
	})
}

func TestCallsFromPeersAreChecked(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src := p.create(p.east, "a")
		p.replicate(p.east, src, p.west, "")
		id := strings.Repeat("0", 32)
		lineage := strings.Repeat("a", 32)
		prepare := func(rep, source, lineage, owner string) string {
			return fmt.Sprintf(`{"replication":%q,"source_id":%q,"lineage":%q,"owner":%q}`, rep, source, lineage, owner)
		}
		for _, c := range []struct{ from, method, body, code string }{
			{"eu-west-1", "replication-status", `{}`, control.CodeAccessDenied},
			{"us-east-1", "sing", `{}`, control.CodeBadRequest},
			{"us-east-1", "replication-status", `[`, control.CodeBadRequest},
			{"us-east-1", "prepare-destination", `{}`, control.CodeBadRequest},
			{"us-east-1", "prepare-destination", prepare("x", src, lineage, controltest.Account), control.CodeBadRequest},
			{"us-east-1", "prepare-destination", prepare(id, "x", lineage, controltest.Account), control.CodeBadRequest},
			{"us-east-1", "prepare-destination", prepare(id, src, "x", controltest.Account), control.CodeBadRequest},
			{"us-east-1", "prepare-destination", prepare(id, src, lineage, "999999999999"), control.CodeBadRequest},
			{"us-east-1", "abandon-destination", `{"replication":"x"}`, control.CodeBadRequest},
			{"us-east-1", "begin-delete", `{"replication":"x"}`, control.CodeReplicationNotFound},
			{"us-east-1", "finish-delete", `{"replication":"x"}`, control.CodeReplicationNotFound},
			{"us-east-1", "replication-settings", `{"replication":"x"}`, control.CodeReplicationNotFound},
		} {
			_, err := p.west.Control.HandlePeer(t.Context(), c.from, c.method, json.RawMessage(c.body))
			var refused *control.PeerError
			if !errors.As(err, &refused) || refused.Code != c.code {
				t.Errorf("%s %s from %s: %v, want %s", c.method, c.body, c.from, err, c.code)
			}
		}
		answer, err := p.west.Control.HandlePeer(t.Context(), "us-east-1", "replication-status", json.RawMessage(`{"replication":"`+id+`"}`))
		if raw, _ := json.Marshal(answer); err != nil || !strings.Contains(string(raw), `"unknown"`) {
			t.Errorf("the status of an unknown one: %s, %v", raw, err)
		}
	})
}

func TestAbandonedPreparationIsRefusedWhenItArrivesLate(t *testing.T) {
	inTwoRegions(t, func(t *testing.T, p *pair) {
		src, id := p.create(p.east, "a"), strings.Repeat("0", 32)
		call := func(method, body string) error {
			_, err := p.west.Control.HandlePeer(t.Context(), "us-east-1", method, json.RawMessage(body))
			return err
		}
		if err := call("abandon-destination", `{"replication":"`+id+`"}`); err != nil {
			t.Fatal(err)
		}
		err := call("prepare-destination", fmt.Sprintf(`{"replication":%q,"source_id":%q,"lineage":%q,"owner":%q}`, id, src, strings.Repeat("a", 32), controltest.Account))
		var refused *control.PeerError
		if !errors.As(err, &refused) || refused.Code != control.CodeConflict || len(p.west.Engines.IDs()) != 0 {
			t.Errorf("the late preparation: %v; on the disk %q", err, p.west.Engines.IDs())
		}
	})
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	if _, err := control.New(control.Config{}); err == nil || !strings.Contains(err.Error(), "Region") {
		t.Errorf("%v", err)
	}
	if _, err := control.New(control.Config{Region: "us-east-1", AccountID: controltest.Account}); err == nil || !strings.Contains(err.Error(), "Log") {
		t.Errorf("%v", err)
	}
}

// FuzzHandlePeer: whatever another region sends, the answer is a result or a
// refusal, never a fault of ours.
func FuzzHandlePeer(f *testing.F) {
	_, _, regions := controltest.NewRegions(1, "us-east-1", "us-west-2")
	for _, r := range regions {
		if err := r.Start(f.Context()); err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { _ = r.Control.Close() })
	}
	id, lineage := strings.Repeat("0", 32), strings.Repeat("a", 32)
	f.Add("prepare-destination", []byte(fmt.Sprintf(`{"replication":%q,"source_id":"fs-00000001","lineage":%q,"owner":%q}`, id, lineage, controltest.Account)))
	f.Add("finish-delete", []byte(`{"replication":"x","position":"00"}`))
	f.Add("replication-status", []byte(`{"replication":"`+id+`"}`))
	f.Fuzz(func(t *testing.T, method string, body []byte) {
		_, err := regions[1].Control.HandlePeer(t.Context(), "us-east-1", method, body)
		var refused *control.PeerError
		if err != nil && (!errors.As(err, &refused) || refused.Code == control.CodeInternal) {
			t.Errorf("%s %s: %v", method, body, err)
		}
	})
}
