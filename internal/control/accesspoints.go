package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// MaxAccessPoints is EFS's limit of access points of a file system.
const MaxAccessPoints = 10_000

// secretBytes is the length of the secret that seals file handles.
const secretBytes = 32

// AccessPoint is a way into a file system: who comes by it is one user and sees
// one directory. It is a setting of its file system.
type AccessPoint struct {
	ID          string     `json:"-"`
	Version     int        `json:"v"`
	ClientToken string     `json:"token"`
	Tags        []Tag      `json:"tags,omitempty"` // sorted by key
	User        *PosixUser `json:"user,omitempty"` // nil: whoever asks
	Path        string     `json:"path"`
	Create      *Creation  `json:"create,omitempty"` // nil: the directory must exist

	// Broken: a newer release wrote it in a form that this one does not know.
	// Nobody comes in by it.
	Broken error `json:"-"`
}

// accessPointVersion is the version of the form; another one is Broken.
const accessPointVersion = 1

// PosixUser is who asks, whatever the client says.
type PosixUser struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"`
}

// Creation is how the directory of an access point is made when it is missing.
type Creation struct {
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	Mode uint32 `json:"mode"`
}

// CreateAccessPointRequest asks for an access point. Path "" is "/".
type CreateAccessPointRequest struct {
	ClientToken  string
	FileSystemID string // id or ARN
	Tags         []Tag
	User         *PosixUser
	Path         string
	Create       *Creation
}

// AccessPointDescription is what EFS tells of an access point.
type AccessPointDescription struct {
	AccessPoint
	FileSystemID string
	ARN          string
	OwnerID      string
	Name         string
}

func decodeAccessPoint(id string, value []byte) *AccessPoint {
	p := &AccessPoint{}
	err := strictJSON(value, p)
	if err == nil && p.Version != accessPointVersion {
		err = fmt.Errorf("its form has version %d; this release knows %d", p.Version, accessPointVersion)
	}
	if err != nil {
		p = &AccessPoint{Path: "/", Broken: fmt.Errorf("access point %s cannot be used by this release: %w", id, err)}
	}
	p.ID = id
	return p
}

// CreateAccessPoint makes an access point, in the journal of its file system.
// Errors: AccessPointAlreadyExists for a token that was used,
// AccessPointLimitExceeded, BadRequest, FileSystemNotFound,
// IncorrectFileSystemLifeCycleState.
func (c *Control) CreateAccessPoint(ctx context.Context, r CreateAccessPointRequest) (AccessPointDescription, error) {
	id, err := c.newID("fsap-")
	if err != nil {
		return AccessPointDescription{}, asError(err)
	}
	tags, err := mergeTags(nil, r.Tags)
	if err != nil {
		return AccessPointDescription{}, err
	}
	p := &AccessPoint{ID: id, Version: accessPointVersion, ClientToken: r.ClientToken, Tags: tags, User: r.User, Path: r.Path, Create: r.Create}
	if p.Path == "" {
		p.Path = "/"
	}
	var f *FileSystem
	err = c.changeSettings(r.FileSystemID, func(in *FileSystem, s *fsSettings) error {
		f = in
		if err := s.roomFor(p); err != nil {
			return err
		}
		if err := c.makeSecret(ctx, s); err != nil {
			return err
		}
		return c.putAccessPoint(ctx, s, p)
	})
	if err != nil {
		return AccessPointDescription{}, err
	}
	return c.describePoint(f.ID, p), nil
}

func (s *fsSettings) roomFor(p *AccessPoint) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if old := s.byToken[p.ClientToken]; old != "" {
		return &Error{Code: CodeAccessPointExists, AccessPointID: old,
			Message: "Access point '" + old + "' of file system '" + s.id + "' already exists with client token '" + p.ClientToken + "': use it, or give another token"}
	}
	if len(s.points) >= MaxAccessPoints {
		return refuse(CodeAccessPointLimit, "file system %s has %d access points, the limit; delete one first", s.id, MaxAccessPoints)
	}
	return nil
}

