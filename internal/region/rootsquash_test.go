package region

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/holdfast-fs/holdfast/internal/config"
	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/nfsclient"
)

// running is a region that serves on free ports of this machine.
type running struct {
	*testing.T
	*Region
}

func start(t *testing.T, change func(c *config.Config)) *running {
	t.Helper()
	c := newConfig(t)
	for _, at := range []*string{&c.API.Listen, &c.NFS.Listen, &c.Peer.Listen, &c.Metrics.Listen} {
		*at = freeAddress(t)
	}
	_, port, _ := net.SplitHostPort(freeAddress(t))
	c.NFS.MountTargetPort, _ = strconv.Atoi(port)
	change(c)
	r, err := New(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	x := &running{t, r}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if status, _, _ := x.call(config.RoleAdmin, "GET", "x", ""); status != 0 {
			return x
		}
		if time.Now().After(deadline) {
			t.Fatal("the region does not serve")
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// call makes a signed call beyond EFS with the key of a role; status 0: nobody
// answers.
func (x *running) call(role, method, path, body string) (status int, answer string, err error) {
	var key config.Credential
	for _, c := range x.cfg.API.Credentials {
		if c.Role == role {
			key = c
		}
	}
	req, err := http.NewRequestWithContext(x.Context(), method, "http://"+x.cfg.API.Listen+extensionPrefix+path, strings.NewReader(body))
	if err != nil {
		x.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	creds := aws.Credentials{AccessKeyID: key.AccessKey, SecretAccessKey: key.SecretKey}
	if err := v4.NewSigner().SignHTTP(x.Context(), creds, req, hex.EncodeToString(sum[:]), "elasticfilesystem", x.cfg.Region, time.Now()); err != nil {
		x.Fatal(err)
	}
	resp, err := http.DefaultTransport.(*http.Transport).Clone().RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// root is a client whose root is asked to make a directory.
func (x *running) root(addr, prefix string) *nfsclient.Client {
	x.Helper()
	c, err := nfsclient.Dial(x.Context(), addr, nfsclient.Options{Prefix: prefix})
	if err != nil {
		x.Fatal(err)
	}
	x.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRootIsSquashedPerMountTarget(t *testing.T) {
	audit := filepath.Join(t.TempDir(), "audit.log")
	x := start(t, func(c *config.Config) {
		c.API.AuditLog = audit
		c.API.Credentials = append(c.API.Credentials, config.Credential{AccessKey: "AKIAREADER0000000000", SecretKey: "secret", Role: config.RoleReadOnly},
			config.Credential{AccessKey: "AKIAOPERATOR00000000", SecretKey: "secret", Role: config.RoleOperator})
	})
	f, err := x.control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: "a"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := x.control.CreateMountTarget(t.Context(), control.CreateMountTargetRequest{FileSystemID: f.ID, SubnetID: x.cfg.Subnets[0].ID})
	if err != nil {
		t.Fatal(err)
	}
	target := net.JoinHostPort(m.IPAddress, strconv.Itoa(x.cfg.NFS.MountTargetPort))
	here, shared := x.root(target, ""), x.root(x.cfg.NFS.Listen, "/"+f.ID)
	try := func(c *nfsclient.Client, name string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		return c.Mkdir(ctx, name, 0o755)
	}
	want := func(role, method, body string, status int, part string) {
		t.Helper()
		got, answer, err := x.call(role, method, "mount-targets/"+m.ID+"/root-squash", body)
		if err != nil || got != status || !strings.Contains(answer, part) {
			t.Errorf("%s %s as %q: %d %s, %v; want %d with %q", method, body, role, got, answer, err, status, part)
		}
	}

	want(config.RoleOperator, "GET", "", 200, `{"enabled":false,"anonymous_uid":65534,"anonymous_gid":65534,"source":"configuration"}`)
	if err := try(here, "/before"); err != nil {
		t.Fatal(err)
	}
	want(config.RoleReadOnly, "PUT", `{"enabled":true}`, 403, "AccessDenied")
	if err := try(here, "/still"); err != nil {
		t.Error(err)
	}
	want(config.RoleOperator, "PUT", `{"enabled":true}`, 200, `{"enabled":true,"anonymous_uid":65534,"anonymous_gid":65534,"source":"mount-target"}`)
	if err := try(here, "/d"); err == nil {
		t.Error("root makes a directory in root's directory although it is squashed")
	}
	if err := try(shared, "/e"); err != nil {
		t.Errorf("the shared address is squashed too: %v", err)
	}
	want(config.RoleReadOnly, "GET", "", 200, `"enabled":true`)
	for _, bad := range []string{"", "{", "{}", `{"enabled":1}`, `{"enabled":true,"uid":1}`, `{"enabled":true,"anonymous_uid":-1}`, `{"enabled":true}{}`, `{"enabled":true,"anonymous_uid":0}`} {
		want(config.RoleOperator, "PUT", bad, 400, "BadRequest")
	}
	if got, answer, _ := x.call(config.RoleAdmin, "PUT", "mount-targets/fsmt-00000000000000000/root-squash", `{"enabled":true}`); got != 404 {
		t.Errorf("a mount target that is not there: %d %s", got, answer)
	}
	want(config.RoleOperator, "PUT", `{"enabled":false}`, 200, `"enabled":false`)
	if err := try(here, "/after"); err != nil {
		t.Error(err)
	}
	x.auditTells(audit, "/mount-targets/"+m.ID+"/root-squash")
}

// auditTells checks that changes and refusals are in the audit log.
func (x *running) auditTells(file, path string) {
	x.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		x.Fatal(err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(b)) {
		var r struct {
			Action, Path, Error string
			AccessKey           string `json:"access_key"`
			Status              int
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			x.Fatal(err)
		}
		if strings.HasSuffix(r.Path, path) {
			seen[strings.TrimSpace(r.Action+" "+strconv.Itoa(r.Status)+" "+r.Error)]++
		}
	}
	for what, n := range map[string]int{"HoldfastChange 200": 2, "HoldfastChange 403 AccessDeniedException": 1, "HoldfastChange 400 BadRequest": 8, "HoldfastRead 200": 2} {
		if seen[what] != n {
			x.Errorf("%q is %d times in the audit log, want %d: %v", what, seen[what], n, seen)
		}
	}
}

func TestRootSquashOfTheSharedAddress(t *testing.T) {
	x := start(t, func(c *config.Config) { c.NFS.RootSquash = true })
	f, err := x.control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.root(x.cfg.NFS.Listen, "/"+f.ID).Mkdir(t.Context(), "/d", 0o755); err == nil {
		t.Error("root makes a directory although the configuration squashes it")
	}
}

// TestCallsBeyondEFSAreStrict: their bodies mean one thing only, and what is not
// offered is refused in the form of every other refusal.
func TestCallsBeyondEFSAreStrict(t *testing.T) {
	x := start(t, func(*config.Config) {})
	f, err := x.control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: "a"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := x.control.CreateMountTarget(t.Context(), control.CreateMountTargetRequest{FileSystemID: f.ID, SubnetID: x.cfg.Subnets[0].ID})
	if err != nil {
		t.Fatal(err)
	}
	path := "mount-targets/" + m.ID + "/root-squash"
	for _, body := range []string{``, `{`, `[]`, `{"enabled":true,"enabled":false}`, `{"enabled":true}]`, `{"enabled":true} {}`, `{"enabled":null}`, `{"enabled":1}`, `{"enabled":true,"colour":1}`, `{"Enabled":true}`, `{"enabled":false,"ENABLED":true}`,
		`{"enabled":true,"anonymous_uid":-1}`, `{"enabled":true,"anonymous_uid":4294967296}`, `{"enabled":true,"anonymous_uid":1.5}`, `{"enabled":true,"anonymous_uid":[1]}`,
		`{"enabled":true}` + strings.Repeat(" ", maxSettingBytes)} {
		status, answer, err := x.call(config.RoleAdmin, "PUT", path, body)
		if err != nil || status != http.StatusBadRequest || !strings.Contains(answer, "BadRequest") || !strings.Contains(answer, "give {") {
			t.Errorf("%.60q: %d %s, %v", body, status, answer, err)
		}
	}
	for _, call := range []string{"", "/hash", "/salvage"} {
		status, answer, err := x.call(config.RoleAdmin, "GET", "file-systems/fs-00000000000000000"+call, "")
		if err != nil || status != http.StatusNotFound || !strings.Contains(answer, "FileSystemNotFound") || !strings.Contains(answer, "see DescribeFileSystems") {
			t.Errorf("%s of a file system that is not there: %d %s, %v", call, status, answer, err)
		}
	}
	if squash, own, err := x.control.DescribeRootSquash(m.ID); err != nil || own || squash.Enabled {
		t.Errorf("a refused setting is in force: %v, %v, %v", squash, own, err)
	}
	for _, c := range [][2]string{{"GET", "nothing"}, {"POST", path}, {"DELETE", path}, {"GET", "file-systems/"}, {"PUT", "file-systems/" + f.ID}, {"GET", "file-systems/" + f.ID + "/nothing"}} {
		status, answer, err := x.call(config.RoleAdmin, c[0], c[1], "")
		if err != nil || status != http.StatusNotFound || !strings.Contains(answer, codeUnknown) || !strings.Contains(answer, "use GET") {
			t.Errorf("%v: %d %s, %v", c, status, answer, err)
		}
	}
}

// TestRootIsSquashedOnAFileSystem: at every address, with the next request of a
// client that is there, and after a restart.
func TestRootIsSquashedOnAFileSystem(t *testing.T) {
	x := start(t, func(*config.Config) {})
	ids := map[string]string{}
	for _, token := range []string{"a", "b"} {
		f, err := x.control.CreateFileSystem(t.Context(), control.CreateFileSystemRequest{CreationToken: token})
		if err != nil {
			t.Fatal(err)
		}
		ids[token] = f.ID
	}
	m, err := x.control.CreateMountTarget(t.Context(), control.CreateMountTargetRequest{FileSystemID: ids["a"], SubnetID: x.cfg.Subnets[0].ID})
	if err != nil {
		t.Fatal(err)
	}
	here := x.root(net.JoinHostPort(m.IPAddress, strconv.Itoa(x.cfg.NFS.MountTargetPort)), "")
	shared, other := x.root(x.cfg.NFS.Listen, "/"+ids["a"]), x.root(x.cfg.NFS.Listen, "/"+ids["b"])
	for _, c := range []*nfsclient.Client{here, shared, other} {
		if err := c.Mkdir(t.Context(), "/before"+ids["a"], 0o755); err != nil && c != shared {
			t.Fatal(err)
		}
	}
	path := "file-systems/" + ids["a"] + "/root-squash"
	want := func(method, body string, status int, part string) {
		t.Helper()
		got, answer, err := x.call(config.RoleAdmin, method, path, body)
		if err != nil || got != status || !strings.Contains(answer, part) {
			t.Errorf("%s %s: %d %s, %v; want %d with %q", method, body, got, answer, err, status, part)
		}
	}
	want("GET", "", 200, `{"enabled":false}`)
	want("PUT", `{"enabled":true,"anonymous_uid":7}`, 400, "anonymous_uid")
	want("PUT", `{"enabled":true}`, 200, `{"enabled":true}`)
	for name, c := range map[string]*nfsclient.Client{"the mount target": here, "the shared address": shared} {
		if err := c.Mkdir(t.Context(), "/d", 0o755); err == nil {
			t.Errorf("at %s root makes a directory although it is squashed", name)
		}
	}
	if err := other.Mkdir(t.Context(), "/d", 0o755); err != nil {
		t.Errorf("another file system: %v", err)
	}
	want("PUT", `{"enabled":false}`, 200, `{"enabled":false}`)
	if err := here.Mkdir(t.Context(), "/d", 0o755); err != nil {
		t.Error(err)
	}
	got, answer, err := x.call(config.RoleAdmin, "GET", "file-systems/fs-00000000000000000/root-squash", "")
	if err != nil || got != 404 || !strings.Contains(answer, "FileSystemNotFound") {
		t.Errorf("a file system that is not there: %d %s, %v", got, answer, err)
	}
}
