package harness

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/efs"

	"github.com/holdfast-fs/holdfast/internal/config"
)

var binary struct {
	once sync.Once
	path string
	err  error
}

// Binary builds holdfast once per process and gives its path.
func Binary(t testing.TB) string {
	t.Helper()
	binary.once.Do(func() {
		dir, err := os.MkdirTemp("", "holdfast-bin")
		if err != nil {
			binary.err = err
			return
		}
		binary.path = filepath.Join(dir, "holdfast")
		out, err := exec.Command("go", "build", "-o", binary.path, "github.com/holdfast-fs/holdfast/cmd/holdfast").CombinedOutput()
		if err != nil {
			binary.err = fmt.Errorf("build holdfast: %w\n%s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return binary.path
}

// Regions are two regions, each in a network namespace of its own, joined by
// one link; clients reach a region over its guests' network.
type Regions struct {
	Dir  string
	keys config.Summary
	R    [2]*Region
	// Link are the devices between the namespaces; take one down to cut the
	// regions apart.
	Link [2]string
}

// Region is one `holdfast serve` in a namespace.
type Region struct {
	Name    string
	NS      *Namespace // nil: this machine's own loopback
	NFS     string     // address for guests, port 2049; without a namespace HOST:PORT
	API     string     // host:port within the namespace
	metrics string
	guests  int
	net     string // "10.96.1"
	conf    string
	bin     string
	keys    *config.Summary
	cmd     *exec.Cmd
	Log     string
}

// The regions' names.
var regionNames = []string{"us-east-1", "eu-west-1"}

// NewRegions makes two namespaces and an installation, and starts both regions.
func NewRegions(t testing.TB) *Regions {
	t.Helper()
	dir := t.TempDir()
	ports := []config.Ports{{API: 9400, NFS: 2049, Peer: 9402, Metrics: 9403}, {API: 9410, NFS: 2059, Peer: 9412, Metrics: 9413}}
	s, err := config.Init(filepath.Join(dir, "hf"), regionNames, config.Options{Now: time.Now, Rand: rand.Reader, Ports: ports})
	if err != nil {
		t.Fatal(err)
	}
	g := &Regions{Dir: dir, keys: *s}
	for i, name := range regionNames {
		r := &Region{Name: name, NS: NewNamespace(t, string(rune('a'+i))), net: fmt.Sprintf("10.96.%d", i+1), bin: Binary(t), keys: &g.keys,
			conf: s.Regions[i].Config, API: fmt.Sprintf("127.0.0.1:%d", ports[i].API), metrics: fmt.Sprintf("127.0.0.1:%d", ports[i].Metrics),
			Log: filepath.Join(dir, name+".log")}
		r.NFS = r.net + ".1"
		r.NS.Exec(t, "ip", "addr", "add", r.NFS+"/32", "dev", "lo")
		g.R[i] = r
	}
	g.Link[0], g.Link[1] = Connect(t, g.R[0].NS, "10.96.9.1/24", g.R[1].NS, "10.96.9.2/24")
	for i, r := range g.R {
		other := 1 - i
		edit(t, r.conf,
			fmt.Sprintf("listen: 127.0.0.1:%d", ports[i].NFS), "listen: "+r.NFS+":2049",
			fmt.Sprintf("listen: 127.0.0.1:%d", ports[i].Peer), fmt.Sprintf("listen: 10.96.9.%d:%d", i+1, ports[i].Peer),
			fmt.Sprintf("https://127.0.0.1:%d", ports[other].Peer), fmt.Sprintf("https://10.96.9.%d:%d", other+1, ports[other].Peer),
			fmt.Sprintf("127.10.%d.0/24", i), r.net+".0/24")
		r.Start(t)
	}
	return g
}

func edit(t testing.TB, file string, oldnew ...string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.NewReplacer(oldnew...).Replace(string(b))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Start runs the region and waits until it is ready.
func (r *Region) Start(t testing.TB) {
	t.Helper()
	r.start(t, func(status int, text string) error {
		if status != http.StatusOK {
			return fmt.Errorf("%d: %s", status, text)
		}
		return nil
	})
}

// StartUnready is Start for a region of which not everything is well: it waits
// until the region serves.
func (r *Region) StartUnready(t testing.TB) {
	t.Helper()
	r.start(t, func(status int, text string) error {
		if strings.HasPrefix(text, "starting") {
			return errors.New(text)
		}
		return nil
	})
}

func (r *Region) start(t testing.TB, up func(status int, text string) error) {
	t.Helper()
	log, err := os.OpenFile(r.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	r.cmd = r.command(context.Background(), r.bin, "serve", "--config", r.conf)
	r.cmd.Stdout, r.cmd.Stderr = log, log
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd := r.cmd
	t.Cleanup(func() { r.end(cmd, syscall.SIGKILL) })
	Eventually(t, 30*time.Second, "region "+r.Name+" is ready", func() error {
		status, text, err := r.Ready()
		if err != nil {
			return err
		}
		return up(status, text)
	})
}

// command prepares a command to run where the region runs.
func (r *Region) command(ctx context.Context, args ...string) *exec.Cmd {
	if r.NS != nil {
		return r.NS.Command(ctx, args...)
	}
	return exec.CommandContext(ctx, args[0], args[1:]...)
}

// Kill ends the region as a crash does.
func (r *Region) Kill(t testing.TB) { t.Helper(); r.end(r.cmd, syscall.SIGKILL) }

// Stop ends it as an operator does: cleanly; the test fails when it does not exit well.
func (r *Region) Stop(t testing.TB) {
	t.Helper()
	if err := r.end(r.cmd, syscall.SIGTERM); err != nil {
		t.Fatalf("region %s: %v", r.Name, err)
	}
}

func (r *Region) end(cmd *exec.Cmd, sig syscall.Signal) error {
	if cmd.ProcessState != nil {
		return nil
	}
	_ = cmd.Process.Signal(sig)
	return cmd.Wait()
}

func (r *Region) http() *http.Client {
	t := &http.Transport{DisableKeepAlives: true}
	if r.NS != nil {
		t.DialContext = r.NS.Dial
	}
	return &http.Client{Timeout: 30 * time.Second, Transport: t}
}

// EFS is a client of the region's API.
func (r *Region) EFS() *efs.Client {
	return efs.New(efs.Options{Region: r.Name, BaseEndpoint: aws.String("http://" + r.API), HTTPClient: r.http(),
		Credentials: credentials.NewStaticCredentialsProvider(r.keys.AccessKey, r.keys.SecretKey, "")})
}

// plain asks a path of the metrics endpoint.
func (r *Region) plain(path string) (status int, text string, err error) {
	resp, err := r.http().Get("http://" + r.metrics + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// Get is TryGet for what must succeed.
func (r *Region) Get(t testing.TB, path string, v any) {
	t.Helper()
	if err := r.TryGet(path, v); err != nil {
		t.Fatal(err)
	}
}

// TryGet asks one of the signed calls beyond EFS, such as
// "file-systems/fs-.../hash", and decodes the answer into v.
func (r *Region) TryGet(path string, v any) error { return r.extension(http.MethodGet, path, "", v) }

// Put makes one of the signed calls beyond EFS that change something.
func (r *Region) Put(t testing.TB, path, body string) {
	t.Helper()
	var answer map[string]any
	if err := r.extension(http.MethodPut, path, body, &answer); err != nil {
		t.Fatal(err)
	}
}

func (r *Region) extension(method, path, body string, v any) error {
	req, err := http.NewRequest(method, "http://"+r.API+"/holdfast/v1/"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(body))
	creds := aws.Credentials{AccessKeyID: r.keys.AccessKey, SecretAccessKey: r.keys.SecretKey}
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, req, hex.EncodeToString(hash[:]), "elasticfilesystem", r.Name, time.Now()); err != nil {
		return err
	}
	resp, err := r.http().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s\n%s", path, resp.Status, b)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w\n%s", path, err, b)
	}
	return nil
}

// AWS runs Debian's AWS CLI against the region and gives what it prints.
func (r *Region) AWS(t testing.TB, args ...string) (string, error) {
	t.Helper()
	cmd := r.command(context.Background(), append([]string{"/usr/bin/aws", "--region", r.Name, "--endpoint-url", "http://" + r.API, "--output", "json", "efs"}, args...)...)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+r.keys.AccessKey, "AWS_SECRET_ACCESS_KEY="+r.keys.SecretKey, "AWS_EC2_METADATA_DISABLED=true")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("aws efs %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// Guest makes a Linux client that reaches this region.
func (r *Region) Guest(t testing.TB, name string) *Guest {
	t.Helper()
	r.guests++
	sub := 4 * r.guests // a /30 of its own for each guest
	tap := r.NS.AddTap(t, fmt.Sprintf("%s.%d/30", r.net, sub+1))
	return &Guest{NS: r.NS, Tap: tap, CIDR: fmt.Sprintf("%s.%d/30", r.net, sub+2), Name: name, Route: fmt.Sprintf("default via %s.%d", r.net, sub+1)}
}

// Eventually waits until fn gives nil.
func Eventually(t testing.TB, limit time.Duration, what string, fn func() error) {
	t.Helper()
	end := time.Now().Add(limit)
	for {
		err := fn()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %v it is still not so that %s: %v", limit, what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// CopyLogs prints the regions' logs when the test failed.
func (g *Regions) CopyLogs(t testing.TB) {
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, r := range g.R {
			b, _ := os.ReadFile(r.Log)
			if len(b) > 8000 {
				b = b[len(b)-8000:]
			}
			t.Logf("log of %s:\n%s", r.Name, b)
		}
	})
}

// Check stops the region and runs `holdfast check` on all that it has.
func (r *Region) Check(t testing.TB) {
	t.Helper()
	r.Stop(t)
	Run(t, r.bin, "check", "--config", r.conf, r.DataDir())
}