// makeSecret makes the secret of the file system's handles with its first
// access point. A crash in between leaves a secret that nothing uses yet.
func (c *Control) makeSecret(ctx context.Context, s *fsSettings) error {
	s.mu.RLock()
	have := len(s.secret) == secretBytes
	s.mu.RUnlock()
	if have {
		return nil
	}
	secret := make([]byte, secretBytes)
	if _, err := io.ReadFull(c.cfg.Rand, secret); err != nil {
		return fmt.Errorf("read randomness for the secret of the access points: %w", err)
	}
	return s.set(ctx, c, settingSecret, secret)
}

func (c *Control) putAccessPoint(ctx context.Context, s *fsSettings, p *AccessPoint) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return s.set(ctx, c, settingAccessPoint+p.ID, b)
}

func (c *Control) describePoint(fileSystemID string, p *AccessPoint) AccessPointDescription {
	d := AccessPointDescription{AccessPoint: *p, FileSystemID: fileSystemID, OwnerID: c.cfg.AccountID,
		ARN: c.AccessPointARN(p.ID)}
	d.Tags = slices.Clone(p.Tags)
	for _, t := range p.Tags {
		if t.Key == nameTag {
			d.Name = t.Value
		}
	}
	return d
}

// AccessPointARN is the ARN of an access point of this region.
func (c *Control) AccessPointARN(id string) string {
	return fmt.Sprintf("arn:aws:elasticfilesystem:%s:%s:access-point/%s", c.cfg.Region, c.cfg.AccountID, id)
}

// DescribeAccessPoint returns one, by id or ARN. Errors: AccessPointNotFound,
// BadRequest, InternalServerError while a file system that may have it is not open.
func (c *Control) DescribeAccessPoint(ref string) (AccessPointDescription, error) {
	s, p, err := c.findAccessPoint(ref)
	if err != nil {
		return AccessPointDescription{}, asError(err)
	}
	return c.describePoint(s.id, p), nil
}

// PageOfAccessPoints returns the access points of a file system (id or ARN; ""
// for all of the region) whose ids come after an id, sorted by id, at most
// limit, and the id after which the next page begins, "" if there is none.
// Errors: FileSystemNotFound, BadRequest, InternalServerError while the file
// system that is named is not open.
func (c *Control) PageOfAccessPoints(ref, after string, limit int) (part []AccessPointDescription, next string, err error) {
	var of []*FileSystem
	c.catalog.read(func(s *state) {
		if ref != "" {
			var f *FileSystem
			if f, err = c.localFileSystem(s, ref); err == nil {
				of = append(of, f)
			}
			return
		}
		for _, f := range s.fileSystems {
			of = append(of, f)
		}
	})
	if err != nil {
		return nil, "", asError(err)
	}
	if ref != "" {
		if _, err := c.settings(of[0]); err != nil && c.mayHavePoints(of[0]) {
			return nil, "", refuse(CodeInternal, "The access points of file system '%s' cannot be read now: it is not open in region %s. Try again; the log of holdfast says why it does not open.", of[0].ID, c.cfg.Region)
		}
	}
	found := c.pointsAfter(of, after, limit+1)
	if len(found) > limit {
		found = found[:limit]
		next = found[limit-1].id
	}
	for _, l := range found {
		if p := l.in.point(l.id); p != nil { // else it was deleted just now
			part = append(part, c.describePoint(l.in.id, p))
		}
	}
	return part, next, nil
}

// pointIn is an access point by its id, and the settings that it is among.
type pointIn struct {
	id string
	in *fsSettings
}

