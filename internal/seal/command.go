package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// maxAnswer bounds, in bytes, what is read of a command's output.
const maxAnswer = 64 << 10

// commandWrapper asks a program.
type commandWrapper struct {
	argv    []string
	kmsKey  string
	timeout time.Duration
}

// commandQuestion is what the program reads, and commandAnswer what it writes.
// Their form is frozen: docs/formats/encryption.md.
type commandQuestion struct {
	Operation string `json:"operation"` // wrap, unwrap
	KMSKey    string `json:"kms_key"`
	Context   string `json:"context"`
	Key       []byte `json:"key"`
}

type commandAnswer struct {
	Key []byte `json:"key"`
}

// Command wraps by a program, such as one that asks a key service: it is run
// with one JSON object on its standard input, and writes one to its standard
// output (docs/formats/encryption.md). It has timeout for an answer. What it
// writes to standard error is part of the error when it fails.
func Command(argv []string, kmsKey string, timeout time.Duration) Wrapper {
	return &commandWrapper{argv, kmsKey, timeout}
}

func (w *commandWrapper) Wrap(secret []byte, context string) ([]byte, error) {
	return w.ask("wrap", secret, context)
}

func (w *commandWrapper) Unwrap(wrapped []byte, context string) ([]byte, error) {
	return w.ask("unwrap", wrapped, context)
}

func (w *commandWrapper) ask(operation string, key []byte, about string) ([]byte, error) {
	in, err := json.Marshal(commandQuestion{operation, w.kmsKey, about, key})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.argv[0], w.argv[1:]...)
	// A child of the program may hold its output open.
	cmd.WaitDelay = time.Second
	out, complaint := &bounded{max: maxAnswer}, &bounded{max: 1 << 10}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), out, complaint
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer within %s", w.timeout)
		}
		return nil, fmt.Errorf("the key command %s: %w: %s", w.argv[0], err, complaint.text())
	}
	var a commandAnswer
	if err := json.Unmarshal(out.b.Bytes(), &a); err != nil || len(a.Key) == 0 || out.over {
		// Without err: it may quote the answer, and so a key.
		return nil, fmt.Errorf("the key command %s answered %d bytes that are not {\"key\": \"base64\"}: see docs/formats/encryption.md", w.argv[0], out.b.Len())
	}
	return a.Key, nil
}

// bounded keeps the first bytes of what is written to it.
type bounded struct {
	b    bytes.Buffer
	max  int
	over bool
}

func (w *bounded) Write(p []byte) (int, error) {
	n := min(len(p), w.max-w.b.Len())
	w.b.Write(p[:n])
	w.over = w.over || n < len(p)
	return len(p), nil
}

// text is what a program complained of. (Never show what it answered: that may
// be a key.)
func (w *bounded) text() string {
	if w.b.Len() == 0 {
		return "it wrote nothing to standard error"
	}
	return strings.TrimSpace(w.b.String())
}
