package efsapi

import "net/http"

// notOffered answers the operations of the EFS API that Holdfast has not, by
// name, so that nobody takes them for a wrong address.
func (h *handler) notOffered() {
	const fsPath = "/file-systems/{FileSystemId}"
	const targetPath = "/mount-targets/{MountTargetId}/security-groups"
	for _, o := range []struct{ method, path, name, instead string }{
		{"PUT", fsPath, "UpdateFileSystem", "throughput is never throttled, so there is nothing to set"},
		{"GET", targetPath, "DescribeMountTargetSecurityGroups", "use the host's firewall"},
		{"PUT", targetPath, "ModifyMountTargetSecurityGroups", "use the host's firewall"},
		{"POST", "/access-points", "CreateAccessPoint", "mount a directory of the file system instead"},
		{"GET", "/access-points", "DescribeAccessPoints", "there are no access points"},
		{"DELETE", "/access-points/{AccessPointId}", "DeleteAccessPoint", "there are no access points"},
		{"PUT", fsPath + "/policy", "PutFileSystemPolicy", "whoever reaches the mount target may mount"},
		{"GET", fsPath + "/policy", "DescribeFileSystemPolicy", "there are no policies"},
		{"DELETE", fsPath + "/policy", "DeleteFileSystemPolicy", "there are no policies"},
		{"PUT", fsPath + "/lifecycle-configuration", "PutLifecycleConfiguration", "there is one storage class"},
		{"GET", fsPath + "/lifecycle-configuration", "DescribeLifecycleConfiguration", "there is one storage class"},
		{"PUT", fsPath + "/backup-policy", "PutBackupPolicy", "there are no automatic backups; replicate to another region"},
		{"GET", fsPath + "/backup-policy", "DescribeBackupPolicy", "there are no automatic backups"},
		{"POST", "/create-tags/{FileSystemId}", "CreateTags", "EFS deprecated it: use TagResource"},
		{"POST", "/delete-tags/{FileSystemId}", "DeleteTags", "EFS deprecated it: use UntagResource"},
		{"GET", "/tags/{FileSystemId}", "DescribeTags", "EFS deprecated it: use ListTagsForResource"},
		{"GET", "/tags/{FileSystemId}/", "DescribeTags", "EFS deprecated it: use ListTagsForResource"},
		{"PUT", "/account-preferences", "PutAccountPreferences", "new ids always have 17 hex digits"},
		{"GET", "/account-preferences", "DescribeAccountPreferences", "new ids always have 17 hex digits"},
	} {
		h.handle(o.method, o.path, http.StatusOK, func(*http.Request, []byte) (any, error) {
			return nil, badRequest("operation %s is not offered by this release of Holdfast: %s", o.name, o.instead)
		})
	}
}
