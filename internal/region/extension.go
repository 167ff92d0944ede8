package region

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// What Holdfast tells beyond EFS, on the API's endpoint and signed like it.

// extensionPrefix begins the paths of these calls.
const extensionPrefix = "/holdfast/v1/"

// FileSystemStatus is the answer to GET file-systems/{id}.
type FileSystemStatus struct {
	FileSystemID string             `json:"file_system_id"`
	Region       string             `json:"region"`
	Role         string             `json:"role"`
	Lineage      string             `json:"lineage"`
	Position     fs.Pos             `json:"position"`
	Seq          uint64             `json:"seq"`
	DurableSeq   uint64             `json:"durable_seq"`
	Files        uint64             `json:"files"`
	Bytes        uint64             `json:"bytes"`
	Error        string             `json:"error,omitempty"`
	Replication  *ReplicationStatus `json:"replication,omitempty"` // of a destination
}

// ReplicationStatus is how far a destination is.
type ReplicationStatus struct {
	Connected        bool         `json:"connected"`
	Whole            bool         `json:"whole"`
	Following        bool         `json:"following"`
	SourceDurableSeq uint64       `json:"source_durable_seq"`
	LagSeconds       float64      `json:"lag_seconds"`
	LagRecords       uint64       `json:"lag_records"`
	LagBytes         uint64       `json:"lag_bytes"`
	BytesReceived    uint64       `json:"bytes_received"`
	LastTransfer     LastTransfer `json:"last_transfer"`
	Error            string       `json:"error,omitempty"`
	Problem          string       `json:"problem,omitempty"`
}

// LastTransfer is the running or last bootstrap or resync.
type LastTransfer struct {
	Kind      string `json:"kind"`
	Running   bool   `json:"running"`
	BytesWire uint64 `json:"bytes_wire"`
}

// HashAnswer is the answer to GET file-systems/{id}/hash.
type HashAnswer struct {
	Position fs.Pos `json:"position"`
	Seq      uint64 `json:"seq"`
	Hash     string `json:"hash"`
	Keys     uint64 `json:"keys"`
}

// SalvageAnswer is the answer to GET file-systems/{id}/salvage.
type SalvageAnswer struct {
	Salvages []engine.Salvage `json:"salvages"`
}

func (v *volumes) extension() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+extensionPrefix+"file-systems/{id}", v.answerStatus)
	mux.HandleFunc("GET "+extensionPrefix+"file-systems/{id}/hash", v.withVolume(answerHash))
	mux.HandleFunc("GET "+extensionPrefix+"file-systems/{id}/salvage", v.withVolume(answerSalvage))
	return mux
}

type answerFunc func(e *engine.Engine) (any, error)

func (v *volumes) withVolume(fn answerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		x := v.get(r.PathValue("id"))
		if !x.there() {
			v.sendNotOpen(w, r)
			return
		}
		e, err := x.use(r.Context())
		if err != nil {
			sendRefusal(w, fmt.Errorf("%w: see the log of the region", err))
			return
		}
		defer x.done()
		answer, err := fn(e)
		if err != nil {
			sendRefusal(w, fmt.Errorf("%w: see the log of the region", err))
			return
		}
		sendJSON(w, http.StatusOK, answer)
	}
}

func (v *volumes) sendNotOpen(w http.ResponseWriter, r *http.Request) {
	sendRefusal(w, &control.Error{Code: control.CodeFileSystemNotFound,
		Message: fmt.Sprintf("file system %.100q is not open in region %s: see DescribeFileSystems, and the log of the region", r.PathValue("id"), v.env.region)})
}

// there: it is open or at rest.
func (x *volume) there() bool {
	if x == nil {
		return false
	}
	e, r := x.look()
	defer x.looked(e)
	return e != nil || r != nil
}

func sendJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that went away needs no answer
}

// answerStatus tells of a file system at rest what it was: it wakes none.
func (v *volumes) answerStatus(w http.ResponseWriter, r *http.Request) {
	x := v.get(r.PathValue("id"))
	if !x.there() {
		v.sendNotOpen(w, r)
		return
	}
	e, rest := x.look()
	defer x.looked(e)
	switch {
	case e != nil:
		sendJSON(w, http.StatusOK, v.statusOf(x, e))
	case rest != nil:
		sendJSON(w, http.StatusOK, v.statusAtRest(x, rest))
	default:
		v.sendNotOpen(w, r)
	}
}

func (v *volumes) statusAtRest(x *volume, r *engine.Resting) FileSystemStatus {
	x.stateMu.Lock()
	role, trouble := x.role, x.trouble
	x.stateMu.Unlock()
	a := FileSystemStatus{FileSystemID: x.id, Region: v.env.region, Role: string(role), Lineage: r.Lineage.String(),
		Position: r.Pos, Seq: r.Pos.Seq, DurableSeq: r.Pos.Seq, Files: r.Files, Bytes: r.BytesUsed}
	if trouble != nil {
		a.Error = trouble.Error()
	}
	return a
}

func (v *volumes) statusOf(x *volume, e *engine.Engine) FileSystemStatus {
	m := e.Meta()
	x.stateMu.Lock()
	role, status := x.role, x.status
	x.stateMu.Unlock()
	a := FileSystemStatus{FileSystemID: x.id, Region: v.env.region, Role: string(role), Lineage: e.Lineage().String(),
		Position: m.Applied, Seq: m.Applied.Seq, DurableSeq: e.Durable().Seq, Files: m.Files, Bytes: m.BytesUsed}
	if err := fault(e); err != nil {
		a.Error = err.Error()
	}
	if status == nil {
		return a
	}
	s := status()
	a.Replication = &ReplicationStatus{Connected: s.Connected, Whole: s.Whole, Following: s.Following,
		SourceDurableSeq: s.SourceDurable.Seq, LagSeconds: s.LagSeconds, LagRecords: s.LagRecords, LagBytes: s.LagBytes,
		BytesReceived: s.BytesWire,
		LastTransfer:  LastTransfer{Kind: string(s.Transfer), Running: s.Transferring, BytesWire: s.TransferBytesWire}}
	if s.Err != nil {
		a.Replication.Error = s.Err.Error()
	}
	if s.Problem != nil {
		a.Replication.Problem = s.Problem.Error()
	}
	return a
}

func answerHash(e *engine.Engine) (any, error) {
	pos, h, err := e.Hash()
	return HashAnswer{pos, pos.Seq, h.String(), h.Keys}, err
}

func answerSalvage(e *engine.Engine) (any, error) {
	l, err := e.Salvages()
	if l == nil {
		l = []engine.Salvage{}
	}
	return SalvageAnswer{l}, err
}
