package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-fs/holdfast/internal/config"
)

// region is one region: its files, and the process that serves it.
type region struct {
	config.RegionSummary
	binary string
	log    string // file
	ready  string // URL
	api    *api
	fsID   string // of its file system in the story

	cmd    *exec.Cmd
	exited chan error
}

const (
	pollEvery = 20 * time.Millisecond
	// stopPatience is how long a region may take to end cleanly.
	stopPatience = 15 * time.Second
)

// serve starts the process and waits until it is ready.
func (r *region) serve(ctx context.Context) error {
	log, err := os.OpenFile(r.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(r.binary, "serve", "--config", r.Config)
	cmd.Stdout, cmd.Stderr = log, log
	// A session of its own: an interrupt at the terminal is for the story,
	// which then stops its regions, or keeps them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start region %s: %w", r.Region, err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait(); close(exited) }()
	r.cmd, r.exited = cmd, exited
	return r.waitReady(ctx)
}

func (r *region) waitReady(ctx context.Context) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.ready, nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-r.exited:
			r.cmd = nil
			return fmt.Errorf("region %s ended at its start: %v\n%s", r.Region, err, r.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("region %s is not ready: %w\n%s", r.Region, context.Cause(ctx), r.lastWords())
		case <-time.After(pollEvery):
		}
	}
}

// lastWords are the last lines of the log.
func (r *region) lastWords() string {
	b, err := os.ReadFile(r.log)
	if err != nil {
		return ""
	}
	const lines = 5
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// kill ends the process as a loss of power would, for the process.
func (r *region) kill() error {
	if err := r.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill region %s: %w", r.Region, err)
	}
	<-r.exited
	r.cmd = nil
	return nil
}

// stop ends the process cleanly, or by force when that takes too long.
func (r *region) stop() error {
	if r.cmd == nil {
		return nil
	}
	err := r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.exited:
	case <-time.After(stopPatience):
		err = errors.Join(err, fmt.Errorf("region %s did not end within %s after SIGTERM; it was killed", r.Region, stopPatience), r.cmd.Process.Kill())
		<-r.exited
	}
	r.cmd = nil
	return err
}

// freePorts finds ports on loopback that nobody uses now.
func freePorts(regions int) ([]config.Ports, error) {
	const each = 4
	var found []int
	var open []net.Listener
	defer func() {
		for _, l := range open {
			l.Close()
		}
	}()
	for range regions * each {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		open = append(open, l)
		found = append(found, l.Addr().(*net.TCPAddr).Port)
	}
	var all []config.Ports
	for i := range regions {
		p := found[i*each:]
		all = append(all, config.Ports{API: p[0], NFS: p[1], Peer: p[2], Metrics: p[3]})
	}
	return all, nil
}

// makeRegions writes the files of both regions.
func (s *story) makeRegions() error {
	names := []string{primary, secondary}
	ports, err := freePorts(len(names))
	if err != nil {
		return err
	}
	s.setup, err = config.Init(s.dir, names, config.Options{Now: s.opt.Now, Rand: s.opt.Rand, Ports: ports})
	if err != nil {
		return err
	}
	for i, r := range s.setup.Regions {
		s.regions[r.Region] = &region{RegionSummary: r, binary: s.opt.Binary,
			log:   filepath.Join(s.dir, r.Region+".log"),
			ready: fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[i].Metrics),
			api:   newAPI(r.Region, r.Endpoint, s.setup.AccessKey, s.setup.SecretKey, s.opt.Now)}
	}
	return nil
}

func (s *story) kept() *Kept {
	k := &Kept{Dir: s.dir}
	for _, name := range []string{primary, secondary} {
		r := s.regions[name]
		if r == nil || r.cmd == nil {
			continue
		}
		k.Regions = append(k.Regions, KeptRegion{Region: name, PID: r.cmd.Process.Pid, FileSystemID: r.fsID, NFS: r.NFS,
			Endpoint: r.Endpoint, Log: r.log, Exports: s.setup.Exports(r.RegionSummary)})
	}
	return k
}
