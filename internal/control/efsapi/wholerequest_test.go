package efsapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// TestEveryOperationRefusesARequestOfAnotherForm: what is wrong with a request
// as a whole is BadRequest for every operation, and changes nothing.
func TestEveryOperationRefusesARequestOfAnotherForm(t *testing.T) {
	c := readContract(t)
	for _, o := range c.Operations {
		inBubble(t, func(f *furnished) {
			path, good := o.compose(f.t, f.fill(bases[o.Name][0]))
			before := f.everything()
			refuse := func(what, method, path, body, code, names string) {
				f.t.Helper()
				w := f.send(method, path, body)
				checkError(f.t, w, o.Name+" "+what, code)
				checkTold(f.t, o.Name+" "+what, w, names)
				if w.Code >= 500 {
					f.t.Errorf("%s %s: %d", o.Name, what, w.Code)
				}
			}
			with := func(s string) string {
				if strings.Contains(path, "?") {
					return path + "&" + s
				}
				return path + "?" + s
			}
			refuse("with an unknown parameter", o.Method, with("Colour=red"), good, "BadRequest", "Colour")
			refuse("with an empty parameter", o.Method, with("=x"), good, "BadRequest", "")
			for _, m := range o.Members {
				switch m.In {
				case "query":
					if m.List == "" {
						refuse("with "+m.Name+" twice", o.Method, o.Path+"?"+m.Name+"=1&"+m.Name+"=1", good, "BadRequest", "")
					}
					refuse("with "+m.Name+" in another case", o.Method, with(strings.ToUpper(m.Name)+"=1"), good, "BadRequest", strings.ToUpper(m.Name))
				case "body":
					refuse("with "+m.Name+" in the query", o.Method, with(m.Name+"=1"), good, "BadRequest", m.Name)
					refuse("with "+m.Name+" in another case", o.Method, path, addMember(good, `"`+strings.ToLower(m.Name)+`":null`), "BadRequest", strings.ToLower(m.Name))
					refuse("with "+m.Name+" twice", o.Method, path, addMember(addMember(good, `"`+m.Name+`":null`), `"`+m.Name+`":null`), "BadRequest", m.Name)
				}
			}
			// Without members in its body, an operation takes no body at all.
			bodies := map[string]string{
				"with an unknown member": addMember(good, `"Colour":"red"`), "with half a body": `{"`, "with an array": `[]`, "with a string": `"x"`, "with null": `null`,
				"with two values": `{} {}`, "with text after it": `{}x`, "with bytes that are no text": "{\"\xff\":1}", "with a byte order mark": "\ufeff{}",
				"nested without end": strings.Repeat(`{"a":`, 30000), "nested deeply": `{"a":` + strings.Repeat(`[`, 20) + strings.Repeat(`]`, 20) + `}`,
				"with a number without end": `{"a":` + strings.Repeat("9", 100000) + `}`, "that is too large": `{"a":"` + long(300<<10) + `"}`, "with a form": "a=b&c=d", "with a NUL": "{}\x00",
			}
			for what, body := range bodies {
				refuse(what, o.Method, path, body, "BadRequest", "")
			}
			for _, method := range []string{"HEAD", "OPTIONS", "PATCH", "TRACE", "LINK"} {
				refuse("as "+method, method, path, "", "UnknownOperationException", "")
			}
			bare, query, _ := strings.Cut(path, "?")
			for _, other := range []string{"/" + bare, bare + "//", bare + "/.", "/." + bare, "/x/.." + bare, bare + "/%2e%2e/x", bare + "%2f", bare + "/x/y/z", strings.ToUpper(bare), bare + "%00"} {
				w := f.send(o.Method, other+"?"+query, good)
				if code := w.Header().Get("X-Amzn-ErrorType"); code != "UnknownOperationException" && code != "BadRequest" {
					f.t.Errorf("%s at %s: %d %s", o.Name, other, w.Code, w.Body)
				}
				checkTold(f.t, o.Name+" at "+other, w, "")
			}
			if now := f.everything(); now != before {
				f.t.Errorf("a refused %s changed something:\n%s\nwas\n%s", o.Name, now, before)
			}
			if !o.takesBody() {
				if w := f.send(o.Method, path, " {} "); w.Code != o.Status {
					f.t.Errorf("%s with an empty object: %d %s", o.Name, w.Code, w.Body)
				}
			}
		})
	}
}

