package efsapi_test

//lint:file-ignore SA1019 the deprecated operations are offered, so they are tested

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/efs/types"
)

const (
	groupOffice = "sg-0000000000000001a"
	groupNobody = "sg-0000000000000001b"
	groupOther  = "sg-0000000000000002a" // of another VPC
	noSuchAP    = "fsap-00000000000000000"
)

func TestBadBodiesOfSettingsAreRefused(t *testing.T) {
	a := newAPI(t)
	id := a.create("a")
	if w := a.send("POST", "/mount-targets", `{"FileSystemId":"`+id+`","SubnetId":"`+subnetA+`"}`); w.Code != http.StatusOK {
		t.Fatal(w.Body)
	}
	all, err := a.region.Control.DescribeMountTargets(id, "", "")
	if err != nil {
		t.Fatal(err)
	}
	fsys, groups := "/file-systems/"+id, "/mount-targets/"+all[0].ID+"/security-groups"
	lifecycle, backup, policy := fsys+"/lifecycle-configuration", fsys+"/backup-policy", fsys+"/policy"
	ap := func(member string) string { return `{"ClientToken":"t","FileSystemId":"` + id + `",` + member + `}` }
	for _, c := range []struct{ method, path, body, code string }{
		{"PUT", fsys, `{"ThroughputMode":"fast"}`, "BadRequest"},
		{"PUT", fsys, `{"ThroughputMode":"provisioned"}`, "BadRequest"},
		{"PUT", fsys, `{"ThroughputMode":"provisioned","ProvisionedThroughputInMibps":0.5}`, "BadRequest"},
		{"PUT", fsys, `{"ThroughputMode":"provisioned","ProvisionedThroughputInMibps":1e400}`, "BadRequest"},
		{"PUT", fsys, `{"ProvisionedThroughputInMibps":3415}`, "ThroughputLimitExceeded"},
		{"PUT", fsys, `{"ThroughputMode":"provisioned","ProvisionedThroughputInMibps":3414.5}`, "ThroughputLimitExceeded"},
		{"PUT", fsys, `{"ThroughputMode":"provisioned","ProvisionedThroughputInMibps":-1}`, "BadRequest"},
		{"PUT", fsys, `{"ThroughputMode":"provisioned","ProvisionedThroughputInMibps":null}`, "BadRequest"},
		{"PUT", fsys, `{"ThroughputMode":"elastic","ProvisionedThroughputInMibps":10}`, "BadRequest"},
		{"PUT", fsys, `{"ProvisionedThroughputInMibps":10}`, "BadRequest"},
		{"PUT", fsys, `{"ProvisionedThroughputInMibps":"1"}`, "BadRequest"},
		{"PUT", fsys, `{"PerformanceMode":"maxIO"}`, "BadRequest"},
		{"PUT", "/file-systems/" + noSuchFS, `{"ThroughputMode":"elastic"}`, "FileSystemNotFound"},
		{"PUT", "/file-systems/x", `{"ThroughputMode":"elastic"}`, "BadRequest"},

		{"PUT", lifecycle, `{}`, "BadRequest"},
		{"PUT", lifecycle, `{"LifecyclePolicies":{}}`, "BadRequest"},
		{"PUT", lifecycle, `{"LifecyclePolicies":["x"]}`, "BadRequest"},
		{"PUT", lifecycle, `{"LifecyclePolicies":[{}]}`, "BadRequest"},
		{"PUT", lifecycle, `{"LifecyclePolicies":[{"TransitionToIA":"AFTER_2_DAYS"}]}`, "BadRequest"},
		{"PUT", lifecycle, `{"LifecyclePolicies":[{"TransitionToIA":"AFTER_7_DAYS"}]}`, "BadRequest"},
		{"PUT", lifecycle, `{"LifecyclePolicies":[{"TransitionToIA":"AFTER_7_DAYS","TransitionToArchive":"AFTER_90_DAYS"}]}`, "BadRequest"},
		{"PUT", lifecycle, `{"LifecyclePolicies":[{"TransitionToIA":"AFTER_7_DAYS"},{"TransitionToIA":"AFTER_7_DAYS"}]}`, "BadRequest"},
		{"PUT", lifecycle, `{"LifecyclePolicies":[{},{},{},{}]}`, "BadRequest"},
		{"PUT", "/file-systems/" + noSuchFS + "/lifecycle-configuration", `{"LifecyclePolicies":[]}`, "FileSystemNotFound"},
		{"GET", "/file-systems/" + noSuchFS + "/lifecycle-configuration", ``, "FileSystemNotFound"},

		{"PUT", backup, `{}`, "BadRequest"},
		{"PUT", backup, `{"BackupPolicy":"DISABLED"}`, "BadRequest"},
		{"PUT", backup, `{"BackupPolicy":{}}`, "BadRequest"},
		{"PUT", backup, `{"BackupPolicy":{"Status":"OFF"}}`, "BadRequest"},
		{"PUT", backup, `{"BackupPolicy":{"Status":"DISABLED","More":1}}`, "BadRequest"},
		{"PUT", backup, `{"BackupPolicy":{"Status":"ENABLED"}}`, "ValidationException"},
		{"PUT", backup, `{"BackupPolicy":{"Status":"DISABLING"}}`, "ValidationException"},
		{"GET", "/file-systems/" + noSuchFS + "/backup-policy", ``, "FileSystemNotFound"},

		{"PUT", policy, `{}`, "BadRequest"},
		{"PUT", policy, `{"Policy":""}`, "BadRequest"},
		{"PUT", policy, `{"Policy":{}}`, "BadRequest"},
		{"PUT", policy, `{"Policy":"` + long(20001) + `"}`, "BadRequest"},
		{"PUT", policy, `{"Policy":"{","BypassPolicyLockoutSafetyCheck":true}`, "InvalidPolicyException"},
		{"PUT", policy, `{"Policy":"{}","BypassPolicyLockoutSafetyCheck":"yes"}`, "BadRequest"},
		{"PUT", policy, `{"Policy":"{\"Version\":\"2012-10-17\",\"Statement\":[]}"}`, "InvalidPolicyException"},
		{"PUT", "/file-systems/" + noSuchFS + "/policy", `{"Policy":"{}"}`, "FileSystemNotFound"},
		{"GET", policy, ``, "PolicyNotFound"},
		{"GET", "/file-systems/" + noSuchFS + "/policy", ``, "FileSystemNotFound"},
		{"DELETE", "/file-systems/" + noSuchFS + "/policy", ``, "FileSystemNotFound"},

		{"PUT", policy, `{"Policy":""}`, "BadRequest"},
		{"PUT", policy, `{"Policy":{}}`, "BadRequest"},
		{"PUT", policy, `{"Policy":"` + long(20001) + `"}`, "BadRequest"},
		{"PUT", policy, `{"Policy":"` + long(20000) + `"}`, "InvalidPolicyException"},
		{"PUT", policy, `{"Policy":"{}","Policy":"{}"}`, "BadRequest"},
		{"PUT", policy, `{"Policy":"{}","BypassPolicyLockoutSafetyCheck":"true"}`, "BadRequest"},
		{"PUT", policy, `{"Policy":"` + strings.Repeat("[", 9000) + `"}`, "InvalidPolicyException"},
		{"PUT", policy, `{"Policy":"{\"Statement\":{\"Effect\":\"Allow\",\"Effect\":\"Deny\"}}"}`, "InvalidPolicyException"},
		{"PUT", policy, `{"Policy":"{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"Sid\":\"` + strings.Repeat(`\\u0000`, 10) + `\"}}"}`, "InvalidPolicyException"},

		{"POST", "/access-points", `{}`, "BadRequest"},
		{"POST", "/access-points", ap(`"Tags":` + tags(51)), "BadRequest"},
		{"POST", "/access-points", ap(`"Tags":[{"Key":"a","Value":"b"},{"Key":"a","Value":"c"}]`), "BadRequest"},
		{"POST", "/access-points", ap(`"Tags":[{"Key":"aws:a","Value":"b"}]`), "BadRequest"},
		{"POST", "/access-points", ap(`"PosixUser":[]`), "BadRequest"},
		{"POST", "/access-points", ap(`"PosixUser":{"Uid":"0","Gid":0}`), "BadRequest"},
		{"POST", "/access-points", ap(`"PosixUser":{"Uid":0,"Gid":0,"Gid":1}`), "BadRequest"},
		{"POST", "/access-points", ap(`"PosixUser":{"Uid":0,"Gid":0,"SecondaryGids":[-1]}`), "BadRequest"},
		{"POST", "/access-points", ap(`"PosixUser":{"Uid":0,"Gid":0,"SecondaryGids":[null]}`), "BadRequest"},
		{"POST", "/access-points", ap(`"PosixUser":{"Uid":0,"Gid":0,"Name":"root"}`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":"/"`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":""}`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":"/a/"}`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":"/a//b"}`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":"/a","CreationInfo":[]}`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":"/a","CreationInfo":{"OwnerUid":0,"OwnerGid":4294967296,"Permissions":"0755"}}`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":"/a","CreationInfo":{"OwnerUid":0,"OwnerGid":0,"Permissions":"07555"}}`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":"/a","CreationInfo":{"OwnerUid":0,"OwnerGid":0,"Permissions":755}}`), "BadRequest"},
		{"POST", "/access-points", `{"ClientToken":"","FileSystemId":"` + id + `"}`, "BadRequest"},
		{"POST", "/access-points", `{"ClientToken":"` + long(65) + `","FileSystemId":"` + id + `"}`, "BadRequest"},
		{"POST", "/access-points", `{"FileSystemId":"` + id + `"}`, "BadRequest"},
		{"POST", "/access-points", ap(strings.Repeat(`"RootDirectory":{`, 20) + strings.Repeat(`}`, 20)), "BadRequest"},
		{"POST", "/resource-tags/" + noSuchAP, `{"Tags":` + tags(1) + `}`, "AccessPointNotFound"},
		{"DELETE", "/resource-tags/" + noSuchAP + "?tagKeys=a", ``, "AccessPointNotFound"},
		{"GET", "/access-points?AccessPointId=arn:aws:elasticfilesystem:eu-west-1:123456789012:access-point/" + noSuchAP, ``, "AccessPointNotFound"},
		{"GET", "/access-points?NextToken=" + long(129), ``, "BadRequest"},
		{"POST", "/access-points", ap(`"PosixUser":{}`), "BadRequest"},
		{"POST", "/access-points", ap(`"PosixUser":{"Uid":-1,"Gid":0}`), "BadRequest"},
		{"POST", "/access-points", ap(`"PosixUser":{"Uid":0,"Gid":4294967296}`), "BadRequest"},
		{"POST", "/access-points", ap(`"PosixUser":{"Uid":0,"Gid":0.5}`), "BadRequest"},
		{"POST", "/access-points", ap(`"PosixUser":{"Uid":0,"Gid":0,"SecondaryGids":["0"]}`), "BadRequest"},
		{"POST", "/access-points", ap(`"PosixUser":{"Uid":0,"Gid":0,"SecondaryGids":[` + strings.Repeat("1,", 16) + `1]}`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":"x"}`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":"/a/b/c/d/e"}`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":"/.."}`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":"/` + long(100) + `"}`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":"/a","CreationInfo":{"OwnerUid":0,"OwnerGid":0}}`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":"/a","CreationInfo":{"OwnerUid":0,"OwnerGid":0,"Permissions":"0888"}}`), "BadRequest"},
		{"POST", "/access-points", `{"ClientToken":"t","FileSystemId":"` + noSuchFS + `"}`, "FileSystemNotFound"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":"/\u0000"}`), "BadRequest"},
		{"POST", "/access-points", ap(`"RootDirectory":{"Path":"/` + strings.Repeat("€", 90) + `"}`), "BadRequest"},
		{"GET", "/access-points?AccessPointId=" + noSuchAP, ``, "AccessPointNotFound"},
		{"GET", "/access-points?AccessPointId=" + noSuchAP + "&FileSystemId=" + id, ``, "BadRequest"},
		{"GET", "/access-points?FileSystemId=" + noSuchFS, ``, "FileSystemNotFound"},
		{"GET", "/access-points?MaxResults=0", ``, "BadRequest"},
		{"DELETE", "/access-points/" + noSuchAP, ``, "AccessPointNotFound"},
		{"DELETE", "/access-points/x", ``, "BadRequest"},

		{"GET", "/mount-targets/fsmt-00000000000000000/security-groups", ``, "MountTargetNotFound"},
		{"GET", "/mount-targets/x/security-groups", ``, "BadRequest"},
		{"PUT", groups, `{"SecurityGroups":"` + groupOffice + `"}`, "BadRequest"},
		{"PUT", groups, `{"SecurityGroups":[1]}`, "BadRequest"},
		{"PUT", groups, `{"SecurityGroups":["sg-1"]}`, "BadRequest"},
		{"PUT", groups, `{"SecurityGroups":["` + groupOffice + `","` + groupOffice + `"]}`, "BadRequest"},
		{"PUT", groups, `{"SecurityGroups":["sg-00000000000000000"]}`, "SecurityGroupNotFound"},
		{"PUT", groups, `{"SecurityGroups":["` + groupOther + `"]}`, "SecurityGroupNotFound"},
		{"PUT", groups, `{"SecurityGroups":[` + quoted(6) + `]}`, "SecurityGroupLimitExceeded"},
		{"PUT", groups, `{"SecurityGroups":[` + quoted(101) + `]}`, "BadRequest"},
		{"PUT", "/mount-targets/fsmt-00000000000000000/security-groups", `{}`, "MountTargetNotFound"},

		{"POST", "/create-tags/" + id, `{}`, "BadRequest"},
		{"POST", "/create-tags/" + id, `{"Tags":` + tags(51) + `}`, "BadRequest"},
		{"POST", "/create-tags/" + noSuchFS, `{"Tags":` + tags(1) + `}`, "FileSystemNotFound"},
		{"POST", "/delete-tags/" + id, `{}`, "BadRequest"},
		{"POST", "/delete-tags/" + id, `{"TagKeys":[]}`, "BadRequest"},
		{"POST", "/delete-tags/" + id, `{"TagKeys":["aws:x"]}`, "BadRequest"},
		{"POST", "/delete-tags/" + id, `{"TagKeys":[7]}`, "BadRequest"},
		{"POST", "/delete-tags/" + noSuchFS, `{"TagKeys":["a"]}`, "FileSystemNotFound"},
		{"GET", "/tags/" + noSuchFS + "/", ``, "FileSystemNotFound"},
		{"GET", "/tags/" + id + "/?MaxItems=0", ``, "BadRequest"},
		{"GET", "/tags/" + id + "?NextToken=x", ``, "BadRequest"},

		{"PUT", "/account-preferences", `{}`, "BadRequest"},
		{"PUT", "/account-preferences", `{"ResourceIdType":"SHORT_ID"}`, "BadRequest"},
		{"GET", "/account-preferences", `{"MaxResults":0}`, "BadRequest"},
		{"GET", "/account-preferences", `{"MaxResults":"1"}`, "BadRequest"},
		{"GET", "/account-preferences", `{"NextToken":""}`, "BadRequest"},
		{"GET", "/account-preferences?MaxResults=1", ``, "BadRequest"},
	} {
		checkError(t, a.send(c.method, c.path, c.body), fmt.Sprintf("%s %.100s %.150s", c.method, c.path, c.body), c.code)
	}
	if got, err := a.region.Control.DescribeSecurityGroups(all[0].ID); len(got) != 0 || err != nil {
		t.Errorf("a refused request set groups: %q, %v", got, err)
	}
}

