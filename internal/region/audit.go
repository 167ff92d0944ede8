package region

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/holdfast-fs/holdfast/internal/control/efsapi"
)

// auditLog appends one line of JSON for each request to the API. It may be
// used concurrently.
type auditLog struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex
	file *os.File
	torn bool // the last line may have no end
}

// auditMode: who called what is nobody else's business.
const auditMode = 0o600

func openAuditLog(path string, log *slog.Logger) (*auditLog, error) {
	f, err := openAppend(path)
	if err != nil {
		return nil, err
	}
	return &auditLog{path: path, log: log, file: f}, nil
}

func openAppend(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, auditMode)
	if err != nil {
		return nil, fmt.Errorf("open the audit log (api.audit_log): %w", err)
	}
	return f, nil
}

// write adds a line. A line that cannot be written goes to the log: the
// request has been answered.
func (a *auditLog) write(r efsapi.AuditRecord) {
	line, err := json.Marshal(r)
	if err == nil {
		err = a.append(append(line, '\n'))
	}
	if err != nil {
		a.log.Error("a line of the audit log is not written", "error", err, "record", r)
	}
}

func (a *auditLog) append(line []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := a.file.Write(line)
	a.torn = err != nil && (n > 0 || a.torn)
	return err
}

// reopen goes on with a new file, after the operator moved the old one away.
// When that fails, the old one stays in use.
func (a *auditLog) reopen() error {
	f, err := openAppend(a.path)
	if err != nil {
		return err
	}
	a.mu.Lock()
	old := a.file
	a.file, a.torn = f, false
	a.mu.Unlock()
	return old.Close()
}

// Close closes the file.
func (a *auditLog) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close the audit log: %w", err)
	}
	return nil
}

// ReopenLogs opens the audit log anew. It may be called concurrently with Run.
func (r *Region) ReopenLogs() {
	if r.audit == nil {
		return
	}
	if err := r.audit.reopen(); err != nil {
		r.log.Error("the audit log is not opened anew; the old file stays in use", "error", err)
		return
	}
	r.log.Info("the audit log is opened anew", "file", r.cfg.API.AuditLog)
}
