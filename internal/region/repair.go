package region

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/holdfast-fs/holdfast/internal/engine"
	"github.com/holdfast-fs/holdfast/internal/fs"
)

// A replica gets the bytes of damaged data from another region that has the
// same lineage: source from destination or the other way round. Bytes are
// named by the record that brought them, so they are the same everywhere.

const (
	// runPath is where a region gives them out, to who has a peer's certificate.
	runPath = "/peer/v1/run"
	// runTimeout bounds one request.
	runTimeout = 30 * time.Second
	maxRunBody = 1 << 10
)

// runRequest is the body of a POST to runPath; the answer is the bytes.
type runRequest struct {
	Lineage string     `json:"lineage"`
	Run     engine.Run `json:"run"`
}

// runHandler gives out bytes of this region's replicas.
type runHandler struct {
	v   *volumes
	log *slog.Logger
}

func (h runHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		http.Error(w, "POST with a client certificate is needed", http.StatusBadRequest)
		return
	}
	var q runRequest
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRunBody))
	if err == nil {
		err = json.Unmarshal(b, &q)
	}
	lineage, lerr := fs.ParseLineage(q.Lineage)
	if err = errors.Join(err, lerr); err != nil {
		http.Error(w, "the request cannot be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	data, err := h.v.fetchHere(r.Context(), lineage, q.Run)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	h.log.Info("bytes were given out to repair a replica", "region", peerRegion(r.TLS), "inode", uint64(q.Run.Ino), "offset", q.Run.Offset, "bytes", len(data))
	w.Header().Set("Content-Type", "application/octet-stream")
	if _, err := w.Write(data); err != nil {
		h.log.Debug("bytes for a repair were not taken", "error", err)
	}
}

// fetchHere looks for the bytes in this region's replicas of a lineage.
func (v *volumes) fetchHere(ctx context.Context, l fs.Lineage, r engine.Run) ([]byte, error) {
	err := engine.ErrNoRun
	for _, x := range v.all() {
		if x.door.Lineage() != l {
			continue
		}
		var b []byte
		if b, err = x.fetchRun(ctx, r); err == nil {
			return b, nil
		}
	}
	return nil, err
}

func (x *volume) fetchRun(ctx context.Context, r engine.Run) ([]byte, error) {
	e, err := x.use(ctx)
	if err != nil {
		return nil, err
	}
	defer x.done()
	return e.FetchRun(ctx, r)
}

// fetchRun asks the other regions, one after the other.
func (p *peers) fetchRun(ctx context.Context, l fs.Lineage, r engine.Run) ([]byte, error) {
	var all []error
	for _, region := range p.Regions() {
		b, err := p.fetchRunFrom(ctx, region, l, r)
		if err == nil {
			return b, nil
		}
		all = append(all, err)
	}
	if all == nil {
		return nil, errors.New("there is no other region to ask")
	}
	return nil, errors.Join(all...)
}

func (p *peers) fetchRunFrom(ctx context.Context, region string, l fs.Lineage, r engine.Run) ([]byte, error) {
	u, _ := p.url(region)
	body, err := json.Marshal(runRequest{l.String(), r})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	hr, err := http.NewRequestWithContext(ctx, http.MethodPost, u+runPath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := p.clients[region].Do(hr)
	if err != nil {
		return nil, fmt.Errorf("reach region %s: %w", region, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, fs.MaxWrite+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer of region %s: %w", region, err)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("region %s: %.200s", region, bytes.TrimSpace(b))
	case len(b) != int(r.Length):
		return nil, fmt.Errorf("region %s gave %d bytes for a run of %d", region, len(b), r.Length)
	}
	return b, nil
}
