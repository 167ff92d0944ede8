package control_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/controltest"
)

// pair is two regions, east and west, in a bubble of fake time.
type pair struct {
	t          *testing.T
	world      *controltest.World
	net        *controltest.Network
	east, west *controltest.Region
}

// inTwoRegions runs a test in fake time; every goroutine must have ended after it.
func inTwoRegions(t *testing.T, fn func(t *testing.T, p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		world, net, all := controltest.NewRegions(1, "us-east-1", "us-west-2")
		p := &pair{t: t, world: world, net: net, east: all[0], west: all[1]}
		for _, r := range all {
			p.start(r)
		}
		defer func() {
			for _, r := range all {
				_ = r.Control.Close()
			}
		}()
		fn(t, p)
	})
}

func (p *pair) start(r *controltest.Region) {
	p.t.Helper()
	if err := r.Start(p.t.Context()); err != nil {
		p.t.Fatalf("start %s: %v", r.Name, err)
	}
}

func (p *pair) kill(r *controltest.Region) {
	p.t.Helper()
	if err := r.Kill(); err != nil {
		p.t.Fatalf("kill %s: %v", r.Name, err)
	}
}

// eventually waits up to two minutes of fake time, and longer for a slow ok.
func (p *pair) eventually(what string, ok func() bool) {
	p.t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.t.Fatalf("never: %s", what)
}

func (p *pair) create(r *controltest.Region, token string) string {
	p.t.Helper()
	d, err := r.Control.CreateFileSystem(p.t.Context(), control.CreateFileSystemRequest{CreationToken: token})
	if err != nil {
		p.t.Fatalf("create a file system in %s: %v", r.Name, err)
	}
	return d.ID
}

// replicate creates a replication from one region to another and waits for ENABLED.
func (p *pair) replicate(from *controltest.Region, source string, to *controltest.Region, existing string) string {
	p.t.Helper()
	d, err := from.Control.CreateReplication(p.t.Context(), source, control.DestinationRequest{Region: to.Name, FileSystemID: existing})
	if err != nil {
		p.t.Fatalf("replicate %s from %s to %s: %v", source, from.Name, to.Name, err)
	}
	p.eventually("ENABLED in both regions", func() bool {
		return p.status(from, source) == control.StatusEnabled && p.status(to, source) == control.StatusEnabled
	})
	return d.DestinationID
}

// status is the replication's status, or the error type.
func (p *pair) status(r *controltest.Region, ref string) string {
	all, err := r.Control.DescribeReplications(ref)
	if err != nil {
		return codeOf(err)
	}
	return all[0].Status
}

func (p *pair) message(r *controltest.Region, ref string) string {
	all, err := r.Control.DescribeReplications(ref)
	if err != nil {
		return err.Error()
	}
	return all[0].StatusMessage
}

func (p *pair) write(r *controltest.Region, id, word string) {
	p.t.Helper()
	if err := r.Engines.Write(id, word); err != nil {
		p.t.Fatalf("write %q to %s in %s: %v", word, id, r.Name, err)
	}
}

func (p *pair) delete(r *controltest.Region, ref, mode string) {
	p.t.Helper()
	if err := r.Control.DeleteReplication(p.t.Context(), ref, mode); err != nil {
		p.t.Fatalf("delete the replication of %s in %s: %v", ref, r.Name, err)
	}
}

func (p *pair) protection(r *controltest.Region, id string) string {
	p.t.Helper()
	all, err := r.Control.DescribeFileSystems(id, "")
	if err != nil {
		p.t.Fatal(err)
	}
	return all[0].Protection
}

func codeOf(err error) string {
	var e *control.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err == nil {
		return ""
	}
	return "no *control.Error: " + err.Error()
}

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	if got := codeOf(err); got != code {
		t.Errorf("%s: %q (%v), want %q", what, got, err, code)
	}
}

func contains(s, part string) bool { return strings.Contains(s, part) }