// quoted is n ids of groups that do not exist.
func quoted(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"sg-%08d"`, i))
	}
	return strings.Join(all, ",")
}

func TestSDKSettings(t *testing.T) {
	_, _, urls := serve(t)
	c, ctx := client(t, urls[0], "us-east-1", secretKey), t.Context()
	id := must[*efs.CreateFileSystemOutput](t)(c.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: aws.String("a")})).FileSystemId

	updated := must[*efs.UpdateFileSystemOutput](t)(c.UpdateFileSystem(ctx, &efs.UpdateFileSystemInput{FileSystemId: id, ThroughputMode: types.ThroughputModeElastic}))
	if updated.ThroughputMode != types.ThroughputModeElastic {
		t.Errorf("updated %+v", updated)
	}
	lifecycle := must[*efs.PutLifecycleConfigurationOutput](t)(c.PutLifecycleConfiguration(ctx, &efs.PutLifecycleConfigurationInput{FileSystemId: id, LifecyclePolicies: []types.LifecyclePolicy{}}))
	described := must[*efs.DescribeLifecycleConfigurationOutput](t)(c.DescribeLifecycleConfiguration(ctx, &efs.DescribeLifecycleConfigurationInput{FileSystemId: id}))
	if len(lifecycle.LifecyclePolicies)+len(described.LifecyclePolicies) != 0 {
		t.Errorf("lifecycle %+v, %+v", lifecycle, described)
	}
	must[*efs.PutBackupPolicyOutput](t)(c.PutBackupPolicy(ctx, &efs.PutBackupPolicyInput{FileSystemId: id, BackupPolicy: &types.BackupPolicy{Status: types.StatusDisabled}}))
	if b := must[*efs.DescribeBackupPolicyOutput](t)(c.DescribeBackupPolicy(ctx, &efs.DescribeBackupPolicyInput{FileSystemId: id})); b.BackupPolicy.Status != types.StatusDisabled {
		t.Errorf("backup %+v", b.BackupPolicy)
	}
	_, err := c.PutBackupPolicy(ctx, &efs.PutBackupPolicyInput{FileSystemId: id, BackupPolicy: &types.BackupPolicy{Status: types.StatusEnabled}})
	want[*types.ValidationException](t, "backups", err)
	_, err = c.DescribeFileSystemPolicy(ctx, &efs.DescribeFileSystemPolicyInput{FileSystemId: id})
	want[*types.PolicyNotFound](t, "the default policy", err)
	_, err = c.PutFileSystemPolicy(ctx, &efs.PutFileSystemPolicyInput{FileSystemId: id, Policy: aws.String("{")})
	want[*types.InvalidPolicyException](t, "a broken policy", err)
	must[*efs.DeleteFileSystemPolicyOutput](t)(c.DeleteFileSystemPolicy(ctx, &efs.DeleteFileSystemPolicyInput{FileSystemId: id}))
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"elasticfilesystem:ClientMount"}]}`
	must[*efs.PutFileSystemPolicyOutput](t)(c.PutFileSystemPolicy(ctx, &efs.PutFileSystemPolicyInput{FileSystemId: id, Policy: aws.String(text)}))
	if p := must[*efs.DescribeFileSystemPolicyOutput](t)(c.DescribeFileSystemPolicy(ctx, &efs.DescribeFileSystemPolicyInput{FileSystemId: id})); *p.Policy != text {
		t.Errorf("policy %s", *p.Policy)
	}
	made := must[*efs.CreateAccessPointOutput](t)(c.CreateAccessPoint(ctx, &efs.CreateAccessPointInput{FileSystemId: id, ClientToken: aws.String("t"),
		PosixUser: &types.PosixUser{Uid: aws.Int64(4294967295), Gid: aws.Int64(0)}}))
	var exists *types.AccessPointAlreadyExists
	if _, err = c.CreateAccessPoint(ctx, &efs.CreateAccessPointInput{FileSystemId: id, ClientToken: aws.String("t")}); !errors.As(err, &exists) || *exists.AccessPointId != *made.AccessPointId {
		t.Errorf("the same token: %v", err)
	}
	one := must[*efs.DescribeAccessPointsOutput](t)(c.DescribeAccessPoints(ctx, &efs.DescribeAccessPointsInput{AccessPointId: made.AccessPointArn}))
	if len(one.AccessPoints) != 1 || *one.AccessPoints[0].PosixUser.Uid != 4294967295 || one.AccessPoints[0].LifeCycleState != types.LifeCycleStateAvailable {
		t.Errorf("described by ARN: %+v", one)
	}
	must[*efs.DeleteAccessPointOutput](t)(c.DeleteAccessPoint(ctx, &efs.DeleteAccessPointInput{AccessPointId: made.AccessPointId}))
	points := must[*efs.DescribeAccessPointsOutput](t)(c.DescribeAccessPoints(ctx, &efs.DescribeAccessPointsInput{FileSystemId: id}))
	if len(points.AccessPoints) != 0 {
		t.Errorf("access points %+v", points)
	}
	_, err = c.DeleteAccessPoint(ctx, &efs.DeleteAccessPointInput{AccessPointId: aws.String(noSuchAP)})
	want[*types.AccessPointNotFound](t, "deleting an access point", err)
	set := must[*efs.PutAccountPreferencesOutput](t)(c.PutAccountPreferences(ctx, &efs.PutAccountPreferencesInput{ResourceIdType: types.ResourceIdTypeLongId}))
	got := must[*efs.DescribeAccountPreferencesOutput](t)(c.DescribeAccountPreferences(ctx, &efs.DescribeAccountPreferencesInput{MaxResults: aws.Int32(5)}))
	if set.ResourceIdPreference.ResourceIdType != types.ResourceIdTypeLongId || len(got.ResourceIdPreference.Resources) != 2 {
		t.Errorf("preferences %+v, %+v", set, got)
	}
}

