package efsapi_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// ec2 sends a signed request of EC2's query protocol.
func (a *api) ec2(service, form string) *httptest.ResponseRecorder {
	a.t.Helper()
	r := httptest.NewRequest("POST", "http://efs.local/", bytes.NewReader([]byte(form)))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(form))
	if err := v4.NewSigner().SignHTTP(a.t.Context(), keys, r, hex.EncodeToString(sum[:]), service, "us-east-1", a.now); err != nil {
		a.t.Fatal(err)
	}
	return a.do(r)
}

// ids are the texts of all elements of a name.
func ids(t *testing.T, raw []byte, name string) (all []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(raw))
	for {
		tok, err := d.Token()
		if err != nil {
			return all
		}
		if s, ok := tok.(xml.StartElement); ok && s.Name.Local == name {
			var text string
			if err := d.DecodeElement(&text, &s); err != nil {
				t.Fatal(err)
			}
			all = append(all, text)
		}
	}
}

func TestLookUpsOfEC2(t *testing.T) {
	a := newAPI(t)
	const a1, b1 = "subnet-0000000000000001a", "subnet-0000000000000001b"
	for _, c := range []struct {
		form, element string
		want          []string
	}{
		{"Action=DescribeSubnets&Version=2016-11-15", "subnetId", []string{a1, b1}},
		{"Action=DescribeSubnets&SubnetId.1=" + b1, "subnetId", []string{b1}},
		{"Action=DescribeSubnets&Filter.1.Name=availability-zone&Filter.1.Value.1=us-east-1b", "subnetId", []string{b1}},
		{"Action=DescribeSubnets&Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-*1&Filter.2.Name=cidr-block&Filter.2.Value.1=127.1?.0.0/24", "subnetId", []string{a1}},
		{"Action=DescribeSubnets&Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-9&Filter.1.Value.2=vpc-00000001", "subnetId", []string{a1, b1}},
		{"Action=DescribeSubnets&Filter.1.Name=tag:Name&Filter.1.Value.1=*", "subnetId", nil},
		{"Action=DescribeSubnets&SubnetId.1=" + a1, "availableIpAddressCount", []string{"253"}},
		{"Action=DescribeSubnets&SubnetId.1=" + a1, "availabilityZoneId", []string{"az1"}},
		{"Action=DescribeSecurityGroups&Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-00000001", "groupId", []string{groupOffice, groupNobody}},
		{"Action=DescribeSecurityGroups&GroupId.1=" + groupOffice, "cidrIp", []string{"10.0.0.0/8"}},
		{"Action=DescribeSecurityGroups&GroupId.1=" + groupOffice, "cidrIpv6", []string{"fd00:b::/64"}},
		{"Action=DescribeSecurityGroups&GroupId.1=" + groupNobody, "cidrIp", nil},
		{"Action=DescribeSubnets&SubnetId.1=" + a1, "ipv6CidrBlock", []string{"fd00:a::/64"}},
		{"Action=DescribeSubnets&SubnetId.1=" + b1, "ipv6CidrBlock", nil},
		{"Action=DescribeSubnets&Filter.1.Name=ipv6-cidr-block-association.ipv6-cidr-block&Filter.1.Value.1=fd00:a::*", "subnetId", []string{a1}},
		{"Action=DescribeSubnets&Filter.1.Name=ipv6-native&Filter.1.Value.1=true", "subnetId", nil},
		{"Action=DescribeAvailabilityZones", "zoneName", []string{"us-east-1a", "us-east-1b"}},
		{"Action=DescribeAvailabilityZones&ZoneName.1=us-east-1b", "zoneId", []string{"az2"}},
		{"Action=DescribeAvailabilityZones&ZoneId.1=az1&Filter.1.Name=state&Filter.1.Value.1=available", "zoneName", []string{"us-east-1a"}},
	} {
		if c.element == "availableIpAddressCount" {
			id := a.create("free")
			if w := a.send("POST", "/mount-targets", `{"FileSystemId":"`+id+`","SubnetId":"`+a1+`"}`); w.Code != http.StatusOK {
				t.Fatal(w.Body)
			}
		}
		w := a.ec2("ec2", c.form)
		if got := ids(t, w.Body.Bytes(), c.element); w.Code != http.StatusOK || !slices.Equal(got, c.want) {
			t.Errorf("%s: %d %q\n%s", c.form, w.Code, got, w.Body)
		}
	}
}

