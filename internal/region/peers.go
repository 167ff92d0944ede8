package region

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/replica"
)

const (
	// controlPrefix is where a region answers the control planes of others.
	controlPrefix = "/peer/v1/control/"
	// maxControlBody bounds requests and answers between control planes, bytes.
	maxControlBody = 1 << 20
	// controlTimeout bounds one call; the caller's context may end it sooner.
	controlTimeout = 30 * time.Second
)

// peers carries calls to the other regions over mutual TLS. The name in the
// other side's certificate must be its region.
type peers struct {
	urls    map[string]string
	clients map[string]*http.Client
}

var _ control.Peers = (*peers)(nil)

func newPeers(urls map[string]string, conf *tls.Config) *peers {
	p := &peers{urls: urls, clients: make(map[string]*http.Client)}
	for region := range urls {
		c := conf.Clone()
		c.ServerName = region
		p.clients[region] = replica.NewHTTPClient(c)
	}
	return p
}

// Regions implements control.Peers.
func (p *peers) Regions() []string {
	l := make([]string, 0, len(p.urls))
	for r := range p.urls {
		l = append(l, r)
	}
	sort.Strings(l)
	return l
}

func (p *peers) url(region string) (string, bool) {
	u, ok := p.urls[region]
	return strings.TrimSuffix(u, "/"), ok
}

func (p *peers) client(region string) *http.Client { return p.clients[region] }

// Call implements control.Peers.
func (p *peers) Call(ctx context.Context, region, method string, req, resp any) error {
	u, ok := p.url(region)
	if !ok {
		return fmt.Errorf("region %s is not among the peers of the configuration", region)
	}
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	hr, err := http.NewRequestWithContext(ctx, http.MethodPost, u+controlPrefix+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	hr.Header.Set("Content-Type", "application/json")
	r, err := p.clients[region].Do(hr)
	if err != nil {
		return fmt.Errorf("reach region %s: %w", region, err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, maxControlBody))
	if err != nil {
		return fmt.Errorf("read the answer of region %s: %w", region, err)
	}
	return decodeAnswer(region, r.StatusCode, b, resp)
}

// refusal is how a *control.PeerError travels.
type refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func decodeAnswer(region string, status int, b []byte, resp any) error {
	switch status {
	case http.StatusOK:
		if err := json.Unmarshal(b, resp); err != nil {
			return fmt.Errorf("read the answer of region %s: %w", region, err)
		}
		return nil
	case http.StatusConflict:
		var f refusal
		if err := json.Unmarshal(b, &f); err == nil && f.Code != "" {
			return &control.PeerError{Code: f.Code, Message: f.Message}
		}
	}
	return fmt.Errorf("region %s answered with status %d: %.200s", region, status, b)
}

// controlHandler answers the control planes of other regions.
type controlHandler struct {
	c   *control.Control
	log *slog.Logger
}

func (h controlHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := strings.TrimPrefix(r.URL.Path, controlPrefix)
	if r.Method != http.MethodPost || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		http.Error(w, "POST with a client certificate is needed", http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxControlBody))
	if err != nil {
		http.Error(w, "the request's body cannot be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	from := peerRegion(r.TLS)
	answer, err := h.c.HandlePeer(r.Context(), from, method, body)
	status := http.StatusOK
	if err != nil {
		var pe *control.PeerError
		if !errors.As(err, &pe) {
			h.log.Error("a call of another region failed", "region", from, "method", method, "error", err)
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		status, answer = http.StatusConflict, refusal{pe.Code, pe.Message}
	}
	b, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(b); err != nil {
		h.log.Debug("an answer to another region was not taken", "region", from, "error", err)
	}
}

// peerRegion is the region that a client certificate names: its common name.
func peerRegion(s *tls.ConnectionState) string {
	return s.PeerCertificates[0].Subject.CommonName
}