func TestSDKDeprecatedTags(t *testing.T) {
	_, _, urls := serve(t)
	c, ctx := client(t, urls[0], "us-east-1", secretKey), t.Context()
	id := must[*efs.CreateFileSystemOutput](t)(c.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: aws.String("a")})).FileSystemId
	var all []types.Tag
	for i := range 3 {
		all = append(all, types.Tag{Key: aws.String(fmt.Sprint("k", i)), Value: aws.String("v")})
	}
	must[*efs.CreateTagsOutput](t)(c.CreateTags(ctx, &efs.CreateTagsInput{FileSystemId: id, Tags: all}))
	must[*efs.DeleteTagsOutput](t)(c.DeleteTags(ctx, &efs.DeleteTagsInput{FileSystemId: id, TagKeys: []string{"k1"}}))
	var keys []string
	in := &efs.DescribeTagsInput{FileSystemId: id, MaxItems: aws.Int32(1)}
	for {
		page := must[*efs.DescribeTagsOutput](t)(c.DescribeTags(ctx, in))
		for _, tag := range page.Tags {
			keys = append(keys, *tag.Key)
		}
		if in.Marker = page.NextMarker; in.Marker == nil {
			break
		}
	}
	if !slices.Equal(keys, []string{"k0", "k2"}) {
		t.Errorf("tags %q", keys)
	}
}