func TestRefusedLookUpsOfEC2(t *testing.T) {
	a := newAPI(t)
	for _, c := range []struct{ service, form, code string }{
		{"ec2", "Action=RunInstances", "InvalidAction"},
		{"ec2", "", "InvalidAction"},
		{"ec2", "Action=DescribeSubnets&Action=DescribeSubnets", "InvalidParameterCombination"},
		{"ec2", "Action=%zz", "MalformedQueryString"},
		{"ec2", "Action=DescribeSubnets&SubnetId.1=subnet-1", "InvalidSubnetID.NotFound"},
		{"ec2", "Action=DescribeSubnets&Filter.1.Name=colour&Filter.1.Value.1=red", "InvalidParameterValue"},
		{"ec2", "Action=DescribeSecurityGroups&GroupId.1=sg-1", "InvalidGroup.NotFound"},
		{"ec2", "Action=DescribeAvailabilityZones&ZoneName.1=x", "InvalidParameterValue"},
		{"ec2", "Action=DescribeAvailabilityZones&ZoneId.1=x", "InvalidParameterValue"},
		{"elasticfilesystem", "Action=DescribeSubnets", "InvalidSignatureException"},
	} {
		w := a.ec2(c.service, c.form)
		if got := ids(t, w.Body.Bytes(), "Code"); w.Code < 400 || !slices.Equal(got, []string{c.code}) || len(ids(t, w.Body.Bytes(), "RequestID")) != 1 {
			t.Errorf("%s: %d %s, want %s", c.form, w.Code, w.Body, c.code)
		}
	}
	// A signature for EC2 opens no door to EFS.
	r := httptest.NewRequest("GET", "http://efs.local/2015-02-01/file-systems", nil)
	sum := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(t.Context(), keys, r, hex.EncodeToString(sum[:]), "ec2", "us-east-1", a.now); err != nil {
		t.Fatal(err)
	}
	checkError(t, a.do(r), "EFS signed for EC2", "InvalidSignatureException")
}

