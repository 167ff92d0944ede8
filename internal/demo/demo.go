// Package demo tells the story of a failover and a failback on one machine:
// two regions as processes of their own, a real tree, a writer that keeps on
// writing while the primary is killed, and the way back. Every number of its
// report was measured, and what is not as it must be is a problem in it.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/holdfast-fs/holdfast/internal/config"
	"github.com/holdfast-fs/holdfast/internal/nfsclient"
)

// The two regions of the story.
const (
	primary   = "us-east-1"
	secondary = "eu-west-1"
)

// Options of Run. Binary, Out, Now and Rand are needed.
type Options struct {
	From   string // a directory to copy in; empty: the Go toolchain's src, or a generated tree
	Keep   bool   // leave both regions running and their files in place
	Binary string // the holdfast to serve with
	// Out gets progress, for people.
	Out io.Writer
	// WriteFor is how long files are written before the kill. Default 2.5 s.
	WriteFor time.Duration
	Now      func() time.Time
	Rand     io.Reader
}

const (
	defaultWriteFor = 2500 * time.Millisecond
	// stepTimeout bounds what a step waits for: far beyond what one takes, so
	// that a demonstration that hangs ends with a report.
	stepTimeout = 2 * time.Minute
	// copyTimeout bounds the steps that move the whole tree.
	copyTimeout = 30 * time.Minute
)

// story is one run.
type story struct {
	opt Options
	out *output
	rep *Report
	dir string

	setup   *config.Summary
	input   *input
	regions map[string]*region
	// dest is the region that is the destination now, nil for none.
	dest    *region
	writes  *writes
	writer  *nfsclient.Client // at the secondary, after the failover
	changed uint64            // bytes of content written at the secondary
}

// Run tells the story. The report is never nil; the error says why the story
// could not be told to its end or that the report has problems.
func Run(ctx context.Context, opt Options) (*Report, error) {
	if opt.WriteFor == 0 {
		opt.WriteFor = defaultWriteFor
	}
	s := &story{opt: opt, out: newOutput(opt.Out), rep: &Report{Started: opt.Now().UTC(), Steps: []Step{}, Problems: []string{}}, regions: map[string]*region{}}
	if err := s.tell(ctx); err != nil {
		s.problem("%v", err)
		s.showLogs()
	}
	s.rep.Equal = s.rep.Equal && len(s.rep.Problems) == 0
	if cleanErr := s.end(); cleanErr != nil {
		s.problem("clean up: %v", cleanErr)
	}
	if n := len(s.rep.Problems); n > 0 {
		return s.rep, fmt.Errorf("%d things are not as they must be; see the problems in the report", n)
	}
	return s.rep, nil
}

func (s *story) tell(ctx context.Context) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "holdfast-demo-"); err != nil {
		return fmt.Errorf("make a directory for the regions: %w", err)
	}
	if s.input, err = chooseInput(s.opt.From, s.dir); err != nil {
		return err
	}
	s.rep.Tree = Tree{From: s.input.dir, Files: s.input.count, Bytes: s.input.bytes}
	steps := []struct {
		name    string
		what    string
		timeout time.Duration
		do      func(context.Context, *Step) error
	}{
		{"start", "start two regions, " + primary + " and " + secondary, stepTimeout, s.start},
		{"replicate", "create a file system and its replication", stepTimeout, s.replicate},
		{"copy", "copy the tree in over NFS", copyTimeout, s.copyIn},
		{"catch-up", "wait until the destination has everything, and compare there", copyTimeout, s.catchUp},
		{"kill", "keep writing and kill the primary with SIGKILL", stepTimeout, s.kill},
		{"failover", "fail over to " + secondary, stepTimeout, s.failover},
		{"go-on", "work on in " + secondary, stepTimeout, s.goOn},
		{"return", "start the old primary again", stepTimeout, s.comeBack},
		{"failback-resync", "replicate back: only what changed", copyTimeout, s.resync},
		{"failback", "make " + primary + " the primary again", stepTimeout, s.failback},
		{"verify", "compare both regions", copyTimeout, s.verify},
	}
	for i, st := range steps {
		s.out.begin(i+1, len(steps), st.what)
		if err := s.step(ctx, st.name, st.timeout, st.do); err != nil {
			s.out.failed(err)
			return fmt.Errorf("step %q: %w", st.name, err)
		}
	}
	return nil
}

// showLogs shows the end of the regions' logs, which are about to be removed.
func (s *story) showLogs() {
	for _, r := range s.regions {
		fmt.Fprintf(s.opt.Out, "The end of the log of %s:\n%s\n", r.Region, r.lastWords())
	}
}

// step runs one step and measures it.
func (s *story) step(ctx context.Context, name string, timeout time.Duration, do func(context.Context, *Step) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it took longer than %s", timeout))
	defer cancel()
	step := Step{Name: name}
	meter := s.startMeter(limited)
	began := s.opt.Now()
	err := do(limited, &step)
	step.Seconds = s.opt.Now().Sub(began).Seconds()
	step.BytesWire = meter.stop(limited, s)
	s.rep.Steps = append(s.rep.Steps, step)
	if err == nil {
		s.out.end(&step)
	}
	return err
}

func (s *story) problem(format string, args ...any) {
	s.rep.Problems = append(s.rep.Problems, fmt.Sprintf(format, args...))
}

// end stops what was started and removes what was made, unless it is kept.
func (s *story) end() error {
	if s.writer != nil {
		s.writer.Close()
	}
	if s.opt.Keep && len(s.regions) > 0 {
		s.rep.Kept = s.kept()
		return nil
	}
	var err error
	for _, r := range s.regions {
		err = errors.Join(err, r.stop())
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// meter measures what a destination received during a step.
type meter struct {
	dest   *region
	before uint64
}

func (s *story) startMeter(ctx context.Context) *meter {
	m := &meter{dest: s.dest}
	m.before = received(ctx, m.dest)
	return m
}

// stop tells what was received since, by the destination there is now: one
// that is new, or counts from zero again, received all it has during the step.
func (m *meter) stop(ctx context.Context, s *story) uint64 {
	after := received(ctx, s.dest)
	if s.dest != m.dest || after < m.before {
		return after
	}
	return after - m.before
}

func received(ctx context.Context, r *region) uint64 {
	if r == nil {
		return 0
	}
	st, err := r.status(ctx)
	if err != nil || st.Replication == nil {
		return 0
	}
	return st.Replication.BytesReceived
}