// addMember adds a member to the text of an object.
func addMember(object, member string) string {
	if object == "" || object == "{}" {
		return "{" + member + "}"
	}
	return object[:len(object)-1] + "," + member + "}"
}

// notFound is the error for an id of each kind that is not there.
var notFound = map[string]string{"FileSystemId": "FileSystemNotFound", "MountTargetId": "MountTargetNotFound", "AccessPointId": "AccessPointNotFound",
	"ResourceId": "FileSystemNotFound", "SubnetId": "SubnetNotFound", "SecurityGroup": "SecurityGroupNotFound"}

// TestIdsThatAreNotThere gives every member that is an id one that does not
// exist, one of another kind, and an ARN of another region, account and
// partition: the error of its kind, naming it, and nothing is changed.
func TestIdsThatAreNotThere(t *testing.T) {
	c := readContract(t)
	for _, o := range c.Operations {
		for _, m := range o.Members {
			code := notFound[m.Shape+m.List]
			if code == "" {
				continue
			}
			inBubble(t, func(f *furnished) {
				base := f.fill(baseWith(o.Name, m.Name))
				before := f.everything()
				for _, id := range strangersOf(f, m.Shape+m.List) {
					v := any(id)
					if m.List != "" {
						v = []any{id}
					}
					want := code
					if strings.Contains(id, "access-point/") || strings.HasPrefix(id, "fsap-") {
						want = "AccessPointNotFound"
					}
					what := fmt.Sprintf("%s with %s %s", o.Name, m.Name, id)
					w := f.sendMembers(&o, alone(o.Name, base, m.Name).with(m.Name, v))
					f.refuses(c, &o, what, w, want, id[strings.LastIndex(id, "/")+1:])
				}
				if now := f.everything(); now != before {
					f.t.Errorf("%s of something that is not there changed something:\n%s\nwas\n%s", o.Name, now, before)
				}
			})
		}
	}
}

func baseWith(operation, name string) members {
	for _, b := range bases[operation] {
		if _, has := b[name]; has {
			return b
		}
	}
	return bases[operation][0]
}

// alone leaves out what a description excludes.
func alone(operation string, base members, name string) members {
	if operation == "DescribeMountTargets" || operation == "DescribeAccessPoints" {
		return members{}
	}
	return base
}

// strangersOf are well-formed ids that name nothing here.
func strangersOf(f *furnished, shape string) []string {
	arn := func(partition, region, account, resource string) string {
		return "arn:" + partition + ":elasticfilesystem:" + region + ":" + account + ":" + resource
	}
	switch shape {
	case "FileSystemId", "ResourceId":
		all := []string{noSuchFS, "fs-01234567", arn("aws", "us-east-1", "123456789012", "file-system/"+noSuchFS),
			arn("aws", "us-west-2", "123456789012", "file-system/"+f.known["fs"]), arn("aws", "us-east-1", "999999999999", "file-system/"+f.known["fs"]),
			arn("aws", "us-east-1", "", "file-system/"+f.known["fs"]), arn("aws", "-", "123456789012", "file-system/"+f.known["fs"])}
		if shape == "ResourceId" {
			all = append(all, noSuchAP, arn("aws", "us-west-2", "123456789012", "access-point/"+f.known["ap"]))
		}
		return all
	case "AccessPointId":
		return []string{noSuchAP, "fsap-01234567", arn("aws", "us-east-1", "123456789012", "access-point/"+noSuchAP),
			arn("aws", "us-west-2", "123456789012", "access-point/"+f.known["ap"]), arn("aws", "us-east-1", "999999999999", "access-point/"+f.known["ap"])}
	case "MountTargetId":
		return []string{"fsmt-00000000000000000", "fsmt-01234567"}
	case "SubnetId":
		return []string{"subnet-00000000", "subnet-0123456789abcdef0"}
	}
	return []string{"sg-00000000", "sg-0123456789abcdef0"}
}