// boto is a run of the story that boto3, which signs and parses in ways of its
// own, tells of the API. Every assertion is in it.
const boto = `
import sys, boto3
from botocore.config import Config
url = sys.argv[1]
o = dict(endpoint_url=url, region_name="us-east-1", aws_access_key_id=sys.argv[2], aws_secret_access_key=sys.argv[3], config=Config(retries={"max_attempts": 1}))
efs, ec2 = boto3.client("efs", **o), boto3.client("ec2", **o)

def refused(code, call, **kw):
    try:
        call(**kw)
    except Exception as e:
        got = e.response["Error"]["Code"]
        assert got == code, (got, code, str(e))
        assert e.response["Error"]["Message"], code
        return e
    raise AssertionError("not refused: " + code)

fs = efs.create_file_system(CreationToken="boto", Tags=[{"Key": "Name", "Value": "from boto"}])
id = fs["FileSystemId"]
assert fs["Name"] == "from boto" and fs["CreationTime"].year > 2000
e = refused("FileSystemAlreadyExists", efs.create_file_system, CreationToken="boto")
assert e.response["FileSystemId"] == id, e.response
assert [f["FileSystemId"] for p in efs.get_paginator("describe_file_systems").paginate() for f in p["FileSystems"]] == [id]
assert efs.update_file_system(FileSystemId=id, ThroughputMode="elastic")["ThroughputMode"] == "elastic"
refused("BadRequest", efs.update_file_system, FileSystemId=id, ProvisionedThroughputInMibps=10)
assert efs.update_file_system(FileSystemId=id, ThroughputMode="provisioned", ProvisionedThroughputInMibps=1.5)["ProvisionedThroughputInMibps"] == 1.5
assert efs.update_file_system(FileSystemId=id, ProvisionedThroughputInMibps=10)["ProvisionedThroughputInMibps"] == 10
assert "ProvisionedThroughputInMibps" not in efs.update_file_system(FileSystemId=id, ThroughputMode="elastic")

subnet = ec2.describe_subnets()["Subnets"][0]
zones = [z["ZoneName"] for z in ec2.describe_availability_zones()["AvailabilityZones"]]
assert subnet["AvailabilityZone"] in zones
groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [subnet["VpcId"]]}])["SecurityGroups"]
refused("InvalidSubnetID.NotFound", ec2.describe_subnets, SubnetIds=["subnet-00000000"])
mt = efs.create_mount_target(FileSystemId=id, SubnetId=subnet["SubnetId"], SecurityGroups=[groups[0]["GroupId"]])["MountTargetId"]
assert efs.describe_mount_target_security_groups(MountTargetId=mt)["SecurityGroups"] == [groups[0]["GroupId"]]
efs.modify_mount_target_security_groups(MountTargetId=mt, SecurityGroups=[g["GroupId"] for g in groups])
refused("SecurityGroupNotFound", efs.modify_mount_target_security_groups, MountTargetId=mt, SecurityGroups=["sg-00000000"])
assert len(efs.describe_mount_targets(FileSystemId=id)["MountTargets"]) == 1
refused("FileSystemInUse", efs.delete_file_system, FileSystemId=id)
efs.delete_mount_target(MountTargetId=mt)

ap = efs.create_access_point(FileSystemId=id, ClientToken="t", PosixUser={"Uid": 1, "Gid": 2, "SecondaryGids": [3]}, Tags=[{"Key": "Name", "Value": "app"}],
    RootDirectory={"Path": "/app", "CreationInfo": {"OwnerUid": 1, "OwnerGid": 2, "Permissions": "0750"}})
assert ap["LifeCycleState"] == "available" and ap["Name"] == "app" and ap["AccessPointArn"].endswith(ap["AccessPointId"])
e = refused("AccessPointAlreadyExists", efs.create_access_point, FileSystemId=id, ClientToken="t")
assert e.response["AccessPointId"] == ap["AccessPointId"], e.response
efs.create_access_point(FileSystemId=id)
assert len([p for page in efs.get_paginator("describe_access_points").paginate(FileSystemId=id, PaginationConfig={"PageSize": 1}) for p in page["AccessPoints"]]) == 2
efs.tag_resource(ResourceId=ap["AccessPointArn"], Tags=[{"Key": "c", "Value": "d"}])
assert len(efs.list_tags_for_resource(ResourceId=ap["AccessPointId"])["Tags"]) == 2
assert efs.describe_mount_targets(AccessPointId=ap["AccessPointId"])["MountTargets"] == []
efs.delete_access_point(AccessPointId=ap["AccessPointId"])
policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "elasticfilesystem:ClientMount", "Condition": {"Bool": {"aws:SecureTransport": "true"}}}]}'
assert efs.put_file_system_policy(FileSystemId=id, Policy=policy)["Policy"] == policy
assert efs.describe_file_system_policy(FileSystemId=id)["Policy"] == policy
efs.delete_file_system_policy(FileSystemId=id)
refused("AccessPointNotFound", efs.delete_access_point, AccessPointId="fsap-00000000000000000")
refused("PolicyNotFound", efs.describe_file_system_policy, FileSystemId=id)
refused("InvalidPolicyException", efs.put_file_system_policy, FileSystemId=id, Policy="{")
efs.delete_file_system_policy(FileSystemId=id)
assert efs.put_lifecycle_configuration(FileSystemId=id, LifecyclePolicies=[])["LifecyclePolicies"] == []
assert efs.describe_lifecycle_configuration(FileSystemId=id)["LifecyclePolicies"] == []
assert efs.put_backup_policy(FileSystemId=id, BackupPolicy={"Status": "DISABLED"})["BackupPolicy"]["Status"] == "DISABLED"
refused("ValidationException", efs.put_backup_policy, FileSystemId=id, BackupPolicy={"Status": "ENABLED"})
assert efs.describe_backup_policy(FileSystemId=id)["BackupPolicy"]["Status"] == "DISABLED"

efs.create_tags(FileSystemId=id, Tags=[{"Key": "a", "Value": "b"}])
assert len(efs.describe_tags(FileSystemId=id)["Tags"]) == 2
efs.delete_tags(FileSystemId=id, TagKeys=["a"])
efs.tag_resource(ResourceId=fs["FileSystemArn"], Tags=[{"Key": "c:d", "Value": "e"}])
efs.untag_resource(ResourceId=id, TagKeys=["c:d", "c0"])
assert len(efs.list_tags_for_resource(ResourceId=id)["Tags"]) == 1
assert efs.put_account_preferences(ResourceIdType="LONG_ID")["ResourceIdPreference"]["ResourceIdType"] == "LONG_ID"
assert efs.describe_account_preferences(MaxResults=3)["ResourceIdPreference"]["Resources"]

r = efs.create_replication_configuration(SourceFileSystemId=id, Destinations=[{"Region": "us-west-2"}])
assert r["Destinations"][0]["Status"] in ("ENABLING", "ENABLED")
assert len(efs.describe_replication_configurations(FileSystemId=id)["Replications"]) == 1
refused("ConflictException", efs.create_replication_configuration, SourceFileSystemId=id, Destinations=[{"Region": "us-west-2"}])
efs.delete_replication_configuration(SourceFileSystemId=id)
import time
for _ in range(600):
    try:
        efs.describe_replication_configurations(FileSystemId=id)
    except efs.exceptions.ReplicationNotFound:
        break
    time.sleep(0.05)
efs.update_file_system_protection(FileSystemId=id, ReplicationOverwriteProtection="DISABLED")
efs.delete_file_system(FileSystemId=id)
refused("FileSystemNotFound", efs.describe_file_systems, FileSystemId=id)

import urllib.request
url = efs.generate_presigned_url("describe_file_systems", ExpiresIn=60)
assert b"FileSystems" in urllib.request.urlopen(url).read()
print("told")
`

func TestBoto3(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err == nil {
		err = exec.CommandContext(t.Context(), python, "-c", "import boto3").Run()
	}
	if err != nil {
		t.Skip("python3 with boto3 is not on PATH; install the package python3-boto3 to run this test")
	}
	_, _, urls := serve(t)
	cmd := exec.CommandContext(t.Context(), python, "-c", boto, urls[0], accessKey, secretKey)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "NO_PROXY=127.0.0.1"}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "told\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
