package efsapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/efs/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/holdfast-fs/holdfast/internal/control/controltest"
	"github.com/holdfast-fs/holdfast/internal/control/efsapi"
)

const (
	accessKey = "AKIAIOSFODNN7EXAMPLE"
	secretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	subnetA   = "subnet-0000000000000001a"
	noSuchFS  = "fs-00000000000000000"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts two regions, each with its API on a loopback port.
func serve(t *testing.T) (world *controltest.World, regions []*controltest.Region, urls []string) {
	t.Helper()
	world, _, regions = controltest.NewRegions(7, "us-east-1", "us-west-2")
	for _, r := range regions {
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Control.Close() })
		h, err := efsapi.New(efsapi.Config{Control: r.Control, Region: r.Name, Now: time.Now, Rand: controltest.NewRand(9, 9),
			Credentials: []efsapi.Credential{{AccessKey: accessKey, SecretKey: secretKey}}})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(h)
		t.Cleanup(server.Close)
		urls = append(urls, server.URL)
	}
	return world, regions, urls
}

func client(t *testing.T, url, region, secret string) *efs.Client {
	t.Helper()
	return clientWith(t, url, region, credentials.NewStaticCredentialsProvider(accessKey, secret, ""))
}

func clientWith(t *testing.T, url, region string, keys aws.CredentialsProvider) *efs.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return efs.New(efs.Options{Region: region, BaseEndpoint: &url, RetryMaxAttempts: 1,
		HTTPClient: &http.Client{Transport: transport}, Credentials: keys})
}

// want checks that err is of the type T.
func want[T error](t *testing.T, what string, err error) {
	t.Helper()
	var e T
	if !errors.As(err, &e) {
		t.Errorf("%s: %v (%T), want %T", what, err, err, e)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestSDKFileSystems(t *testing.T) {
	_, _, urls := serve(t)
	c, ctx := client(t, urls[0], "us-east-1", secretKey), t.Context()
	made := must[*efs.CreateFileSystemOutput](t)(c.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: aws.String("a b/ü"),
		ThroughputMode: types.ThroughputModeElastic, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("home")}}}))
	id := *made.FileSystemId
	if made.LifeCycleState != types.LifeCycleStateAvailable || *made.Name != "home" || *made.OwnerId != controltest.Account ||
		made.FileSystemProtection.ReplicationOverwriteProtection != types.ReplicationOverwriteProtectionEnabled || made.CreationTime.IsZero() {
		t.Errorf("made %+v", made)
	}
	_, err := c.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: aws.String("a b/ü")})
	var exists *types.FileSystemAlreadyExists
	if !errors.As(err, &exists) || *exists.FileSystemId != id {
		t.Errorf("the same token again: %v", err)
	}
	for _, ref := range []string{id, *made.FileSystemArn} {
		all := must[*efs.DescribeFileSystemsOutput](t)(c.DescribeFileSystems(ctx, &efs.DescribeFileSystemsInput{FileSystemId: &ref}))
		if len(all.FileSystems) != 1 || *all.FileSystems[0].FileSystemId != id {
			t.Errorf("describe %s: %+v", ref, all)
		}
	}
	byToken := must[*efs.DescribeFileSystemsOutput](t)(c.DescribeFileSystems(ctx, &efs.DescribeFileSystemsInput{CreationToken: aws.String("a b/ü")}))
	if len(byToken.FileSystems) != 1 {
		t.Errorf("by token: %+v", byToken)
	}
	_, err = c.DescribeFileSystems(ctx, &efs.DescribeFileSystemsInput{FileSystemId: aws.String(noSuchFS)})
	want[*types.FileSystemNotFound](t, "describe one that is not there", err)
	protection := must[*efs.UpdateFileSystemProtectionOutput](t)(c.UpdateFileSystemProtection(ctx, &efs.UpdateFileSystemProtectionInput{
		FileSystemId: made.FileSystemArn, ReplicationOverwriteProtection: types.ReplicationOverwriteProtectionDisabled}))
	if protection.ReplicationOverwriteProtection != types.ReplicationOverwriteProtectionDisabled {
		t.Errorf("protection %+v", protection)
	}
	must[*efs.DeleteFileSystemOutput](t)(c.DeleteFileSystem(ctx, &efs.DeleteFileSystemInput{FileSystemId: &id}))
	_, err = c.DeleteFileSystem(ctx, &efs.DeleteFileSystemInput{FileSystemId: &id})
	want[*types.FileSystemNotFound](t, "delete it again", err)
}

