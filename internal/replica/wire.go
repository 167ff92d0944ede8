package replica

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// PathPrefix is where a region mounts a Server on its peer listener. A request
// is PathPrefix, file system id, "/", replication id, "/" and the call.
const PathPrefix = "/peer/v1/replica/"

// FeatureLevel is what this release speaks. Both sides must speak the same one;
// it rises when a frame or a call changes its meaning.
const FeatureLevel = 1

// Calls, and the query keys of all of them.
const (
	callStream   = "stream"
	callAck      = "ack"
	callPosition = "position"
	callOpen     = "checkpoint/open"
	callItems    = "checkpoint/items"
	callRelease  = "checkpoint/release"
	callCompare  = "checkpoint/compare"
	callNarrow   = "checkpoint/narrow"

	keyLevel   = "level"
	keyLineage = "lineage"
	keyPos     = "pos"
	keySeq     = "seq"
	keyName    = "name"
	keyFork    = "fork"
	keyPart    = "part"
	keyParts   = "parts"
	keyCursor  = "cursor"
	keyResync  = "resync"

	frameContentType = "application/vnd.holdfast.replication.v1"
)

// Lookup errors of a region.
var (
	// ErrUnknownReplication: the source has no such replication (any more).
	ErrUnknownReplication = errors.New("the source does not know this replication: it was deleted there, or never made")
	// ErrNotSource: the replication is known, but this side is not its source now.
	ErrNotSource = errors.New("this side is not the source of the replication now")
	// ErrNotReady: ask again shortly.
	ErrNotReady = errors.New("the source is not ready yet")
)

// Codes of a refusal. They are part of the protocol.
const (
	codeUnknownReplication = "unknown-replication"
	codeNotSource          = "not-source"
	codeNotReady           = "not-ready"
	codeDiverged           = "diverged"  // with the source's history
	codeBootstrap          = "bootstrap" // with the source's history
	codeLineage            = "lineage"   // with the source's history
	codeLevel              = "feature-level"
	codeTrimmed            = "trimmed"
	codeNoCheckpoint       = "no-checkpoint"
	codeBadRequest         = "bad-request"
	codeInternal           = "internal"

	// Reasons of an end frame.
	endComplete   = "complete"   // all items of the part were sent
	endClosing    = "closing"    // the source's server stops
	endSuperseded = "superseded" // a newer stream of the same destination took over
)

var refusalStatus = map[string]int{
	codeUnknownReplication: http.StatusNotFound,
	codeNotSource:          http.StatusMisdirectedRequest,
	codeNotReady:           http.StatusServiceUnavailable,
	codeDiverged:           http.StatusConflict,
	codeBootstrap:          http.StatusConflict,
	codeLineage:            http.StatusPreconditionFailed,
	codeLevel:              http.StatusPreconditionFailed,
	codeTrimmed:            http.StatusGone,
	codeNoCheckpoint:       http.StatusNotFound,
	codeBadRequest:         http.StatusBadRequest,
	codeInternal:           http.StatusInternalServerError,
}

// refusal is the JSON body of every answer that is not a success, and the
// error that it becomes on the other side.
type refusal struct {
	Code    string       `json:"code"`
	Message string       `json:"message"`
	History *wireHistory `json:"history,omitempty"`
}

func (r *refusal) Error() string { return "the source refuses (" + r.Code + "): " + r.Message }

// Unwrap lets errors.Is see the agreed errors through the wire.
func (r *refusal) Unwrap() error {
	switch r.Code {
	case codeUnknownReplication:
		return ErrUnknownReplication
	case codeNotSource:
		return ErrNotSource
	case codeNotReady:
		return ErrNotReady
	case codeTrimmed:
		return ErrTrimmed
	case codeNoCheckpoint:
		return ErrNoCheckpoint
	}
	return nil
}

// refuse turns an error of a Source or a Lookup into its refusal.
func refuse(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	code := codeInternal
	switch {
	case errors.Is(err, ErrUnknownReplication):
		code = codeUnknownReplication
	case errors.Is(err, ErrNotSource):
		code = codeNotSource
	case errors.Is(err, ErrNotReady):
		code = codeNotReady
	case errors.Is(err, ErrTrimmed):
		code = codeTrimmed
	case errors.Is(err, ErrNoCheckpoint):
		code = codeNoCheckpoint
	}
	return &refusal{Code: code, Message: err.Error()}
}

// wireHistory is fs.History as JSON.
type wireHistory struct {
	Lineage string      `json:"lineage"`
	Epochs  []wireEpoch `json:"epochs"`
	Base    fs.Pos      `json:"base"`
	Last    fs.Pos      `json:"last"`
}

// wireEpoch carries the nonce as hex digits: JSON readers other than ours
// round large numbers.
type wireEpoch struct {
	Counter uint32 `json:"counter"`
	Member  uint16 `json:"member"`
	Nonce   string `json:"nonce"`
	First   uint64 `json:"first"`
}

func toWire(h fs.History) *wireHistory {
	w := &wireHistory{Lineage: h.Lineage.String(), Base: h.Base, Last: h.Last, Epochs: make([]wireEpoch, len(h.Epochs))}
	for i, e := range h.Epochs {
		w.Epochs[i] = wireEpoch{e.ID.Counter, e.ID.Member, strconv.FormatUint(e.ID.Nonce, 16), e.First}
	}
	return w
}

func (w *wireHistory) history() (fs.History, error) {
	l, err := fs.ParseLineage(w.Lineage)
	if err != nil {
		return fs.History{}, fmt.Errorf("history of the source: %w", err)
	}
	h := fs.History{Lineage: l, Base: w.Base, Last: w.Last, Epochs: make([]fs.EpochStart, len(w.Epochs))}
	for i, e := range w.Epochs {
		nonce, err := strconv.ParseUint(e.Nonce, 16, 64)
		if err != nil {
			return fs.History{}, fmt.Errorf("history of the source: epoch %d: nonce %.40q", i, e.Nonce)
		}
		if e.First == 0 || (i > 0 && e.First <= h.Epochs[i-1].First) {
			return fs.History{}, fmt.Errorf("history of the source: epoch %d begins at record %d, not after the one before", i, e.First)
		}
		h.Epochs[i] = fs.EpochStart{ID: fs.EpochID{Counter: e.Counter, Member: e.Member, Nonce: nonce}, First: e.First}
	}
	return h, nil
}

// wireCheckpoint is the answer to an open.
type wireCheckpoint struct {
	Name  string `json:"name"`
	Pos   fs.Pos `json:"pos"`
	Parts int    `json:"parts"`
	Meta  []byte `json:"meta,omitempty"`
	// Narrowed: a comparison found what it holds.
	Narrowed bool `json:"narrowed,omitempty"`
}

// wireAnswer is the answer to a compare.
type wireAnswer struct {
	Answer []byte `json:"answer"`
}

func posText(p fs.Pos) string { return hex.EncodeToString(fs.AppendPos(nil, p)) }

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only for types that JSON cannot carry
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the peer is gone: nobody left to tell
}

func writeRefusal(w http.ResponseWriter, r *refusal) {
	status, ok := refusalStatus[r.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	writeJSON(w, status, r)
}
