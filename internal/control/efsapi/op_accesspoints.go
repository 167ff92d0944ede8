package efsapi

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

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

func (h *handler) createAccessPoint(r *http.Request, body []byte) (any, error) {
	req, err := parseAccessPoint(body)
	if err != nil {
		return nil, err
	}
	d, err := h.cfg.Control.CreateAccessPoint(r.Context(), req)
	if err != nil {
		return nil, err
	}
	return accessPointShapeOf(d), nil
}

func parseAccessPoint(body []byte) (req control.CreateAccessPointRequest, err error) {
	m, err := decodeObject(body)
	if err != nil {
		return req, err
	}
	o := &members{m: m}
	req.ClientToken = o.text("ClientToken", ruleToken.needed())
	req.FileSystemID = o.text("FileSystemId", ruleFS.needed())
	req.Tags = o.tags("Tags")
	if user, given := o.object("PosixUser"); given {
		req.User = parsePosixUser(user)
		o.adopt(user.done())
	}
	if root, given := o.object("RootDirectory"); given {
		req.Path, req.Create = parseRootDirectory(root)
		o.adopt(root.done())
	}
	return req, o.done()
}

func parsePosixUser(u *members) *control.PosixUser {
	p := &control.PosixUser{UID: u.id("Uid"), GID: u.id("Gid")}
	list, _ := u.take("SecondaryGids")
	all, ok := list.([]any)
	if list != nil && !ok || len(all) > maxSecondaryIDs {
		u.fail("%sSecondaryGids must be an array: give one of at most %d numbers", u.path, maxSecondaryIDs)
	}
	for i, v := range all {
		name := "SecondaryGids[" + itoa(i) + "]"
		one := &members{path: u.path, m: map[string]any{name: v}}
		p.Groups = append(p.Groups, one.id(name))
		u.adopt(one.done())
	}
	return p
}

func parseRootDirectory(d *members) (path string, create *control.Creation) {
	path = d.text("Path", rulePath)
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if err := fs.Name(name).Check(); path != "/" && path != "" && err != nil {
			d.fail("%sPath %.140q is not valid, because %.60q cannot be the name of a directory (%s): choose other names", d.path, path, name, err)
		}
	}
	info, given := d.object("CreationInfo")
	if !given {
		return path, nil
	}
	create = &control.Creation{UID: info.id("OwnerUid"), GID: info.id("OwnerGid")}
	mode, err := strconv.ParseUint(info.text("Permissions", rulePermissions.needed()), 8, 12)
	if err == nil { // else the rule has refused it
		create.Mode = uint32(mode)
	}
	d.adopt(info.done())
	return path, create
}

// id reads a number of a user or group, which is required.
func (o *members) id(name string) uint32 {
	n, given := o.integer(name, 0, maxPosixID)
	if !given {
		o.fail("%s%s is required: give a number from 0 to %d", o.path, name, int64(maxPosixID))
	}
	return uint32(n)
}

// adopt takes over the problem of a part.
func (o *members) adopt(err error) {
	if o.err == nil {
		o.err = err
	}
}

type posixUserShape struct {
	UID           uint32   `json:"Uid"`
	GID           uint32   `json:"Gid"`
	SecondaryGIDs []uint32 `json:"SecondaryGids,omitempty"`
}

type creationShape struct {
	OwnerUID    uint32 `json:"OwnerUid"`
	OwnerGID    uint32 `json:"OwnerGid"`
	Permissions string
}

type rootDirectoryShape struct {
	Path         string
	CreationInfo *creationShape `json:",omitempty"`
}

type accessPointShape struct {
	ClientToken    string
	Name           string `json:",omitempty"`
	Tags           []tagShape
	AccessPointID  string `json:"AccessPointId"`
	AccessPointArn string
	FileSystemID   string          `json:"FileSystemId"`
	PosixUser      *posixUserShape `json:",omitempty"`
	RootDirectory  rootDirectoryShape
	OwnerID        string `json:"OwnerId"`
	LifeCycleState string
	// LifeCycleStateMessage is ours: why the state is error. SDKs skip it.
	LifeCycleStateMessage string `json:",omitempty"`
}

func accessPointShapeOf(d control.AccessPointDescription) accessPointShape {
	s := accessPointShape{ClientToken: d.ClientToken, Name: d.Name, Tags: tagShapes(d.Tags), AccessPointID: d.ID, AccessPointArn: d.ARN,
		FileSystemID: d.FileSystemID, RootDirectory: rootDirectoryShape{Path: d.Path}, OwnerID: d.OwnerID, LifeCycleState: string(control.Available)}
	if u := d.User; u != nil {
		s.PosixUser = &posixUserShape{u.UID, u.GID, u.Groups}
	}
	if i := d.Create; i != nil {
		s.RootDirectory.CreationInfo = &creationShape{i.UID, i.GID, permissions(i.Mode)}
	}
	if d.Broken != nil {
		s.LifeCycleState, s.LifeCycleStateMessage = string(control.Failed), d.Broken.Error()
	}
	return s
}

// permissions writes a mode as four octal digits.
func permissions(mode uint32) string {
	s := strconv.FormatUint(uint64(mode), 8)
	for len(s) < 4 {
		s = "0" + s
	}
	return s
}

type accessPointsPage struct {
	AccessPoints []accessPointShape
	NextToken    string `json:",omitempty"`
}

func (h *handler) describeAccessPoints(r *http.Request, _ []byte) (any, error) {
	q := queryOf(r)
	limit, token := q.limit("MaxResults"), q.text("NextToken", rulePage)
	id, ref := q.text("AccessPointId", ruleAccessPoint), q.text("FileSystemId", ruleFS)
	if id != "" && ref != "" {
		q.fail("give AccessPointId or FileSystemId, not both")
	}
	if err := q.done(); err != nil {
		return nil, err
	}
	result := accessPointsPage{AccessPoints: []accessPointShape{}}
	if id != "" {
		d, err := h.cfg.Control.DescribeAccessPoint(id)
		result.AccessPoints = append(result.AccessPoints, accessPointShapeOf(d))
		return result, err
	}
	part, next, err := h.cfg.Control.PageOfAccessPoints(ref, token, limit)
	if err != nil {
		return nil, err
	}
	for _, d := range part {
		result.AccessPoints = append(result.AccessPoints, accessPointShapeOf(d))
	}
	result.NextToken = next
	return result, nil
}

func (h *handler) deleteAccessPoint(r *http.Request, _ []byte) (any, error) {
	id, err := pathID(r, "AccessPointId", ruleAccessPoint)
	if err != nil {
		return nil, err
	}
	return nil, h.cfg.Control.DeleteAccessPoint(r.Context(), id)
}