func TestSDKPages(t *testing.T) {
	_, _, urls := serve(t)
	c, ctx := client(t, urls[0], "us-east-1", secretKey), t.Context()
	made := map[string]bool{}
	for _, token := range []string{"1", "2", "3", "4", "5"} {
		made[*must[*efs.CreateFileSystemOutput](t)(c.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: &token})).FileSystemId] = true
	}
	pages, pager := 0, efs.NewDescribeFileSystemsPaginator(c, &efs.DescribeFileSystemsInput{MaxItems: aws.Int32(2)})
	for pager.HasMorePages() {
		page := must[*efs.DescribeFileSystemsOutput](t)(pager.NextPage(ctx))
		pages++
		for _, f := range page.FileSystems {
			if !made[*f.FileSystemId] {
				t.Errorf("%s comes twice or was never made", *f.FileSystemId)
			}
			delete(made, *f.FileSystemId)
		}
	}
	if pages != 3 || len(made) != 0 {
		t.Errorf("%d pages, without %v", pages, made)
	}
}

func TestSDKMountTargetsAndTags(t *testing.T) {
	_, _, urls := serve(t)
	c, ctx := client(t, urls[0], "us-east-1", secretKey), t.Context()
	id := must[*efs.CreateFileSystemOutput](t)(c.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: aws.String("a")})).FileSystemId
	m := must[*efs.CreateMountTargetOutput](t)(c.CreateMountTarget(ctx, &efs.CreateMountTargetInput{FileSystemId: id, SubnetId: aws.String(subnetA)}))
	if *m.IpAddress != "127.10.0.1" || m.LifeCycleState != types.LifeCycleStateAvailable || *m.AvailabilityZoneName != "us-east-1a" {
		t.Errorf("mount target %+v", m)
	}
	_, err := c.CreateMountTarget(ctx, &efs.CreateMountTargetInput{FileSystemId: id, SubnetId: aws.String(subnetA)})
	want[*types.MountTargetConflict](t, "a second one in the zone", err)
	_, err = c.CreateMountTarget(ctx, &efs.CreateMountTargetInput{FileSystemId: id, SubnetId: aws.String("subnet-0000000000000001c")})
	want[*types.SubnetNotFound](t, "an unknown subnet", err)
	_, err = c.DeleteFileSystem(ctx, &efs.DeleteFileSystemInput{FileSystemId: id})
	want[*types.FileSystemInUse](t, "deleting with a mount target", err)
	for _, in := range []*efs.DescribeMountTargetsInput{{FileSystemId: id}, {MountTargetId: m.MountTargetId}} {
		all := must[*efs.DescribeMountTargetsOutput](t)(c.DescribeMountTargets(ctx, in))
		if len(all.MountTargets) != 1 || *all.MountTargets[0].MountTargetId != *m.MountTargetId {
			t.Errorf("mount targets %+v", all)
		}
	}
	must[*efs.DeleteMountTargetOutput](t)(c.DeleteMountTarget(ctx, &efs.DeleteMountTargetInput{MountTargetId: m.MountTargetId}))
	_, err = c.DeleteMountTarget(ctx, &efs.DeleteMountTargetInput{MountTargetId: m.MountTargetId})
	want[*types.MountTargetNotFound](t, "deleting it again", err)

	must[*efs.TagResourceOutput](t)(c.TagResource(ctx, &efs.TagResourceInput{ResourceId: id, Tags: []types.Tag{
		{Key: aws.String("Name"), Value: aws.String("x")}, {Key: aws.String("a key/with: signs"), Value: aws.String("")}}}))
	must[*efs.UntagResourceOutput](t)(c.UntagResource(ctx, &efs.UntagResourceInput{ResourceId: id, TagKeys: []string{"a key/with: signs", "none", "a:b", "a0", "é"}}))
	tags := must[*efs.ListTagsForResourceOutput](t)(c.ListTagsForResource(ctx, &efs.ListTagsForResourceInput{ResourceId: id}))
	if len(tags.Tags) != 1 || *tags.Tags[0].Key != "Name" {
		t.Errorf("tags %+v", tags)
	}
	_, err = c.ListTagsForResource(ctx, &efs.ListTagsForResourceInput{ResourceId: aws.String("fsap-00000000000000000")})
	want[*types.AccessPointNotFound](t, "tags of an access point", err)
}

