package efsapi

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Role is what a credential may do.
type Role string

// The roles, each with the rights of the ones before it.
const (
	// RoleReadOnly describes and lists.
	RoleReadOnly Role = "read-only"
	// RoleOperator does the daily work, failover and failback among it.
	RoleOperator Role = "operator"
	// RoleAdmin also deletes file systems, which nothing brings back, and
	// decides who may do what on them.
	RoleAdmin Role = "admin"
)

var roleRank = map[Role]int{RoleReadOnly: 1, RoleOperator: 2, RoleAdmin: 3}

func (r Role) covers(needed Role) bool { return roleRank[r] >= roleRank[needed] }

// operation is one call of the API.
type operation struct {
	name   string
	needs  Role
	method string
	path   string // pattern of http.ServeMux, after the prefix
	status int    // of success
	do     func(r *http.Request, body []byte) (any, error)
	in     input
}

// input is where an operation's members travel, those of the path aside.
type input struct {
	body  bool
	query []string
}

var (
	pathOnly = input{}
	inBody   = input{body: true}
)

func inQuery(names ...string) input { return input{query: names} }

// check refuses what the operation would not look at: a member that is spelt
// wrong, or travels in the wrong place, must not be skipped in silence.
func (in input) check(r *http.Request, body []byte) error {
	for _, name := range slices.Sorted(maps.Keys(r.URL.Query())) {
		switch {
		case slices.Contains(in.query, name):
		case len(in.query) == 0:
			return badRequest("the parameter %.60q is not known to this operation, which takes none in the query: leave it out, or give it in the body", name)
		default:
			return badRequest("the parameter %.60q is not known to this operation: leave it out, or give one of %s", name, strings.Join(in.query, ", "))
		}
	}
	if in.body {
		return nil
	}
	if m, err := decodeObject(body); err != nil || len(m) > 0 {
		return badRequest("this operation takes no body: send none, and give its members in the path and the query")
	}
	return nil
}

const (
	fsPath          = "/file-systems/{FileSystemId}"
	replicationPath = "/file-systems/{SourceFileSystemId}/replication-configuration"
	tagsPath        = "/resource-tags/{ResourceId}"
	groupsPath      = "/mount-targets/{MountTargetId}/security-groups"
	policyPath      = fsPath + "/policy"
	lifecyclePath   = fsPath + "/lifecycle-configuration"
	backupPath      = fsPath + "/backup-policy"
	preferencesPath = "/account-preferences"
)

// operations are the 31 operations of the EFS API (contract §2). DescribeTags
// stands twice: botocore writes it with a slash at the end, other SDKs without.
func (h *handler) operations() []operation {
	const (
		ok       = http.StatusOK
		created  = http.StatusCreated
		accepted = http.StatusAccepted
		empty    = http.StatusNoContent
	)
	return []operation{
		{"CreateFileSystem", RoleOperator, "POST", "/file-systems", created, h.createFileSystem, inBody},
		{"DescribeFileSystems", RoleReadOnly, "GET", "/file-systems", ok, h.describeFileSystems, inQuery("MaxItems", "Marker", "CreationToken", "FileSystemId")},
		{"UpdateFileSystem", RoleOperator, "PUT", fsPath, accepted, h.updateFileSystem, inBody},
		{"UpdateFileSystemProtection", RoleOperator, "PUT", fsPath + "/protection", ok, h.updateProtection, inBody},
		{"DeleteFileSystem", RoleAdmin, "DELETE", fsPath, empty, h.deleteFileSystem, pathOnly},

		{"CreateReplicationConfiguration", RoleOperator, "POST", replicationPath, ok, h.createReplication, inBody},
		{"DescribeReplicationConfigurations", RoleReadOnly, "GET", "/file-systems/replication-configurations", ok, h.describeReplications, inQuery("FileSystemId", "NextToken", "MaxResults")},
		{"DeleteReplicationConfiguration", RoleOperator, "DELETE", replicationPath, empty, h.deleteReplication, inQuery("deletionMode")},

		{"CreateMountTarget", RoleOperator, "POST", "/mount-targets", ok, h.createMountTarget, inBody},
		{"DescribeMountTargets", RoleReadOnly, "GET", "/mount-targets", ok, h.describeMountTargets, inQuery("MaxItems", "Marker", "FileSystemId", "MountTargetId", "AccessPointId")},
		{"DeleteMountTarget", RoleOperator, "DELETE", "/mount-targets/{MountTargetId}", empty, h.deleteMountTarget, pathOnly},
		{"DescribeMountTargetSecurityGroups", RoleReadOnly, "GET", groupsPath, ok, h.describeSecurityGroups, pathOnly},
		{"ModifyMountTargetSecurityGroups", RoleOperator, "PUT", groupsPath, empty, h.modifySecurityGroups, inBody},

		{"CreateAccessPoint", RoleOperator, "POST", "/access-points", ok, h.createAccessPoint, inBody},
		{"DescribeAccessPoints", RoleReadOnly, "GET", "/access-points", ok, h.describeAccessPoints, inQuery("MaxResults", "NextToken", "AccessPointId", "FileSystemId")},
		{"DeleteAccessPoint", RoleOperator, "DELETE", "/access-points/{AccessPointId}", empty, h.deleteAccessPoint, pathOnly},

		{"PutFileSystemPolicy", RoleAdmin, "PUT", policyPath, ok, h.putPolicy, inBody},
		{"DescribeFileSystemPolicy", RoleReadOnly, "GET", policyPath, ok, h.describePolicy, pathOnly},
		{"DeleteFileSystemPolicy", RoleAdmin, "DELETE", policyPath, ok, h.deletePolicy, pathOnly},
		{"PutLifecycleConfiguration", RoleOperator, "PUT", lifecyclePath, ok, h.putLifecycle, inBody},
		{"DescribeLifecycleConfiguration", RoleReadOnly, "GET", lifecyclePath, ok, h.describeLifecycle, pathOnly},
		{"PutBackupPolicy", RoleOperator, "PUT", backupPath, ok, h.putBackup, inBody},
		{"DescribeBackupPolicy", RoleReadOnly, "GET", backupPath, ok, h.describeBackup, pathOnly},

		{"TagResource", RoleOperator, "POST", tagsPath, ok, h.tagResource, inBody},
		{"UntagResource", RoleOperator, "DELETE", tagsPath, ok, h.untagResource, inQuery("tagKeys")},
		{"ListTagsForResource", RoleReadOnly, "GET", tagsPath, ok, h.listTags, inQuery("MaxResults", "NextToken")},
		{"CreateTags", RoleOperator, "POST", "/create-tags/{FileSystemId}", empty, h.createTags, inBody},
		{"DeleteTags", RoleOperator, "POST", "/delete-tags/{FileSystemId}", empty, h.deleteTags, inBody},
		{"DescribeTags", RoleReadOnly, "GET", "/tags/{FileSystemId}", ok, h.describeTags, inQuery("MaxItems", "Marker")},
		{"DescribeTags", RoleReadOnly, "GET", "/tags/{FileSystemId}/{$}", ok, h.describeTags, inQuery("MaxItems", "Marker")},

		{"PutAccountPreferences", RoleAdmin, "PUT", preferencesPath, ok, h.putPreferences, inBody},
		{"DescribeAccountPreferences", RoleReadOnly, "GET", preferencesPath, ok, h.describePreferences, inBody},
	}
}
