package control

import (
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// idDigits is the length of new ids after their prefix, as in EFS; the mount
// helper of EFS accepts access points of exactly this length.
const idDigits = 17

func (c *Control) newID(prefix string) (string, error) {
	b := make([]byte, (idDigits+1)/2)
	if _, err := io.ReadFull(c.cfg.Rand, b); err != nil {
		return "", fmt.Errorf("read randomness for a new id: %w", err)
	}
	return prefix + hex.EncodeToString(b)[:idDigits], nil
}

// newReplicationID is 128 random bits in hex.
func (c *Control) newReplicationID() (string, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(c.cfg.Rand, b); err != nil {
		return "", fmt.Errorf("read randomness for a new id: %w", err)
	}
	return hex.EncodeToString(b), nil
}

// The id forms of the API (contract §5).
var (
	fileSystemPattern    = regexp.MustCompile(`^(arn:aws[-a-z]*:elasticfilesystem:([0-9a-z-:]+):file-system/)?(fs-[0-9a-f]{8,40})$`)
	mountTargetPattern   = regexp.MustCompile(`^fsmt-[0-9a-f]{8,40}$`)
	accessPointPattern   = regexp.MustCompile(`^(arn:aws[-a-z]*:elasticfilesystem:([0-9a-z-:]+):access-point/)?(fsap-[0-9a-f]{8,40})$`)
	replicationIDPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// IsFileSystemID tells whether s is an id, and no ARN.
func IsFileSystemID(s string) bool {
	m := fileSystemPattern.FindStringSubmatch(s)
	return m != nil && m[1] == ""
}

// IsAccessPointID tells whether s is an id, and no ARN.
func IsAccessPointID(s string) bool {
	m := accessPointPattern.FindStringSubmatch(s)
	return m != nil && m[1] == ""
}

// fsRef is a file system as a caller names it.
type fsRef struct {
	ID      string
	ARN     bool   // not a plain id; the rest is of it
	Region  string // may be "", which is no region
	Account string
}

// of tells whether the reference may mean a file system of a region of ours.
func (r fsRef) of(region, account string) bool {
	return !r.ARN || r.Region == region && r.Account == account
}

func parseFileSystemRef(s string) (fsRef, error) {
	m := fileSystemPattern.FindStringSubmatch(s)
	if m == nil || len(s) > 128 {
		return fsRef{}, refuse(CodeBadRequest, "%.140q is no file system id: give an id such as fs-0123456789abcdef0, or an ARN that ends so", s)
	}
	region, account, _ := strings.Cut(m[2], ":")
	return fsRef{ID: m[3], ARN: m[1] != "", Region: region, Account: account}, nil
}

// localFileSystem finds the record of a file system of this region by id or
// ARN. The caller holds what s needs.
func (c *Control) localFileSystem(s *state, ref string) (*FileSystem, error) {
	r, err := parseFileSystemRef(ref)
	if err != nil {
		return nil, err
	}
	if !r.of(c.cfg.Region, c.cfg.AccountID) {
		return nil, refuse(CodeFileSystemNotFound, "%s belongs to another region or account, and this endpoint serves region %s of account %s: call the endpoint of that region",
			ref, c.cfg.Region, c.cfg.AccountID)
	}
	f := s.fileSystems[r.ID]
	if f == nil {
		return nil, noFileSystem(r.ID, c.cfg.Region)
	}
	return f, nil
}

func noFileSystem(id, region string) error {
	return refuse(CodeFileSystemNotFound, "File system '%s' does not exist in region %s: see DescribeFileSystems for those that do.", id, region)
}

// accessPointID reads the id of an access point of this region, given as id or ARN.
func (c *Control) accessPointID(ref string) (string, error) {
	m := accessPointPattern.FindStringSubmatch(ref)
	if m == nil || len(ref) > 128 {
		return "", refuse(CodeBadRequest, "%.140q is no access point id: give an id such as fsap-0123456789abcdef0, or an ARN that ends so", ref)
	}
	region, account, _ := strings.Cut(m[2], ":")
	if m[1] != "" && (region != c.cfg.Region || account != c.cfg.AccountID) {
		return "", refuse(CodeAccessPointNotFound, "%s belongs to another region or account, and this endpoint serves region %s of account %s: call the endpoint of that region", ref, c.cfg.Region, c.cfg.AccountID)
	}
	return m[3], nil
}

// idsAfter gives at most n of the sorted ids that come after one.
func idsAfter(ids []string, after string, n int) []string {
	at, found := slices.BinarySearch(ids, after)
	if found {
		at++
	}
	return ids[at:min(len(ids), at+n)]
}

// fileSystemARN is the ARN of a file system of a region.
func (c *Control) fileSystemARN(region, id string) string {
	return fmt.Sprintf("arn:aws:elasticfilesystem:%s:%s:file-system/%s", region, c.cfg.AccountID, id)
}