// pointsAfter finds the first n access points of some file systems whose ids
// come after one, sorted. It looks at no more than their ids.
func (c *Control) pointsAfter(of []*FileSystem, after string, n int) (found []pointIn) {
	for _, f := range of {
		s, err := c.settings(f)
		if err != nil {
			continue // it is being made, or it says why it is not open: see DescribeFileSystems
		}
		for _, id := range idsAfter(s.ids(), after, n) {
			i, _ := slices.BinarySearchFunc(found, id, func(p pointIn, id string) int { return strings.Compare(p.id, id) })
			if i == n {
				break // n come before it, and before what follows it here
			}
			found = slices.Insert(found[:min(len(found), n-1)], i, pointIn{id, s})
		}
	}
	return found
}

// DeleteAccessPoint takes an access point away. Who came in by it goes on until
// the connection ends; nobody comes in by it any more. Errors:
// AccessPointNotFound, BadRequest.
func (c *Control) DeleteAccessPoint(ctx context.Context, ref string) error {
	return c.changePoint(ref, func(s *fsSettings, p *AccessPoint) error {
		err := s.set(ctx, c, settingAccessPoint+p.ID, nil)
		if err == nil {
			s.noteGone(p.ID)
		}
		return err
	})
}

// changePoint lets fn change an access point that is there.
func (c *Control) changePoint(ref string, fn func(*fsSettings, *AccessPoint) error) error {
	s, p, err := c.findAccessPoint(ref)
	if err != nil {
		return asError(err)
	}
	return c.changeSettings(s.id, func(_ *FileSystem, s *fsSettings) error {
		now := s.point(p.ID)
		if now == nil {
			return noAccessPoint(p.ID, c.cfg.Region)
		}
		return fn(s, now)
	})
}

func (c *Control) changePointTags(ctx context.Context, ref string, change func([]Tag) ([]Tag, error)) error {
	return c.changePoint(ref, func(s *fsSettings, p *AccessPoint) (err error) {
		if p.Broken != nil {
			return refuse(CodeInternal, "%s: start the release that made it", p.Broken)
		}
		next := *p
		if next.Tags, err = change(p.Tags); err != nil {
			return err
		}
		return c.putAccessPoint(ctx, s, &next)
	})
}

// findAccessPoint finds an access point by id or ARN, with the settings that it
// is among. That there is none is only said when it is known: who is told so
// forgets it, or makes another one.
func (c *Control) findAccessPoint(ref string) (*fsSettings, *AccessPoint, error) {
	id, err := c.accessPointID(ref)
	if err != nil {
		return nil, nil, err
	}
	var all []*FileSystem
	c.catalog.read(func(s *state) {
		for _, f := range s.fileSystems {
			all = append(all, f)
		}
	})
	unread, gone := "", false
	for _, f := range all {
		s, err := c.settings(f)
		if s == nil {
			continue
		}
		switch p := s.point(id); {
		case err == nil && p != nil:
			return s, p, nil
		case err != nil && c.mayHavePoints(f):
			unread = max(unread, f.ID)
		}
		gone = gone || s.isGone(id)
	}
	if unread != "" && !gone {
		return nil, nil, refuse(CodeInternal, "It is not known now whether there is an access point '%s': file system '%s' may have it, and is not open in region %s. Try again; the log of holdfast says why it does not open.", id, unread, c.cfg.Region)
	}
	return nil, nil, noAccessPoint(id, c.cfg.Region)
}

// mayHavePoints reports whether a file system whose settings cannot be read may
// have access points nevertheless: one that is being made or deleted has none,
// nor has a replica that has not received a whole tree.
func (c *Control) mayHavePoints(f *FileSystem) bool {
	st, open := c.cfg.FileSystems.Stat(f.ID)
	return c.cfg.Settings != nil && f.State == Available && (!open || st.Whole || st.Role != RoleDestination)
}

func noAccessPoint(id, region string) error {
	return refuse(CodeAccessPointNotFound, "Access point '%s' does not exist in region %s: see DescribeAccessPoints for those that do.", id, region)
}
