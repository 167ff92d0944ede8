package efsapi_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var update = flag.Bool("update", false, "write the golden pairs anew")

// pair is a request of the golden story. In path and body {fs}, {mt} and so on
// stand for what earlier answers gave: see keep.
type pair struct {
	name         string
	method, path string
	body         string
	keep         string // "fs=FileSystemId": what the answer gives to later ones
}

// story has every operation once in good order, and the errors that tell most
// about the form. Its answers are frozen: clients were written for them.
var story = []pair{
	{"CreateFileSystem", "POST", "/file-systems", `{"CreationToken":"golden","PerformanceMode":"generalPurpose","ThroughputMode":"bursting","Tags":[{"Key":"Name","Value":"home"}]}`, "fs=FileSystemId"},
	{"CreateFileSystem-exists", "POST", "/file-systems", `{"CreationToken":"golden"}`, ""},
	{"DescribeFileSystems", "GET", "/file-systems?FileSystemId={fs}", "", ""},
	{"DescribeFileSystems-not-found", "GET", "/file-systems?FileSystemId=" + noSuchFS, "", ""},
	{"UpdateFileSystem", "PUT", "/file-systems/{fs}", `{"ThroughputMode":"elastic"}`, ""},
	{"UpdateFileSystem-provisioned", "PUT", "/file-systems/{fs}", `{"ThroughputMode":"provisioned","ProvisionedThroughputInMibps":12.5}`, ""},
	{"UpdateFileSystem-not-provisioned", "PUT", "/file-systems/{fs}", `{"ThroughputMode":"bursting","ProvisionedThroughputInMibps":12.5}`, ""},
	{"UpdateFileSystemProtection", "PUT", "/file-systems/{fs}/protection", `{"ReplicationOverwriteProtection":"DISABLED"}`, ""},
	{"CreateMountTarget", "POST", "/mount-targets", `{"FileSystemId":"{fs}","SubnetId":"` + subnetA + `","SecurityGroups":["` + groupOffice + `"]}`, "mt=MountTargetId"},
	{"CreateMountTarget-conflict", "POST", "/mount-targets", `{"FileSystemId":"{fs}","SubnetId":"` + subnetA + `"}`, ""},
	{"DescribeMountTargets", "GET", "/mount-targets?FileSystemId={fs}", "", ""},
	{"DescribeMountTargetSecurityGroups", "GET", "/mount-targets/{mt}/security-groups", "", ""},
	{"ModifyMountTargetSecurityGroups", "PUT", "/mount-targets/{mt}/security-groups", `{"SecurityGroups":["` + groupNobody + `"]}`, ""},
	{"DeleteFileSystem-in-use", "DELETE", "/file-systems/{fs}", "", ""},
	{"DeleteMountTarget", "DELETE", "/mount-targets/{mt}", "", ""},
	{"CreateAccessPoint", "POST", "/access-points", `{"ClientToken":"t","FileSystemId":"{fs}","Tags":[{"Key":"Name","Value":"app"}],"PosixUser":{"Uid":1,"Gid":2,"SecondaryGids":[3]},"RootDirectory":{"Path":"/a","CreationInfo":{"OwnerUid":1,"OwnerGid":2,"Permissions":"0750"}}}`, "ap=AccessPointId"},
	{"CreateAccessPoint-exists", "POST", "/access-points", `{"ClientToken":"t","FileSystemId":"{fs}"}`, ""},
	{"CreateAccessPoint-plain", "POST", "/access-points", `{"ClientToken":"u","FileSystemId":"{fs}"}`, "ap2=AccessPointId"},
	{"DescribeAccessPoints", "GET", "/access-points?FileSystemId={fs}&MaxResults=1", "", ""},
	{"DescribeAccessPoints-one", "GET", "/access-points?AccessPointId={ap2}", "", ""},
	{"DescribeMountTargets-of-access-point", "GET", "/mount-targets?AccessPointId={ap}", "", ""},
	{"TagResource-access-point", "POST", "/resource-tags/{ap}", `{"Tags":[{"Key":"team","Value":"storage"}]}`, ""},
	{"ListTagsForResource-access-point", "GET", "/resource-tags/{ap}", "", ""},
	{"UntagResource-access-point", "DELETE", "/resource-tags/{ap}?tagKeys=team", "", ""},
	{"DeleteAccessPoint", "DELETE", "/access-points/{ap}", "", ""},
	{"DeleteAccessPoint-not-found", "DELETE", "/access-points/{ap}", "", ""},
	{"DescribeFileSystemPolicy-not-found", "GET", "/file-systems/{fs}/policy", "", ""},
	{"PutFileSystemPolicy", "PUT", "/file-systems/{fs}/policy", `{"Policy":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"elasticfilesystem:ClientMount\"}]}"}`, ""},
	{"PutFileSystemPolicy-invalid", "PUT", "/file-systems/{fs}/policy", `{"Policy":"{\"Version\":\"2012-10-17\",\"Statement\":[]}"}`, ""},
	{"PutFileSystemPolicy-lock-out", "PUT", "/file-systems/{fs}/policy", `{"Policy":"{\"Statement\":{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"*\"}}"}`, ""},
	{"DescribeFileSystemPolicy", "GET", "/file-systems/{fs}/policy", "", ""},
	{"DeleteFileSystemPolicy", "DELETE", "/file-systems/{fs}/policy", "", ""},
	{"PutLifecycleConfiguration", "PUT", "/file-systems/{fs}/lifecycle-configuration", `{"LifecyclePolicies":[]}`, ""},
	{"DescribeLifecycleConfiguration", "GET", "/file-systems/{fs}/lifecycle-configuration", "", ""},
	{"PutBackupPolicy", "PUT", "/file-systems/{fs}/backup-policy", `{"BackupPolicy":{"Status":"DISABLED"}}`, ""},
	{"DescribeBackupPolicy", "GET", "/file-systems/{fs}/backup-policy", "", ""},
	{"TagResource", "POST", "/resource-tags/{fs}", `{"Tags":[{"Key":"team","Value":"storage"}]}`, ""},
	{"ListTagsForResource", "GET", "/resource-tags/{fs}?MaxResults=1", "", ""},
	{"UntagResource", "DELETE", "/resource-tags/{fs}?tagKeys=team", "", ""},
	{"CreateTags", "POST", "/create-tags/{fs}", `{"Tags":[{"Key":"old","Value":"way"}]}`, ""},
	{"DescribeTags", "GET", "/tags/{fs}/", "", ""},
	{"DeleteTags", "POST", "/delete-tags/{fs}", `{"TagKeys":["old"]}`, ""},
	{"PutAccountPreferences", "PUT", "/account-preferences", `{"ResourceIdType":"LONG_ID"}`, ""},
	{"DescribeAccountPreferences", "GET", "/account-preferences", "", ""},
	{"CreateReplicationConfiguration", "POST", "/file-systems/{fs}/replication-configuration", `{"Destinations":[{"Region":"us-west-2"}]}`, ""},
	{"DescribeReplicationConfigurations", "GET", "/file-systems/replication-configurations?FileSystemId={fs}", "", ""},
	{"DeleteReplicationConfiguration", "DELETE", "/file-systems/{fs}/replication-configuration", "", ""},
	{"DeleteReplicationConfiguration-not-found", "DELETE", "/file-systems/{fs}/replication-configuration", "", ""},
	{"DeleteFileSystem", "DELETE", "/file-systems/{fs}", "", ""},
}

func TestGoldenPairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		known := map[string]string{}
		for _, p := range story {
			p.path, p.body = fill(p.path, known), fill(p.body, known)
			w := a.send(p.method, p.path, p.body)
			remember(t, p.keep, w, known)
			compareGolden(t, p, w)
			time.Sleep(3 * time.Second) // of fake time: what a request began is done
		}
	})
}

func fill(s string, known map[string]string) string {
	for k, v := range known {
		s = strings.ReplaceAll(s, "{"+k+"}", v)
	}
	return s
}

func remember(t *testing.T, keep string, w *httptest.ResponseRecorder, known map[string]string) {
	t.Helper()
	name, member, ok := strings.Cut(keep, "=")
	if !ok {
		return
	}
	var m map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	known[name], _ = m[member].(string)
}

// timestamps differ by the time that a request takes.
var timestamps = regexp.MustCompile(`[0-9]{9}(\.[0-9]+)?([,}])`)

// reached: a replication may be ENABLED before its creation is answered.
var reached = regexp.MustCompile(`"Status":"ENABLED"(,"FileSystemId":"[^"]*","Region":"us-west-2"),"LastReplicatedTimestamp":TIME`)

func compareGolden(t *testing.T, p pair, w *httptest.ResponseRecorder) {
	t.Helper()
	text := fmt.Sprintf("%s /2015-02-01%s\n", p.method, p.path)
	if p.body != "" {
		text += p.body + "\n"
	}
	text += fmt.Sprintf("\n%d\n", w.Code)
	for _, name := range []string{"Content-Type", "X-Amzn-Errortype"} {
		if v := w.Header().Get(name); v != "" {
			text += name + ": " + v + "\n"
		}
	}
	answer := timestamps.ReplaceAllString(w.Body.String(), "TIME$2")
	if p.name == "CreateReplicationConfiguration" {
		answer = reached.ReplaceAllString(answer, `"Status":"ENABLING"$1`)
	}
	text += answer
	file := filepath.Join("testdata", "golden", p.name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s: the answer has changed, and clients were written for the old one:\n%s\nwant\n%s", p.name, text, want)
	}
}

// TestGoldenStoryHasEveryOperation counts with the audit log, which names the
// operation of each request.
func TestGoldenStoryHasEveryOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		for _, p := range story {
			known := map[string]string{"fs": noSuchFS, "mt": "fsmt-00000000000000000", "ap": noSuchAP, "ap2": noSuchAP}
			a.send(p.method, fill(p.path, known), fill(p.body, known))
			name, _, _ := strings.Cut(p.name, "-")
			if got := a.audit[len(a.audit)-1].Action; got != name {
				t.Errorf("%s was answered as %q", p.name, got)
			}
		}
		var names []string
		for _, r := range a.audit {
			names = append(names, r.Action)
		}
		slices.Sort(names)
		if n := len(slices.Compact(names)); n != 31 {
			t.Errorf("%d operations, EFS has 31", n)
		}
	})
}
