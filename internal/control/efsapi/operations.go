package efsapi

import "net/http"

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
		{"CreateFileSystem", RoleOperator, "POST", "/file-systems", created, h.createFileSystem},
		{"DescribeFileSystems", RoleReadOnly, "GET", "/file-systems", ok, h.describeFileSystems},
		{"UpdateFileSystem", RoleOperator, "PUT", fsPath, accepted, h.updateFileSystem},
		{"UpdateFileSystemProtection", RoleOperator, "PUT", fsPath + "/protection", ok, h.updateProtection},
		{"DeleteFileSystem", RoleAdmin, "DELETE", fsPath, empty, h.deleteFileSystem},

		{"CreateReplicationConfiguration", RoleOperator, "POST", replicationPath, ok, h.createReplication},
		{"DescribeReplicationConfigurations", RoleReadOnly, "GET", "/file-systems/replication-configurations", ok, h.describeReplications},
		{"DeleteReplicationConfiguration", RoleOperator, "DELETE", replicationPath, empty, h.deleteReplication},

		{"CreateMountTarget", RoleOperator, "POST", "/mount-targets", ok, h.createMountTarget},
		{"DescribeMountTargets", RoleReadOnly, "GET", "/mount-targets", ok, h.describeMountTargets},
		{"DeleteMountTarget", RoleOperator, "DELETE", "/mount-targets/{MountTargetId}", empty, h.deleteMountTarget},
		{"DescribeMountTargetSecurityGroups", RoleReadOnly, "GET", groupsPath, ok, h.describeSecurityGroups},
		{"ModifyMountTargetSecurityGroups", RoleOperator, "PUT", groupsPath, empty, h.modifySecurityGroups},

		{"CreateAccessPoint", RoleOperator, "POST", "/access-points", ok, h.createAccessPoint},
		{"DescribeAccessPoints", RoleReadOnly, "GET", "/access-points", ok, h.describeAccessPoints},
		{"DeleteAccessPoint", RoleOperator, "DELETE", "/access-points/{AccessPointId}", empty, h.deleteAccessPoint},

		{"PutFileSystemPolicy", RoleAdmin, "PUT", policyPath, ok, h.putPolicy},
		{"DescribeFileSystemPolicy", RoleReadOnly, "GET", policyPath, ok, h.describePolicy},
		{"DeleteFileSystemPolicy", RoleAdmin, "DELETE", policyPath, ok, h.deletePolicy},
		{"PutLifecycleConfiguration", RoleOperator, "PUT", lifecyclePath, ok, h.putLifecycle},
		{"DescribeLifecycleConfiguration", RoleReadOnly, "GET", lifecyclePath, ok, h.describeLifecycle},
		{"PutBackupPolicy", RoleOperator, "PUT", backupPath, ok, h.putBackup},
		{"DescribeBackupPolicy", RoleReadOnly, "GET", backupPath, ok, h.describeBackup},

		{"TagResource", RoleOperator, "POST", tagsPath, ok, h.tagResource},
		{"UntagResource", RoleOperator, "DELETE", tagsPath, ok, h.untagResource},
		{"ListTagsForResource", RoleReadOnly, "GET", tagsPath, ok, h.listTags},
		{"CreateTags", RoleOperator, "POST", "/create-tags/{FileSystemId}", empty, h.createTags},
		{"DeleteTags", RoleOperator, "POST", "/delete-tags/{FileSystemId}", empty, h.deleteTags},
		{"DescribeTags", RoleReadOnly, "GET", "/tags/{FileSystemId}", ok, h.describeTags},
		{"DescribeTags", RoleReadOnly, "GET", "/tags/{FileSystemId}/{$}", ok, h.describeTags},

		{"PutAccountPreferences", RoleAdmin, "PUT", preferencesPath, ok, h.putPreferences},
		{"DescribeAccountPreferences", RoleReadOnly, "GET", preferencesPath, ok, h.describePreferences},
	}
}
