package region

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/strictjson"
	"github.com/holdfast-fs/holdfast/internal/nfs"
)

// RootSquashSetting is the body of PUT mount-targets/{id}/root-squash, and the
// answer to it and to GET.
type RootSquashSetting struct {
	Enabled *bool `json:"enabled"`
	// AnonymousUID and AnonymousGID are whom root becomes. Default 65534.
	AnonymousUID *uint32 `json:"anonymous_uid,omitempty"`
	AnonymousGID *uint32 `json:"anonymous_gid,omitempty"`
	// Source tells in answers whose setting it is: the mount target's own, or
	// that of the configuration.
	Source string `json:"source,omitempty"`
}

const (
	ownSetting        = "mount-target"
	configuredSetting = "configuration"

	// maxSettingBytes bounds the body of a setting.
	maxSettingBytes = 4096
)

// anonymous is how nfs is told of a setting.
func anonymous(s control.RootSquash) *nfs.Anonymous {
	if !s.Enabled {
		return nil
	}
	return &nfs.Anonymous{UID: s.UID, GID: s.GID}
}

// sharedRoot is what the shared address shows.
func (r *Region) sharedRoot() nfs.Root {
	root := nfs.PseudoRoot()
	root.Squash = new(nfs.Squash)
	root.Squash.Set(anonymous(control.DefaultRootSquash(r.cfg.NFS.RootSquash)))
	return root
}

// extension answers all calls beyond EFS.
func (r *Region) extension() http.Handler {
	mux := r.volumes.extension()
	const path = extensionPrefix + "mount-targets/{id}/root-squash"
	mux.HandleFunc("GET "+path, r.answerRootSquash)
	mux.HandleFunc("PUT "+path, r.putRootSquash)
	const whole = extensionPrefix + "file-systems/{id}/root-squash"
	mux.HandleFunc("GET "+whole, r.answerFileSystemSquash)
	mux.HandleFunc("PUT "+whole, r.putFileSystemSquash)
	mux.HandleFunc(extensionPrefix, refuseUnknown)
	return mux
}

// FileSystemSquash is the body of PUT file-systems/{id}/root-squash, and the
// answer to it and to GET.
type FileSystemSquash struct {
	Enabled bool `json:"enabled"`
}

func (r *Region) answerFileSystemSquash(w http.ResponseWriter, req *http.Request) {
	enabled, err := r.control.FileSystemRootSquash(req.PathValue("id"))
	if err != nil {
		sendRefusal(w, err)
		return
	}
	sendJSON(w, http.StatusOK, FileSystemSquash{enabled})
}

func (r *Region) putFileSystemSquash(w http.ResponseWriter, req *http.Request) {
	s, err := readRootSquash(req.Body, "enabled")
	if err == nil {
		err = r.control.SetFileSystemRootSquash(req.Context(), req.PathValue("id"), s.Enabled)
	}
	if err != nil {
		sendRefusal(w, err)
		return
	}
	r.answerFileSystemSquash(w, req)
}

// codeUnknown is the error of a call that is not offered.
const codeUnknown = "UnknownOperationException"

// refuseUnknown answers every other path and method.
func refuseUnknown(w http.ResponseWriter, req *http.Request) {
	sendRefusal(w, &control.Error{Code: codeUnknown, Message: fmt.Sprintf("%.16s %.200s is no call of Holdfast: use GET on %[3]sfile-systems/FS-ID, on its /hash and /salvage, and GET or PUT on its /root-squash and on %[3]smount-targets/FSMT-ID/root-squash",
		req.Method, req.URL.EscapedPath(), extensionPrefix)})
}

func (r *Region) answerRootSquash(w http.ResponseWriter, req *http.Request) {
	s, own, err := r.control.DescribeRootSquash(req.PathValue("id"))
	if err != nil {
		sendRefusal(w, err)
		return
	}
	a := RootSquashSetting{Enabled: &s.Enabled, AnonymousUID: &s.UID, AnonymousGID: &s.GID, Source: configuredSetting}
	if own {
		a.Source = ownSetting
	}
	sendJSON(w, http.StatusOK, a)
}

func (r *Region) putRootSquash(w http.ResponseWriter, req *http.Request) {
	s, err := readRootSquash(req.Body, "enabled", "anonymous_uid", "anonymous_gid", "source")
	if err == nil {
		err = r.control.SetRootSquash(req.Context(), req.PathValue("id"), s)
	}
	if err != nil {
		sendRefusal(w, err)
		return
	}
	r.answerRootSquash(w, req)
}

// readRootSquash reads a body that may have the members.
func readRootSquash(body io.Reader, members ...string) (control.RootSquash, error) {
	var in RootSquashSetting
	b, err := io.ReadAll(io.LimitReader(body, maxSettingBytes+1))
	var given map[string]any
	if err == nil {
		given, err = strictjson.Object(b, strictjson.Limits{Bytes: maxSettingBytes, Depth: 1})
	}
	for name := range given { // encoding/json would take them in any case
		if !slices.Contains(members, name) {
			err = fmt.Errorf("has a member %.60q that is not known", name)
		}
	}
	if err == nil {
		if err = json.Unmarshal(b, &in); err != nil {
			err = fmt.Errorf("has a value of another type: %w", err)
		}
	}
	form := `give {"enabled": true}`
	if len(members) > 1 {
		form += `, with "anonymous_uid" and "anonymous_gid" if root is not to become 65534`
	}
	switch {
	case err != nil:
		return control.RootSquash{}, &control.Error{Code: control.CodeBadRequest, Message: "the body " + err.Error() + ": " + form}
	case in.Enabled == nil:
		return control.RootSquash{}, &control.Error{Code: control.CodeBadRequest, Message: "the body does not say whether root is squashed: " + form}
	}
	s := control.DefaultRootSquash(*in.Enabled)
	if in.AnonymousUID != nil {
		s.UID = *in.AnonymousUID
	}
	if in.AnonymousGID != nil {
		s.GID = *in.AnonymousGID
	}
	return s, nil
}

// statusOf are the HTTP statuses of what the control plane refuses here.
var statusOf = map[string]int{
	control.CodeBadRequest:          http.StatusBadRequest,
	control.CodeMountTargetNotFound: http.StatusNotFound,
	control.CodeFileSystemNotFound:  http.StatusNotFound,
	control.CodeIncorrectState:      http.StatusConflict,
	control.CodeTargetState:         http.StatusConflict,
	codeUnknown:                     http.StatusNotFound,
}

func sendRefusal(w http.ResponseWriter, err error) {
	status, code := http.StatusInternalServerError, control.CodeInternal
	var refused *control.Error
	if errors.As(err, &refused) {
		code = refused.Code
		if s, ok := statusOf[code]; ok {
			status = s
		}
	}
	w.Header().Set("X-Amzn-ErrorType", code) // the audit log tells it
	sendJSON(w, status, refusal{code, err.Error()})
}
