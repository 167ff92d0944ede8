// Package efsapi is the REST surface of Amazon EFS (API version 2015-02-01,
// protocol restJson1) over a control plane: signatures, shapes and errors. What
// Holdfast does not do is refused with words; nothing is accepted in silence.
package efsapi

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// Credential is a key that may call the API.
type Credential struct {
	AccessKey string
	SecretKey string
	// SessionToken, if set, must come with every request of this key.
	SessionToken string
	Role         Role // "" is RoleAdmin
	// Principal is the ARN by which policies know who has the key.
	Principal string
}

// Config of the surface. All but Logger are needed.
type Config struct {
	Control     *control.Control
	Region      string // that signatures must be for
	Credentials []Credential
	Now         func() time.Time
	Rand        io.Reader    // for request ids
	Logger      *slog.Logger // nil: discard
	// Audit, if set, is told of every request after its answer. It may be
	// called concurrently.
	Audit func(AuditRecord)
	// Extensions, if set, answers signed requests for paths that begin with
	// ExtensionPrefix: what Holdfast tells beyond EFS.
	Extensions      http.Handler
	ExtensionPrefix string
}

// maxBodyBytes bounds a request's body: the largest is CreateFileSystem with
// 50 tags of 384 characters, each written as a 12-byte JSON escape.
const maxBodyBytes = 256 << 10

// prefix begins every path of the API.
const prefix = "/2015-02-01"

type handler struct {
	cfg       Config
	keys      map[string]Credential // by access key
	mux       *http.ServeMux
	byPattern map[string]operation
	log       *slog.Logger
}

// New returns the handler of a region's API endpoint. It may be called
// concurrently.
func New(cfg Config) (http.Handler, error) {
	switch {
	case cfg.Control == nil || cfg.Now == nil || cfg.Rand == nil || cfg.Region == "":
		return nil, errors.New("efsapi: Control, Region, Now and Rand are needed")
	case len(cfg.Credentials) == 0:
		return nil, errors.New("efsapi: without credentials nobody could call the API")
	}
	h := &handler{cfg: cfg, keys: map[string]Credential{}, mux: http.NewServeMux(), byPattern: map[string]operation{}, log: cfg.Logger}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	for _, c := range cfg.Credentials {
		if c.Role == "" {
			c.Role = RoleAdmin
		}
		if roleRank[c.Role] == 0 {
			return nil, fmt.Errorf("efsapi: role %q of access key %s is not known", c.Role, c.AccessKey)
		}
		h.keys[c.AccessKey] = c
	}
	h.routes()
	return h, nil
}

func (h *handler) routes() {
	for _, o := range h.operations() {
		pattern := o.method + " " + prefix + o.path
		h.byPattern[pattern] = o
		h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			body, _ := r.Context().Value(bodyKey{}).([]byte)
			var result any
			err := o.in.check(r, body)
			if err == nil {
				result, err = o.do(r, body)
			}
			if err != nil {
				h.fail(w, r, err)
				return
			}
			callOf(r).made = idOf(result)
			h.reply(w, o.status, result)
		})
	}
	if h.cfg.Extensions != nil {
		h.mux.Handle(h.cfg.ExtensionPrefix, h.cfg.Extensions)
	}
}

type bodyKey struct{}

// ServeHTTP implements http.Handler: it verifies the signature before anything
// else looks at the request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{id: h.requestID(), at: h.cfg.Now()}
	w.Header().Set("x-amzn-RequestId", c.id)
	rec := &recorder{ResponseWriter: w, status: http.StatusOK}
	r = r.WithContext(withCall(r.Context(), c))
	defer h.audit(rec, r, c)
	defer h.survive(rec, r, c)
	auth, cred, err := h.identify(r)
	if err != nil {
		h.fail(rec, r, err)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		h.fail(rec, r, bodyError(err))
		return
	}
	if err := h.verify(r, body, auth, cred); err != nil {
		h.fail(rec, r, err)
		return
	}
	if isEC2(r) { // only reads, which every role may
		h.serveEC2(rec, r, c, body)
		return
	}
	_, pattern := h.mux.Handler(r)
	o, known := h.byPattern[pattern]
	if pattern == "" || path.Clean(r.URL.Path) != strings.TrimSuffix(r.URL.Path, "/") || known && o.method != r.Method { // the mux takes HEAD for GET
		h.fail(rec, r, denied("UnknownOperationException", "%s %.200s is no operation of the EFS API 2015-02-01: correct the method and the path", cut(r.Method, 16), r.URL.EscapedPath()))
		return
	}
	if err := h.authorise(r, c, pattern); err != nil {
		h.fail(rec, r, err)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body)) // for extensions
	h.mux.ServeHTTP(rec, r.WithContext(withBody(r.Context(), body)))
}

// survive answers for a fault in the code as for any other fault, and tells of
// it in the log: net/http would only drop the connection.
func (h *handler) survive(rec *recorder, r *http.Request, c *call) {
	fault := recover()
	if fault == nil || fault == http.ErrAbortHandler {
		return
	}
	h.log.Error("a request met a fault in the code", "request_id", c.id, "method", r.Method, "path", r.URL.Path, "fault", fault, "stack", string(debug.Stack()))
	if !rec.begun {
		h.fail(rec, r, denied(control.CodeInternal, "region %s met a fault of its own in request %s: see its log, and report what it says", h.cfg.Region, c.id))
	}
}

// authorise names the call and checks that the caller's role covers it.
func (h *handler) authorise(r *http.Request, c *call, pattern string) error {
	o, known := h.byPattern[pattern]
	if !known {
		o = extensionOperation(r.Method)
	}
	c.action = o.name
	if c.role.covers(o.needs) {
		return nil
	}
	return denied("AccessDeniedException", "User: %s is not authorized to perform: %s:%s: its role in the configuration of region %s is %s, and the call needs %s: use a credential with that role",
		c.accessKey, signingName, o.name, h.cfg.Region, c.role, o.needs)
}

// extensionOperation is what a call beyond EFS needs, by its method.
func extensionOperation(method string) operation {
	switch method {
	case http.MethodGet, http.MethodHead:
		return operation{name: "HoldfastRead", needs: RoleReadOnly}
	case http.MethodDelete:
		return operation{name: "HoldfastDelete", needs: RoleAdmin}
	}
	return operation{name: "HoldfastChange", needs: RoleOperator}
}

func bodyError(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return badRequest("the body is larger than %d bytes: send less; no request of the EFS API needs as much", maxBodyBytes)
	}
	return badRequest("the body cannot be read: %s; send it again", err)
}

// requestID is a random UUID, as AWS gives it.
func (h *handler) requestID() string {
	var b [16]byte
	if _, err := io.ReadFull(h.cfg.Rand, b[:]); err != nil {
		return "unavailable"
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func (h *handler) reply(w http.ResponseWriter, status int, result any) {
	if result == nil {
		w.WriteHeader(status)
		return
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(result); err != nil {
		h.log.Error("encode a reply", "error", err)
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // who is gone needs no reply
}