func TestSDKSecurityGroups(t *testing.T) {
	_, _, urls := serve(t)
	c, ctx := client(t, urls[0], "us-east-1", secretKey), t.Context()
	id := must[*efs.CreateFileSystemOutput](t)(c.CreateFileSystem(ctx, &efs.CreateFileSystemInput{CreationToken: aws.String("a")})).FileSystemId
	m := must[*efs.CreateMountTargetOutput](t)(c.CreateMountTarget(ctx, &efs.CreateMountTargetInput{FileSystemId: id, SubnetId: aws.String(subnetA), SecurityGroups: []string{groupOffice}}))
	groups := func() []string {
		return must[*efs.DescribeMountTargetSecurityGroupsOutput](t)(c.DescribeMountTargetSecurityGroups(ctx, &efs.DescribeMountTargetSecurityGroupsInput{MountTargetId: m.MountTargetId})).SecurityGroups
	}
	if got := groups(); !slices.Equal(got, []string{groupOffice}) {
		t.Errorf("made with %q", got)
	}
	modify := func(ids ...string) error {
		_, err := c.ModifyMountTargetSecurityGroups(ctx, &efs.ModifyMountTargetSecurityGroupsInput{MountTargetId: m.MountTargetId, SecurityGroups: ids})
		return err
	}
	if err := modify(groupNobody, groupOffice); err != nil {
		t.Error(err)
	}
	if got := groups(); !slices.Equal(got, []string{groupNobody, groupOffice}) {
		t.Errorf("modified to %q", got)
	}
	want[*types.SecurityGroupNotFound](t, "a group of another VPC", modify(groupOther))
	want[*types.SecurityGroupLimitExceeded](t, "too many groups", modify("sg-00000001", "sg-00000002", "sg-00000003", "sg-00000004", "sg-00000005", "sg-00000006"))
	_, err := c.CreateMountTarget(ctx, &efs.CreateMountTargetInput{FileSystemId: id, SubnetId: aws.String("subnet-0000000000000001b"), SecurityGroups: []string{groupOther}})
	want[*types.SecurityGroupNotFound](t, "creation with a group of another VPC", err)
}
