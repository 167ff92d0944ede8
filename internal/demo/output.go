package demo

import (
	"fmt"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/holdfast-fs/holdfast/internal/nfsclient"
)

// output tells people how far the story is. A bar is shown on a terminal only.
type output struct {
	w        io.Writer
	terminal bool
}

func newOutput(w io.Writer) *output {
	f, ok := w.(*os.File)
	return &output{w: w, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

func (o *output) begin(n, of int, what string) { fmt.Fprintf(o.w, "[%2d/%d] %s\n", n, of, what) }

func (o *output) end(s *Step) { fmt.Fprintf(o.w, "        %s: %s\n", seconds(s.Seconds), s.Done) }

func (o *output) failed(err error) { fmt.Fprintf(o.w, "        failed: %v\n", err) }

// bar follows a copy or a comparison of so many bytes. The second result ends
// it.
func (o *output) bar(bytes int64) (tally func(nfsclient.Tally), done func()) {
	if !o.terminal {
		return nil, func() {}
	}
	bar := progressbar.NewOptions64(bytes, progressbar.OptionSetWriter(o.w), progressbar.OptionShowBytes(true),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(false))
	tally = func(t nfsclient.Tally) {
		bar.Describe(fmt.Sprintf("        %d files", t.Files))
		_ = bar.Set64(t.Bytes) // a bar that cannot be drawn is no reason to stop
	}
	return tally, func() { _ = bar.Finish() }
}
