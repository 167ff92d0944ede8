package efsapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/holdfast-fs/holdfast/internal/control"
)

func withBody(ctx context.Context, body []byte) context.Context {
	return context.WithValue(ctx, bodyKey{}, body)
}

func badRequest(format string, args ...any) error {
	return &control.Error{Code: control.CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

// statusOf is the HTTP status of each error type (API contract §6, and AWS's
// common errors). What is not here is a fault of ours: 500.
var statusOf = map[string]int{
	control.CodeBadRequest:          http.StatusBadRequest,
	control.CodeSubnetNotFound:      http.StatusBadRequest,
	control.CodeUnsupportedZone:     http.StatusBadRequest,
	control.CodeThroughputLimit:     http.StatusBadRequest,
	control.CodeInvalidPolicy:       http.StatusBadRequest,
	control.CodeValidation:          http.StatusBadRequest,
	control.CodeGroupNotFound:       http.StatusBadRequest,
	control.CodeGroupLimit:          http.StatusBadRequest,
	control.CodeAccessDenied:        http.StatusForbidden,
	control.CodeFileSystemLimit:     http.StatusForbidden,
	control.CodeAccessPointLimit:    http.StatusForbidden,
	control.CodeFileSystemNotFound:  http.StatusNotFound,
	control.CodeAccessPointNotFound: http.StatusNotFound,
	control.CodeMountTargetNotFound: http.StatusNotFound,
	control.CodePolicyNotFound:      http.StatusNotFound,
	control.CodeReplicationNotFound: http.StatusNotFound,
	control.CodeAccessPointExists:   http.StatusConflict,
	control.CodeConflict:            http.StatusConflict,
	control.CodeFileSystemExists:    http.StatusConflict,
	control.CodeFileSystemInUse:     http.StatusConflict,
	control.CodeIncorrectState:      http.StatusConflict,
	control.CodeTargetState:         http.StatusConflict,
	control.CodeIPAddressInUse:      http.StatusConflict,
	control.CodeMountTargetConflict: http.StatusConflict,
	control.CodeInterfaceLimit:      http.StatusConflict,
	control.CodeNoFreeAddresses:     http.StatusConflict,
	control.CodeReplicationExists:   http.StatusConflict,
	control.CodeInternal:            http.StatusInternalServerError,

	control.CodeAccessDeniedException:     http.StatusForbidden,
	"UnknownOperationException":           http.StatusNotFound,
	"MissingAuthenticationTokenException": http.StatusForbidden,
	"IncompleteSignatureException":        http.StatusForbidden,
	"InvalidSignatureException":           http.StatusForbidden,
	"SignatureDoesNotMatch":               http.StatusForbidden,
	"UnrecognizedClientException":         http.StatusForbidden,
}

type errorBody struct {
	ErrorCode     string
	Message       string
	FileSystemID  string `json:"FileSystemId,omitempty"`
	AccessPointID string `json:"AccessPointId,omitempty"`
}

// fail answers with an error. The type travels in the header, which the SDKs
// read; the members of the body are EFS's.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	if isEC2(r) {
		h.failEC2(w, r, err)
		return
	}
	e := &control.Error{Code: control.CodeInternal, Message: err.Error()}
	errors.As(err, &e)
	status := statusOf[e.Code]
	if status == 0 {
		status = http.StatusInternalServerError
	}
	if status >= http.StatusInternalServerError {
		h.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err,
			"request_id", w.Header().Get("x-amzn-RequestId"))
	}
	w.Header().Set("X-Amzn-ErrorType", e.Code)
	h.reply(w, status, errorBody{ErrorCode: e.Code, Message: e.Message, FileSystemID: e.FileSystemID, AccessPointID: e.AccessPointID})
}
