package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control/policy"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// filePolicy is the policy of a file system. It is a setting of it.
type filePolicy struct {
	Version int    `json:"v"`
	Text    string `json:"text"`
	// Resource is the ARN of the file system at which it was put. A replica has
	// another one; the ARNs of its access points are told as they were there,
	// so that the policy means the same in every region.
	Resource string `json:"resource"`

	rules  *policy.Policy
	broken error // nobody comes in: what it says is not known

	decided decisions
}

// decisions are what a policy has said about clients in the current second: its
// conditions may be about the time, and a client asks many times in a second.
type decisions struct {
	mu     sync.Mutex
	second int64
	m      map[Client]Rights
}

// maxDecisions bounds the clients that are remembered at once: more than there
// are on a file system, some 100 bytes each.
const maxDecisions = 1 << 14

func (d *decisions) get(w Client, now time.Time) (r Rights, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.second != now.Unix() {
		return r, false
	}
	r, ok = d.m[w]
	return r, ok
}

func (d *decisions) put(w Client, now time.Time, r Rights) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.second != now.Unix() || d.m == nil || len(d.m) >= maxDecisions {
		d.second, d.m = now.Unix(), map[Client]Rights{}
	}
	d.m[w] = r
}

// policyVersion is the version of the form.
const policyVersion = 1

func decodePolicy(value []byte) *filePolicy {
	if value == nil {
		return nil
	}
	p := &filePolicy{}
	err := strictJSON(value, p)
	if err == nil && p.Version != policyVersion {
		err = fmt.Errorf("its form has version %d; this release knows %d", p.Version, policyVersion)
	}
	if err == nil {
		p.rules, err = policy.Parse(p.Text, p.Resource)
	}
	p.broken = err
	return p
}

// Caller is who calls the API.
type Caller struct {
	Principal string // ARN
	SourceIP  netip.Addr
}

// isRoot tells that the caller is the account itself, which a policy cannot
// lock out.
func (w Caller) isRoot() bool { return strings.HasSuffix(w.Principal, ":root") }

// PutPolicy sets the policy of a file system; clients feel it with their next
// request. Errors: InvalidPolicyException, FileSystemNotFound,
// IncorrectFileSystemLifeCycleState, AccessDeniedException when the policy in
// force denies it to the caller.
func (c *Control) PutPolicy(ctx context.Context, ref, text string, who Caller, bypassLockout bool) (fileSystemID string, err error) {
	err = c.changeSettings(ref, func(f *FileSystem, s *fsSettings) error {
		fileSystemID = f.ID
		if err := c.mayChangePolicy(s, policy.PutPolicy, who); err != nil {
			return err
		}
		p := &filePolicy{Version: policyVersion, Text: text, Resource: c.fileSystemARN(c.cfg.Region, f.ID)}
		rules, err := policy.Parse(text, p.Resource)
		if err != nil {
			return refuse(CodeInvalidPolicy, "The policy is not valid: %s. See docs/efs-compatibility.md for what a policy may hold.", err)
		}
		if !bypassLockout && !who.isRoot() && rules.Denied(policy.PutPolicy, c.apiRequest(who)) {
			return refuse(CodeInvalidPolicy, "The policy would deny PutFileSystemPolicy to you (%s), so that you could not change it again. Exempt yourself, or set BypassPolicyLockoutSafetyCheck.", who.Principal)
		}
		b, err := json.Marshal(p)
		if err != nil {
			return err
		}
		if len(b) > fs.MaxSetting {
			return refuse(CodeInvalidPolicy, "The policy is not valid: it takes %d bytes, more than %d. Use fewer statements.", len(b), fs.MaxSetting)
		}
		return s.set(ctx, c, settingPolicy, b)
	})
	return fileSystemID, err
}

// DeletePolicy takes the policy away: the default is in force, whoever reaches
// a mount target may do everything. Without a policy it does nothing. Errors are
// those of PutPolicy.
func (c *Control) DeletePolicy(ctx context.Context, ref string, who Caller) error {
	return c.changeSettings(ref, func(_ *FileSystem, s *fsSettings) error {
		if err := c.mayChangePolicy(s, policy.DeletePolicy, who); err != nil {
			return err
		}
		if s.currentPolicy() == nil {
			return nil
		}
		return s.set(ctx, c, settingPolicy, nil)
	})
}