func TestSDKReplication(t *testing.T) {
	_, _, urls := serve(t)
	east, west, ctx := client(t, urls[0], "us-east-1", secretKey), client(t, urls[1], "us-west-2", secretKey), t.Context()
	src := must[*efs.CreateFileSystemOutput](t)(east.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: aws.String("a")})).FileSystemId
	rep := must[*efs.CreateReplicationConfigurationOutput](t)(east.CreateReplicationConfiguration(ctx, &efs.CreateReplicationConfigurationInput{
		SourceFileSystemId: src, Destinations: []types.DestinationToCreate{{Region: aws.String("us-west-2")}}}))
	dst := rep.Destinations[0].FileSystemId
	awaitStatus(t, east, src, types.ReplicationStatusEnabled)
	awaitStatus(t, west, src, types.ReplicationStatusEnabled)
	_, err := west.UpdateFileSystemProtection(ctx, &efs.UpdateFileSystemProtectionInput{FileSystemId: dst, ReplicationOverwriteProtection: types.ReplicationOverwriteProtectionDisabled})
	want[*types.ReplicationAlreadyExists](t, "the protection of a destination", err)
	_, err = east.DeleteFileSystem(ctx, &efs.DeleteFileSystemInput{FileSystemId: src})
	want[*types.FileSystemInUse](t, "deleting a source", err)
	_, err = east.CreateReplicationConfiguration(ctx, &efs.CreateReplicationConfigurationInput{SourceFileSystemId: src, Destinations: []types.DestinationToCreate{{Region: aws.String("us-west-2")}}})
	want[*types.ConflictException](t, "replicating twice", err)
	must[*efs.DeleteReplicationConfigurationOutput](t)(west.DeleteReplicationConfiguration(ctx, &efs.DeleteReplicationConfigurationInput{
		SourceFileSystemId: src, DeletionMode: types.DeletionModeAllConfigurations}))
	_, err = west.DeleteReplicationConfiguration(ctx, &efs.DeleteReplicationConfigurationInput{SourceFileSystemId: src})
	want[*types.ReplicationNotFound](t, "deleting it again", err)
	_, err = west.DescribeReplicationConfigurations(ctx, &efs.DescribeReplicationConfigurationsInput{FileSystemId: dst})
	want[*types.ReplicationNotFound](t, "describing it", err)
}

func awaitStatus(t *testing.T, c *efs.Client, ref *string, status types.ReplicationStatus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		out := must[*efs.DescribeReplicationConfigurationsOutput](t)(c.DescribeReplicationConfigurations(ctx, &efs.DescribeReplicationConfigurationsInput{FileSystemId: ref}))
		if out.Replications[0].Destinations[0].Status == status {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("status is %+v", out.Replications[0].Destinations[0])
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestWrongSignaturesAreRefused(t *testing.T) {
	_, _, urls := serve(t)
	for name, c := range map[string]struct {
		client *efs.Client
		code   string
	}{
		"wrong secret":   {client(t, urls[0], "us-east-1", "wrong"), "InvalidSignatureException"},
		"wrong region":   {client(t, urls[0], "us-west-2", secretKey), "InvalidSignatureException"},
		"unknown key":    {clientWith(t, urls[0], "us-east-1", credentials.NewStaticCredentialsProvider("AKIAUNKNOWN", secretKey, "")), "UnrecognizedClientException"},
		"session token":  {clientWith(t, urls[0], "us-east-1", credentials.NewStaticCredentialsProvider(accessKey, secretKey, "token")), "UnrecognizedClientException"},
		"no credentials": {clientWith(t, urls[0], "us-east-1", aws.AnonymousCredentials{}), "MissingAuthenticationTokenException"},
	} {
		_, err := c.client.DescribeFileSystems(t.Context(), &efs.DescribeFileSystemsInput{})
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
}

// TestAWSCLI drives the API with the AWS CLI, which signs and reads errors in
// ways of its own (botocore).
func TestAWSCLI(t *testing.T) {
	path, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("the AWS CLI is not on PATH; install the package awscli to run this test")
	}
	_, _, urls := serve(t)
	cli := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), path, append([]string{"--endpoint-url", urls[0], "--output", "json", "efs"}, args...)...)
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_DEFAULT_REGION=us-east-1", "AWS_MAX_ATTEMPTS=1"}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := cli("create-file-system", "--creation-token", "cli", "--tags", "Key=Name,Value=from the CLI")
	if err != nil {
		if strings.Contains(out, "pyenv") || strings.Contains(out, "not found") {
			t.Skipf("the AWS CLI does not start here; install the package awscli to run this test: %s", out)
		}
		t.Fatalf("create: %v\n%s", err, out)
	}
	var made struct{ FileSystemID, FileSystemArn string }
	raw := strings.ReplaceAll(out, "FileSystemId", "FileSystemID")
	if err := json.Unmarshal([]byte(raw), &made); err != nil {
		t.Fatal(err)
	}
	if out, err = cli("describe-file-systems", "--file-system-id", made.FileSystemArn); err != nil || !strings.Contains(out, "from the CLI") {
		t.Errorf("describe by ARN: %v\n%s", err, out)
	}
	if out, err = cli("tag-resource", "--resource-id", made.FileSystemArn, "--tags", "Key=a:b,Value=c"); err != nil {
		t.Errorf("tag by ARN, which is in the path: %v\n%s", err, out)
	}
	if out, err = cli("untag-resource", "--resource-id", made.FileSystemID, "--tag-keys", "a:b", "a0", "é x"); err != nil {
		t.Errorf("untag: %v\n%s", err, out)
	}
	if out, err = cli("create-file-system", "--creation-token", "cli"); err == nil || !strings.Contains(out, "(FileSystemAlreadyExists)") {
		t.Errorf("create again: %v\n%s", err, out)
	}
	if out, err = cli("describe-lifecycle-configuration", "--file-system-id", made.FileSystemID); err != nil || !strings.Contains(out, `"LifecyclePolicies": []`) {
		t.Errorf("the lifecycle configuration: %v\n%s", err, out)
	}
	if out, err = cli("create-access-point", "--file-system-id", made.FileSystemID, "--client-token", "t", "--posix-user", "Uid=1,Gid=2,SecondaryGids=3,4",
		"--root-directory", "Path=/app,CreationInfo={OwnerUid=1,OwnerGid=2,Permissions=0750}"); err != nil || !strings.Contains(out, `"Permissions": "0750"`) {
		t.Errorf("create an access point: %v\n%s", err, out)
	}
	if out, err = cli("create-access-point", "--file-system-id", made.FileSystemID, "--client-token", "t"); err == nil || !strings.Contains(out, "(AccessPointAlreadyExists)") {
		t.Errorf("create it again: %v\n%s", err, out)
	}
	if out, err = cli("put-file-system-policy", "--file-system-id", made.FileSystemID, "--policy", `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"elasticfilesystem:Mount"}]}`); err == nil || !strings.Contains(out, "(InvalidPolicyException)") {
		t.Errorf("an invalid policy: %v\n%s", err, out)
	}
	if out, err = cli("create-file-system", "--creation-token", "zone", "--availability-zone-name", "us-east-1a"); err == nil || !strings.Contains(out, "are not offered") {
		t.Errorf("an operation that is refused: %v\n%s", err, out)
	}
}

