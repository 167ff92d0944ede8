package efsapi

import (
	"net/http"
	"regexp"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// Access points are checked as EFS checks them, and refused: the NFS server of
// this release does not enforce them, and one that enforces nothing would be
// believed to.

const noAccessPoints = "access points are not offered by this release of Holdfast, whose NFS server does not enforce them: mount the file system or a directory of it, and set owner and mode of the directory"

func noSuchAccessPoint(id string) error {
	return &control.Error{Code: control.CodeAccessPointNotFound, Message: "Access point '" + id + "' does not exist: " + noAccessPoints}
}

var (
	rulePath = &textRule{min: 1, max: 100, help: "an absolute path of at most 100 characters and 4 levels",
		form: regexp.MustCompile("^(/|(/[^.$#<>;`|&?{}^*/\\n][^$#<>;`|&?{}^*/\\n]*){1,4})$")}
	rulePermissions = &textRule{min: 3, max: 4, help: "3 or 4 octal digits, such as 0755",
		form: regexp.MustCompile(`^[0-7]{3,4}$`)}
)

const (
	maxPosixID      = 1<<32 - 1
	maxSecondaryIDs = 16
)

func (h *handler) createAccessPoint(_ *http.Request, body []byte) (any, error) {
	ref, err := parseAccessPoint(body)
	if err != nil {
		return nil, err
	}
	if err := h.cfg.Control.CheckAvailable(ref); err != nil {
		return nil, err
	}
	return nil, badRequest("operation CreateAccessPoint is refused: %s", noAccessPoints)
}

func parseAccessPoint(body []byte) (ref string, err error) {
	m, err := decodeObject(body)
	if err != nil {
		return "", err
	}
	o := &members{m: m}
	o.text("ClientToken", ruleToken.needed())
	ref = o.text("FileSystemId", ruleFS.needed())
	o.tags("Tags")
	if user, given := o.object("PosixUser"); given {
		o.adopt(parsePosixUser(user))
	}
	if root, given := o.object("RootDirectory"); given {
		o.adopt(parseRootDirectory(root))
	}
	return ref, o.done()
}

func parsePosixUser(u *members) error {
	u.id("Uid")
	u.id("Gid")
	list, _ := u.take("SecondaryGids")
	all, ok := list.([]any)
	if list != nil && !ok || len(all) > maxSecondaryIDs {
		u.fail("%sSecondaryGids must be an array of at most %d numbers", u.path, maxSecondaryIDs)
	}
	for i, v := range all {
		one := &members{path: u.path, m: map[string]any{"SecondaryGids[" + itoa(i) + "]": v}}
		one.id("SecondaryGids[" + itoa(i) + "]")
		u.adopt(one.done())
	}
	return u.done()
}

func parseRootDirectory(d *members) error {
	d.text("Path", rulePath)
	if info, given := d.object("CreationInfo"); given {
		info.id("OwnerUid")
		info.id("OwnerGid")
		info.text("Permissions", rulePermissions.needed())
		d.adopt(info.done())
	}
	return d.done()
}

// id reads a number of a user or group, which is required.
func (o *members) id(name string) {
	if _, given := o.integer(name, 0, maxPosixID); !given {
		o.fail("%s%s is required: a number from 0 to %d", o.path, name, int64(maxPosixID))
	}
}

// adopt takes over the problem of a part.
func (o *members) adopt(err error) {
	if o.err == nil {
		o.err = err
	}
}

type accessPointsPage struct {
	AccessPoints []struct{}
	NextToken    string `json:",omitempty"`
}

// describeAccessPoints lists none.
func (h *handler) describeAccessPoints(r *http.Request, _ []byte) (any, error) {
	q := queryOf(r)
	q.limit("MaxResults")
	q.text("NextToken", rulePage)
	id, ref := q.text("AccessPointId", ruleAccessPoint), q.text("FileSystemId", ruleFS)
	if id != "" && ref != "" {
		q.fail("give AccessPointId or FileSystemId, not both")
	}
	if err := q.done(); err != nil {
		return nil, err
	}
	if id != "" {
		return nil, noSuchAccessPoint(id)
	}
	if ref != "" {
		if _, err := h.cfg.Control.DescribeFileSystems(ref, ""); err != nil {
			return nil, err
		}
	}
	return accessPointsPage{AccessPoints: []struct{}{}}, nil
}

func (h *handler) deleteAccessPoint(r *http.Request, _ []byte) (any, error) {
	id, err := pathID(r, "AccessPointId", ruleAccessPoint)
	if err != nil {
		return nil, err
	}
	return nil, noSuchAccessPoint(id)
}
