package efsapi

import (
	"context"
	"net/http"
	"time"
)

// AuditRecord tells of one request: who, what, when, from where, outcome.
type AuditRecord struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"request_id"`
	Region    string    `json:"region"`
	// AccessKey and Role are of a request whose signature was verified.
	AccessKey string `json:"access_key,omitempty"`
	Role      Role   `json:"role,omitempty"`
	Action    string `json:"action,omitempty"` // e.g. CreateFileSystem
	Method    string `json:"method"`
	Path      string `json:"path"`
	Resource  string `json:"resource,omitempty"` // what was made
	Source    string `json:"source"`             // HOST:PORT of the client
	UserAgent string `json:"user_agent,omitempty"`
	Status    int    `json:"status"`
	Error     string `json:"error,omitempty"` // error type
}

// Bounds of what a client decides about a line of the audit log, in bytes: an
// ARN in a path has 128 characters, each up to 3 bytes when escaped.
const (
	maxAuditPath  = 512
	maxAuditAgent = 256
)

// call is what is found out about a request on its way.
type call struct {
	id        string
	at        time.Time
	accessKey string
	role      Role
	principal string // ARN of who signed
	action    string
	made      string
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// callOf is the call of a request that went through ServeHTTP.
func callOf(r *http.Request) *call {
	c, _ := r.Context().Value(callKey{}).(*call)
	if c == nil {
		c = &call{}
	}
	return c
}

func (h *handler) audit(w *recorder, r *http.Request, c *call) {
	if h.cfg.Audit == nil {
		return
	}
	h.cfg.Audit(AuditRecord{Time: c.at.UTC(), RequestID: c.id, Region: h.cfg.Region, AccessKey: c.accessKey, Role: c.role,
		Action: c.action, Method: cut(r.Method, 16), Path: cut(r.URL.EscapedPath(), maxAuditPath), Resource: c.made,
		Source: r.RemoteAddr, UserAgent: cut(r.UserAgent(), maxAuditAgent), Status: w.status,
		Error: w.Header().Get("X-Amzn-ErrorType")})
}

func cut(s string, most int) string { return s[:min(len(s), most)] }

// idOf is the id of what an answer says was made or changed.
func idOf(result any) string {
	switch v := result.(type) {
	case fileSystemShape:
		return v.FileSystemID
	case mountTargetShape:
		return v.MountTargetID
	case accessPointShape:
		return v.AccessPointID
	case policyShape:
		return v.FileSystemID
	}
	return ""
}

// recorder remembers the status, and whether the answer has begun.
type recorder struct {
	http.ResponseWriter
	status int
	begun  bool
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	r.status, r.begun = status, true
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	r.begun = true
	return r.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController: extensions may stream.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
