package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfsclient"
)

// What ls, cat, put and get share: where a file is, who asks, and progress.

const (
	nfsURLHelp = "URLs have the form nfs://HOST[:PORT]/FILE-SYSTEM/PATH, for example\n" +
		"nfs://127.0.0.1:9401/fs-0123456789abcdef0/docs; on a mount target's own address the\n" +
		"file system is left out. The port is 2049 if it is not given. The commands speak\n" +
		"NFSv4.1 themselves and need neither a mount nor privileges."
	defaultNFSPort = "2049"
	exitUsage      = 2
)

// nfsFlags say who asks.
type nfsFlags struct{ uid, gid uint32 }

func (f *nfsFlags) register(c *cobra.Command) {
	c.Flags().Uint32Var(&f.uid, "uid", uint32(os.Getuid()), "user id that is sent to the server")
	c.Flags().Uint32Var(&f.gid, "gid", uint32(os.Getgid()), "group id that is sent to the server")
}

// place is a parsed URL.
type place struct {
	url, addr, path string
	// inside: the URL ends with a slash, so it names a directory.
	inside bool
}

func parsePlace(s string) (place, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "nfs" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return place{}, exitError{exitUsage, fmt.Errorf("%q is no place on a server: give nfs://HOST:PORT/FILE-SYSTEM/PATH", s)}
	}
	port := u.Port()
	if port == "" {
		port = defaultNFSPort
	}
	return place{url: s, addr: net.JoinHostPort(u.Hostname(), port), path: "/" + strings.Trim(u.Path, "/"), inside: strings.HasSuffix(u.Path, "/")}, nil
}

// dial connects to the server of a place; paths are those of the URL.
func (f *nfsFlags) dial(ctx context.Context, p place) (*nfsclient.Client, error) {
	c, err := nfsclient.Dial(ctx, p.addr, nfsclient.Options{UID: f.uid, GID: f.gid})
	if err != nil {
		return nil, fmt.Errorf("%w; is the region serving, and is this the NFS address of its configuration (nfs.listen)?", err)
	}
	return c, nil
}

// explain adds what holds and what to do to refusals that have a usual reason.
func (f *nfsFlags) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrROFS):
		return fmt.Errorf("%w\nThis file system is the destination of a replication, or an old primary that was superseded.\nWrite in the region that is the primary now, or fail over first", err)
	case errors.Is(err, iofs.ErrPermission):
		return fmt.Errorf("%w\nThe server was asked as user %d, group %d; --uid and --gid choose others (a new file system belongs to user 0)", err, f.uid, f.gid)
	}
	return err
}

// progress shows a growing number of bytes while w is a terminal.
type progress struct {
	bar  *progressbar.ProgressBar
	last int64
}

func newProgress(w io.Writer, what string) *progress {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return &progress{}
	}
	return &progress{bar: progressbar.NewOptions64(-1, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(false))}
}

// tally is called with what was done so far, one call at a time.
func (p *progress) tally(t nfsclient.Tally) {
	if p.bar == nil {
		return
	}
	p.bar.Describe(fmt.Sprintf("%d files", t.Files))
	_ = p.bar.Add64(t.Bytes - p.last) // a bar that cannot be drawn is no reason to stop
	p.last = t.Bytes
}

func (p *progress) done() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// copied is a Tally in words.
func copied(t nfsclient.Tally) string {
	s := fmt.Sprintf("%d files (%d bytes), %d directories", t.Files, t.Bytes, t.Dirs)
	if t.Symlinks > 0 {
		s += fmt.Sprintf(", %d symbolic links", t.Symlinks)
	}
	if t.Links > 0 {
		s += fmt.Sprintf(", %d hard links", t.Links)
	}
	if t.Others > 0 {
		s += fmt.Sprintf(", %d special files", t.Others)
	}
	return s
}

// incomplete is the error of a copy of a tree that stopped.
func incomplete(err error, t nfsclient.Tally) error {
	return fmt.Errorf("the copy stopped: %w\n%s were copied and stay; run it again to complete it: what is there is replaced", err, copied(t))
}