// stuck are file systems, and a mount target, that stay in a state.
func (f *furnished) stuck() {
	f.t.Helper()
	// A destination of the other region, and one whose replication was deleted
	// before it was whole.
	for name, whole := range map[string]bool{"destination": true, "error": false} {
		f.world.Pause(!whole)
		d, err := f.west.Control.CreateFileSystem(f.t.Context(), control.CreateFileSystemRequest{CreationToken: name})
		if err != nil {
			f.t.Fatal(err)
		}
		r, err := f.west.Control.CreateReplication(f.t.Context(), d.ID, control.DestinationRequest{Region: "us-east-1"})
		if err != nil {
			f.t.Fatal(err)
		}
		f.known[name] = r.DestinationID
		time.Sleep(10 * time.Second)
		if !whole {
			if err := f.region.Control.DeleteReplication(f.t.Context(), r.DestinationID, ""); err != nil {
				f.t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
	}
	f.world.Pause(false)
	f.known["deleting"] = f.create("deleting")
	f.region.Engines.Fail("Delete", errors.New("the disk is busy"))
	if w := f.send("DELETE", "/file-systems/"+f.known["deleting"], ""); w.Code != http.StatusNoContent {
		f.t.Fatal(w.Code, w.Body)
	}
	f.region.Engines.Fail("Create", errors.New("the disk is busy"))
	f.known["creating"] = f.create("creating")
	for name, state := range map[string]control.LifeCycle{"creating": control.Creating, "deleting": control.Deleting, "error": control.Failed, "destination": control.Available} {
		all, err := f.region.Control.DescribeFileSystems(f.known[name], "")
		if err != nil || all[0].State != state {
			f.t.Fatalf("%s is %+v, %v", name, all, err)
		}
	}
}

// TestRequestsInEveryWrongState sends every operation that names a file system
// for one in every state: success, or the documented error, with its reason.
func TestRequestsInEveryWrongState(t *testing.T) {
	const wrong, ok = "IncorrectFileSystemLifeCycleState", ""
	states := []string{"creating", "deleting", "error", "destination", "src"}
	want := map[string][]string{
		"DescribeFileSystems":               {ok, ok, ok, ok, ok},
		"UpdateFileSystem":                  {wrong, wrong, wrong, ok, ok},
		"UpdateFileSystemProtection":        {wrong, wrong, wrong, "ReplicationAlreadyExists", ok},
		"DeleteFileSystem":                  {ok, ok, ok, "FileSystemInUse", "FileSystemInUse"},
		"CreateReplicationConfiguration":    {wrong, wrong, wrong, "ConflictException", "ConflictException"},
		"DescribeReplicationConfigurations": {"ReplicationNotFound", "ReplicationNotFound", "ReplicationNotFound", ok, ok},
		"DeleteReplicationConfiguration":    {"ReplicationNotFound", "ReplicationNotFound", "ReplicationNotFound", ok, ok},
		"CreateMountTarget":                 {wrong, wrong, wrong, ok, ok},
		"DescribeMountTargets":              {ok, ok, ok, ok, ok},
		"CreateAccessPoint":                 {wrong, wrong, wrong, wrong, ok},
		"DescribeAccessPoints":              {ok, ok, ok, ok, ok},
		"PutFileSystemPolicy":               {wrong, wrong, wrong, wrong, ok},
		"DescribeFileSystemPolicy":          {"PolicyNotFound", "PolicyNotFound", "PolicyNotFound", "PolicyNotFound", "PolicyNotFound"},
		"DeleteFileSystemPolicy":            {wrong, wrong, wrong, ok, ok}, // there is none
		"PutLifecycleConfiguration":         {wrong, wrong, wrong, ok, ok},
		"DescribeLifecycleConfiguration":    {ok, ok, ok, ok, ok},
		"PutBackupPolicy":                   {wrong, wrong, wrong, ok, ok},
		"DescribeBackupPolicy":              {ok, ok, ok, ok, ok},
		"TagResource":                       {ok, ok, ok, ok, ok},
		"UntagResource":                     {ok, ok, ok, ok, ok},
		"ListTagsForResource":               {ok, ok, ok, ok, ok},
		"CreateTags":                        {ok, ok, ok, ok, ok},
		"DeleteTags":                        {ok, ok, ok, ok, ok},
		"DescribeTags":                      {ok, ok, ok, ok, ok},
	}
	c := readContract(t)
	for _, o := range c.Operations {
		at := slices.IndexFunc(o.Members, func(m member) bool { return m.Shape == "FileSystemId" || m.Shape == "ResourceId" })
		if at < 0 {
			continue
		}
		if len(want[o.Name]) != len(states) {
			t.Errorf("%s: say what it does in the states %v", o.Name, states)
			continue
		}
		name := o.Members[at].Name
		for i, state := range states {
			inBubble(t, func(f *furnished) {
				f.stuck()
				before := f.everything()
				base := alone(o.Name, f.fill(bases[o.Name][0]), name)
				w := f.sendMembers(&o, base.with(name, f.known[state]))
				what, code := o.Name+" of one that is "+state, want[o.Name][i]
				if code == ok {
					if w.Code != o.Status {
						f.t.Errorf("%s: %d %s", what, w.Code, w.Body)
					}
					return
				}
				f.refuses(c, &o, what, w, code, f.known[state])
				if now := f.everything(); now != before {
					f.t.Errorf("%s was refused and changed something:\n%s\nwas\n%s", what, now, before)
				}
			})
		}
	}
}

// stuckListeners open nothing before opens is closed, and close nothing while
// there is an error.
type stuckListeners struct {
	opens chan struct{}

	mu   sync.Mutex
	fail error // of Close
}

func (l *stuckListeners) Listen(ctx context.Context, _, _ string, _ []string, _ control.Admission) error {
	select {
	case <-l.opens:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *stuckListeners) Close(context.Context, string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fail
}

func (l *stuckListeners) set(fail error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = fail
}

// TestMountTargetsInEveryWrongState: while one is being made or deleted, its
// security groups and its root squash are not to be had, and its file system is
// in use.
func TestMountTargetsInEveryWrongState(t *testing.T) {
	c := readContract(t)
	for _, state := range []control.LifeCycle{control.Creating, control.Deleting} {
		synctest.Test(t, func(t *testing.T) {
			l := &stuckListeners{opens: make(chan struct{})}
			a := newAPIWith(t, func(cfg *control.Config) { cfg.Listeners = l })
			f := &furnished{api: a, known: map[string]string{"fs": a.create("a")}}
			if state == control.Deleting {
				close(l.opens)
				l.set(errors.New("it does not close"))
			}
			f.make("mt", "MountTargetId", "POST", "/mount-targets", `{"FileSystemId":"{fs}","SubnetId":"`+subnetA+`"}`)
			if state == control.Deleting {
				f.must("DELETE", "/mount-targets/{mt}", "")
			}
			for _, o := range c.Operations {
				want, m := "", members{"MountTargetId": f.known["mt"]}
				switch o.Name {
				case "DescribeMountTargetSecurityGroups":
					want = "IncorrectMountTargetState"
				case "ModifyMountTargetSecurityGroups":
					want, m = "IncorrectMountTargetState", m.with("SecurityGroups", []any{groupOffice})
				case "CreateMountTarget":
					want, m = "MountTargetConflict", members{"FileSystemId": f.known["fs"], "SubnetId": subnetA}
				case "DeleteFileSystem":
					want, m = "FileSystemInUse", members{"FileSystemId": f.known["fs"]}
				case "DescribeMountTargets", "DeleteMountTarget":
				default:
					continue
				}
				w := f.sendMembers(&o, m)
				what := fmt.Sprintf("%s of one that is %s", o.Name, state)
				if want != "" {
					f.refuses(c, &o, what, w, want, "fs")
				} else if w.Code != o.Status {
					t.Errorf("%s: %d %s", what, w.Code, w.Body)
				}
				if o.Name == "DescribeMountTargets" && !strings.Contains(w.Body.String(), `"LifeCycleState":"`+string(state)+`"`) {
					t.Errorf("%s: %s", what, w.Body)
				}
			}
			if state == control.Creating {
				close(l.opens)
			}
			l.set(nil)
			time.Sleep(2 * time.Minute) // of fake time: the worker tries again
			if all, err := a.region.Control.DescribeMountTargets(f.known["fs"], "", ""); err != nil || len(all) != 0 {
				t.Errorf("a mount target that was deleted while it was %s is there: %+v, %v", state, all, err)
			}
		})
	}
}