// DescribePolicy returns the text of the policy. Errors: PolicyNotFound,
// FileSystemNotFound.
func (c *Control) DescribePolicy(ref string) (fileSystemID, text string, err error) {
	var f *FileSystem
	c.catalog.read(func(s *state) { f, err = c.localFileSystem(s, ref) })
	if err != nil {
		return "", "", asError(err)
	}
	s, err := c.settings(f)
	switch {
	case err == nil:
	case f.State == Creating || f.State == Failed: // it never had content
		return "", "", refuse(CodePolicyNotFound, "File system '%s' is in the state %s and has no policy: see DescribeFileSystems, and put one when it is available.", f.ID, f.State)
	case f.State == Deleting:
		return "", "", refuse(CodeFileSystemNotFound, "File system '%s' is being deleted, its policy is gone: see DescribeFileSystems for those that are available.", f.ID)
	default:
		return "", "", refuse(CodeInternal, "the policy of file system %s cannot be read: %s; see DescribeFileSystems and the log of holdfast", f.ID, err)
	}
	p := s.currentPolicy()
	if p == nil {
		return "", "", refuse(CodePolicyNotFound, "File system '%s' has the default policy, by which whoever reaches a mount target may mount, read and write: put one to change that (PutFileSystemPolicy).", f.ID)
	}
	return f.ID, p.Text, nil
}

func (s *fsSettings) currentPolicy() *filePolicy {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.policy
}

func (c *Control) mayChangePolicy(s *fsSettings, action string, who Caller) error {
	p := s.currentPolicy()
	if p == nil || p.rules == nil || who.isRoot() || !p.rules.Denied(action, c.apiRequest(who)) {
		return nil
	}
	return refuse(CodeAccessDeniedException, "User: %s is not authorized to perform: %s on %s: the policy of the file system denies it; ask who it exempts, or use a credential whose principal is the root of the account", who.Principal, action, s.id)
}

// apiRequest is a call of the API as a policy sees it. The API is signed, and
// behind TLS wherever the network is not trusted: it counts as secure.
func (c *Control) apiRequest(who Caller) *policy.Request {
	return &policy.Request{Principal: who.Principal, Secure: true, SourceIP: who.SourceIP, Now: c.cfg.Now()}
}

// Client is an NFS client as a policy sees it.
type Client struct {
	Principal   string // ARN; "" for one that did not sign
	Secure      bool
	SourceIP    netip.Addr
	AccessPoint string // id; "" for none
	MountTarget bool
}

// Rights is what a client may do on a file system.
type Rights struct{ Mount, Write, Root bool }

// ClientRights tells what a client may do on a file system now. It is quick:
// the NFS server asks for every request.
func (c *Control) ClientRights(fileSystemID string, w Client) Rights {
	f := c.fileSystem(fileSystemID)
	if f == nil {
		return Rights{}
	}
	s, err := c.settings(f)
	if err != nil {
		return Rights{} // nobody comes in by a policy that cannot be read
	}
	rights := s.currentPolicy().rights(w, c.cfg.Now())
	rights.Root = rights.Root && !s.rootSquashed()
	return rights
}

// rights is what the policy says, nil for none; mostly it has said so before.
func (p *filePolicy) rights(w Client, now time.Time) Rights {
	switch {
	case p == nil:
		return Rights{true, true, true}
	case p.broken != nil:
		return Rights{}
	}
	if known, ok := p.decided.get(w, now); ok {
		return known
	}
	rights := p.rightsOf(w, now)
	p.decided.put(w, now, rights)
	return rights
}

func (p *filePolicy) rightsOf(w Client, now time.Time) Rights {
	r := &policy.Request{Principal: w.Principal, Secure: w.Secure, SourceIP: w.SourceIP, MountTarget: w.MountTarget, Now: now}
	if w.AccessPoint != "" {
		r.AccessPoint = p.accessPointARN(w.AccessPoint)
	}
	return Rights{p.rules.Allowed(policy.ClientMount, r), p.rules.Allowed(policy.ClientWrite, r), p.rules.Allowed(policy.ClientRootAccess, r)}
}

// accessPointARN is the ARN of an access point where the policy was put.
func (p *filePolicy) accessPointARN(id string) string {
	head, _, _ := strings.Cut(p.Resource, ":file-system/")
	return head + ":access-point/" + id
}

// ClientAccessPoint finds an access point of a file system for an NFS client,
// with the secret that seals its file handles.
func (c *Control) ClientAccessPoint(fileSystemID, id string) (p AccessPoint, secret []byte, err error) {
	f := c.fileSystem(fileSystemID)
	if f == nil {
		return p, nil, noFileSystem(fileSystemID, c.cfg.Region)
	}
	s, err := c.settings(f)
	if err != nil {
		return p, nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	found := s.points[id]
	switch {
	case found == nil:
		return p, nil, noAccessPoint(id, c.cfg.Region)
	case found.Broken != nil:
		return p, nil, found.Broken
	case len(s.secret) != secretBytes:
		return p, nil, fmt.Errorf("file system %s has no secret for its access points: create one of them anew", fileSystemID)
	}
	return *found, s.secret, nil
}
