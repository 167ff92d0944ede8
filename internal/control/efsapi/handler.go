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
	"strings"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// Credential is a key that may call the API.
type Credential struct {
	AccessKey string
	SecretKey string
}

// Config of the surface. All but Logger are needed.
type Config struct {
	Control     *control.Control
	Region      string // that signatures must be for
	Credentials []Credential
	Now         func() time.Time
	Rand        io.Reader    // for request ids
	Logger      *slog.Logger // nil: discard
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
	cfg  Config
	keys map[string]string // access key -> secret key
	mux  *http.ServeMux
	log  *slog.Logger
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
	h := &handler{cfg: cfg, keys: map[string]string{}, mux: http.NewServeMux(), log: cfg.Logger}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	for _, c := range cfg.Credentials {
		h.keys[c.AccessKey] = c.SecretKey
	}
	h.routes()
	return h, nil
}

// operation answers a request; body is verified and at most maxBodyBytes. A nil
// result has an empty body.
type operation func(r *http.Request, body []byte) (any, error)

func (h *handler) handle(method, pattern string, status int, op operation) {
	h.mux.HandleFunc(method+" "+prefix+pattern, func(w http.ResponseWriter, r *http.Request) {
		body, _ := r.Context().Value(bodyKey{}).([]byte)
		result, err := op(r, body)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		h.reply(w, status, result)
	})
}

func (h *handler) routes() {
	const fsPath = "/file-systems/{FileSystemId}"
	const replication = "/file-systems/{SourceFileSystemId}/replication-configuration"
	h.handle("POST", "/file-systems", http.StatusCreated, h.createFileSystem)
	h.handle("GET", "/file-systems", http.StatusOK, h.describeFileSystems)
	h.handle("PUT", fsPath+"/protection", http.StatusOK, h.updateProtection)
	h.handle("DELETE", fsPath, http.StatusNoContent, h.deleteFileSystem)
	h.handle("POST", replication, http.StatusOK, h.createReplication)
	h.handle("DELETE", replication, http.StatusNoContent, h.deleteReplication)
	h.handle("GET", "/file-systems/replication-configurations", http.StatusOK, h.describeReplications)
	h.handle("POST", "/mount-targets", http.StatusOK, h.createMountTarget)
	h.handle("GET", "/mount-targets", http.StatusOK, h.describeMountTargets)
	h.handle("DELETE", "/mount-targets/{MountTargetId}", http.StatusNoContent, h.deleteMountTarget)
	h.handle("POST", "/resource-tags/{ResourceId}", http.StatusOK, h.tagResource)
	h.handle("DELETE", "/resource-tags/{ResourceId}", http.StatusOK, h.untagResource)
	h.handle("GET", "/resource-tags/{ResourceId}", http.StatusOK, h.listTags)
	h.notOffered()
	if h.cfg.Extensions != nil {
		h.mux.Handle(h.cfg.ExtensionPrefix, h.cfg.Extensions)
	}
}

type bodyKey struct{}

// ServeHTTP implements http.Handler: it verifies the signature before anything
// else looks at the request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("x-amzn-RequestId", h.requestID())
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		h.fail(w, r, bodyError(err))
		return
	}
	if err := h.verify(r, body); err != nil {
		h.fail(w, r, err)
		return
	}
	if _, pattern := h.mux.Handler(r); pattern == "" || path.Clean(r.URL.Path) != strings.TrimSuffix(r.URL.Path, "/") {
		h.fail(w, r, &control.Error{Code: "UnknownOperationException",
			Message: fmt.Sprintf("%s %.200s is no operation of the EFS API 2015-02-01", r.Method, r.URL.EscapedPath())})
		return
	}
	h.mux.ServeHTTP(w, r.WithContext(withBody(r.Context(), body)))
}

func bodyError(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return badRequest("the body is larger than %d bytes, more than any request of the EFS API", maxBodyBytes)
	}
	return badRequest("the body cannot be read: %s", err)
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
