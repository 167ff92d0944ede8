package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-fs/holdfast/test/harness"
)

var awsTools = map[string]string{"/usr/bin/aws": "awscli", "ip": "iproute2"}

// TestAWSCommandLine drives the failover of the operator's guide with Debian's
// AWS CLI, in the words of the EFS documentation.
func TestAWSCommandLine(t *testing.T) {
	harness.Need(t, true, awsTools)
	g := harness.NewRegions(t)
	g.CopyLogs(t)
	us, eu := g.R[0], g.R[1]
	run := func(r *harness.Region, args ...string) map[string]any {
		t.Helper()
		out, err := r.AWS(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if strings.TrimSpace(out) != "" {
			if err := json.Unmarshal([]byte(out), &v); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		return v
	}
	refused := func(r *harness.Region, code string, args ...string) {
		t.Helper()
		if _, err := r.AWS(t, args...); err == nil || !strings.Contains(err.Error(), code) {
			t.Fatalf("aws efs %v: got %v, want %s", args, err, code)
		}
	}
	id := run(us, "create-file-system", "--creation-token", "cli", "--tags", "Key=Name,Value=home")["FileSystemId"].(string)
	refused(us, "FileSystemAlreadyExists", "create-file-system", "--creation-token", "cli")
	refused(us, "FileSystemNotFound", "describe-file-systems", "--file-system-id", "fs-0123456789abcdef0")
	run(us, "tag-resource", "--resource-id", id, "--tags", "Key=team,Value=storage")
	if l := run(us, "list-tags-for-resource", "--resource-id", id)["Tags"].([]any); len(l) != 2 {
		t.Errorf("tags: %v", l)
	}
	run(us, "untag-resource", "--resource-id", id, "--tag-keys", "team")
	refused(us, "SubnetNotFound", "create-mount-target", "--file-system-id", id, "--subnet-id", "subnet-ffffffffffffffff0")
	dest := replicateByCLI(t, us, eu, id, run)
	refused(us, "FileSystemInUse", "delete-file-system", "--file-system-id", id)
	// As Terraform does it: in the destination's region, then in the source's.
	run(eu, "delete-replication-configuration", "--source-file-system-id", id)
	harness.Eventually(t, time.Minute, "both regions have forgotten the replication", func() error {
		for _, r := range []*harness.Region{eu, us} {
			if _, err := r.AWS(t, "describe-replication-configurations", "--file-system-id", id); err == nil || !strings.Contains(err.Error(), "ReplicationNotFound") {
				if r == eu && err != nil && strings.Contains(err.Error(), "FileSystemNotFound") {
					continue // the source is no file system of this region
				}
				return fmt.Errorf("%s: %v", r.Name, err)
			}
		}
		return nil
	})
	refused(us, "ReplicationNotFound", "delete-replication-configuration", "--source-file-system-id", id)
	for r, f := range map[*harness.Region]string{us: id, eu: dest} {
		var st status
		r.Get(t, "file-systems/"+f, &st)
		if st.Role != "writer" {
			t.Errorf("%s is %s after the deletion, want both sides writable", f, st.Role)
		}
		run(r, "delete-file-system", "--file-system-id", f)
	}
}

func replicateByCLI(t *testing.T, us, eu *harness.Region, id string, run func(*harness.Region, ...string) map[string]any) string {
	t.Helper()
	r := run(us, "create-replication-configuration", "--source-file-system-id", id, "--destinations", "Region="+eu.Name)
	dest := r["Destinations"].([]any)[0].(map[string]any)["FileSystemId"].(string)
	for _, region := range []*harness.Region{us, eu} {
		harness.Eventually(t, time.Minute, "the replication is ENABLED and has a LastReplicatedTimestamp in "+region.Name, func() error {
			l := run(region, "describe-replication-configurations", "--file-system-id", id)["Replications"].([]any)
			d := l[0].(map[string]any)["Destinations"].([]any)[0].(map[string]any)
			if d["Status"] != "ENABLED" || d["LastReplicatedTimestamp"] == nil {
				return fmt.Errorf("%v", d)
			}
			return nil
		})
	}
	return dest
}