// TestTerraformEndsAReplication replays how Terraform's provider ends a
// replication: with one endpoint, first signed for the destination's region,
// then for the source's, tolerating that it is gone; then it waits.
func TestTerraformEndsAReplication(t *testing.T) {
	_, _, urls := serve(t)
	source, dest := client(t, urls[0], "us-east-1", secretKey), client(t, urls[0], "us-west-2", secretKey)
	ctx := t.Context()
	id := must[*efs.CreateFileSystemOutput](t)(source.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: aws.String("a")})).FileSystemId
	must[*efs.CreateReplicationConfigurationOutput](t)(source.CreateReplicationConfiguration(ctx, &efs.CreateReplicationConfigurationInput{SourceFileSystemId: id, Destinations: []types.DestinationToCreate{{Region: aws.String("us-west-2")}}}))
	awaitStatus(t, source, id, types.ReplicationStatusEnabled)

	_, err := dest.DescribeFileSystems(ctx, &efs.DescribeFileSystemsInput{})
	wantAPI(t, "another operation signed for a peer", err, "InvalidSignatureException")
	_, err = dest.DeleteReplicationConfiguration(ctx, &efs.DeleteReplicationConfigurationInput{SourceFileSystemId: id, DeletionMode: types.DeletionModeLocalConfigurationOnly})
	wantAPI(t, "a deletion on one side signed for a peer", err, "InvalidSignatureException")
	stranger := client(t, urls[0], "eu-west-1", secretKey)
	_, err = stranger.DeleteReplicationConfiguration(ctx, &efs.DeleteReplicationConfigurationInput{SourceFileSystemId: id})
	wantAPI(t, "signed for a region that is no peer", err, "InvalidSignatureException")

	for _, c := range []*efs.Client{dest, source} {
		if _, err := c.DeleteReplicationConfiguration(ctx, &efs.DeleteReplicationConfigurationInput{SourceFileSystemId: id}); err != nil {
			want[*types.ReplicationNotFound](t, "the second deletion", err)
		}
		for err = nil; err == nil; { // until it is gone; the test's deadline ends it
			_, err = c.DescribeReplicationConfigurations(ctx, &efs.DescribeReplicationConfigurationsInput{FileSystemId: id})
		}
		want[*types.ReplicationNotFound](t, "describing it", err)
	}
	must[*efs.DeleteFileSystemOutput](t)(source.DeleteFileSystem(ctx, &efs.DeleteFileSystemInput{FileSystemId: id}))
}

func wantAPI(t *testing.T, what string, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}
